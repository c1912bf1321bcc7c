/** The environment variables of the library. */

import { rangeError } from "./check.ts";

/** The names of the variables and their values. */
const VARIABLES = {
  /** The default backend. */
  DATAGRAM_SOCKET_BACKEND: ["native", "portable"],
  /** The mode of readiness (lib/readiness/notifier.ts). Default: `loop` where it works. */
  DATAGRAM_SOCKET_READINESS: ["loop", "thread"],
  /** `off` disables the offloads (lib/linux/offload.ts). */
  DATAGRAM_SOCKET_OFFLOAD: ["on", "off"],
} as const;

type Variables = typeof VARIABLES;

/**
 * Returns the value of a variable; absent if it is unset or empty.
 *
 * @throws RangeError for another value than those of `VARIABLES`.
 */
export function readVariable<Name extends keyof Variables>(
  name: Name,
): Variables[Name][number] | undefined {
  const value = process.env[name] ?? "";
  if (value === "") return undefined;
  const values: readonly string[] = VARIABLES[name];
  if (!values.includes(value)) throw rangeError(name, orList(values), value);
  return value as Variables[Name][number];
}

/** @throws RangeError for an invalid value of any variable. */
export function checkVariables(): void {
  for (const name of Object.keys(VARIABLES)) readVariable(name as keyof Variables);
}

/** Formats values for an error message: `"a", "b" or "c"`. */
function orList(values: readonly string[]): string {
  const quoted = values.map((value) => JSON.stringify(value));
  return `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}
