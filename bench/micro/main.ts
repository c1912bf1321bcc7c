/**
 * Runs the microbenchmarks: every `*.bench.ts` of this folder in a process of its own, so that what
 * one compiles and leaves in the heap is nothing to the next. Prints mitata's tables, with the bytes
 * that an operation allocates, and in the end what was to be reached.
 *
 *     npm run bench:micro [-- --json FILE] [--rounds 1] [PATTERN]
 *
 * PATTERN is a regular expression that the files' names must match; then the results are written
 * only where `--json` says. A file that checks its results throws before anything is timed.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { commandLine, describeRun } from "../machine.ts";
import type { Sample } from "../results.ts";
import { judge, tableRow } from "../targets.ts";
import { slopes } from "./slope.ts";
import { EACH_MORE, MICRO_TARGETS } from "./targets.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "string" }, rounds: { type: "string", default: "1" } },
});
const pattern = new RegExp(positionals[0] ?? "");
const rounds = Number(values.rounds);
const defaultFile = positionals.length === 0 ? join(import.meta.dir, "../results/micro.json") : "";
const resultsFile = values.json ?? defaultFile;

/** The samples of one file, timed by another process. */
async function timed(file: string): Promise<readonly Sample[]> {
  let samples: readonly Sample[] | undefined;
  const timing = Bun.spawn([process.execPath, join(import.meta.dir, "timing.ts"), file], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc(message: readonly Sample[]) {
      samples = message;
    },
  });
  const exitCode = await timing.exited;
  if (exitCode !== 0 || samples === undefined) {
    throw new Error(`${file}: expected figures and exit code 0, got ${exitCode}`);
  }
  return samples;
}

const run = describeRun(commandLine("bench:micro"));
const files = await Array.fromAsync(new Bun.Glob("*.bench.ts").scan(import.meta.dir));
const chosen = files.filter((file) => pattern.test(file)).sort();
const samples: Sample[] = [];
for (let round = 0; round < rounds; round++) {
  for (const file of chosen) {
    console.log(`\n${file}`);
    const ofFile = await timed(join(import.meta.dir, file));
    const derived = slopes(ofFile, "steady state", EACH_MORE);
    samples.push(...[...ofFile, ...derived].map((sample) => ({ ...sample, round })));
  }
}
const verdicts = MICRO_TARGETS.map((target) => judge(target, samples));
const told = verdicts.filter(({ value }) => value !== undefined);
if (told.length > 0) {
  console.log("\nTargets: times, and what is allocated (bytesAllocated), a call or a datagram");
  console.table(told.map(tableRow));
}
if (resultsFile !== "") {
  await Bun.write(resultsFile, `${JSON.stringify({ ...run, samples }, null, 2)}\n`);
}
