/** Tests of `DgramBuffer`: each method at zero, at its limit, beyond it, and with wrong types. */

import { describe, expect, test } from "bun:test";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";
import { allocates } from "../tools/allocation.ts";
import {
  BAD_COUNTS,
  counting,
  expectEachThrows,
  NOT_UINT8_ARRAYS,
  SAFE_MAX,
  sample,
  stateOf,
} from "../tools/buffer-samples.ts";
import { numberErrorOf } from "../tools/errors.ts";

describe("DgramBuffer construction", () => {
  test("without arguments creates an empty buffer without capacity that can grow", () => {
    const buffer = new DgramBuffer();
    expect(stateOf(buffer)).toBe(" 0 0 0 0");
    expect(buffer.isEmpty).toBe(true);
    expect(buffer.tryAddPrefix(new Uint8Array(0))).toBe(true);
    expect(buffer.tryAddPrefix(new Uint8Array(1))).toBe(false);
    buffer.truncate(SAFE_MAX);
    buffer.advance(0);
    buffer.putU8(7);
    expect(buffer.asSlice().toHex()).toBe("07");
  });

  test("fromSlice copies the bytes, from and fromVecWithHeadroom use their memory", () => {
    const bytes = counting(4);
    const [copied, adopted] = [DgramBuffer.fromSlice(bytes), DgramBuffer.from(bytes)];
    const prefixed = DgramBuffer.fromVecWithHeadroom(bytes, 3);
    bytes[3] = 0xff;
    expect(stateOf(copied)).toBe("00010203 0 4 4 0");
    expect(stateOf(adopted)).toBe("000102ff 0 4 4 0");
    expect(stateOf(prefixed)).toBe("ff 3 1 4 0");
  });

  test("fromVecWithHeadroom does not write to other parts of the ArrayBuffer", () => {
    const memory = new Uint8Array(10).fill(0xee);
    const buffer = DgramBuffer.fromVecWithHeadroom(memory.subarray(2, 6), 2);
    expect(buffer.asSlice().buffer).toBe(memory.buffer);
    buffer.tryAddPrefix(Uint8Array.of(1, 2));
    expect(memory.toHex()).toBe("eeee0102eeeeeeeeeeee");
    buffer.putU8(3);
    expect(memory.toHex()).toBe("eeee0102eeeeeeeeeeee");
    expect(buffer.asSlice().toHex()).toBe("0102eeee03");
  });

  test("from with a Buffer creates views that are plain Uint8Arrays", () => {
    const buffer = DgramBuffer.from(Buffer.from("abc"));
    expect(Object.getPrototypeOf(buffer.asSlice())).toBe(Uint8Array.prototype);
  });

  test("from with a small array uses the memory that the engine has moved the array to", () => {
    const small = new Uint8Array(8);
    const buffer = DgramBuffer.from(small);
    buffer.asMutSlice()[0] = 9;
    expect(small[0]).toBe(9);
  });

  test("accepts headroom from 0 to the capacity, and throws RangeError beyond", () => {
    expect(stateOf(DgramBuffer.withCapacity(0))).toBe(" 0 0 0 0");
    expect(stateOf(DgramBuffer.withCapacity(9))).toBe(" 0 0 9 9");
    expect(stateOf(DgramBuffer.withCapacityAndHeadroom(9, 9))).toBe(" 9 0 9 0");
    expect(DgramBuffer.withCapacityAndHeadroom(9, 4).intoParts()).toEqual([new Uint8Array(4), 4]);
    expect(() => DgramBuffer.withCapacityAndHeadroom(9, 10)).toThrow(RangeError);
    expect(() => DgramBuffer.fromVecWithHeadroom(counting(4), 5)).toThrow(RangeError);
    for (const count of [...BAD_COUNTS, SAFE_MAX, undefined]) {
      expect(() => DgramBuffer.withCapacity(count as number)).toThrow(numberErrorOf(count));
    }
    for (const count of BAD_COUNTS) {
      expect(() => DgramBuffer.withCapacityAndHeadroom(4, count as number)).toThrow(
        numberErrorOf(count),
      );
      expect(() => DgramBuffer.fromVecWithHeadroom(counting(4), count as number)).toThrow(
        numberErrorOf(count),
      );
    }
  });

  test("throws TypeError if the bytes are not a Uint8Array", () => {
    for (const bytes of NOT_UINT8_ARRAYS as readonly Uint8Array[]) {
      expect(() => DgramBuffer.fromSlice(bytes)).toThrow(TypeError);
      expect(() => DgramBuffer.from(bytes)).toThrow(TypeError);
      expect(() => DgramBuffer.fromVecWithHeadroom(bytes, 0)).toThrow(TypeError);
    }
  });

  test("copies from shared and resizable memory, and uses shared but not resizable memory", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(4));
    const growable = new Uint8Array(new SharedArrayBuffer(4, { maxByteLength: 8 }));
    const resizable = new Uint8Array(new ArrayBuffer(4, { maxByteLength: 8 }));
    for (const bytes of [shared, growable, resizable]) {
      expect(DgramBuffer.fromSlice(bytes).length).toBe(4);
      const buffer = DgramBuffer.withCapacityAndHeadroom(8, 4);
      buffer.putSlice(bytes);
      buffer.put(bytes);
      expect(buffer.tryAddPrefix(bytes)).toBe(true);
      expect(buffer.length).toBe(12);
    }
    const buffer = DgramBuffer.from(shared);
    buffer.asMutSlice()[0] = 5;
    expect(shared[0]).toBe(5);
    expect(() => DgramBuffer.from(growable)).toThrow(TypeError);
    expect(() => DgramBuffer.from(resizable)).toThrow(TypeError);
  });
});

