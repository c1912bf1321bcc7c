/** Sample buffers, invalid arguments and assertions for tests of `DgramBuffer`. */

import { expect } from "bun:test";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";
import { numberErrorOf } from "../tools/errors.ts";

export const SAFE_MAX: number = Number.MAX_SAFE_INTEGER;
/** Values that are not integers 0..2^53-1. */
export const BAD_COUNTS: readonly unknown[] = [
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  SAFE_MAX + 1,
  "1",
  1n,
  null,
];
/** Values that are not `Uint8Array`s. */
export const NOT_UINT8_ARRAYS: readonly unknown[] = [
  null,
  undefined,
  5,
  "ab",
  [1],
  new ArrayBuffer(2),
  new Uint16Array(2),
];

/** Returns the bytes 0, 1, 2, ... as a view with a non-zero `byteOffset`. */
export function counting(length: number): Uint8Array {
  const memory = new Uint8Array(length + 7);
  for (let i = 0; i < length; i++) memory[i + 3] = i;
  return memory.subarray(3, 3 + length);
}

/** Returns a buffer with 4 bytes of headroom, the payload 4 to 9, and 6 bytes of spare capacity. */
export function sample(): DgramBuffer {
  const buffer = DgramBuffer.withCapacity(16);
  buffer.putSlice(counting(10));
  buffer.advance(4);
  return buffer;
}

/** Formats payload, headroom, length, capacity and spare capacity, to compare them at once. */
export function stateOf(buffer: DgramBuffer): string {
  const { headroom, length, capacity, spareCapacity } = buffer;
  return `${buffer.asSlice().toHex()} ${headroom} ${length} ${capacity} ${spareCapacity}`;
}

/**
 * Expects `call` to throw for each value, and to leave the buffer unchanged: `error`, or, if that is a
 * RangeError, the error of `numberErrorOf`.
 */
export function expectEachThrows(
  values: readonly unknown[],
  error: ErrorConstructor,
  call: (buffer: DgramBuffer, value: never) => unknown,
): void {
  for (const value of values) {
    const buffer = sample();
    const before = stateOf(buffer);
    const allowsBigInt = !values.includes(1n);
    const expected = error === RangeError ? numberErrorOf(value, allowsBigInt) : error;
    expect(() => call(buffer, value as never)).toThrow(expected);
    expect(stateOf(buffer)).toBe(before);
  }
}
