/** What a scenario of the network benchmarks is, and how much effort goes into each. */

import type { Sample } from "../results.ts";
import type { Contender } from "./contenders.ts";
import type { Figures } from "./measures.ts";

/** Where on a scenario's axes something is measured. */
export type Place = Readonly<Record<string, number>>;

/** How long everything takes: short for a look, long for figures. */
export interface Effort {
  readonly seconds: number;
  /** Of a drain. */
  readonly laps: number;
  readonly idleTrips: number;
  readonly pingPongTrips: number;
}

/** A thing to measure, of whom and where. */
export interface Scenario {
  readonly suite: Exclude<Sample["suite"], "micro">;
  readonly name: string;
  readonly places: readonly Place[];
  readonly contenders: readonly Contender[];
  /** Not everyone can everywhere, or is worth the time. */
  takesPart?(contender: Contender, place: Place): boolean;
  /** How many rounds it takes part in of a run of so many; absent: in all. */
  rounds?(ofRun: number): number;
  /** Whether all that take part are measured together, or each by itself. */
  readonly isTogether?: boolean;
  /** The figures of each, in their order. */
  measure(
    contenders: readonly Contender[],
    place: Place,
    effort: Effort,
  ): Promise<readonly Figures[]>;
}

/** Measures one after the other. */
export function each(
  measure: (contender: Contender, place: Place, effort: Effort) => Promise<Figures>,
): Scenario["measure"] {
  return async (contenders, place, effort) => {
    const all: Figures[] = [];
    for (const contender of contenders) all.push(await measure(contender, place, effort));
    return all;
  };
}

/** A coordinate of a place. */
export function at(place: Place, axis: string): number {
  const value = place[axis];
  if (value === undefined)
    throw new Error(`place expected "${axis}", got ${JSON.stringify(place)}`);
  return value;
}
