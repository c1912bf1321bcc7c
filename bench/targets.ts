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
  /** Whether the machine was disturbed in every round, so that the value says little. */
  readonly isSlow: boolean;
}

export function judge(target: Target, samples: readonly Sample[]): Verdict {
  const rounds = valuesByRound(target, samples);
  if (rounds.length === 0) return { target, value: undefined, isMet: undefined, isSlow: false };
  const fast = rounds.filter(({ isSlow }) => !isSlow);
  const counting = fast.length > 0 ? fast : rounds;
  const value = median(counting.map((round) => round.value));
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = target;
  return { target, value, isMet: value >= atLeast && value <= atMost, isSlow: fast.length === 0 };
}

/** A target's verdict in the words of a table. */
export function tableRow({ target, value, isMet, isSlow }: Verdict): Record<string, string> {
  const { path, figure, comparison, ours, against, atLeast, atMost, unit } = target;
  const limit = atLeast === undefined ? `at most ${short(atMost)}` : `at least ${short(atLeast)}`;
  return {
    path,
    ours,
    against: against ?? "",
    figure: comparison === "value" ? figure : `${figure}, ${comparison}`,
    limit: `${limit} ${unit}`,
    measured: value === undefined ? "" : `${short(value)} ${unit}`,
    met: isMet === undefined ? "not measured" : `${isMet ? "yes" : "NO"}${isSlow ? ", slow" : ""}`,
  };
}

/** Three digits. */
function short(value: number | undefined): string {
  return value === undefined ? "" : String(Number(value.toPrecision(3)));
}

/**
 * A target's values within each round that has both samples, as slow spells of the machine hit
 * both. Where one of them is marked slow, the value counts only if there are no others.
 */
function valuesByRound(
  target: Target,
  samples: readonly Sample[],
): { readonly value: number; readonly isSlow: boolean }[] {
  const { ours, against, figure, comparison } = target;
  const mine = samplesByRound(target, ours, samples);
  const others = against === undefined ? mine : samplesByRound(target, against, samples);
  return [...mine].flatMap(([round, sample]) => {
    const other = others.get(round);
    if (other === undefined) return [];
    const value = compare(
      comparison,
      Number(sample.figures[figure]),
      Number(other.figures[figure]),
    );
    return { value, isSlow: sample.figures.slow === 1 || other.figures.slow === 1 };
  });
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

/** A peer's samples that have the target's figure, by round. */
function samplesByRound(
  { scenario, parameters, figure }: Target,
  peer: string,
  samples: readonly Sample[],
): Map<number, Sample> {
  const found = samples.filter(
    (sample) =>
      sample.scenario === scenario &&
      sample.peer === peer &&
      sample.figures[figure] !== undefined &&
      isSamePlace(sample.parameters, parameters),
  );
  return new Map(found.map((sample) => [sample.round, sample]));
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
