/** Checks of option values: probabilities, milliseconds. */

import { rangeError } from "../support/check.ts";

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
