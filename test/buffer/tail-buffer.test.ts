/** Tests of the methods that append to a `DgramBuffer`, and of growth, integers and varints. */

import { describe, expect, test } from "bun:test";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";
import {
  BAD_COUNTS,
  counting,
  expectEachThrows,
  NOT_UINT8_ARRAYS,
  SAFE_MAX,
  sample,
  stateOf,
} from "../tools/buffer-samples.ts";

describe("DgramBuffer", () => {
  test("truncate shortens the payload, and changes nothing for larger lengths", () => {
    for (const count of [6, 7, SAFE_MAX]) {
      const buffer = sample();
      buffer.truncate(count);
      expect(stateOf(buffer)).toBe("040506070809 4 6 16 6");
    }
    const buffer = sample();
    buffer.truncate(1);
    expect(stateOf(buffer)).toBe("04 4 1 16 11");
    buffer.truncate(0);
    expect(stateOf(buffer)).toBe(" 4 0 16 12");
    expectEachThrows(BAD_COUNTS, RangeError, (b, count) => b.truncate(count));
  });

  test("clear removes payload and headroom, and keeps the memory", () => {
    const buffer = sample();
    const memory = buffer.asSlice().buffer;
    buffer.clear();
    expect(stateOf(buffer)).toBe(" 0 0 16 16");
    buffer.putU8(1);
    expect(buffer.asSlice().buffer).toBe(memory);
  });

  test("putSlice allocates new memory only if the spare capacity is exceeded", () => {
    const buffer = sample();
    const memory = buffer.asSlice().buffer;
    buffer.putSlice(counting(6));
    expect(buffer.spareCapacity).toBe(0);
    expect(buffer.asSlice().buffer).toBe(memory);
    buffer.putSlice(counting(1));
    expect(buffer.asSlice().buffer).not.toBe(memory);
    expect(buffer.asSlice().toHex()).toBe(`040506070809${counting(6).toHex()}00`);
    expect(buffer.intoParts()[0].subarray(0, 4).toHex()).toBe("00010203");
  });

  test("put appends bytes, the payload of another buffer, and its own", () => {
    const buffer = sample();
    buffer.put(counting(1));
    buffer.put(sample());
    expect(buffer.asSlice().toHex()).toBe("04050607080900040506070809");
    for (const spare of [0, 2, 100]) {
      const own = DgramBuffer.withCapacity(2 + spare);
      own.putU16(0x0102);
      own.put(own);
      own.putSlice(own.asSlice().subarray(1));
      expect(own.asSlice().toHex()).toBe("01020102020102");
    }
    expectEachThrows(NOT_UINT8_ARRAYS, TypeError, (b, src) => b.put(src));
    expectEachThrows(NOT_UINT8_ARRAYS, TypeError, (b, src) => b.putSlice(src));
  });

  test("putSlice throws TypeError for bytes whose ArrayBuffer was transferred", () => {
    const bytes = new Uint8Array(new ArrayBuffer(4));
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expectEachThrows([bytes], TypeError, (b, src) => b.putSlice(src));
  });

  test("putBytes accepts values 0..255 and any count, and throws RangeError beyond", () => {
    const buffer = sample();
    buffer.putBytes(255, 0);
    buffer.putBytes(255, 2);
    buffer.putBytes(0, 1);
    expect(buffer.asSlice().toHex()).toBe("040506070809ffff00");
    expectEachThrows([...BAD_COUNTS, 256], RangeError, (b, value) => b.putBytes(value, 1));
    expectEachThrows([...BAD_COUNTS, SAFE_MAX], RangeError, (b, count) => b.putBytes(0, count));
  });
});

