/**
 * Argument checks: every misuse is refused here, in the same words, before it reaches a buffer
 * or the kernel. A message names the argument and prints what was expected and what came.
 */

/** Prints a value for an error message, short enough for one line. */
export function show(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  return `an instance of ${value.constructor?.name ?? "Object"}`;
}

/** A `TypeError` that says which argument was wrong. */
export function typeError(name: string, expected: string, got: unknown): TypeError {
  return new TypeError(`"${name}" expected ${expected}, got ${show(got)}`);
}

/** A `RangeError` that says which argument was out of range. */
export function rangeError(name: string, expected: string, got: unknown): RangeError {
  return new RangeError(`"${name}" expected ${expected}, got ${show(got)}`);
}

/**
 * Checks that `value` is an integer from `min` to `max`.
 *
 * Everything else, a string or `NaN` too, is a `RangeError`: a count that is no integer of the
 * range has one class of error, whatever else it is.
 */
export function checkInteger(name: string, value: number, min: number, max: number): void {
  if (!(Number.isInteger(value) && value >= min && value <= max)) {
    throw rangeError(name, `integer ${min}..${max}`, value);
  }
}

/**
 * Checks an array of buffers and which of them are used, by default all: the index behind the last.
 *
 * @throws TypeError for what is no array, RangeError for a range that is not within it.
 */
export function checkBuffers(
  bufs: readonly unknown[],
  range: { readonly start?: number | undefined; readonly count?: number | undefined } | undefined,
): number {
  if (!Array.isArray(bufs)) throw typeError("bufs", "array", bufs);
  const start = range?.start ?? 0;
  checkInteger("start", start, 0, bufs.length);
  const count = range?.count ?? bufs.length - start;
  checkInteger("count", count, 0, bufs.length - start);
  return start + count;
}

/** Checks that `value` is a `Uint8Array` (a `Buffer` is one). */
export function checkBytes(name: string, value: unknown): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array)) throw typeError(name, "Uint8Array", value);
}
