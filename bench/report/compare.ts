/** Compares two runs: finds the figures that changed by more than the noise of the rounds. */

import { digits, figureOf } from "../figures.ts";
import type { Sample } from "../results.ts";
import { describeParameters, keyOf, type Series, seriesOf } from "./series.ts";

/** Smaller relative changes count as noise, even if the rounds of each run agree. */
const CHANGE_MIN = 0.05;
/** The assumed noise of a figure that has only one round. */
const SINGLE_ROUND_NOISE = 0.15;

/** A figure that changed between two runs. */
export interface Move {
  readonly scenario: string;
  readonly parameters: string;
  readonly peer: string;
  readonly figure: string;
  readonly old: number;
  readonly new: number;
  readonly isBetter: boolean;
}

/** Returns the figures that changed from `before` to `after`, the largest deterioration first. */
export function movesBetween(before: readonly Sample[], after: readonly Sample[]): Move[] {
  const old = new Map(seriesOf(before).map((series) => [keyOf(series), series]));
  const moves = seriesOf(after).flatMap((series) => {
    const other = old.get(keyOf(series));
    return other === undefined ? [] : movesOf(other, series);
  });
  const gain = (move: Move) => Math.abs(change(move.old, move.new)) * (move.isBetter ? 1 : -1);
  return moves.toSorted((a, b) => gain(a) - gain(b));
}

function movesOf(before: Series, after: Series): Move[] {
  const { scenario, peer } = after;
  const parameters = describeParameters(after.parameters);
  return Object.entries(after.medians).flatMap(([name, value]) => {
    const figure = figureOf(name);
    const old = before.medians[name];
    if (figure === undefined || old === undefined) return [];
    if (Math.abs(value - old) <= (figure.noise ?? 0)) return [];
    const noise = spread(before.rounds[name]) + spread(after.rounds[name]);
    if (Math.abs(change(old, value)) <= Math.max(CHANGE_MIN, noise)) return [];
    const isBetter = value > old === (figure.better === "more");
    return { scenario, parameters, peer, figure: name, old, new: value, isBetter };
  });
}

/** Returns the difference relative to the larger value: symmetric, and defined for zeros. */
function change(old: number, value: number): number {
  const larger = Math.max(Math.abs(old), Math.abs(value));
  return larger === 0 ? 0 : (value - old) / larger;
}

/** Returns half the relative range of the rounds, or the assumed noise if there is only one. */
function spread(rounds: readonly number[] = []): number {
  if (rounds.length < 2) return SINGLE_ROUND_NOISE / 2;
  return Math.abs(change(Math.min(...rounds), Math.max(...rounds))) / 2;
}

/** Prints a table of moves to the console. */
export function printMoves(moves: readonly Move[]): void {
  if (moves.length === 0) {
    console.log("no figure changed by more than noise");
    return;
  }
  console.table(
    moves.map(({ scenario, parameters, peer, figure, old, new: now, isBetter }) => ({
      scenario,
      at: parameters,
      peer,
      figure,
      old: digits(old),
      new: digits(now),
      ratio: old === 0 ? "" : (now / old).toFixed(2),
      "": isBetter ? "better" : "WORSE",
    })),
  );
}
