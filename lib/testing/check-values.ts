/** Checks of option values: probabilities, milliseconds. */

import { numberError } from "../support/check.ts";

/** @throws TypeError if `value` is not a number, RangeError if it is not 0..1. */
export function checkProbability(name: string, value: number): void {
  if (!(typeof value === "number" && value >= 0 && value <= 1))
    throw numberError(name, "probability 0..1", value);
}

/** @throws TypeError if `value` is not a number, RangeError if not finite or below 0. */
export function checkMilliseconds(name: string, value: number): void {
  if (!(typeof value === "number" && value >= 0 && value < Number.POSITIVE_INFINITY)) {
    throw numberError(name, "milliseconds of 0 or more", value);
  }
}
