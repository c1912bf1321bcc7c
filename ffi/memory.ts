/**
 * Memory that native code accesses, and its addresses.
 *
 * Two properties of JavaScriptCore matter here. A small typed array created without an
 * `ArrayBuffer` lives in the garbage-collected heap, and moves when its `buffer` is first accessed:
 * an address taken before is stale. And an address keeps nothing alive: its user must hold the
 * array for as long as native code may use the address.
 */

import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";
import { bufferOf, byteLengthOf } from "./typed-arrays.ts";

/** Returns zeroed memory that does not move until it is garbage-collected. */
export function nativeBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

/**
 * Returns the address of the first byte of `view`. It is valid while the caller holds `view` and
 * its buffer is neither detached nor resized.
 *
 * Returns 1 for an empty view, which has no address. SAFETY: its length of 0 prevents any access.
 */
export function addressOf(view: Uint8Array | Int32Array | Uint32Array): number {
  if (byteLengthOf(view) === 0) return 1;
  // Accessing the buffer moves the array to its final place (see above). Must precede `ptr`.
  bufferOf(view);
  return ptr(view);
}

/** `toArrayBuffer` with the destructor that its documentation has and its types lack. */
const viewWithDestructor = toArrayBuffer as (
  memory: Pointer,
  byteOffset: number,
  byteLength: number,
  destructorContext: Pointer,
  destructor: Pointer,
) => ArrayBuffer;

/**
 * Returns an `ArrayBuffer` that owns native memory. `destructor`, a C function of the memory and
 * `context`, is called when the buffer is garbage-collected, or when its heap is destroyed because
 * a Worker is terminated.
 *
 * SAFETY: `memory` has `byteLength` bytes. `destructor` is code of the shim, which is never unloaded
 * (load.ts).
 */
export function ownedBuffer(
  memory: number,
  byteLength: number,
  context: number,
  destructor: Pointer,
): ArrayBuffer {
  return viewWithDestructor(memory as Pointer, 0, byteLength, context as Pointer, destructor);
}
