/** Checks of the bytes that a `DgramBuffer` copies or takes over. */

import { bufferOf, byteLengthOf, byteOffsetOf, hasLostMemory } from "../../ffi/native.ts";
import { checkBytes, rangeError, typeError } from "../support/check.ts";

/**
 * Returns a plain `Uint8Array` over the memory of `bytes`, which may be a subclass.
 *
 * Reading the buffer makes the engine move a small array out of its heap, into memory that
 * does not move again.
 *
 * @throws TypeError if the length of that memory can change.
 */
export function adopt(name: string, bytes: Uint8Array): Uint8Array {
  checkBytes(name, bytes);
  const memory = bufferOf(bytes);
  if (memory instanceof ArrayBuffer ? memory.resizable : memory.growable) {
    throw typeError(name, "Uint8Array over fixed-length memory", memory);
  }
  return new Uint8Array(memory, byteOffsetOf(bytes), byteLengthOf(bytes));
}

/** @throws RangeError if `prefix` is not empty: it has less than `length` bytes, or lost them. */
export function checkEmptyPrefix(prefix: Uint8Array, length: number): void {
  if (length === 0 && !hasLostMemory(prefix)) return;
  throw rangeError("prefix", `${length} bytes`, "memory that was transferred, or has shrunk");
}

/** Returns the error for a prefix whose elements run code that has changed the buffer. */
export function changedError(prefix: Uint8Array): TypeError {
  return typeError("prefix", "Uint8Array whose elements have no accessors", prefix);
}
