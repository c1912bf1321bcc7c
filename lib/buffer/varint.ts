/**
 * Variable-length integers of QUIC (RFC 9000, section 16): the two top bits of the first byte say
 * whether the value takes 1, 2, 4 or 8 bytes, the rest holds it, high byte first.
 *
 * Values are `number` as long as they are safe integers and `bigint` above, up to 2^62-1. The path
 * for numbers touches no `bigint` and allocates nothing.
 */

import { writeU16, writeU32 } from "../support/bytes.ts";
import { checkBytes, checkInteger, rangeError } from "../support/check.ts";

/** The largest value that a varint carries: 2^62-1 (RFC 9000, section 16). */
export const VARINT_MAX = 0x3fff_ffff_ffff_ffffn;

/** The most bytes that a varint takes (RFC 9000, section 16). */
export const VARINT_LENGTH_MAX = 8;

const WORD = 0x1_0000_0000;
/** The largest high word of a safe integer: 2^53-1 has 21 bits above its low 32. */
const SAFE_HIGH_WORD_MAX = 0x1f_ffff;

/** The byte at an index that the caller has shown to be inside. */
function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] as number;
}

/** Four bytes, high one first, as an unsigned integer. */
function wordAt(bytes: Uint8Array, at: number): number {
  const low = (byteAt(bytes, at + 1) << 16) | (byteAt(bytes, at + 2) << 8) | byteAt(bytes, at + 3);
  return ((byteAt(bytes, at) << 24) | low) >>> 0;
}

/**
 * How many bytes the shortest encoding of a value takes: 1, 2, 4 or 8.
 *
 * @throws {RangeError} when the value is no integer from 0 to 2^62-1, or a `number` above 2^53-1,
 * which would not be exact.
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
  throw rangeError("value", `integer 0..${VARINT_MAX} (a number only when it is safe)`, value);
}

/**
 * How many bytes a varint takes, told by its first byte: 1, 2, 4 or 8.
 *
 * @throws {RangeError} when `firstByte` is no integer from 0 to 255.
 */
export function varintLengthOfFirstByte(firstByte: number): number {
  checkInteger("firstByte", firstByte, 0, 255);
  return 1 << (firstByte >> 6);
}

/**
 * Writes a value whose length is known at a place that is known to exist.
 *
 * @internal
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
    // The quotient is below 2^21: cutting its fraction off by a shift loses nothing else.
    writeU32(bytes, at, (value / WORD) | 0xc000_0000);
    writeU32(bytes, at + 4, value | 0);
  }
}

/**
 * Reads a varint whose bytes are known to exist.
 *
 * @internal
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
 * Writes the shortest encoding of a value into `bytes` at `offset`.
 *
 * @returns how many bytes were written: 1, 2, 4 or 8.
 * @throws {TypeError} when `bytes` is no `Uint8Array`.
 * @throws {RangeError} when the value is no integer from 0 to 2^62-1 (a `number`: 2^53-1), or does
 * not fit between `offset` and the end. Nothing is written then.
 * @example
 * const bytes = new Uint8Array(8);
 * const length = encodeVarint(15293, bytes); // 2: 7b bd
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
 * Reads the varint at `offset`; {@link varintLengthOfFirstByte} tells where the next one starts.
 *
 * An encoding longer than needed is accepted, as RFC 9000 demands.
 *
 * @returns the value, a `number` when it is a safe integer, else a `bigint`.
 * @throws {TypeError} when `bytes` is no `Uint8Array`.
 * @throws {RangeError} when `offset` is no integer from 0 to the length, or the varint is cut off.
 */
export function decodeVarint(bytes: Uint8Array, offset = 0): number | bigint {
  checkBytes("bytes", bytes);
  checkInteger("offset", offset, 0, bytes.length);
  const length = checkWhole(bytes, offset, bytes.length);
  return loadVarint(bytes, offset, length);
}

/**
 * The length of the varint at `start`, shown to end at or before `end`.
 *
 * @internal
 * @throws {RangeError} when it is cut off by `end`.
 */
export function checkWhole(bytes: Uint8Array, start: number, end: number): number {
  // With nothing there, one byte is what is missing.
  const length = start < end ? 1 << (byteAt(bytes, start) >> 6) : 1;
  if (start + length > end) {
    throw rangeError("varint", `${length} bytes`, end - start);
  }
  return length;
}
