/** What moved between two runs, beyond what the rounds of each differ among themselves. */

import type { Sample } from "../results.ts";
import { digits, figureOf } from "./figures.ts";
import { keyOf, placeOf, type Series, seriesOf } from "./series.ts";

/** Less is noise, however alike the rounds are. */
const CHANGE_MIN = 0.05;
/** What a figure of one round can be off by. */
const SINGLE_ROUND_NOISE = 0.15;

/** A figure that is not what it was. */
export interface Move {
  readonly scenario: string;
  readonly place: string;
  readonly peer: string;
  readonly figure: string;
  readonly old: number;
  readonly new: number;
  readonly isBetter: boolean;
}

/** The moves from `before` to `after`, the worst first. */
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
  const { scenario, parameters, peer } = after;
  return Object.entries(after.medians).flatMap(([name, value]) => {
    const figure = figureOf(name);
    const old = before.medians[name];
    if (figure === undefined || old === undefined) return [];
    if (Math.abs(value - old) <= (figure.noise ?? 0)) return [];
    const noise = spread(before.rounds[name]) + spread(after.rounds[name]);
    if (Math.abs(change(old, value)) <= Math.max(CHANGE_MIN, noise)) return [];
    const isBetter = value > old === (figure.better === "more");
    return { scenario, place: placeOf(parameters), peer, figure: name, old, new: value, isBetter };
  });
}

/** By what part of the larger one two values differ: symmetric, and fine with zeros. */
function change(old: number, value: number): number {
  const larger = Math.max(Math.abs(old), Math.abs(value));
  return larger === 0 ? 0 : (value - old) / larger;
}

/** How far rounds are from the middle, as a part of the largest; for one round, a guess. */
function spread(rounds: readonly number[] = []): number {
  if (rounds.length < 2) return SINGLE_ROUND_NOISE / 2;
  return Math.abs(change(Math.min(...rounds), Math.max(...rounds))) / 2;
}

/** Prints them. */
export function printMoves(moves: readonly Move[]): void {
  if (moves.length === 0) {
    console.log("nothing moved beyond noise");
    return;
  }
  console.table(
    moves.map(({ scenario, place, peer, figure, old, new: now, isBetter }) => ({
      scenario,
      at: place,
      peer,
      figure,
      old: digits(old),
      new: digits(now),
      ratio: old === 0 ? "" : (now / old).toFixed(2),
      "": isBetter ? "better" : "WORSE",
    })),
  );
}
