/**
 * What a microbenchmark is: some ways to do the same, side by side. Every `*.bench.ts` exports
 * `comparisons`; how they are timed and how their allocations are counted is not its business.
 */

import { do_not_optimize } from "mitata";

/** One way to do it. */
export interface Way {
  readonly name: string;
  /**
   * Does it once. What it answers, if anything is expected, says whether it did. A function of its
   * own for each: through one closure for all, the engine would not inline any.
   */
  readonly run: () => unknown;
}

/** A way that is only in part worth timing: it answers how many nanoseconds that part took. */
export interface SelfTimedWay {
  readonly name: string;
  readonly runTimed: () => Promise<number>;
}

/** Ways to do the same; ratios are to the first. */
export interface Comparison {
  readonly scenario: string;
  /** Where on its axes, e.g. `{ bytes: 1200 }`. */
  readonly parameters: Readonly<Record<string, number>>;
  /** What a run does that many times; figures are for one. Default 1. */
  readonly operations?: number;
  readonly ways: readonly (Way | SelfTimedWay)[];
  /** What every `run` answers, or what its promise does. Absent: not looked at. */
  readonly expected?: unknown;
}

/** What a `*.bench.ts` exports. */
export interface BenchModule {
  readonly comparisons: readonly Comparison[];
}

/** Keeps the engine from leaving out what only computes a value. */
export const keep: (value: unknown) => void = do_not_optimize;

/** What a way is called among all of them. */
export function idOf({ scenario, parameters }: Comparison, { name }: { name: string }): string {
  return JSON.stringify([scenario, parameters, name]);
}

/** The comparison's name, with its parameters, and how much a run does. */
export function titleOf({ scenario, parameters, operations }: Comparison): string {
  const places = Object.entries(parameters).map(([name, value]) => `${name} ${value}`);
  const many = operations === undefined ? [] : [`${operations} a run`];
  return [scenario, ...places, ...many].join(", ");
}

/** The comparisons of a file, each way of which has been seen to do what is expected of it. */
export async function loadComparisons(path: string): Promise<readonly Comparison[]> {
  const { comparisons } = (await import(path)) as BenchModule;
  for (const comparison of comparisons) {
    for (const way of comparison.ways) await check(comparison, way);
  }
  return comparisons;
}

async function check(comparison: Comparison, way: Way | SelfTimedWay): Promise<void> {
  const { expected } = comparison;
  if ("runTimed" in way || expected === undefined) return;
  const got = await way.run();
  const isSame =
    expected instanceof Uint8Array && got instanceof Uint8Array
      ? Buffer.compare(got, expected) === 0
      : Object.is(got, expected);
  if (isSame) return;
  const name = `${titleOf(comparison)}, ${way.name}`;
  throw new Error(`${name}: expected ${Bun.inspect(expected)}, got ${Bun.inspect(got)}`);
}
