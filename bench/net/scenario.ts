/** The parts of a network benchmark scenario. */

import type { Sample } from "../results.ts";
import type { Contender } from "./contenders.ts";
import type { Figures } from "./measures.ts";

/** The parameters of a sample: one point on the axes of a scenario. */
export type Point = Sample["parameters"];

/** How long measurements take: short for `--quick`, longer for results that are kept. */
export interface Effort {
  readonly seconds: number;
  /** The number of times that a drain fills and empties the queue. */
  readonly laps: number;
  readonly idleTrips: number;
  readonly pingPongTrips: number;
}

/** What to measure, of which contenders, at which points. */
export interface Scenario {
  readonly suite: Exclude<Sample["suite"], "micro">;
  readonly name: string;
  readonly points: readonly Point[];
  readonly contenders: readonly Contender[];
  /** Returns whether a contender is measured at a point. Absent: all are. */
  takesPart?(contender: Contender, point: Point): boolean;
  /** Returns the number of rounds of this scenario in a run of `ofRun` rounds. Absent: all. */
  rounds?(ofRun: number): number;
  /** Whether one call of `measure` takes all contenders, instead of one call for each. */
  readonly isTogether?: boolean;
  /** Returns the figures of each contender, in the same order. */
  measure(
    contenders: readonly Contender[],
    point: Point,
    effort: Effort,
  ): Promise<readonly Figures[]>;
}

/** Makes a `Scenario["measure"]` that measures one contender after the other. */
export function measureEach(
  measure: (contender: Contender, point: Point, effort: Effort) => Promise<Figures>,
): Scenario["measure"] {
  return async (contenders, point, effort) => {
    const all: Figures[] = [];
    for (const contender of contenders) all.push(await measure(contender, point, effort));
    return all;
  };
}

/**
 * Returns a parameter of a point.
 *
 * @throws Error if the scenario has no such parameter.
 */
export function parameterOf(point: Point, name: string): number {
  const value = point[name];
  if (value === undefined) {
    throw new Error(`point expected "${name}", got ${JSON.stringify(point)}`);
  }
  return value;
}