describe("DgramBuffer headroom", () => {
  test("advance accepts 0 to the payload length, and throws RangeError beyond", () => {
    const buffer = sample();
    buffer.advance(0);
    expect(stateOf(buffer)).toBe("040506070809 4 6 16 6");
    buffer.advance(6);
    expect(stateOf(buffer)).toBe(" 10 0 16 6");
    expectEachThrows([...BAD_COUNTS, 7, SAFE_MAX], RangeError, (b, count) => b.advance(count));
    expect(() => sample().advance(7)).toThrow('"count" expected integer 0..6, got 7');
  });

  test("tryAddPrefix accepts 0 bytes to the whole headroom, and returns false for one more", () => {
    const buffer = sample();
    expect(buffer.tryAddPrefix(new Uint8Array(0))).toBe(true);
    expect(buffer.tryAddPrefix(new Uint8Array(5))).toBe(false);
    expect(stateOf(buffer)).toBe("040506070809 4 6 16 6");
    expect(buffer.tryAddPrefix(Uint8Array.of(9, 8, 7, 6))).toBe(true);
    expect(stateOf(buffer)).toBe("09080706040506070809 0 10 16 6");
    expectEachThrows(NOT_UINT8_ARRAYS, TypeError, (b, prefix) => b.tryAddPrefix(prefix));
  });

  test("tryAddPrefix copies prefixes of 0 to 80 bytes from views with a byteOffset", () => {
    for (let length = 0; length <= 80; length++) {
      const buffer = DgramBuffer.withCapacityAndHeadroom(100, 90);
      buffer.putU8(0xff);
      expect(buffer.tryAddPrefix(counting(length))).toBe(true);
      expect(buffer.asSlice().toHex()).toBe(`${counting(length).toHex()}ff`);
      expect(buffer.headroom).toBe(90 - length);
    }
  });

  test("tryAddPrefix copies a prefix correctly if it overlaps the target", () => {
    for (let length = 0; length <= 40; length++) {
      for (let from = 0; from + length <= 120; from += 3) {
        const memory = counting(120);
        const buffer = DgramBuffer.fromVecWithHeadroom(memory, 60);
        const expected = memory.slice(from, from + length).toHex();
        buffer.tryAddPrefix(memory.subarray(from, from + length));
        expect(buffer.asSlice().subarray(0, length).toHex()).toBe(expected);
      }
    }
  });

  test("spliceHeadroom changes nothing if the headroom is already large enough", () => {
    for (const headroom of [0, 3, 4]) {
      const buffer = sample();
      buffer.spliceHeadroom(headroom);
      expect(stateOf(buffer)).toBe("040506070809 4 6 16 6");
      expect(buffer.intoParts()[0].toHex()).toBe("00010203040506070809");
    }
  });

  test("spliceHeadroom zeroes larger headroom, and allocates only beyond the capacity", () => {
    for (const headroom of [5, 9, 10, 11, 30, 5000]) {
      const buffer = sample();
      const before = buffer.asSlice().buffer;
      buffer.spliceHeadroom(headroom);
      expect(buffer.headroom).toBe(headroom);
      expect(buffer.asSlice().buffer === before).toBe(headroom <= 10);
      expect(buffer.asSlice().toHex()).toBe("040506070809");
      expect(buffer.intoParts()[0].subarray(0, headroom)).toEqual(new Uint8Array(headroom));
    }
    expectEachThrows([...BAD_COUNTS, SAFE_MAX], RangeError, (b, count) => b.spliceHeadroom(count));
  });
});

