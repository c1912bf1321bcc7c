/**
 * What is done to raw bytes: copies, zeros, integers in either byte order, hexadecimal. Integers
 * are written without a `DataView`, which would be one more object per buffer.
 *
 * The writers check nothing. Their callers have checked the value's range and that the bytes from
 * `at` on exist; a value out of range is taken modulo its width, which is what makes one writer
 * serve the signed and the unsigned integers of a width.
 */

import { rangeError } from "./check.ts";

const WORD = 0x1_0000_0000;

/** Up to this many bytes a loop beats `set` and `fill`: it does as many while one is called. */
const LOOP_BYTES_MAX = 24;

/** Sets the first `count` bytes to zero. */
export function zero(bytes: Uint8Array, count: number): void {
  if (count > LOOP_BYTES_MAX) bytes.fill(0, 0, count);
  else for (let i = 0; i < count; i++) bytes[i] = 0;
}

/**
 * Copies all of `from` to `to` at `at`, where the room for it exists. Made for a few bytes; right
 * also when both lie in the same memory and overlap.
 */
export function copySmall(from: Uint8Array, to: Uint8Array, at: number): void {
  const count = from.length;
  if (count > LOOP_BYTES_MAX) {
    to.set(from, at);
  } else if (from.byteOffset < to.byteOffset + at) {
    // Should they overlap, the copy overwrites the end of the source first: begin there.
    for (let i = count - 1; i >= 0; i--) to[at + i] = from[i] as number;
  } else {
    for (let i = 0; i < count; i++) to[at + i] = from[i] as number;
  }
}

/** Writes 16 bits at `at`, the high byte first. */
export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/** Writes 16 bits at `at`, the low byte first. */
export function writeU16Le(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
}

/** Writes 32 bits at `at`, the high byte first. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 24;
  bytes[at + 1] = value >> 16;
  bytes[at + 2] = value >> 8;
  bytes[at + 3] = value;
}

/** Writes 32 bits at `at`, the low byte first. */
export function writeU32Le(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
  bytes[at + 2] = value >> 16;
  bytes[at + 3] = value >> 24;
}

/** Bits 32 to 63 of an integer of up to 64 bits, negative ones in two's complement. */
export function highWord(value: number | bigint): number {
  if (typeof value === "bigint") return Number(BigInt.asUintN(32, value >> 32n));
  // Exact: a safe integer divided by a power of two is only shifted, never rounded.
  return Math.floor(value / WORD) >>> 0;
}

/** Bits 0 to 31 of an integer of up to 64 bits, negative ones in two's complement. */
export function lowWord(value: number | bigint): number {
  if (typeof value === "bigint") return Number(BigInt.asUintN(32, value));
  return value >>> 0;
}

/**
 * Checks that `value` is an integer from `min` to `max`, where a `number` must be a safe one.
 *
 * @param min exact as a `number`, so that numbers are not compared with a `bigint`: that is slow.
 * @param max at least 2^53-1, beyond which no safe integer is.
 * @throws {RangeError} for everything else, other types too.
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
    throw rangeError(name, `integer ${range} (a number only when it is safe)`, value);
  }
}

/** The bytes in hexadecimal, an underscore after every four of them. */
export function hexGroups(bytes: Uint8Array): string {
  return bytes.toHex().replace(/.{8}(?=.)/g, "$&_");
}
