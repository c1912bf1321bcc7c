/** The capsule protocol: headers in headroom, and the incremental decoder. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DgramBuffer } from "../../lib/index.ts";
import {
  CapsuleDecoder,
  type CapsuleDecoderOptions,
  CapsuleError,
  capsuleHeader,
  DATAGRAM_CAPSULE,
  encodeCapsule,
  tryAddCapsuleHeader,
} from "../../lib/masque/index.ts";
import { numberErrorOf } from "../tools/errors.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

type Capsule = [type: number, value: string];

/** Decodes chunks, and returns the capsules. */
function decode(chunks: readonly Uint8Array[], options?: CapsuleDecoderOptions): Capsule[] {
  const capsules: Capsule[] = [];
  const decoder = new CapsuleDecoder((type, value) => capsules.push([type, hex(value)]), options);
  for (const chunk of chunks) decoder.push(chunk);
  decoder.end();
  return capsules;
}

/** Splits bytes at the given offsets. */
function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const offsets = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length];
  offsets.sort((a, b) => a - b);
  return offsets.slice(1).map((end, i) => bytes.slice(offsets[i], end));
}

describe("headers", () => {
  test("encode type and length as varints", () => {
    expect(hex(capsuleHeader(0, 0))).toBe("0000");
    expect(hex(capsuleHeader(0, 1200))).toBe("0044b0");
    expect(hex(capsuleHeader(0xff37a1, 3))).toBe("80ff37a103");
    expect(hex(capsuleHeader(2n ** 62n - 1n, 63))).toBe("ffffffffffffffff3f");
    expect(hex(encodeCapsule(0, Uint8Array.of(0, 9)))).toBe("00020009");
  });

  test("are written to the headroom if it is large enough", () => {
    for (const headroom of [2, 3, 16]) {
      const buffer = DgramBuffer.withCapacityAndHeadroom(200, headroom);
      buffer.putBytes(7, 100);
      const isAdded = tryAddCapsuleHeader(buffer, DATAGRAM_CAPSULE);
      expect([headroom, isAdded, buffer.length]).toEqual([
        headroom,
        headroom >= 3,
        headroom >= 3 ? 103 : 100,
      ]);
      if (isAdded) expect(hex(buffer.asSlice().subarray(0, 4))).toBe("00406407");
    }
  });

  test("refuse invalid arguments", () => {
    for (const type of [-1, 0.5, 2 ** 53, 2n ** 62n, "0"]) {
      expect(() => capsuleHeader(type as number, 0)).toThrow(numberErrorOf(type, true));
      expect(() => encodeCapsule(type as number, new Uint8Array(1))).toThrow(
        numberErrorOf(type, true),
      );
    }
    for (const length of [-1, 0.5, Number.NaN]) {
      expect(() => capsuleHeader(0, length)).toThrow(RangeError);
    }
    expect(() => encodeCapsule(0, [1] as unknown as Uint8Array)).toThrow(TypeError);
    expect(() => tryAddCapsuleHeader({} as DgramBuffer, 0)).toThrow(TypeError);
  });
});

