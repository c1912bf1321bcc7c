/**
 * QUIC variable-length integers (RFC 9000, section 16). The two most significant bits of the first
 * byte encode the length (1, 2, 4 or 8 bytes), the remaining bits the value in network byte order.
 *
 * Values up to 2^53-1 are decoded to `number`, larger ones, up to 2^62-1, to `bigint`. Encoding and
 * decoding a `number` creates no `bigint` and allocates nothing.
 */

import { wideIntegerError, writeU16, writeU32 } from "../support/bytes.ts";
import { checkBytes, checkInteger, rangeError } from "../support/check.ts";

/** The largest value of a varint: 2^62-1 (RFC 9000, section 16). */
export const VARINT_MAX = 0x3fff_ffff_ffff_ffffn;

/** The maximum length of a varint in bytes (RFC 9000, section 16). */
export const VARINT_LENGTH_MAX = 8;

/** 2^32: the weight of the high word. */
const WORD = 0x1_0000_0000;
/** The largest high word of a safe integer: 2^53-1 has 21 bits above the low word. */
const SAFE_HIGH_WORD_MAX = 0x1f_ffff;

/** Returns the byte at `index`. The caller has checked the bounds. */
function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] as number;
}

/** Returns the unsigned 32-bit big-endian integer at `at`. */
function wordAt(bytes: Uint8Array, at: number): number {
  const low = (byteAt(bytes, at + 1) << 16) | (byteAt(bytes, at + 2) << 8) | byteAt(bytes, at + 3);
  return ((byteAt(bytes, at) << 24) | low) >>> 0;
}

/**
 * Returns the length in bytes of the shortest encoding of `value`: 1, 2, 4 or 8.
 *
 * @throws RangeError if `value` is not an integer 0..2^62-1, or is a `number` above 2^53-1, which
 * may be inexact.
 */
export function varintLength(value: number | bigint): number {
  if (typeof value === "number" && value >= 0 && Number.isInteger(value)) {
    if (value < 0x40) return 1;
    if (value < 0x4000) return 2;
    if (value < 0x4000_0000) return 4;
    if (value <= Number.MAX_SAFE_INTEGER) return 8;
  } else if (typeof value === "bigint" && value >= 0n && value <= VARINT_MAX) {
    if (value < 0x4000_0000n) return varintLength(Number(value));
    return 8;
  }
  throw wideIntegerError("value", `0..${VARINT_MAX}`, value);
}

/**
 * Returns the length in bytes of the varint that starts with `firstByte`: 1, 2, 4 or 8.
 *
 * @throws RangeError if `firstByte` is not an integer 0..255.
 */
export function varintLengthOfFirstByte(firstByte: number): number {
  checkInteger("firstByte", firstByte, 0, 255);
  return 1 << (firstByte >> 6);
}

/**
 * @internal Writes a varint of `length` bytes at `at`. The caller has checked the value, its
 * length and the bounds.
 */
export function writeVarint(
  bytes: Uint8Array,
  at: number,
  value: number | bigint,
  length: number,
): void {
  if (typeof value === "bigint") {
    if (length < VARINT_LENGTH_MAX) {
      writeVarint(bytes, at, Number(value), length);
      return;
    }
    writeU32(bytes, at, Number(value >> 32n) | 0xc000_0000);
    writeU32(bytes, at + 4, Number(value & 0xffff_ffffn));
  } else if (length === 1) {
    bytes[at] = value;
  } else if (length === 2) {
    writeU16(bytes, at, value | 0x4000);
  } else if (length === 4) {
    writeU32(bytes, at, value | 0x8000_0000);
  } else {
    // The quotient is below 2^21, so that the conversion to 32 bits removes only its fraction.
    writeU32(bytes, at, (value / WORD) | 0xc000_0000);
    writeU32(bytes, at + 4, value | 0);
  }
}

/**
 * @internal Reads a varint of `length` bytes at `at`. The caller has checked the bounds.
 */
export function loadVarint(bytes: Uint8Array, at: number, length: number): number | bigint {
  const first = byteAt(bytes, at) & 0x3f;
  if (length === 1) return first;
  if (length === 2) return (first << 8) | byteAt(bytes, at + 1);
  const word = wordAt(bytes, at) & 0x3fff_ffff;
  if (length === 4) return word;
  const low = wordAt(bytes, at + 4);
  if (word <= SAFE_HIGH_WORD_MAX) return word * WORD + low;
  return (BigInt(word) << 32n) | BigInt(low);
}

/**
 * Writes the shortest encoding of `value` into `bytes` at `offset`, and returns its length in
 * bytes: 1, 2, 4 or 8. Writes nothing if it throws.
 *
 * @throws TypeError if `bytes` is not a `Uint8Array`.
 * @throws RangeError if `value` is not an integer 0..2^62-1 (2^53-1 for a `number`), if `offset` is
 * not an integer from 0 to the length of `bytes`, or if the encoding exceeds the end of `bytes`.
 * @example
 * ```ts
 * const bytes = new Uint8Array(8);
 * const length = encodeVarint(15293, bytes); // 2: 7b bd
 * ```
 */
export function encodeVarint(value: number | bigint, bytes: Uint8Array, offset = 0): number {
  checkBytes("bytes", bytes);
  checkInteger("offset", offset, 0, bytes.length);
  const length = varintLength(value);
  if (offset + length > bytes.length) {
    throw rangeError("bytes", `room for ${length} bytes at ${offset}`, bytes.length - offset);
  }
  writeVarint(bytes, offset, value, length);
  return length;
}

/**
 * Reads the varint at `offset`. Returns a `number` if the value is a safe integer, and a `bigint`
 * otherwise. {@link varintLengthOfFirstByte} returns the length of the encoding.
 *
 * Encodings that are longer than necessary are accepted (RFC 9000, section 16).
 *
 * @throws TypeError if `bytes` is not a `Uint8Array`.
 * @throws RangeError if `offset` is not an integer from 0 to the length of `bytes`, or the varint
 * exceeds the end of `bytes`.
 */
export function decodeVarint(bytes: Uint8Array, offset = 0): number | bigint {
  checkBytes("bytes", bytes);
  checkInteger("offset", offset, 0, bytes.length);
  const length = checkWhole(bytes, offset, bytes.length);
  return loadVarint(bytes, offset, length);
}

/**
 * @internal Returns the length in bytes of the varint at `start`.
 *
 * @throws RangeError if it does not end at or before `end`.
 */
export function checkWhole(bytes: Uint8Array, start: number, end: number): number {
  // If there is no byte at all, the error reports that at least one is needed.
  const length = start < end ? 1 << (byteAt(bytes, start) >> 6) : 1;
  if (start + length > end) {
    throw rangeError("varint", `${length} bytes`, end - start);
  }
  return length;
}
