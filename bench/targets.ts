/** What is to be reached, and whether samples reach it. */

import type { Sample } from "./results.ts";
import { median } from "./statistics.ts";

/**
 * How a target's value is made. "value": the figure itself. "ratio": times the other's.
 * "speed-up": the other's is so many times ours, for figures of which less is better.
 * "difference": how much it is over the other's.
 */
export type Comparison = "value" | "ratio" | "speed-up" | "difference";

/** One thing to reach. */
export interface Target {
  /** In words, for tables. */
  readonly path: string;
  readonly scenario: string;
  readonly parameters: Readonly<Record<string, number>>;
  readonly figure: string;
  readonly comparison: Comparison;
  readonly ours: string;
  /** Whom it is held against; absent for a "value". */
  readonly against?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  /** What the value is in: "x" for ratios. */
  readonly unit: string;
}

/** A target beside what was measured. */
export interface Verdict {
  readonly target: Target;
  /** Undefined where a sample is missing. */
  readonly value: number | undefined;
  readonly isMet: boolean | undefined;
}

export function judge(target: Target, samples: readonly Sample[]): Verdict {
  const value = measured(target, samples);
  if (value === undefined) return { target, value, isMet: undefined };
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = target;
  return { target, value, isMet: value >= atLeast && value <= atMost };
}

/** A target's verdict in the words of a table. */
export function tableRow({ target, value, isMet }: Verdict): Record<string, string> {
  const { path, figure, comparison, ours, against, atLeast, atMost, unit } = target;
  const limit = atLeast === undefined ? `at most ${short(atMost)}` : `at least ${short(atLeast)}`;
  return {
    path,
    ours,
    against: against ?? "",
    figure: comparison === "value" ? figure : `${figure}, ${comparison}`,
    limit: `${limit} ${unit}`,
    measured: value === undefined ? "" : `${short(value)} ${unit}`,
    met: isMet === undefined ? "not measured" : isMet ? "yes" : "NO",
  };
}

/** Three digits. */
function short(value: number | undefined): string {
  return value === undefined ? "" : String(Number(value.toPrecision(3)));
}

/**
 * The median of the values within each round, as slow spells of the machine hit both; samples of
 * a round that one of the two lacks do not count.
 */
function measured(target: Target, samples: readonly Sample[]): number | undefined {
  const { ours, against, comparison } = target;
  const mine = figuresByRound(target, ours, samples);
  if (against === undefined) return mine.size === 0 ? undefined : median([...mine.values()]);
  const others = figuresByRound(target, against, samples);
  const values = [...mine].flatMap(([round, figure]) => {
    const other = others.get(round);
    return other === undefined ? [] : compare(comparison, figure, other);
  });
  return values.length === 0 ? undefined : median(values);
}

function compare(comparison: Comparison, mine: number, other: number): number {
  switch (comparison) {
    case "ratio":
      return mine / other;
    case "speed-up":
      return other / mine;
    case "difference":
      return mine - other;
    case "value":
      return mine;
  }
}

function figuresByRound(
  { scenario, parameters, figure }: Target,
  peer: string,
  samples: readonly Sample[],
): Map<number, number> {
  const found = new Map<number, number>();
  for (const sample of samples) {
    const value = sample.figures[figure];
    if (sample.scenario !== scenario || sample.peer !== peer || value === undefined) continue;
    if (isSamePlace(sample.parameters, parameters)) found.set(sample.round, value);
  }
  return found;
}

/** Whether two places on a scenario's axes are the same. */
export function isSamePlace(
  one: Readonly<Record<string, number>>,
  other: Readonly<Record<string, number>>,
): boolean {
  const axes = Object.keys(one);
  return (
    axes.length === Object.keys(other).length && axes.every((axis) => one[axis] === other[axis])
  );
}
