/** Checks of the arguments of `getOption` and `setOption`. */

import { checkInteger, typeError } from "../support/check.ts";

/** The maximum of a C `int`. */
const INT_MAX = 2 ** 31 - 1;

/** The maximum length of an option's value to read: more than any option of a socket has. */
export const OPTION_BYTES_MAX = 65_536;

/** @throws RangeError if `level` or `name` is not an integer 0..2^31-1. */
export function checkOptionName(level: number, name: number): void {
  checkInteger("level", level, 0, INT_MAX);
  checkInteger("name", name, 0, INT_MAX);
}

/**
 * Returns a number, or a copy of bytes: its length is certain, while a subclass of `Uint8Array` can
 * override `byteLength`.
 *
 * @throws TypeError for another type, RangeError for a number out of -2^31..2^32-1.
 */
export function checkOptionValue(value: number | Uint8Array): number | Uint8Array {
  if (typeof value === "number") {
    checkInteger("value", value, -INT_MAX - 1, 2 * INT_MAX + 1);
    return value;
  }
  if (!(value instanceof Uint8Array)) throw typeError("value", "number or Uint8Array", value);
  return new Uint8Array(value);
}
