/**
 * Memory that native code may see, and its addresses.
 *
 * Two facts of JavaScriptCore shape it. A small typed array made without an `ArrayBuffer` lives
 * in the garbage-collected heap and moves to another place when its `buffer` is first asked for:
 * an address taken before is stale. And an address keeps nothing alive: whoever holds one must
 * hold the array too, for as long as native code may use it.
 */

import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";

/** Zeroed memory that stays where it is until it is collected. */
export function nativeBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

/**
 * The address of the first byte of `view`, valid while the caller holds `view` and its buffer is
 * neither detached nor resized.
 *
 * An empty view has no address of its own; 1 stands for it, which nobody dereferences as its
 * length is 0.
 */
export function addressOf(view: Uint8Array | Int32Array | Uint32Array): number {
  if (view.byteLength === 0) return 1;
  // Asking for the buffer is what fixes the place (see above). It must come before `ptr`.
  if (view.buffer.byteLength === 0) return 1;
  return ptr(view);
}

const { get: byteLengthGetter } = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  "byteLength",
) as { get: () => number };

/** The bytes that `view` has: a subclass may say otherwise. */
export function byteLengthOf(view: Uint8Array): number {
  const prototype = Object.getPrototypeOf(view);
  // Mostly it is none, and the getter called by itself takes 5 ns.
  if (prototype === Uint8Array.prototype || prototype === Buffer.prototype) return view.byteLength;
  return byteLengthGetter.call(view);
}

/** `toArrayBuffer` as bun:ffi documents it; its types leave the destructor out. */
const viewWithDestructor = toArrayBuffer as (
  memory: Pointer,
  byteOffset: number,
  byteLength: number,
  destructorContext: Pointer,
  destructor: Pointer,
) => ArrayBuffer;

/**
 * Native memory as an `ArrayBuffer`, which owns it: `destructor` (a C function of memory and
 * `context`) runs when the buffer is collected, or its heap torn down as a Worker is terminated.
 *
 * SAFETY: `memory` has `byteLength` bytes; `destructor` is code of the shim, which Bun unloads on
 * an explicit `close()` only, so never.
 */
export function ownedBuffer(
  memory: number,
  byteLength: number,
  context: number,
  destructor: Pointer,
): ArrayBuffer {
  return viewWithDestructor(memory as Pointer, 0, byteLength, context as Pointer, destructor);
}
