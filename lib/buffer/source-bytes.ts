/** Checks of the bytes that a `DgramBuffer` copies or takes over. */

import { bufferOf, byteLengthOf, byteOffsetOf, hasLostMemory } from "../../ffi/native.ts";
import { copySmall } from "../support/bytes.ts";
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

/** The length of the prefixes that are copied without a loop: a varint of the longest form. */
const UNROLLED_BYTES = 8;

/**
 * Copies `prefix`, which claims to have `length` bytes, into `to` at index `at`. The caller has
 * checked the bounds. The ranges may overlap.
 *
 * Apart from its caller, and without a loop for 8 bytes: the engine inlines two small functions,
 * but no large one. Saves 2 of 10 ns. Takes the bytes before it writes any, as they may overlap.
 *
 * @throws RangeError if `prefix` has fewer bytes.
 */
export function copyPrefix(prefix: Uint8Array, length: number, to: Uint8Array, at: number): void {
  if (length !== UNROLLED_BYTES) {
    copyOther(prefix, length, to, at);
    return;
  }
  const b0 = prefix[0];
  const b1 = prefix[1];
  const b2 = prefix[2];
  const b3 = prefix[3];
  const b4 = prefix[4];
  const b5 = prefix[5];
  const b6 = prefix[6];
  const b7 = prefix[7];
  if (b7 === undefined) checkEmptyPrefix(prefix, length);
  to[at] = b0 as number;
  to[at + 1] = b1 as number;
  to[at + 2] = b2 as number;
  to[at + 3] = b3 as number;
  to[at + 4] = b4 as number;
  to[at + 5] = b5 as number;
  to[at + 6] = b6 as number;
  to[at + 7] = b7 as number;
}

function copyOther(prefix: Uint8Array, length: number, to: Uint8Array, at: number): void {
  if (prefix[length - 1] === undefined) checkEmptyPrefix(prefix, length);
  copySmall(prefix, length, to, at);
}

/** @throws RangeError if `prefix` is not empty: it has less than `length` bytes, or lost them. */
function checkEmptyPrefix(prefix: Uint8Array, length: number): void {
  if (length === 0 && !hasLostMemory(prefix)) return;
  throw rangeError("prefix", `${length} bytes`, "memory that was transferred, or has shrunk");
}

/** Returns the error for bytes whose elements run code that has changed the buffer. */
export function changedError(name: string, bytes: Uint8Array): TypeError {
  return typeError(name, "Uint8Array whose elements have no accessors", bytes);
}