describe("a reused DgramBuffer", () => {
  test("adds and removes prefixes without moving or changing the payload", () => {
    const buffer = DgramBuffer.withCapacityAndHeadroom(1516, 16);
    buffer.putSlice(counting(200));
    const payload = buffer.asSlice();
    const { buffer: memory, byteOffset } = payload;
    const prefix = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    for (let i = 0; i < 1000; i++) {
      expect(buffer.tryAddPrefix(prefix)).toBe(true);
      expect(buffer.tryAddVarintPrefix(2 ** 40 + i)).toBe(true);
      const whole = buffer.asSlice();
      expect(whole.buffer).toBe(memory);
      expect(whole.byteOffset).toBe(byteOffset - 16);
      expect(buffer.readVarint()).toBe(2 ** 40 + i);
      buffer.advance(8);
      expect(buffer.asSlice().byteOffset).toBe(byteOffset);
    }
    expect(payload.toHex()).toBe(counting(200).toHex());
    expect(buffer.capacity).toBe(1516);
  });

  test("adds and removes prefixes without allocating", async () => {
    const buffer = DgramBuffer.withCapacityAndHeadroom(1516, 64);
    buffer.putSlice(counting(200));
    const prefix = counting(8);
    const longPrefix = counting(40);
    const op = (index: number): void => {
      buffer.tryAddVarintPrefix(index * 1_000_000);
      buffer.tryAddPrefix(prefix);
      buffer.tryAddPrefix(longPrefix);
      buffer.advance(48);
      buffer.readVarint();
    };
    expect(await allocates(op)).toBe(false);
    expect(buffer.headroom).toBe(64);
  });

  test("is cleared and filled without allocating", async () => {
    const buffer = DgramBuffer.withCapacity(1516);
    const payload = counting(200);
    let sum = 0;
    const op = (index: number): void => {
      buffer.clear();
      buffer.putSlice(payload);
      buffer.spliceHeadroom(16);
      buffer.putU32(index);
      buffer.putU64(index);
      buffer.putVarint(index);
      sum += buffer.length;
    };
    expect(await allocates(op)).toBe(false);
    expect(sum).toBeGreaterThan(0);
  });
});

