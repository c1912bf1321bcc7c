/** The complete tables of bench/README.md: all scenarios, all targets. */

import { FIGURES } from "../figures.ts";
import { MICRO_TARGETS } from "../micro/targets.ts";
import { judgeAll, NET_TARGETS } from "../net/targets.ts";
import type { Sample } from "../results.ts";
import { cellsOf, figureText, judge, type Verdict } from "../targets.ts";
import { details, table } from "./markdown.ts";
import { REASONS, REMARKS, reasonOf } from "./reasons.ts";
import { describeParameters, type Series, seriesOf } from "./series.ts";

const SUITES: Readonly<Record<Sample["suite"], string>> = {
  net: "Over the network stack",
  start: "Start",
  growth: "Growth",
  micro: "In memory",
};

/** Returns the tables of all scenarios, collapsed by suite. */
export function completeTables(samples: readonly Sample[]): string {
  const bySuite = Map.groupBy(seriesOf(samples), ({ suite }) => suite);
  return (Object.keys(SUITES) as Sample["suite"][])
    .flatMap((suite) => {
      const ofSuite = bySuite.get(suite);
      if (ofSuite === undefined) return [];
      const scenarios = [...Map.groupBy(ofSuite, ({ scenario }) => scenario)];
      const tables = scenarios.map(([name, series]) =>
        [`**${name}**`, scenarioTable(series), REMARKS[name] ?? ""].join("\n\n").trimEnd(),
      );
      return details(`${SUITES[suite]}: every scenario and peer`, tables.join("\n\n"));
    })
    .join("\n\n");
}

/** Returns the table of a scenario: a row per series, and a column per figure that occurs. */
function scenarioTable(series: readonly Series[]): string {
  const figures = FIGURES.filter(({ name }) => series.some(({ medians }) => name in medians));
  const byParameters = Map.groupBy(series, ({ parameters }) => describeParameters(parameters));
  const rows = [...byParameters].flatMap(([parameters, ofPoint]) =>
    ofPoint.map(({ peer, isSlow, medians }) => [
      isSlow ? `${peer} (in a slow spell)` : peer,
      parameters,
      ...figures.map(({ name, write }) => {
        const value = medians[name];
        return value === undefined ? "" : write(value);
      }),
    ]),
  );
  return table(["", "at", ...figures.map(({ heading }) => heading)], rows, 2);
}

/** Judges every target, including those without samples. */
export function verdictsOf(samples: readonly Sample[]): Verdict[] {
  const named = [...NET_TARGETS, ...MICRO_TARGETS];
  const others = judgeAll(samples).filter(({ target }) => !named.includes(target));
  return [...named.map((target) => judge(target, samples)), ...others];
}

/** Returns the table of targets, with the reasons for those that are missed. */
export function targetTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map((verdict) => {
    const { path, ours, against, figure, wanted, measured } = cellsOf(verdict);
    return [path, ours, against, figure, wanted, measured, outcome(verdict)];
  });
  const headings = ["", "ours", "against", "figure", "wanted", "measured", ""];
  return table(headings, rows, headings.length);
}

function outcome({ target, isMet }: Verdict): string {
  if (isMet === undefined) return "not measured";
  return isMet ? "reached" : `**missed**: ${reasonOf(target)?.reason ?? "not known yet"}`;
}

/** Describes missed targets that have no reason, and reasons that match no missed target. */
export function wrongReasons(verdicts: readonly Verdict[]): string[] {
  const missed = verdicts.filter(({ isMet }) => isMet === false).map(({ target }) => target);
  const given = new Set(missed.map(reasonOf));
  return [
    ...missed
      .filter((target) => reasonOf(target) === undefined)
      .map((target) => {
        const against = target.against === undefined ? "" : `, against ${target.against}`;
        return `no reason: ${target.path}, ${target.ours}, ${figureText(target)}${against}`;
      }),
    ...REASONS.filter((reason) => !given.has(reason)).map(
      ({ path, reason }) => `a reason for a target that is not missed: ${path}: ${reason}`,
    ),
  ];
}
