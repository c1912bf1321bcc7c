/** Checks of option objects: unknown names, probabilities, milliseconds. */

import { rangeError, typeError } from "../support/check.ts";

/** @throws TypeError if `options` is not an object, or has a name that is not in `names`. */
export function checkNames(argument: string, options: object, names: readonly string[]): void {
  if (typeof options !== "object" || options === null) throw typeError(argument, "object", options);
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw typeError(argument, `only ${names.join(", ")}`, name);
  }
}

/** @throws RangeError if `value` is not a number 0..1. */
export function checkProbability(name: string, value: number): void {
  if (!(value >= 0 && value <= 1)) throw rangeError(name, "probability 0..1", value);
}

/** @throws RangeError if `value` is not a finite number of at least 0. */
export function checkMilliseconds(name: string, value: number): void {
  if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
    throw rangeError(name, "milliseconds of 0 or more", value);
  }
}
