/** Judges mutants: a mutant is killed if a test fails, crashes or hangs. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Checkout } from "./checkout.ts";
import { type Area, type Mutant, mutated, syntaxError } from "./mutant.ts";
import { runTests, type TestResult } from "./run-tests.ts";

export interface Verdict {
  readonly area: string;
  readonly mutant: Mutant;
  readonly isKilled: boolean;
  readonly result: TestResult;
}

/** The limit for tests is their time without a mistake, several times, plus a constant. */
const LIMIT_FACTOR = 4;
const LIMIT_MS = 10_000;
const UNMUTATED_LIMIT_MS = 120_000;

/** Returns what is wrong with the list itself: stale mutants, invalid edits, duplicate names. */
export function listErrors(areas: readonly Area[], root: string): string[] {
  const errors: string[] = [];
  const names = new Set<string>();
  for (const mutant of areas.flatMap(({ mutants }) => mutants)) {
    if (names.has(mutant.name)) errors.push(`two mutants have the name "${mutant.name}"`);
    names.add(mutant.name);
    if (mutant.tests.length === 0) errors.push(`mutant "${mutant.name}": no tests`);
    for (const test of mutant.tests) {
      if (!existsSync(join(root, test))) errors.push(`mutant "${mutant.name}": no file ${test}`);
    }
    try {
      const source = mutated(readFileSync(join(root, mutant.file), "utf8"), mutant);
      const error = syntaxError(mutant.file, source);
      if (error !== undefined) errors.push(`invalid mutant "${mutant.name}": ${error}`);
    } catch (error) {
      errors.push((error as Error).message);
    }
  }
  return errors;
}

const keyOf = (test: string, env: readonly string[] = []) => [...env, test].join(" ");

/**
 * Runs the tests of all mutants without a mistake, and returns their times.
 *
 * @throws Error if one fails: then no mutant can be judged.
 */
async function timesMs(root: string, areas: readonly Area[]): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  for (const { tests, env } of areas.flatMap(({ mutants }) => mutants)) {
    for (const test of tests) {
      const key = keyOf(test, env);
      if (times.has(key)) continue;
      const run = { root, tests: [test], ...(env && { env }), limitMs: UNMUTATED_LIMIT_MS };
      const { outcome, reason, ms } = await runTests(run);
      if (outcome !== "passed") throw new Error(`${key} ${outcome} without a mutant: ${reason}`);
      times.set(key, ms);
    }
  }
  return times;
}

/** Judges all mutants one after the other, and yields each verdict. */
export async function* judge(
  areas: readonly Area[],
  root: string,
  limitBaseMs: number = LIMIT_MS,
): AsyncGenerator<Verdict> {
  using checkout = new Checkout(root);
  const times = await timesMs(checkout.root, areas);
  for (const area of areas) {
    for (const mutant of area.mutants) {
      const { tests, env } = mutant;
      const expectedMs = tests.reduce((sum, test) => sum + (times.get(keyOf(test, env)) ?? 0), 0);
      const limitMs = Math.ceil(limitBaseMs + LIMIT_FACTOR * expectedMs);
      const run = { root: checkout.root, tests, ...(env && { env }), limitMs };
      const result = await checkout.with(mutant, () => runTests(run));
      yield { area: area.name, mutant, isKilled: result.outcome !== "passed", result };
    }
  }
}
