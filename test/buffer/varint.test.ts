/** Tests of QUIC varints: the examples of RFC 9000, all limits, and invalid arguments. */

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
import { numberErrorOf } from "../tools/errors.ts";

const SAFE_MAX = Number.MAX_SAFE_INTEGER;

/** Values and their shortest encodings. The first four are from RFC 9000, appendix A.1. */
const ENCODINGS: [number | bigint, string][] = [
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

const INVALID_VALUES: unknown[] = [
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

test("encodeVarint writes the shortest encoding, and decodeVarint restores the value", () => {
  for (const [value, hex] of ENCODINGS) {
    const bytes = new Uint8Array(hex.length / 2);
    expect(varintLength(value)).toBe(bytes.length);
    expect(encodeVarint(value, bytes)).toBe(bytes.length);
    expect(bytes.toHex()).toBe(hex);
    expect(decodeVarint(bytes)).toBe(value);
    expect(varintLengthOfFirstByte(bytes[0] ?? -1)).toBe(bytes.length);
  }
});

test("encodeVarint accepts a bigint, and decodeVarint returns a number if it is safe", () => {
  for (const [value, hex] of ENCODINGS) {
    const bytes = new Uint8Array(VARINT_LENGTH_MAX);
    const length = encodeVarint(BigInt(value), bytes);
    expect(bytes.subarray(0, length).toHex()).toBe(hex);
    expect(typeof decodeVarint(bytes)).toBe(BigInt(value) <= SAFE_MAX ? "number" : "bigint");
  }
});

test("decodeVarint accepts encodings that are longer than necessary", () => {
  expect(decodeVarint(Uint8Array.fromHex("4025"))).toBe(37);
  expect(decodeVarint(Uint8Array.fromHex("80000025"))).toBe(37);
  expect(decodeVarint(Uint8Array.fromHex("c000000000000025"))).toBe(37);
});

test("encodeVarint and decodeVarint use an offset in a view with a byteOffset", () => {
  const memory = new Uint8Array(32).fill(0xee);
  const view = memory.subarray(5, 20);
  expect(encodeVarint(494_878_333, view, 3)).toBe(4);
  expect(memory.toHex()).toBe(`${"ee".repeat(8)}9d7f3e7d${"ee".repeat(20)}`);
  expect(decodeVarint(view, 3)).toBe(494_878_333);
});

test("encodeVarint throws RangeError and writes nothing if the value is invalid", () => {
  const bytes = new Uint8Array(8);
  for (const value of INVALID_VALUES) {
    expect(() => varintLength(value as number)).toThrow(numberErrorOf(value, true));
    expect(() => encodeVarint(value as number, bytes)).toThrow(numberErrorOf(value, true));
  }
  expect(bytes.toHex()).toBe("00".repeat(8));
});

test("varint functions throw TypeError for invalid bytes, RangeError for invalid offsets", () => {
  const invalid: unknown[] = [null, undefined, "00", [0], new ArrayBuffer(8), new Uint16Array(4)];
  for (const bytes of invalid) {
    expect(() => encodeVarint(1, bytes as Uint8Array)).toThrow(TypeError);
    expect(() => decodeVarint(bytes as Uint8Array)).toThrow(TypeError);
  }
  for (const offset of [-1, 9, 0.5, Number.NaN, "0", 1n]) {
    expect(() => encodeVarint(1, new Uint8Array(8), offset as number)).toThrow(
      numberErrorOf(offset),
    );
    expect(() => decodeVarint(new Uint8Array(8), offset as number)).toThrow(numberErrorOf(offset));
  }
  for (const byte of [-1, 256, 0.5, undefined]) {
    expect(() => varintLengthOfFirstByte(byte as number)).toThrow(numberErrorOf(byte));
  }
});

test("encodeVarint and decodeVarint throw RangeError if there are too few bytes", () => {
  for (const [value, hex] of ENCODINGS) {
    const length = hex.length / 2;
    const bytes = new Uint8Array(length + 2).fill(0xee);
    expect(() => encodeVarint(value, bytes, 3)).toThrow(RangeError);
    expect(bytes.toHex()).toBe("ee".repeat(length + 2));
    const truncated = Uint8Array.fromHex(hex).subarray(0, length - 1);
    expect(() => decodeVarint(truncated)).toThrow(
      new RangeError(`"varint" expected ${length} bytes, got ${length - 1}`),
    );
  }
});

test("decodeVarint restores random values", () => {
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

test("encodeVarint and decodeVarint do not allocate for numbers", async () => {
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

test("the allocation check detects a bigint and a small object", async () => {
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
