/**
 * `npm run test:sim -- [--seeds N] [--seed S]`: runs the simulations of N seeds (default 1000) from
 * S on (default 1). With `--seed` alone, one seed. `--failures N` stops after N failed seeds (default
 * 3), `--hang-seconds N` after N seconds without a result (default 60), `--digests` prints a digest
 * of each run. The exit code is 1 if a seed failed. If one hangs, the process kills itself.
 */

import { parseArgs } from "node:util";
import { failureText, runSeeds, type SeedRun } from "./seeds.ts";
import type { WatchdogInit } from "./watchdog.ts";

function readCommandLine() {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      seed: { type: "string" },
      failures: { type: "string" },
      "hang-seconds": { type: "string" },
      digests: { type: "boolean" },
    },
  });
  const integer = (name: string, text: string): number => {
    if (/^\d{1,15}$/.test(text)) return Number(text);
    throw new TypeError(`--${name} expected an integer 0..10^15-1, got "${text}"`);
  };
  const isOne = values.seed !== undefined && values.seeds === undefined;
  return {
    first: integer("seed", values.seed ?? "1"),
    count: integer("seeds", values.seeds ?? (isOne ? "1" : "1000")),
    // Later failures have mostly the same cause.
    failuresMax: integer("failures", values.failures ?? "3"),
    hangMs: 1000 * integer("hang-seconds", values["hang-seconds"] ?? "60"),
    printsDigests: values.digests ?? false,
  };
}

const { first, count, failuresMax, hangMs, printsDigests } = readCommandLine();
let seed = first;
const watched = new BigInt64Array(new SharedArrayBuffer(8));
const watchdog = new Worker(new URL("watchdog.ts", import.meta.url).href);
watchdog.postMessage({ seed: watched, limitMs: hangMs } satisfies WatchdogInit);

function setSeed(value: number): void {
  seed = value;
  Atomics.store(watched, 0, BigInt(value));
}
const totals = { datagrams: 0, lost: 0, replies: 0, operations: 0, simulatedSeconds: 0 };

function addRun({ proxy, promises }: SeedRun): void {
  if (printsDigests) console.log(`seed ${seed}: ${proxy.digest} ${promises.digest}`);
  totals.datagrams += proxy.report.sent;
  totals.lost += proxy.report.lostTotal;
  totals.replies += proxy.replies;
  totals.operations += promises.operations;
  totals.simulatedSeconds += proxy.simulatedMs / 1000;
}

// An error in a waker, or a rejection that nothing handles, belongs to the seed that runs.
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    console.error(failureText({ seed, error }));
    process.exit(1);
  });
}

const startMs = performance.now();
const failures = await runSeeds(first, count, { failuresMax, onStart: setSeed, onRun: addRun });
watchdog.terminate();
const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
for (const failure of failures) console.error(`${failureText(failure)}\n`);
const sums = Object.entries(totals).map(([name, value]) => `${name} ${Math.round(value)}`);
console.log(`seeds ${first}..${first + count - 1}: ${sums.join(", ")} (${seconds} s)`);
const passed = seed - first + 1 - failures.length;
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;
