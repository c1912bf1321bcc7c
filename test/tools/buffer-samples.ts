/** The buffers that the tests of `DgramBuffer` work on, and the values that it must refuse. */

import { expect } from "bun:test";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";

export const SAFE_MAX: number = Number.MAX_SAFE_INTEGER;
/** No integers from 0 to 2^53-1. */
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
/** No `Uint8Array`s. */
export const NO_BYTES_AT_ALL: readonly unknown[] = [
  null,
  undefined,
  5,
  "ab",
  [1],
  new ArrayBuffer(2),
  new Uint16Array(2),
];

/** The bytes 0, 1, 2, ... as a view with an offset of its own. */
export function counting(length: number): Uint8Array {
  const memory = new Uint8Array(length + 7);
  for (let i = 0; i < length; i++) memory[i + 3] = i;
  return memory.subarray(3, 3 + length);
}

/** Four bytes of headroom, the payload 4 to 9, six bytes of spare. */
export function sample(): DgramBuffer {
  const buffer = DgramBuffer.withCapacity(16);
  buffer.putSlice(counting(10));
  buffer.advance(4);
  return buffer;
}

/** Payload, headroom, length, capacity and spare of a buffer, to compare them in one. */
export function stateOf(buffer: DgramBuffer): string {
  const { headroom, length, capacity, spareCapacity } = buffer;
  return `${buffer.asSlice().toHex()} ${headroom} ${length} ${capacity} ${spareCapacity}`;
}

/** Expects each value to be refused and the buffer to stay as it was. */
export function expectRefused(
  values: readonly unknown[],
  error: ErrorConstructor,
  call: (buffer: DgramBuffer, value: never) => unknown,
): void {
  for (const value of values) {
    const buffer = sample();
    const before = stateOf(buffer);
    expect(() => call(buffer, value as never)).toThrow(error);
    expect(stateOf(buffer)).toBe(before);
  }
}
