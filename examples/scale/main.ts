/**
 * The demonstration: `npm run demo:scale`. Flows that stay where their state is, over the cores of one
 * machine, and over several machines. The last line has the counts; the exit code is 0 if no check failed.
 */

import type { PartResult } from "../tools/checks.ts";
import { runCores } from "./cores/run.ts";
import { runMachines } from "./machines/run.ts";

const PARTS: readonly (() => Promise<PartResult>)[] = [runCores, () => runMachines()];

/** The demonstration takes some seconds for each part. On a busy machine it may take this long. */
const MS_MAX = 110_000;

const startMs = performance.now();
const limit = setTimeout(() => {
  console.log(`scale demo: FAILED, not finished after ${MS_MAX / 1e3} s`);
  process.exit(1);
}, MS_MAX);
const results: PartResult[] = [];
for (const run of PARTS) results.push(await run());
clearTimeout(limit);
const sum = (count: (result: PartResult) => number) =>
  results.reduce((total, result) => total + count(result), 0);
const [passed, failed] = [sum((result) => result.passed), sum((result) => result.failed)];
const skipped = sum((result) => result.skipped.length);
const seconds = ((performance.now() - startMs) / 1e3).toFixed(1);
console.log(`scale demo: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds} s`);
process.exit(failed === 0 ? 0 : 1);
