/** Prints the results of the network benchmarks to the console: medians of all rounds. */

import { FIGURES } from "../figures.ts";
import type { Sample } from "../results.ts";
import { median } from "../statistics.ts";
import { printVerdicts } from "../targets.ts";
import type { Scenario } from "./scenario.ts";
import { judgeAll } from "./targets.ts";

/** Prints a table with a row for each point and contender of a scenario that was measured. */
export function printScenario(
  { name, contenders, points }: Scenario,
  samples: readonly Sample[],
): void {
  const rows: Record<string, string | number>[] = [];
  for (const point of points) {
    for (const { name: peer } of contenders) {
      const found = samples.filter(
        (sample) => sample.scenario === name && sample.peer === peer && sample.parameters === point,
      );
      if (found.length > 0) rows.push({ peer, ...point, ...cellsOf(found) });
    }
  }
  if (rows.length === 0) return;
  console.log(`\n${name}`);
  console.table(rows);
}

function cellsOf(samples: readonly Sample[]): Record<string, string> {
  const cells = FIGURES.flatMap(({ name, heading, write }) => {
    const values = samples.flatMap(({ figures }) => figures[name] ?? []);
    return values.length === 0 ? [] : [[heading, write(median(values))] as const];
  });
  const slow = samples.filter(({ figures }) => figures.slow === 1).length;
  return {
    ...Object.fromEntries(cells),
    ...(slow > 0 && { slow: `${slow} of ${samples.length}` }),
  };
}

/** Prints the targets that `samples` allow to judge. */
export function printTargets(samples: readonly Sample[]): void {
  const verdicts = judgeAll(samples);
  if (verdicts.length === 0) return;
  const missed = verdicts.filter(({ isMet }) => isMet === false).length;
  console.log(`\nTargets: ${verdicts.length - missed} met, ${missed} missed.
Values are medians of rounds. "ratio": ours divided by the other's, "speed-up": the other's divided
by ours, "difference": ours minus the other's. "slow": the machine was slow, or other programs ran,
in every round.`);
  printVerdicts(verdicts);
}
