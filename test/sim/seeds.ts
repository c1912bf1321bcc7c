/** Runs seeds, and reports those that fail. */

import { type PromiseRun, runPromises } from "./promise-run.ts";
import { type ProxyRun, runProxy } from "./proxy-run.ts";
import { drawScenario } from "./scenario.ts";

/** The result of a seed without a violation. */
export interface SeedRun {
  readonly proxy: ProxyRun;
  readonly promises: PromiseRun;
}

/** A seed that broke an invariant. */
export interface SeedFailure {
  readonly seed: number;
  readonly error: unknown;
}

/** Runs both simulations of a seed. @throws Violation if an invariant is broken. */
export async function runSeed(seed: number): Promise<SeedRun> {
  return {
    proxy: await runProxy(drawScenario(seed)),
    promises: await runPromises(seed),
  };
}

/** Options of `runSeeds`. */
export interface RunSeedsOptions {
  /** The number of failures after which to stop. */
  readonly failuresMax: number;
  /** Called before each seed. */
  readonly onStart?: (seed: number) => void;
  /** Called after each seed that did not fail. */
  readonly onRun?: (run: SeedRun) => void;
}

/** Runs `count` seeds from `first` on, and returns those that failed. */
export async function runSeeds(
  first: number,
  count: number,
  { failuresMax, onStart, onRun }: RunSeedsOptions,
): Promise<SeedFailure[]> {
  const failures: SeedFailure[] = [];
  for (let seed = first; seed < first + count && failures.length < failuresMax; seed++) {
    try {
      onStart?.(seed);
      const run = await runSeed(seed);
      onRun?.(run);
    } catch (error) {
      failures.push({ seed, error });
    }
  }
  return failures;
}

/** Returns the error, the latest events, and the command that runs the seed again. */
export function failureText({ seed, error }: SeedFailure): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `seed ${seed}: ${stack}\nreplay: npm run test:sim -- --seed ${seed}`;
}
