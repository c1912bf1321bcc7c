/** The classes of errors that calls throw for invalid arguments. */

/**
 * Returns the class of the error for a value where a number belongs: RangeError for a number, TypeError
 * for another type. A `bigint` is a number where `allowsBigInt` is set.
 */
export function numberErrorOf(value: unknown, allowsBigInt = false): ErrorConstructor {
  const isNumber = typeof value === "number" || (allowsBigInt && typeof value === "bigint");
  return isNumber ? RangeError : TypeError;
}
