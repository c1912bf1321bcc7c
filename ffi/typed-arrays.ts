/**
 * What the engine knows about a typed array, whatever the object claims.
 *
 * The properties of an array that a caller passes may be overridden: by a subclass, by own
 * properties, or because the object is a `Proxy` or only inherits from `Uint8Array`. A length that
 * is greater than the memory would make the kernel write to foreign memory, and an accessor may run
 * code that transfers the memory of arrays that were checked before. These functions call the
 * accessors of `%TypedArray%.prototype` directly, which cannot be overridden and run no other code.
 */

const prototype = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;

function getterOf(name: string | symbol): { call(view: unknown): unknown } {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as () => unknown;
}

const classGetter = getterOf(Symbol.toStringTag);
const byteLengthGetter = getterOf("byteLength");
const byteOffsetGetter = getterOf("byteOffset");
const bufferGetter = getterOf("buffer");
const { at, set } = prototype;
/** Whether an object is a typed array or a `DataView`, whatever it claims. Takes 1 ns. */
const { isView } = ArrayBuffer;

/** Returns whether `value` is a `Uint8Array` or of a subclass, such as `Buffer`. */
export function isUint8Array(value: unknown): value is Uint8Array {
  return classGetter.call(value) === "Uint8Array";
}

/**
 * Returns the length of a typed array in bytes; 0 if its memory was transferred or has shrunk.
 * Takes 5 ns.
 *
 * @throws TypeError if `view` is not a typed array.
 */
export function byteLengthOf(view: ArrayBufferView): number {
  return byteLengthGetter.call(view) as number;
}

/**
 * Returns whether `view` has exactly `length` bytes: the elements of a genuine array cannot be
 * overridden. Returns false for a length of 0 or less. Takes 1 ns.
 *
 * For a `Proxy` or an object that only inherits from `Uint8Array`, runs code of the caller and
 * returns any result.
 */
export function hasLength(view: Uint8Array, length: number): boolean {
  return view[length - 1] !== undefined && view[length] === undefined;
}

/**
 * Returns the length of a `Uint8Array` in bytes, as `byteLengthOf` does, in 2 ns if the `length` of
 * the object is not overridden. May run code of the caller if it is, and for objects that are no
 * genuine array may return any integer.
 */
export function lengthOf(view: Uint8Array): number {
  const { length } = view;
  return (length | 0) === length && hasLength(view, length) ? length : byteLengthOf(view);
}

/**
 * Returns the length of a typed array in bytes, as `byteLengthOf` does, in 2 ns if the `length` of the
 * object is not overridden. May run code of the caller if it is.
 *
 * @throws TypeError for a `Proxy` and for objects that only inherit from `Uint8Array`.
 */
export function genuineLengthOf(view: Uint8Array): number {
  return isView(view) ? lengthOf(view) : byteLengthOf(view);
}

/** Returns the offset of a typed array in its memory, in bytes. @throws TypeError as above. */
export function byteOffsetOf(view: ArrayBufferView): number {
  return byteOffsetGetter.call(view) as number;
}

/**
 * Returns the memory of a typed array.
 *
 * If the array is in the garbage-collected heap, the engine moves it to its final place.
 *
 * @throws TypeError as above.
 */
export function bufferOf(view: ArrayBufferView): ArrayBufferLike {
  return bufferGetter.call(view) as ArrayBufferLike;
}

/** Returns whether the memory of `view` was transferred, or has shrunk so that none is left. */
export function hasLostMemory(view: Uint8Array): boolean {
  if (byteLengthOf(view) > 0) return false;
  try {
    // Throws a TypeError for such an array, and returns `undefined` for one that is just empty.
    at.call(view, 0);
    return false;
  } catch {
    return true;
  }
}

/** Copies `from` into `to` at index `index`. The caller has checked the bounds. */
export function copyBytes(from: Uint8Array, to: Uint8Array, index: number): void {
  set.call(to, from, index);
}

/** Returns `length` bytes of `view` at `start` as an array without overridden properties. */
export function plainView(view: Uint8Array, start: number, length: number): Uint8Array {
  return new Uint8Array(bufferOf(view), byteOffsetOf(view) + start, length);
}
