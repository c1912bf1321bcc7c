/** Prints what the network benchmarks measured: medians of rounds, a row for each contender and place. */

import type { Sample } from "../results.ts";
import { median } from "../statistics.ts";
import { tableRow } from "../targets.ts";
import type { Scenario } from "./scenario.ts";
import { judgeAll } from "./targets.ts";

/** Columns: the figure, how it is headed, and how it is written. */
const COLUMNS: readonly (readonly [string, string, (value: number) => string])[] = [
  ["rate", "k/s", (value) => (value / 1e3).toFixed(value < 1e5 ? 1 : 0)],
  ["gbitPerS", "Gbit/s", (value) => value.toFixed(2)],
  ["ns", "ns", (value) => value.toFixed(0)],
  ["p50Us", "p50 us", (value) => value.toFixed(1)],
  ["p99Us", "p99 us", (value) => value.toFixed(0)],
  ["p999Us", "p99.9 us", (value) => value.toFixed(0)],
  ["userUs", "user us", (value) => value.toFixed(3)],
  ["systemUs", "system us", (value) => value.toFixed(3)],
  ["datagramsPerCall", "per call", (value) => value.toFixed(1)],
  ["arrived", "arrived %", (value) => (100 * value).toFixed(1)],
  ["ms", "ms", (value) => value.toFixed(1)],
  ["residentMiB", "MiB", (value) => value.toFixed(1)],
  ["memoryGrowthBytes", "growth KiB", (value) => (value / 1024).toFixed(0)],
];

export function printScenario(
  { name, contenders, places }: Scenario,
  samples: readonly Sample[],
): void {
  const rows: Record<string, string | number>[] = [];
  for (const place of places) {
    for (const { name: peer } of contenders) {
      const of = samples.filter(
        (sample) => sample.scenario === name && sample.peer === peer && sample.parameters === place,
      );
      if (of.length > 0) rows.push({ peer, ...place, ...medians(of) });
    }
  }
  if (rows.length === 0) return;
  console.log(`\n${name}`);
  console.table(rows);
}

function medians(samples: readonly Sample[]): Record<string, string> {
  const cells = COLUMNS.flatMap(([figure, heading, write]) => {
    const values = samples.flatMap(({ figures }) => figures[figure] ?? []);
    return values.length === 0 ? [] : [[heading, write(median(values))] as const];
  });
  const slow = samples.filter(({ figures }) => figures.slow === 1).length;
  return {
    ...Object.fromEntries(cells),
    ...(slow > 0 && { slow: `${slow} of ${samples.length}` }),
  };
}

export function printTargets(samples: readonly Sample[]): void {
  const verdicts = judgeAll(samples);
  if (verdicts.length === 0) return;
  const missed = verdicts.filter(({ isMet }) => isMet === false).length;
  console.log(`\nTargets: ${verdicts.length - missed} met, ${missed} not. "ratio" is ours over the
other's, "speed-up" the other's over ours, "difference" ours less the other's: medians of
rounds. "slow": the machine was disturbed in all of them, by a slow spell or by other programs.`);
  console.table(verdicts.map(tableRow));
}