describe("CapsuleDecoder", () => {
  test("returns the capsules of known types, however the stream is split", () => {
    const capsules = fc.array(
      fc.record({
        type: fc.constantFrom(0, 1, 64, 0x2575),
        value: fc.uint8Array({ maxLength: 200 }),
      }),
      { maxLength: 8 },
    );
    const cuts = fc.array(fc.nat(2000), { maxLength: 20 });
    const property = fc.property(capsules, cuts, (list, offsets) => {
      const stream = Buffer.concat(list.map(({ type, value }) => encodeCapsule(type, value)));
      const expected = list
        .filter(({ type }) => type === 0 || type === 64)
        .map(({ type, value }): Capsule => [type, hex(value)]);
      expect(decode(split(stream, offsets), { types: [0, 64] })).toEqual(expected);
    });
    fc.assert(property, { numRuns: 1000 });
  });

  test("delivers empty values, and values that arrive byte by byte", () => {
    const stream = bytesOf("0000" + "0003010203" + "0000");
    const expected: Capsule[] = [
      [0, ""],
      [0, "010203"],
      [0, ""],
    ];
    expect(decode([stream])).toEqual(expected);
    expect(decode([...stream].map((byte) => Uint8Array.of(byte)))).toEqual(expected);
  });

  test("skips unknown types of any length without storing them", () => {
    const capsules: Capsule[] = [];
    const decoder = new CapsuleDecoder((type, value) => capsules.push([type, hex(value)]));
    // Type 5, 2^62-1 bytes: only a few of them arrive.
    decoder.push(bytesOf("05ffffffffffffffff"));
    const chunk = new Uint8Array(1 << 20);
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) decoder.push(chunk);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10 << 20);
    expect(capsules).toEqual([]);
    expect(() => decoder.end()).toThrow(CapsuleError);
    // Types 2^53 and above are not rounded to a known one.
    expect(decode([bytesOf("ffffffffffffffff0101" + "000109")])).toEqual([[0, "09"]]);
  });

  test("accepts a value of the maximum length, and refuses a longer one before it arrives", () => {
    const options = { valueBytesMax: 300 };
    expect(decode([encodeCapsule(0, new Uint8Array(300))], options)).toHaveLength(1);
    const decoder = new CapsuleDecoder(() => {}, options);
    const push = () => decoder.push(capsuleHeader(0, 301));
    expect(push).toThrow("capsule 0 has 301 bytes, limit 300 bytes");
    expect(push).toThrow("capsule 0 has 301 bytes, limit 300 bytes");
    expect(() => decoder.end()).toThrow(CapsuleError);
    expect(() => new CapsuleDecoder(() => {}).push(capsuleHeader(0, 65_536))).toThrow(
      expect.objectContaining({ code: "ERR_CAPSULE_TOO_LONG" }),
    );
  });

  test("allocates memory for a value only as its bytes arrive", () => {
    const decoders = Array.from({ length: 1000 }, () => new CapsuleDecoder(() => {}));
    const before = process.memoryUsage().arrayBuffers;
    const start = Buffer.concat([capsuleHeader(0, 65_000), Uint8Array.of(1)]);
    for (const decoder of decoders) decoder.push(start);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });

  test("reports a stream that ends within a capsule", () => {
    const stream = encodeCapsule(0, new Uint8Array(100));
    for (let length = 1; length < stream.length; length++) {
      expect(() => decode([stream.subarray(0, length)])).toThrow(
        expect.objectContaining({ code: "ERR_CAPSULE_INCOMPLETE" }),
      );
    }
    expect(decode([])).toEqual([]);
  });

  test("stops after an error of the handler, and refuses nested calls", () => {
    const error = new Error("refused");
    const decoder = new CapsuleDecoder(() => {
      throw error;
    });
    expect(() => decoder.push(bytesOf("0000"))).toThrow(error);
    expect(() => decoder.push(bytesOf("0000"))).toThrow(error);
    expect(() => decoder.end()).toThrow(error);
    const nested: CapsuleDecoder = new CapsuleDecoder(() => nested.push(new Uint8Array(1)));
    expect(() => nested.push(bytesOf("0000"))).toThrow("by the handler of the same decoder");
  });

  test("refuses invalid arguments", () => {
    const make = (options: unknown) => () =>
      new CapsuleDecoder(() => {}, options as CapsuleDecoderOptions);
    expect(() => new CapsuleDecoder(undefined as never)).toThrow(TypeError);
    expect(make({ type: [1] })).toThrow('did you mean "types"');
    expect(make({ types: 1 })).toThrow(TypeError);
    expect(make({ types: [-1] })).toThrow(RangeError);
    expect(make({ valueBytesMax: -1 })).toThrow(RangeError);
    expect(make({ valueBytesMax: 2 ** 31 })).toThrow(RangeError);
    expect(() => make({})().push("x" as never)).toThrow(TypeError);
  });

  test("never throws anything but a CapsuleError for any stream", () => {
    const property = fc.property(fc.array(fc.uint8Array({ maxLength: 30 })), (chunks) => {
      try {
        decode(chunks, { types: [0, 1, 2, 3], valueBytesMax: 20 });
      } catch (error) {
        expect(error).toBeInstanceOf(CapsuleError);
      }
    });
    fc.assert(property, { numRuns: 5000 });
  });
});
