/**
 * Operations on bytes: copying, zeroing, writing integers in either byte order, hexadecimal.
 * Integers are written without a `DataView`, which would be an additional object per buffer.
 *
 * The `write` functions check nothing: the caller has checked the range of the value and the
 * bounds. They truncate a value to its low bits, so that they serve for signed and unsigned
 * integers.
 */

import { byteLengthOf, plainView } from "../../ffi/native.ts";
import { numberError, rangeError } from "./check.ts";

/** 2^32: the weight of the high word. */
const WORD = 0x1_0000_0000;

/** Up to this number of bytes, a loop takes less time (20 ns) than calling `set` or `fill`. */
const LOOP_BYTES_MAX = 24;

/** Sets the first `count` bytes to zero. */
export function zero(bytes: Uint8Array, count: number): void {
  if (count > LOOP_BYTES_MAX) bytes.fill(0, 0, count);
  else for (let i = 0; i < count; i++) bytes[i] = 0;
}

/**
 * Copies `from`, which has `count` bytes, into `to` at index `at`. The caller has checked the
 * bounds. Optimized for few bytes. The ranges may overlap.
 *
 * Runs code of the caller if `from` is a `Proxy` or only inherits from `Uint8Array`.
 */
export function copySmall(from: Uint8Array, count: number, to: Uint8Array, at: number): void {
  if (count > LOOP_BYTES_MAX) {
    // `set` copies the length that the engine knows.
    to.set(byteLengthOf(from) === count ? from : plainView(from, 0, count), at);
  } else if (from.byteOffset < to.byteOffset + at) {
    // If the ranges overlap, the target is after the source: copy backwards, as memmove does.
    for (let i = count - 1; i >= 0; i--) to[at + i] = from[i] as number;
  } else {
    for (let i = 0; i < count; i++) to[at + i] = from[i] as number;
  }
}

/** Writes the low 16 bits of `value` at `at`, big-endian. */
export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/** Writes the low 16 bits of `value` at `at`, little-endian. */
export function writeU16Le(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
}

/** Writes the low 32 bits of `value` at `at`, big-endian. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 24;
  bytes[at + 1] = value >> 16;
  bytes[at + 2] = value >> 8;
  bytes[at + 3] = value;
}

/** Writes the low 32 bits of `value` at `at`, little-endian. */
export function writeU32Le(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
  bytes[at + 2] = value >> 16;
  bytes[at + 3] = value >> 24;
}

/** Returns bits 32 to 63 of a 64-bit integer; negative values are in two's complement. */
export function highWord(value: number | bigint): number {
  if (typeof value === "bigint") return Number(BigInt.asUintN(32, value >> 32n));
  // Exact: dividing a safe integer by a power of two does not round.
  return Math.floor(value / WORD) >>> 0;
}

/** Returns bits 0 to 31 of a 64-bit integer; negative values are in two's complement. */
export function lowWord(value: number | bigint): number {
  if (typeof value === "bigint") return Number(BigInt.asUintN(32, value));
  return value >>> 0;
}

/**
 * Checks that `value` is an integer from `min` to `max`. A `number` must be a safe integer.
 *
 * @param min a `number`, because comparing a `number` with a `bigint` is slow.
 * @param max at least 2^53-1, so that a safe integer is not compared with it.
 * @throws TypeError if it is neither a number nor a `bigint`, RangeError for all others.
 */
export function checkWideInteger(
  name: string,
  value: number | bigint,
  min: number,
  max: bigint,
): void {
  const fits =
    typeof value === "bigint"
      ? value >= min && value <= max
      : Number.isSafeInteger(value) && value >= min;
  if (!fits) {
    const range = `${BigInt(min)}..${max}`;
    throw wideIntegerError(name, range, value);
  }
}

/** Returns the error about a number or `bigint`: a `TypeError` for a value of another type. */
export function wideIntegerError(name: string, range: string, value: unknown): Error {
  const expected = `integer ${range} (a number must be a safe integer)`;
  return typeof value === "bigint"
    ? rangeError(name, expected, value)
    : numberError(name, expected, value);
}

/** Returns `bytes` in hexadecimal, with an underscore between groups of four bytes. */
export function hexGroups(bytes: Uint8Array): string {
  return bytes.toHex().replace(/.{8}(?=.)/g, "$&_");
}