describe("integers in a DgramBuffer", () => {
  const wide = 2n ** 64n;
  /** Method, minimum, maximum, and the big-endian encodings of both in hexadecimal. */
  const methods: [keyof DgramBuffer, bigint, bigint, string, string][] = [
    ["putU8", 0n, 0xffn, "00", "ff"],
    ["putI8", -0x80n, 0x7fn, "80", "7f"],
    ["putU16", 0n, 0xffffn, "0000", "ffff"],
    ["putI16", -0x8000n, 0x7fffn, "8000", "7fff"],
    ["putU32", 0n, 0xffff_ffffn, "00000000", "ffffffff"],
    ["putI32", -0x8000_0000n, 0x7fff_ffffn, "80000000", "7fffffff"],
    ["putU64", 0n, wide - 1n, "0000000000000000", "ffffffffffffffff"],
    ["putI64", -wide / 2n, wide / 2n - 1n, "8000000000000000", "7fffffffffffffff"],
  ];

  /** Puts a value into an empty buffer, as a `number` if it is safe, and returns the bytes. */
  function put(method: string, value: bigint): string {
    const buffer = new DgramBuffer();
    const narrow = value >= -SAFE_MAX && value <= SAFE_MAX ? Number(value) : value;
    (buffer as unknown as Record<string, (v: number | bigint) => void>)[method]?.(narrow);
    return buffer.asSlice().toHex();
  }

  /** Reverses the order of the bytes of a hexadecimal string. */
  function reversed(hex: string): string {
    return Uint8Array.fromHex(hex).reverse().toHex();
  }

  test("are written at the minimum and maximum, and throw RangeError one beyond", () => {
    for (const [method, min, max, minHex, maxHex] of methods) {
      const names = method.endsWith("8") ? [method] : [method, `${method}Le`];
      for (const name of names) {
        const order = name.endsWith("Le") ? reversed : String;
        expect(put(name, min)).toBe(order(minHex));
        expect(put(name, max)).toBe(order(maxHex));
        expect(() => put(name, min - 1n)).toThrow(RangeError);
        expect(() => put(name, max + 1n)).toThrow(RangeError);
      }
    }
  });

  test("have the same bytes as written by a DataView, in both byte orders", () => {
    const view = new DataView(new ArrayBuffer(8));
    const hex = (bytes: number): string => new Uint8Array(view.buffer, 0, bytes).toHex();
    const values = [0x0102_0304_0506_0708n, 0xf1e2_d3c4_b5a6_9788n, 0x001f_ffff_ffff_fffen];
    for (const value of values) {
      for (const le of [false, true]) {
        const suffix = le ? "Le" : "";
        view.setUint16(0, Number(value & 0xffffn), le);
        expect(put(`putU16${suffix}`, value & 0xffffn)).toBe(hex(2));
        expect(put(`putI16${suffix}`, BigInt.asIntN(16, value))).toBe(hex(2));
        view.setUint32(0, Number(value & 0xffff_ffffn), le);
        expect(put(`putU32${suffix}`, value & 0xffff_ffffn)).toBe(hex(4));
        expect(put(`putI32${suffix}`, BigInt.asIntN(32, value))).toBe(hex(4));
        view.setBigUint64(0, value, le);
        expect(put(`putU64${suffix}`, value)).toBe(hex(8));
        expect(put(`putI64${suffix}`, BigInt.asIntN(64, value))).toBe(hex(8));
      }
    }
  });

  test("of 64 bits have the same bytes for a number and a bigint of equal value", () => {
    for (const value of [0, 1, -1, 2 ** 32, -(2 ** 32), -(2 ** 32) - 1, SAFE_MAX, -SAFE_MAX]) {
      const [asNumber, asBigint] = [new DgramBuffer(), new DgramBuffer()];
      asNumber.putI64(value);
      asNumber.putI64Le(value);
      asBigint.putI64(BigInt(value));
      asBigint.putI64Le(BigInt(value));
      expect(asNumber.asSlice().toHex()).toBe(asBigint.asSlice().toHex());
    }
  });

  test("throw RangeError and append nothing if the value is not an integer", () => {
    const bad = [0.5, Number.NaN, Number.POSITIVE_INFINITY, "1", null, undefined, {}, [1]];
    for (const [method] of methods) {
      const names = method.endsWith("8") ? [method] : [method, `${method}Le`];
      for (const name of names) {
        const values = name.includes("64") ? [...bad, SAFE_MAX + 1] : [...bad, 1n];
        expectEachThrows(values, RangeError, (b, value) =>
          (b as unknown as Record<string, (v: unknown) => void>)[name]?.(value),
        );
      }
    }
  });
});

describe("varints in a DgramBuffer", () => {
  test("are appended, prefixed and read at the limits of each length", () => {
    const values = [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, SAFE_MAX, 2n ** 62n - 1n];
    const buffer = new DgramBuffer();
    for (const value of values) buffer.putVarint(value);
    expect(buffer.length).toBe(1 + 1 + 2 + 2 + 4 + 4 + 8 + 8 + 8);
    for (const value of values) expect(buffer.readVarint()).toBe(value);
    expect(buffer.isEmpty).toBe(true);
    for (const value of values.toReversed()) expect(buffer.tryAddVarintPrefix(value)).toBe(true);
    expect(buffer.headroom).toBe(0);
    for (const value of values) expect(buffer.readVarint()).toBe(value);
  });

  test("are not added as a prefix if they exceed the headroom, at any length", () => {
    for (const [value, length] of [
      [0, 1],
      [64, 2],
      [2 ** 20, 4],
      [2 ** 40, 8],
      [2n ** 60n, 8],
    ] as const) {
      const buffer = DgramBuffer.withCapacityAndHeadroom(length, length - 1);
      expect(buffer.tryAddVarintPrefix(value)).toBe(false);
      expect(stateOf(buffer)).toBe(` ${length - 1} 0 ${length} 1`);
      buffer.spliceHeadroom(length);
      expect(buffer.tryAddVarintPrefix(value)).toBe(true);
      expect(buffer.headroom).toBe(0);
    }
  });

  test("throw RangeError if they exceed the payload, also if more bytes follow in memory", () => {
    for (const hex of ["", "40", "800000", "c0000000000000"]) {
      const buffer = DgramBuffer.withCapacityAndHeadroom(32, 3);
      buffer.putBytes(0xff, 20);
      buffer.truncate(0);
      buffer.putSlice(Uint8Array.fromHex(hex));
      const before = stateOf(buffer);
      expect(() => buffer.readVarint()).toThrow(RangeError);
      expect(stateOf(buffer)).toBe(before);
    }
  });

  test("throw RangeError and append nothing if the value is invalid", () => {
    const bad = [-1, 0.5, Number.NaN, SAFE_MAX + 1, -1n, 2n ** 62n, "1", null, undefined];
    expectEachThrows(bad, RangeError, (b, value) => b.putVarint(value));
    expectEachThrows(bad, RangeError, (b, value) => b.tryAddVarintPrefix(value));
  });
});
