/**
 * The parts of a microbenchmark: several variants of the same operation. Every `*.bench.ts` exports
 * `comparisons`. timing.ts times them, and allocation.ts measures what they allocate.
 */

import { do_not_optimize } from "mitata";

/** A variant of an operation. */
export interface Variant {
  readonly name: string;
  /**
   * Runs it once. Its result is compared with `expected`. Each variant needs a function of its own:
   * the engine would not inline calls from a shared closure.
   */
  readonly run: () => unknown;
}

/** A variant of which only a part is timed. */
export interface SelfTimedVariant {
  readonly name: string;
  /** Runs it once, and returns the time of that part in nanoseconds. */
  readonly runTimed: () => Promise<number>;
}

/** Variants that are compared. Ratios are relative to the first. */
export interface Comparison {
  readonly scenario: string;
  /** The parameters of the scenario, for example `{ bytes: 1200 }`. */
  readonly parameters: Readonly<Record<string, number>>;
  /** The number of operations per run, by which the figures are divided. Default 1. */
  readonly operations?: number;
  readonly variants: readonly (Variant | SelfTimedVariant)[];
  /** The result of every `run`, or of its promise. Absent: not checked. */
  readonly expected?: unknown;
}

/** The exports of a `*.bench.ts`. */
export interface BenchModule {
  readonly comparisons: readonly Comparison[];
}

/** Keeps the engine from removing the computation of `value`. */
export const keep: (value: unknown) => void = do_not_optimize;

/** Returns a key that is unique among all variants. */
export function idOf({ scenario, parameters }: Comparison, { name }: { name: string }): string {
  return JSON.stringify([scenario, parameters, name]);
}

/** Returns the scenario, its parameters, and the number of operations per run, as text. */
export function titleOf({ scenario, parameters, operations }: Comparison): string {
  const values = Object.entries(parameters).map(([name, value]) => `${name} ${value}`);
  const perRun = operations === undefined ? [] : [`${operations} a run`];
  return [scenario, ...values, ...perRun].join(", ");
}

/**
 * Loads the comparisons of a file.
 *
 * @throws Error if the result of a variant is not the expected one.
 */
export async function loadComparisons(path: string): Promise<readonly Comparison[]> {
  const { comparisons } = (await import(path)) as BenchModule;
  for (const comparison of comparisons) {
    for (const variant of comparison.variants) await check(comparison, variant);
  }
  return comparisons;
}

async function check(comparison: Comparison, variant: Variant | SelfTimedVariant): Promise<void> {
  const { expected } = comparison;
  if ("runTimed" in variant || expected === undefined) return;
  const got = await variant.run();
  const isSame =
    expected instanceof Uint8Array && got instanceof Uint8Array
      ? Buffer.compare(got, expected) === 0
      : Object.is(got, expected);
  if (isSame) return;
  const name = `${titleOf(comparison)}, ${variant.name}`;
  throw new Error(`${name}: expected ${Bun.inspect(expected)}, got ${Bun.inspect(got)}`);
}
