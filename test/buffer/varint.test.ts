/** QUIC varints: the RFC's examples, every boundary, every misuse. */

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeVarint,
  encodeVarint,
  VARINT_LENGTH_MAX,
  VARINT_MAX,
  varintLength,
  varintLengthOfFirstByte,
} from "../../lib/buffer/varint.ts";
import { allocates } from "../tools/allocation.ts";

const SAFE_MAX = Number.MAX_SAFE_INTEGER;

/** Value, shortest encoding. The first four are the samples of RFC 9000, appendix A.1. */
const GOOD: [number | bigint, string][] = [
  [151_288_809_941_952_652n, "c2197c5eff14e88c"],
  [494_878_333, "9d7f3e7d"],
  [15_293, "7bbd"],
  [37, "25"],
  [0, "00"],
  [63, "3f"],
  [64, "4040"],
  [16_383, "7fff"],
  [16_384, "80004000"],
  [2 ** 30 - 1, "bfffffff"],
  [2 ** 30, "c000000040000000"],
  [2 ** 32 - 1, "c0000000ffffffff"],
  [2 ** 32, "c000000100000000"],
  [SAFE_MAX, "c01fffffffffffff"],
  [2n ** 53n, "c020000000000000"],
  [VARINT_MAX, "ffffffffffffffff"],
];

const BAD_VALUES: unknown[] = [
  -1,
  -1n,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  SAFE_MAX + 1,
  VARINT_MAX + 1n,
  "1",
  null,
  undefined,
  {},
];

test("every value has its shortest encoding, and comes back from it", () => {
  for (const [value, hex] of GOOD) {
    const bytes = new Uint8Array(hex.length / 2);
    expect(varintLength(value)).toBe(bytes.length);
    expect(encodeVarint(value, bytes)).toBe(bytes.length);
    expect(bytes.toHex()).toBe(hex);
    expect(decodeVarint(bytes)).toBe(value);
    expect(varintLengthOfFirstByte(bytes[0] ?? -1)).toBe(bytes.length);
  }
});

test("a bigint is encoded as the number of the same value, and a safe value comes back as number", () => {
  for (const [value, hex] of GOOD) {
    const bytes = new Uint8Array(VARINT_LENGTH_MAX);
    const length = encodeVarint(BigInt(value), bytes);
    expect(bytes.subarray(0, length).toHex()).toBe(hex);
    expect(typeof decodeVarint(bytes)).toBe(BigInt(value) <= SAFE_MAX ? "number" : "bigint");
  }
});

test("a longer encoding than needed is read all the same", () => {
  expect(decodeVarint(Uint8Array.fromHex("4025"))).toBe(37);
  expect(decodeVarint(Uint8Array.fromHex("80000025"))).toBe(37);
  expect(decodeVarint(Uint8Array.fromHex("c000000000000025"))).toBe(37);
});

test("bytes are found at an offset, in a view with an offset of its own", () => {
  const memory = new Uint8Array(32).fill(0xee);
  const view = memory.subarray(5, 20);
  expect(encodeVarint(494_878_333, view, 3)).toBe(4);
  expect(memory.toHex()).toBe(`${"ee".repeat(8)}9d7f3e7d${"ee".repeat(20)}`);
  expect(decodeVarint(view, 3)).toBe(494_878_333);
});

test("a value out of range or of another type is a RangeError and nothing is written", () => {
  const bytes = new Uint8Array(8);
  for (const value of BAD_VALUES) {
    expect(() => varintLength(value as number)).toThrow(RangeError);
    expect(() => encodeVarint(value as number, bytes)).toThrow(RangeError);
  }
  expect(bytes.toHex()).toBe("00".repeat(8));
});

test("bytes of another type are a TypeError, a bad offset or first byte a RangeError", () => {
  const bad: unknown[] = [null, undefined, "00", [0], new ArrayBuffer(8), new Uint16Array(4)];
  for (const bytes of bad) {
    expect(() => encodeVarint(1, bytes as Uint8Array)).toThrow(TypeError);
    expect(() => decodeVarint(bytes as Uint8Array)).toThrow(TypeError);
  }
  for (const offset of [-1, 9, 0.5, Number.NaN, "0", 1n]) {
    expect(() => encodeVarint(1, new Uint8Array(8), offset as number)).toThrow(RangeError);
    expect(() => decodeVarint(new Uint8Array(8), offset as number)).toThrow(RangeError);
  }
  for (const byte of [-1, 256, 0.5, undefined]) {
    expect(() => varintLengthOfFirstByte(byte as number)).toThrow(RangeError);
  }
});

test("an encoding that does not fit or is cut off is a RangeError that says by how much", () => {
  for (const [value, hex] of GOOD) {
    const length = hex.length / 2;
    const bytes = new Uint8Array(length + 2).fill(0xee);
    expect(() => encodeVarint(value, bytes, 3)).toThrow(RangeError);
    expect(bytes.toHex()).toBe("ee".repeat(length + 2));
    const cut = Uint8Array.fromHex(hex).subarray(0, length - 1);
    expect(() => decodeVarint(cut)).toThrow(
      new RangeError(`"varint" expected ${length} bytes, got ${length - 1}`),
    );
  }
});

test("whatever is encoded at random comes back", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: VARINT_MAX }), fc.nat(62), (wide, shift) => {
      const value = wide >> BigInt(shift);
      const bytes = new Uint8Array(VARINT_LENGTH_MAX);
      const length = encodeVarint(value, bytes);
      expect(length).toBe(varintLength(value));
      expect(BigInt(decodeVarint(bytes))).toBe(value);
    }),
    { numRuns: 5000 },
  );
});

test("numbers of every length are encoded and decoded without an allocation", async () => {
  const bytes = new Uint8Array(new ArrayBuffer(8));
  const values = [37, 15_293, 494_878_333, 2 ** 40, SAFE_MAX];
  let sum = 0;
  const op = (index: number): void => {
    encodeVarint(values[index % values.length] ?? 0, bytes);
    sum += decodeVarint(bytes) === values[index % values.length] ? 1 : 0;
  };
  expect(await allocates(op)).toBe(false);
  expect(sum).toBeGreaterThan(1_000_000);
});

test("the probe for allocations sees the smallest of them", async () => {
  let last: unknown;
  expect(
    await allocates((index) => {
      last = BigInt(index);
    }),
  ).toBe(true);
  expect(
    await allocates((index) => {
      last = { index };
    }),
  ).toBe(true);
  expect(last).toBeDefined();
});
