/** The README's complete tables: every scenario, place and peer, and every target. */

import { MICRO_TARGETS } from "../micro/targets.ts";
import { judgeAll, NET_TARGETS } from "../net/targets.ts";
import type { Sample } from "../results.ts";
import { judge, type Target, type Verdict } from "../targets.ts";
import { digits, FIGURES } from "./figures.ts";
import { details, table } from "./markdown.ts";
import { REASONS, REMARKS, reasonOf } from "./reasons.ts";
import { placeOf, type Series, seriesOf } from "./series.ts";

const SUITES: Readonly<Record<Sample["suite"], string>> = {
  net: "Over the network stack",
  start: "Start",
  growth: "Growth",
  micro: "In memory",
};

/** All tables, one that folds for each suite. */
export function completeTables(samples: readonly Sample[]): string {
  const bySuite = Map.groupBy(seriesOf(samples), ({ suite }) => suite);
  return (Object.keys(SUITES) as Sample["suite"][])
    .flatMap((suite) => {
      const of = bySuite.get(suite);
      if (of === undefined) return [];
      const scenarios = [...Map.groupBy(of, ({ scenario }) => scenario)];
      const tables = scenarios.map(([name, series]) =>
        [`**${name}**`, scenarioTable(series), REMARKS[name] ?? ""].join("\n\n").trimEnd(),
      );
      return details(`${SUITES[suite]}: every scenario, place and peer`, tables.join("\n\n"));
    })
    .join("\n\n");
}

/** One scenario: a line for each place and peer, a column for each figure that is there. */
function scenarioTable(series: readonly Series[]): string {
  const figures = FIGURES.filter(({ name }) => series.some(({ medians }) => name in medians));
  const byPlace = [...Map.groupBy(series, ({ parameters }) => placeOf(parameters))];
  const rows = byPlace.flatMap(([place, ofPlace]) =>
    ofPlace.map(({ peer, isSlow, medians }) => [
      isSlow ? `${peer} (in a slow spell)` : peer,
      place,
      ...figures.map(({ name, write }) => {
        const value = medians[name];
        return value === undefined ? "" : write(value);
      }),
    ]),
  );
  return table(["", "at", ...figures.map(({ heading }) => heading)], rows, 2);
}

/** Every target, those that were not measured too. */
export function verdictsOf(samples: readonly Sample[]): Verdict[] {
  const named = [...NET_TARGETS, ...MICRO_TARGETS];
  const others = judgeAll(samples).filter(({ target }) => !named.includes(target));
  return [...named.map((target) => judge(target, samples)), ...others];
}

/** The targets: reached, or missed and why. */
export function targetTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map((verdict) => {
    const { target, value } = verdict;
    return [
      target.path,
      target.ours,
      target.against ?? "",
      figureText(target),
      limitText(target),
      value === undefined ? "" : `${digits(value)} ${target.unit}`,
      outcome(verdict),
    ];
  });
  const headings = ["", "ours", "against", "figure", "wanted", "measured", ""];
  return table(headings, rows, headings.length);
}

function outcome({ target, isMet }: Verdict): string {
  if (isMet === undefined) return "not measured";
  return isMet ? "reached" : `**missed**: ${reasonOf(target)?.reason ?? "not known yet"}`;
}

function figureText({ figure, comparison }: Target): string {
  const heading = FIGURES.find(({ name }) => name === figure)?.heading ?? figure;
  return comparison === "value" ? heading : `${heading}, ${comparison}`;
}

function limitText({ atLeast, atMost, unit }: Target): string {
  const limits = [
    ...(atLeast === undefined ? [] : [`at least ${digits(atLeast)} ${unit}`]),
    ...(atMost === undefined ? [] : [`at most ${digits(atMost)} ${unit}`]),
  ];
  return limits.join(", ");
}

/** What is wrong with the reasons, in words: a missed target without one, one that nothing misses. */
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
      ({ path, reason }) => `a reason for what is not missed: ${path}: ${reason}`,
    ),
  ];
}
