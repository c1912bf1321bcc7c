/** Performance targets, and whether samples reach them. */

import { digits, figureOf } from "./figures.ts";
import type { Sample } from "./results.ts";
import { median } from "./statistics.ts";

/**
 * How the value of a target is computed:
 *
 * - "value": the figure itself.
 * - "ratio": our figure divided by the other's.
 * - "speed-up": the other's figure divided by ours, for figures of which less is better.
 * - "difference": our figure minus the other's.
 */
export type Comparison = "value" | "ratio" | "speed-up" | "difference";

/** A target: a figure of a scenario, and its limits. */
export interface Target {
  /** The label of the target in tables. */
  readonly path: string;
  readonly scenario: string;
  readonly parameters: Sample["parameters"];
  readonly figure: string;
  readonly comparison: Comparison;
  /** The peer that the target is for. */
  readonly ours: string;
  /** The peer that it is compared with. Absent for a "value". */
  readonly against?: string;
  /** The scenario of the other peer's figure. Absent: the same. */
  readonly of?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  /** The unit of the value, "x" for ratios. */
  readonly unit: string;
}

/** A target and what was measured. */
export interface Verdict {
  readonly target: Target;
  /** Undefined if a sample is missing. */
  readonly value: number | undefined;
  readonly isMet: boolean | undefined;
  /** Whether the machine was disturbed in every round, so that the value is unreliable. */
  readonly isSlow: boolean;
}

/** Judges a target by the median of the values of its rounds. */
export function judge(target: Target, samples: readonly Sample[]): Verdict {
  const rounds = valuesByRound(target, samples);
  if (rounds.length === 0) return { target, value: undefined, isMet: undefined, isSlow: false };
  const undisturbed = rounds.filter(({ isSlow }) => !isSlow);
  const isSlow = undisturbed.length === 0;
  const value = median((isSlow ? rounds : undisturbed).map((round) => round.value));
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = target;
  return { target, value, isMet: value >= atLeast && value <= atMost, isSlow };
}

/** The cells of a verdict in a table. */
export interface VerdictCells {
  readonly path: string;
  readonly ours: string;
  readonly against: string;
  readonly figure: string;
  readonly wanted: string;
  readonly measured: string;
}

/** Returns the text of the cells of a verdict. */
export function cellsOf({ target, value }: Verdict): VerdictCells {
  const { path, ours, of, atLeast, atMost, unit } = target;
  const against = [target.against ?? "", ...(of === undefined ? [] : [of])].join(": ");
  const limits = [
    ...(atLeast === undefined ? [] : [`at least ${digits(atLeast)} ${unit}`]),
    ...(atMost === undefined ? [] : [`at most ${digits(atMost)} ${unit}`]),
  ];
  return {
    path,
    ours,
    against,
    figure: figureText(target),
    wanted: limits.join(", "),
    measured: value === undefined ? "" : `${digits(value)} ${unit}`,
  };
}

/** Returns the heading of a target's figure, and how it is compared. */
export function figureText({ figure, comparison }: Target): string {
  const heading = figureOf(figure)?.heading ?? figure;
  return comparison === "value" ? heading : `${heading}, ${comparison}`;
}

/** Prints a table of verdicts to the console. */
export function printVerdicts(verdicts: readonly Verdict[]): void {
  console.table(verdicts.map((verdict) => ({ ...cellsOf(verdict), met: metText(verdict) })));
}

function metText({ isMet, isSlow }: Verdict): string {
  if (isMet === undefined) return "not measured";
  return `${isMet ? "yes" : "NO"}${isSlow ? ", slow" : ""}`;
}

/**
 * Returns the target's value of each round that has samples of both peers. Comparing within a
 * round cancels slow spells of the machine that affect both.
 */
function valuesByRound(
  target: Target,
  samples: readonly Sample[],
): { readonly value: number; readonly isSlow: boolean }[] {
  const { ours, against, figure, comparison } = target;
  const mine = samplesByRound(target, ours, samples);
  const ofOther = { ...target, scenario: target.of ?? target.scenario };
  const others = against === undefined ? mine : samplesByRound(ofOther, against, samples);
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

/** Returns a peer's samples that have the target's figure, by round. */
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
      hasSameParameters(sample.parameters, parameters),
  );
  return new Map(found.map((sample) => [sample.round, sample]));
}

/** Returns whether two samples of a scenario have the same parameters. */
export function hasSameParameters(one: Sample["parameters"], other: Sample["parameters"]): boolean {
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length && names.every((name) => one[name] === other[name])
  );
}
