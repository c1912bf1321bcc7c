/**
 * Argument checks, and how values are printed. Messages have one form: the name of the argument, the
 * expected and the actual value.
 */

import { raiseStackLimit, restoreStackLimit } from "./stack.ts";
import { classNameOf, otherVersionOf } from "./thread-state.ts";

/** Formats a value for an error message, in one line. */
export function show(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  const type: unknown = value.constructor;
  if (typeof type !== "function") return "an instance of Object";
  const version = otherVersionOf(type);
  const origin = version === undefined ? "" : ` of version ${version} of datagram-socket`;
  return `an instance of ${classNameOf(type)}${origin}`;
}

/** Returns a `TypeError` about an argument. */
export function typeError(name: string, expected: string, got: unknown): TypeError {
  return argumentError(TypeError, `"${name}" expected ${expected}, got ${show(got)}`);
}

/** Returns an error whose stack trace reaches the line of the caller. */
export function argumentError<E extends Error>(type: new (message: string) => E, text: string): E {
  const limit = raiseStackLimit();
  const error = new type(text);
  restoreStackLimit(limit);
  return error;
}

/** Returns a `RangeError` about an argument. */
export function rangeError(name: string, expected: string, got: unknown): RangeError {
  return argumentError(RangeError, `"${name}" expected ${expected}, got ${show(got)}`);
}

/**
 * Returns the error about a number: a `TypeError` for a value of another type, and a `RangeError` for
 * a number out of range, a fraction or NaN.
 */
export function numberError(name: string, expected: string, got: unknown): TypeError | RangeError {
  return typeof got === "number" ? rangeError(name, expected, got) : typeError(name, expected, got);
}

/** Returns a `RangeError` about an argument of the right type whose `state` is not usable. */
export function stateError(name: string, expected: string, state: string): RangeError {
  return argumentError(RangeError, `"${name}" expected ${expected}, got ${state}`);
}

/** Returns the error of a class whose instances only its functions create. */
export function constructorError(name: string, remedy: string): TypeError {
  return new TypeError(`${name} has no public constructor: ${remedy}`);
}

/**
 * Checks that `value` is an integer from `min` to `max`.
 *
 * @throws TypeError if it is not a number, RangeError for all other numbers.
 */
export function checkInteger(name: string, value: number, min: number, max: number): void {
  if (!(Number.isInteger(value) && value >= min && value <= max)) {
    throw numberError(name, `integer ${min}..${max}`, value);
  }
}

/** @throws TypeError if `value` is not a `Uint8Array` (a `Buffer` is one). */
export function checkBytes(name: string, value: unknown): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array)) throw typeError(name, "Uint8Array", value);
}

/**
 * Makes `console.log`, `Bun.inspect` and `util.inspect` of Node.js print what `print` returns, for
 * the instances of the class with this `prototype`.
 *
 * A function instead of a method: `isolatedDeclarations` accepts no method with such a name.
 */
export function inspectAs<Instance extends object>(
  prototype: Instance,
  print: (instance: Instance) => string,
): void {
  Object.defineProperty(prototype, Symbol.for("nodejs.util.inspect.custom"), {
    value(this: Instance): string {
      return print(this);
    },
  });
}

/** Returns the name of the class of an object, for messages and `toJSON`. */
export function classNameFor(instance: object): string {
  const type: unknown = instance.constructor;
  return typeof type === "function" ? classNameOf(type) : "Object";
}

/** Formats the state of an object in one line: `Name { a: 1, b: 2 }`. */
export function showState(name: string, state: object): string {
  const fields = Object.entries(state).map(([field, value]) => `${field}: ${value}`);
  return `${name} { ${fields.join(", ")} }`;
}

/** Formats the public fields of an object in one line, with the name of its class. */
export function showFields(instance: object): string {
  const fields = Object.entries(instance).filter(([name]) => !name.startsWith("_"));
  return showState(
    classNameFor(instance),
    Object.fromEntries(fields.map(([name, value]) => [name, show(value)])),
  );
}
