/**
 * Times the variants of a file with mitata, in a process of its own, and sends the samples to the
 * parent process.
 *
 *     bun bench/micro/timing.ts FILE
 */

import { bench, group, run, summary } from "mitata";
import type { Sample } from "../results.ts";
import { type Allocations, allocationsOf } from "./allocation.ts";
import { type Comparison, idOf, loadComparisons, titleOf } from "./comparison.ts";

/** The result of mitata for one variant. */
type Trial = Awaited<ReturnType<typeof run>>["benchmarks"][number];

/** A variant that was registered with mitata, which reports trials in the same order. */
interface Registered {
  readonly comparison: Comparison;
  readonly name: string;
}

function register(comparisons: readonly Comparison[]): Registered[] {
  const registered: Registered[] = [];
  for (const comparison of comparisons) {
    group(titleOf(comparison), () => {
      summary(() => {
        for (const variant of comparison.variants) {
          const timed =
            "run" in variant
              ? bench(variant.name, variant.run)
              : bench(variant.name, function* () {
                  yield { manual: variant.runTimed };
                });
          timed.baseline(variant === comparison.variants[0]);
          registered.push({ comparison, name: variant.name });
        }
      });
    });
  }
  return registered;
}

/**
 * Replaces mitata's heap figure by the bytes that a run allocates. On Bun, mitata uses the growth
 * of the process, which does not show a few bytes.
 */
function replaceHeapFigure(trial: Trial, bytes: number | undefined): void {
  for (const { stats } of trial.runs) {
    if (stats === undefined) continue;
    if (bytes === undefined) delete stats.heap;
    else stats.heap = { min: bytes, avg: bytes, max: bytes, total: bytes };
  }
}

function sampleOf(
  { comparison, name }: Registered,
  trial: Trial,
  allocations: Allocations,
): Sample {
  const [timed] = trial.runs;
  if (timed?.stats === undefined) {
    throw new Error(`${titleOf(comparison)}, ${name}: ${Bun.inspect(timed?.error)}`);
  }
  const bytesAllocated = allocations[idOf(comparison, { name })];
  return {
    suite: "micro",
    scenario: comparison.scenario,
    peer: name,
    parameters: comparison.parameters,
    round: 0,
    figures: {
      ns: timed.stats.p50 / (comparison.operations ?? 1),
      ...(bytesAllocated !== undefined && { bytesAllocated }),
    },
  };
}

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("expected the path of a file to time");
const allocations = allocationsOf(path);
const registered = register(await loadComparisons(path));
const samples: Sample[] = [];
await run({
  observe(trial) {
    const one = registered[samples.length];
    if (one === undefined) throw new Error(`${trial.alias}: a trial that was not registered`);
    samples.push(sampleOf(one, trial, allocations));
    const bytes = allocations[idOf(one.comparison, one)];
    replaceHeapFigure(trial, bytes && bytes * (one.comparison.operations ?? 1));
    return trial;
  },
});
process.send?.(samples);
process.exit();
