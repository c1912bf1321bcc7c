/**
 * Times the ways of one file by mitata, in a process of its own, and hands the figures to the
 * process that started it.
 *
 *     bun bench/micro/timing.ts FILE
 */

import { bench, group, run, summary } from "mitata";
import type { Sample } from "../results.ts";
import { type Allocations, allocationsOf } from "./allocation.ts";
import { type Comparison, idOf, loadComparisons, titleOf } from "./comparison.ts";

/** mitata's trial; its types leave out the group. */
type Trial = Awaited<ReturnType<typeof run>>["benchmarks"][number];

/** What each of mitata's trials is, in the order in which they are registered. */
interface Registered {
  readonly comparison: Comparison;
  readonly name: string;
}

function register(comparisons: readonly Comparison[]): Registered[] {
  const registered: Registered[] = [];
  for (const comparison of comparisons) {
    group(titleOf(comparison), () => {
      summary(() => {
        for (const way of comparison.ways) {
          const timed =
            "run" in way
              ? bench(way.name, way.run)
              : bench(way.name, function* () {
                  yield { manual: way.runTimed };
                });
          timed.baseline(way === comparison.ways[0]);
          registered.push({ comparison, name: way.name });
        }
      });
    });
  }
  return registered;
}

/**
 * Puts what a run allocates where mitata shows the heap. Its own figure is the growth of the whole
 * process on Bun, in which a few bytes cannot be seen.
 */
function showAllocation(trial: Trial, bytes: number | undefined): void {
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
if (path === undefined) throw new Error("a file to time is expected");
const allocations = allocationsOf(path);
const registered = register(await loadComparisons(path));
const samples: Sample[] = [];
await run({
  observe(trial) {
    const one = registered[samples.length];
    if (one === undefined) throw new Error(`${trial.alias}: a trial that nobody registered`);
    samples.push(sampleOf(one, trial, allocations));
    const bytes = allocations[idOf(one.comparison, one)];
    showAllocation(trial, bytes && bytes * (one.comparison.operations ?? 1));
    return trial;
  },
});
process.send?.(samples);
process.exit();