describe("DgramBuffer views and copies", () => {
  test("asSlice returns a current view, and the same object until the buffer changes", () => {
    const buffer = sample();
    const changes: ((b: DgramBuffer) => void)[] = [
      (b) => b.advance(1),
      (b) => b.tryAddPrefix(counting(1)),
      (b) => b.truncate(3),
      (b) => b.putU8(1),
      (b) => b.putSlice(counting(100)),
      (b) => b.spliceHeadroom(40),
      (b) => b.spliceHeadroom(400),
      (b) => b.clear(),
      (b) => b.put(counting(5)),
      (b) => void b.intoParts(),
      (b) => b.putU16(1),
    ];
    for (const change of changes) {
      change(buffer);
      const view = buffer.asSlice();
      expect(view.toHex()).toBe(buffer.clone().asSlice().toHex());
      expect(view.length).toBe(buffer.length);
      expect(buffer.asSlice()).toBe(view);
      expect(buffer.asMutSlice()).toBe(view);
      if (view.length > 0) {
        view[0] = 0xab;
        expect(buffer.toString()).toStartWith("[0xab");
      }
    }
  });

  test("asSlice does not return a view of the memory from before growth", () => {
    const buffer = DgramBuffer.fromSlice(counting(4));
    const before = buffer.asSlice();
    buffer.putU8(9);
    buffer.truncate(4);
    buffer.asMutSlice()[0] = 0xff;
    expect(before.toHex()).toBe("00010203");
    expect(buffer.toString()).toBe("[0xff010203, len=4]");
  });

  test("views of buffers without capacity do not share an ArrayBuffer", () => {
    const view = new DgramBuffer().asSlice();
    structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
    expect(new DgramBuffer().asSlice().length).toBe(0);
    expect(new DgramBuffer().clone().length).toBe(0);
    expect(new DgramBuffer().intoParts()).toEqual([new Uint8Array(0), 0]);
  });

  test("intoParts returns the memory without a copy and leaves the buffer without capacity", () => {
    const buffer = sample();
    const view = buffer.asSlice();
    const [data, start] = buffer.intoParts();
    expect([data.toHex(), start]).toEqual(["00010203040506070809", 4]);
    expect(data.buffer).toBe(view.buffer);
    expect(stateOf(buffer)).toBe(" 0 0 0 0");
    buffer.putU8(1);
    expect(data.toHex()).toBe("00010203040506070809");
    const rebuilt = DgramBuffer.fromVecWithHeadroom(data, start);
    expect(rebuilt.asSlice().toHex()).toBe("040506070809");
  });

  test("clone copies headroom and payload into separate memory", () => {
    const buffer = sample();
    const clone = buffer.clone();
    clone.asMutSlice()[0] = 0xff;
    clone.putU8(1);
    expect(buffer.asSlice().toHex()).toBe("040506070809");
    expect(clone.intoParts()[0].toHex()).toBe("00010203ff050607080901");
  });

  test("tryReadVarint reads complete varints, and returns undefined for truncated ones", () => {
    for (const value of [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2n ** 62n - 1n]) {
      const buffer = new DgramBuffer();
      buffer.putVarint(value);
      const whole = buffer.clone();
      expect(whole.tryReadVarint()).toBe(value);
      expect(whole.isEmpty).toBe(true);
      buffer.truncate(buffer.length - 1);
      const before = stateOf(buffer);
      expect(buffer.tryReadVarint()).toBeUndefined();
      expect(stateOf(buffer)).toBe(before);
    }
  });

  test("reset empties the buffer and zeroes the new headroom", () => {
    const buffer = DgramBuffer.from(counting(10));
    for (const headroom of [0, 4, 10]) {
      buffer.reset(headroom);
      expect([buffer.length, buffer.headroom, buffer.capacity]).toEqual([0, headroom, 10]);
      expect(buffer.clone().intoParts()[0].toHex()).toBe("00".repeat(headroom));
    }
    for (const bad of [11, -1, 1.5, Number.NaN]) {
      expect(() => buffer.reset(bad)).toThrow(RangeError);
      expect(buffer.headroom).toBe(10);
    }
  });

  test("toString prints the payload in groups of four bytes, Bun.inspect in one group", () => {
    const texts = ["[]", "[0x00, len=1]", "[0x000102, len=3]", "[0x00010203, len=4]"];
    for (const [index, length] of [0, 1, 3, 4].entries()) {
      expect(String(DgramBuffer.from(counting(length)))).toBe(texts[index] ?? "");
    }
    const buffer = DgramBuffer.fromVecWithHeadroom(counting(11), 2);
    expect(`${buffer}`).toBe("[0x02030405_06070809_0a, len=9]");
    const shown =
      "DgramBuffer { length: 9, headroom: 2, capacity: 11, payload: 02030405060708090a }";
    expect(Bun.inspect(buffer)).toBe(shown);
    expect(Bun.inspect({ buffer })).toContain(shown);
    expect(Object.keys(DgramBuffer.prototype)).toEqual([]);
  });
});
