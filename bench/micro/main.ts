/**
 * Runs the microbenchmarks: every `*.bench.ts` of this folder. Each has a process of its own, so
 * that compiled code and the heap of one do not affect the others. Prints mitata's tables, which
 * include the bytes allocated per operation, and the targets.
 *
 *     npm run bench:micro [-- --json FILE] [--rounds 1] [--check] [PATTERN]
 *
 * With `--check`, each variant runs once, and nothing is timed or written. PATTERN is a regular expression for the names of the files to run. With it, the results are
 * written only if `--json` names a file. The results of variants are checked before they are timed.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { commandLine, describeRun } from "../machine.ts";
import type { Sample } from "../results.ts";
import { judge, printVerdicts } from "../targets.ts";
import { loadComparisons } from "./comparison.ts";
import { slopes } from "./slope.ts";
import { ADDITIONAL_DATAGRAM, MICRO_TARGETS } from "./targets.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "string" },
    rounds: { type: "string", default: "1" },
    check: { type: "boolean", default: false },
  },
});
const pattern = new RegExp(positionals[0] ?? "");
const rounds = Number(values.rounds);
const defaultFile = positionals.length === 0 ? join(import.meta.dir, "../results/micro.json") : "";
const resultsFile = values.json ?? defaultFile;

/** Times a file in another process, and returns its samples. */
async function timeFile(file: string): Promise<readonly Sample[]> {
  let samples: readonly Sample[] | undefined;
  const timing = Bun.spawn([process.execPath, join(import.meta.dir, "timing.ts"), file], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc(message: readonly Sample[]) {
      samples = message;
    },
  });
  const exitCode = await timing.exited;
  if (exitCode !== 0 || samples === undefined) {
    throw new Error(`${file}: expected samples and exit code 0, got ${exitCode}`);
  }
  return samples;
}

const run = describeRun(commandLine("bench:micro"));
const files = await Array.fromAsync(new Bun.Glob("*.bench.ts").scan(import.meta.dir));
const chosen = files.filter((file) => pattern.test(file)).sort();
if (values.check) {
  for (const file of chosen) {
    const comparisons = await loadComparisons(join(import.meta.dir, file));
    let count = 0;
    for (const { variants } of comparisons) {
      for (const variant of variants) {
        await ("runTimed" in variant ? variant.runTimed() : variant.run());
      }
      count += variants.length;
    }
    console.log(`${file}: ${count} variants run`);
  }
  process.exit();
}
const samples: Sample[] = [];
for (let round = 0; round < rounds; round++) {
  for (const file of chosen) {
    console.log(`\n${file}`);
    const ofFile = await timeFile(join(import.meta.dir, file));
    const derived = slopes(ofFile, "steady state", ADDITIONAL_DATAGRAM);
    samples.push(...[...ofFile, ...derived].map((sample) => ({ ...sample, round })));
  }
}
const verdicts = MICRO_TARGETS.map((target) => judge(target, samples));
const measured = verdicts.filter(({ value }) => value !== undefined);
if (measured.length > 0) {
  console.log("\nTargets, per call or per datagram:");
  printVerdicts(measured);
}
if (resultsFile !== "") {
  await Bun.write(resultsFile, `${JSON.stringify({ ...run, samples }, null, 2)}\n`);
}
