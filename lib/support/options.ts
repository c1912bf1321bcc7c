/** Checks of option objects: a misspelt name must not be ignored, as its default could be unsafe. */

import { argumentError, show, typeError } from "./check.ts";

/**
 * The kind of an option's value: what `typeof` returns, or `"any"` for values that have a check of
 * their own. An option may always be `undefined`, which means its default.
 */
export type OptionKind = "boolean" | "string" | "number" | "bigint" | "function" | "any";

/** The kind of each option of `Options`. All of them must be named. */
export type OptionKinds<Options> = { readonly [Name in keyof Required<Options>]: OptionKind };

/** Returns `kinds` without a prototype, so that a lookup finds the names of options only. */
export function optionKinds<Options>(kinds: OptionKinds<Options>): OptionKinds<Options> {
  return Object.assign(Object.create(null), kinds);
}

/**
 * Checks the names and the kinds of options.
 *
 * `for ... in` costs 4 ns per option, because the engine caches the names of an object's structure;
 * `Object.keys` and a `Set` cost two to three times as much. Enumerable names that the object inherits
 * count as its own, except those of `Object.prototype`. Instances of classes of the language or the
 * platform (`Map`, `Date`, `AbortSignal`, arrays) are no options, also if they have no names.
 *
 * @param name the name of the argument.
 * @throws TypeError for a value that is not an object of options, for an unknown name, and for an
 * option of another kind.
 */
export function checkOptions<Options extends object>(
  name: string,
  options: Options,
  kinds: OptionKinds<Options>,
): void {
  if (typeof options !== "object" || options === null) throw noOptions(name, options, kinds);
  let isEmpty = true;
  for (const option in options) {
    isEmpty = false;
    const kind = kinds[option];
    if (kind === "any") continue;
    if (kind === undefined) {
      if (Object.hasOwn(options, option) || !(option in Object.prototype)) {
        if (isBuiltIn(options)) throw noOptions(name, options, kinds);
        throw unknownOption(name, option, kinds);
      }
      continue;
    }
    const value: unknown = options[option];
    if (value !== undefined && typeof value !== kind) {
      throw typeError(name === "options" ? option : `${name}.${option}`, kind, value);
    }
  }
  // Only objects without names: a check of the others would cost 15 ns.
  if (isEmpty && isBuiltIn(options)) throw noOptions(name, options, kinds);
}

/** Returns whether an object is an instance of a class of the language or the platform. */
function isBuiltIn(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return false;
  return Object.prototype.toString.call(value) !== "[object Object]";
}

/** Returns the error for a value that is no object of options, with the form that is meant. */
function noOptions(name: string, value: unknown, kinds: object): TypeError {
  const { message } = typeError(name, "object", value);
  if ("signal" in kinds && value instanceof AbortSignal) {
    return argumentError(TypeError, `${message} (pass it as { signal })`);
  }
  if ("signal" in kinds && value instanceof AbortController) {
    return argumentError(TypeError, `${message} (pass { signal: controller.signal })`);
  }
  const isHost = "hostname" in kinds && typeof value === "string";
  return argumentError(
    TypeError,
    isHost ? `${message} (as in { hostname: "127.0.0.1", port: 53 })` : message,
  );
}

/** Names of options that other libraries use. */
const OTHER_NAMES: Readonly<Record<string, string>> = { address: "hostname", host: "hostname" };

/**
 * Refuses arguments after the last one, which would be ignored.
 *
 * @throws TypeError if there are any.
 */
export function checkNoMore(name: string, extra: readonly unknown[]): void {
  if (extra.some((value) => value !== undefined)) {
    throw argumentError(TypeError, `${name} got an argument too many: ${show(extra[0])}`);
  }
}

/** Returns the error for an unknown option, with the known ones and the one that it resembles. */
function unknownOption(name: string, option: string, kinds: object): TypeError {
  const names = Object.keys(kinds);
  const lower = option.toLowerCase();
  const meant = Object.hasOwn(OTHER_NAMES, lower) ? OTHER_NAMES[lower] : undefined;
  const similar = names.find((known) => {
    const other = known.toLowerCase();
    return known === meant || other.startsWith(lower) || lower.startsWith(other);
  });
  // The hint is before the list, which may be long.
  const hint = similar === undefined ? "" : ` (did you mean ${show(similar)}?)`;
  const got = `"${name}" got unknown option ${show(option)}${hint}`;
  return argumentError(TypeError, `${got}, expected only ${names.join(", ")}`);
}

/** @throws TypeError if `value` is not a boolean. */
export function checkBoolean(name: string, value: unknown): asserts value is boolean {
  if (typeof value !== "boolean") throw typeError(name, "boolean", value);
}

/** @throws TypeError that lists `allowed` if `value` is none of them. */
export function checkOneOf<Value extends string>(
  name: string,
  value: unknown,
  allowed: readonly Value[],
): asserts value is Value {
  if (allowed.includes(value as Value)) return;
  throw typeError(name, allowed.map((one) => JSON.stringify(one)).join(" or "), value);
}
