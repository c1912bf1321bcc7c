/** Varints against a model of RFC 9000, section 16, in `bigint`s. */

import fc from "fast-check";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";
import { decodeVarint, encodeVarint, varintLength } from "../../lib/buffer/varint.ts";
import { errorOf, type FuzzProperty, property, require, requireEqual } from "./property.ts";

const value = fc.oneof(
  fc.tuple(fc.bigInt(0n, 2n ** 62n - 1n), fc.nat(62)).map(([n, shift]) => n >> BigInt(shift)),
  fc.constantFrom(0n, 63n, 64n, 16_383n, 16_384n, 2n ** 30n - 1n, 2n ** 30n, 2n ** 53n - 1n),
  fc.constantFrom(2n ** 53n, 2n ** 62n - 1n),
);

/** Returns the value of the varint, or undefined if it is incomplete. */
function modelDecode(bytes: readonly number[]): bigint | undefined {
  const length = 1 << ((bytes[0] ?? 0) >> 6);
  if (bytes.length < length) return undefined;
  const mask = (1n << BigInt(8 * length - 2)) - 1n;
  return bytes.slice(0, length).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n) & mask;
}

const encoded = property({
  name: "varints: encoded as in the RFC, in the shortest form",
  weight: 3,
  inputs: fc.record({ value, offset: fc.nat(9), room: fc.nat(12), asNumber: fc.boolean() }),
  check: ({ value, offset, room, asNumber }) => {
    const isSafe = value <= BigInt(Number.MAX_SAFE_INTEGER);
    const argument = asNumber && isSafe ? Number(value) : value;
    const length = [1, 2, 4, 8].find((n) => value < 1n << BigInt(8 * n - 2)) as number;
    requireEqual(varintLength(argument), length, "length");
    const bytes = new Uint8Array(offset + room).fill(0xee);
    const error = errorOf(() => encodeVarint(argument, bytes, offset), RangeError);
    requireEqual(error === undefined, room >= length, "fits");
    const written = error === undefined ? length : 0;
    require(bytes.every((byte, i) => (i >= offset && i < offset + written) || byte === 0xee), () =>
      "written outside");
    if (error !== undefined) return;
    requireEqual(modelDecode([...bytes.subarray(offset)]), value, "value");
    const decoded = decodeVarint(bytes, offset);
    requireEqual(BigInt(decoded), value, "decoded");
    requireEqual(typeof decoded, isSafe ? "number" : "bigint", "type");
  },
});

const decoded = property({
  name: "varints: arbitrary bytes are decoded, or refused if incomplete",
  weight: 3,
  inputs: fc.uint8Array({ maxLength: 10 }),
  check: (bytes) => {
    const expected = modelDecode([...bytes]);
    let result: number | bigint | undefined;
    const error = errorOf(() => {
      result = decodeVarint(bytes);
    }, RangeError);
    requireEqual(error === undefined, expected !== undefined, "complete");
    if (expected !== undefined) requireEqual(BigInt(result as number), expected, "value");
    const buffer = DgramBuffer.fromSlice(bytes);
    const read = buffer.tryReadVarint();
    requireEqual(read === undefined ? undefined : BigInt(read), expected, "tryReadVarint");
    const length = expected === undefined ? 0 : 1 << ((bytes[0] as number) >> 6);
    requireEqual(buffer.length, bytes.length - length, "remaining");
  },
});

export const varints: readonly FuzzProperty[] = [encoded, decoded];
