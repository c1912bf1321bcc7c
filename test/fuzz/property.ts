/** A property that must hold for all inputs, and the loop that checks it for many of them. */

import fc from "fast-check";

/** A property of one input. */
export interface FuzzProperty<Input = unknown> {
  readonly name: string;
  readonly inputs: fc.Arbitrary<Input>;
  /** The share of all inputs that this property gets, relative to the others. */
  readonly weight: number;
  /** Throws if the property does not hold for an input. */
  readonly check: (input: Input) => void | Promise<void>;
}

/** Returns a property. Its type of input is known to the check only. */
export function property<Input>(init: FuzzProperty<Input>): FuzzProperty {
  return init as FuzzProperty;
}

/** Throws if `condition` is false. Faster than `expect`, for millions of checks. */
export function require(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Error(message());
}

/** Requires that both values are the same primitive value. */
export function requireEqual(actual: unknown, expected: unknown, what: string): void {
  require(Object.is(actual, expected), () => `${what}: ${String(actual)}, not ${String(expected)}`);
}

/**
 * Returns the error that a function throws, or undefined. Throws if it is none of the expected
 * classes.
 */
export function errorOf(
  run: () => void,
  ...classes: readonly (new (
    ...args: never[]
  ) => Error)[]
): Error | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (classes.some((one) => error instanceof one)) return error as Error;
    throw error;
  }
}

/** The number of inputs that failed and passed. */
export interface FuzzResult {
  readonly name: string;
  readonly inputs: number;
  readonly ms: number;
  /** The smallest failing input, and how to run it again. Absent if all inputs passed. */
  readonly failure: string | undefined;
}

/**
 * Checks `inputs` inputs, distributed over the properties by their weights. The same seed gives the
 * same inputs. `path` replays a failure that was reported with it.
 */
export async function runProperties(
  properties: readonly FuzzProperty[],
  options: { readonly inputs: number; readonly seed: number; readonly path?: string | undefined },
): Promise<FuzzResult[]> {
  const total = properties.reduce((sum, { weight }) => sum + weight, 0);
  const results: FuzzResult[] = [];
  for (const { name, inputs, weight, check } of properties) {
    const numRuns = Math.max(1, Math.ceil((options.inputs * weight) / total));
    const { seed, path = "" } = options;
    const startMs = performance.now();
    const details = await fc.check(
      fc.asyncProperty(inputs, async (input) => await check(input)),
      { numRuns, seed, path, endOnFailure: false },
    );
    results.push({
      name,
      inputs: details.numRuns,
      ms: performance.now() - startMs,
      failure: details.failed ? failureText(details as fc.RunDetails<[unknown]>) : undefined,
    });
  }
  return results;
}

/** Describes a failure: the error, the smallest input that causes it, and its path. */
function failureText(details: fc.RunDetails<[unknown]>): string {
  const error = details.errorInstance instanceof Error ? details.errorInstance.message : "";
  const path = `path ${details.counterexamplePath}`;
  return `${error}\ninput ${fc.stringify(details.counterexample)}\n${path}`.slice(0, 4000);
}
