/**
 * Takes samples on a machine whose speed varies. The machine is measured before and after each
 * sample. A sample is repeated if the machine was slow, if other programs ran at the same time, or
 * if it failed.
 */

import type { Figures } from "./measures.ts";
import { readGauge } from "./processes.ts";
import { othersTicks } from "./usage.ts";

/** The maximum number of attempts per sample. */
const ATTEMPTS_MAX = 3;
/** After this number of failed attempts a sample is given up. */
const FAILURES_MAX = 2;
/** The machine is slow if the gauge exceeds a good value of the run by this factor. */
const SLOW_GAUGE = 1.15;
/** A sample is disturbed if other programs use more than this fraction of a processor. */
const OTHERS_MAX = 0.1;
/** The length of a clock tick: USER_HZ is 100 on x86-64 and arm64 (time(7)). */
const MS_PER_TICK = 10;
/** The number of gauge readings before the first sample. */
const INITIAL_READINGS = 10;

interface Attempt {
  readonly figures: readonly Figures[];
  readonly gaugeUs: number;
  readonly others: number;
}

/** Takes the samples of one run. */
export class Sampler {
  readonly #gauges: number[] = [];
  readonly #failures: string[] = [];
  #repeatMsLeft: number;

  /** @param repeatSeconds the total time that may be spent on repeated samples. */
  constructor(repeatSeconds: number) {
    this.#repeatMsLeft = repeatSeconds * 1e3;
    for (let reading = 0; reading < INITIAL_READINGS; reading++) this.#gauge();
  }

  /** The errors of all failed attempts, including those that were repeated successfully. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  /**
   * The gauge value above which the machine is slow. It derives from the lower quartile of all
   * readings so far, since the minimum is an outlier, compared with which most samples look slow.
   */
  get #slowGaugeUs(): number {
    const sorted = this.#gauges.toSorted((a, b) => a - b);
    return SLOW_GAUGE * (sorted[Math.floor(sorted.length / 4)] as number);
  }

  /** Adds `slow` to the figures of a sample: 1 if its best attempt was disturbed, otherwise 0. */
  mark(figures: Figures): Figures {
    const { gaugeUs = 0, others = 0 } = figures;
    return { ...figures, slow: Number(this.#isDisturbed({ gaugeUs, others })) };
  }

  /**
   * Returns the results of the least disturbed call of `measure`, or undefined if all calls failed.
   * Adds to the figures of each contender: `gaugeUs`, `others` (the number of processors that other
   * programs used) and `attempts`.
   */
  async take(
    label: string,
    measure: () => Promise<readonly Figures[]>,
  ): Promise<readonly Figures[] | undefined> {
    let best: Attempt | undefined;
    let failed = 0;
    let attempts = 0;
    while (attempts < ATTEMPTS_MAX && failed < FAILURES_MAX) {
      if (best !== undefined && this.#repeatMsLeft <= 0) break;
      const startMs = performance.now();
      const attempt = await this.#attempt(label, measure);
      if (attempts++ > 0) this.#repeatMsLeft -= performance.now() - startMs;
      if (attempt === undefined) failed++;
      else if (best === undefined || disturbance(attempt) < disturbance(best)) best = attempt;
      if (attempt !== undefined && !this.#isDisturbed(attempt)) break;
    }
    if (best === undefined) return undefined;
    const { gaugeUs, others } = best;
    return best.figures.map((figures) => ({ ...figures, gaugeUs, others, attempts }));
  }

  #isDisturbed({ gaugeUs, others }: Omit<Attempt, "figures">): boolean {
    return gaugeUs > this.#slowGaugeUs || others > OTHERS_MAX;
  }

  async #attempt(
    label: string,
    measure: () => Promise<readonly Figures[]>,
  ): Promise<Attempt | undefined> {
    const before = this.#gauge();
    const startMs = performance.now();
    const startTicks = othersTicks();
    try {
      const figures = await measure();
      const ticks = Math.max(0, othersTicks() - startTicks);
      const others = (ticks * MS_PER_TICK) / (performance.now() - startMs);
      return { figures, gaugeUs: Math.max(before, this.#gauge()), others };
    } catch (error) {
      this.#failures.push(`${label}: ${(error as Error).message}`);
      return undefined;
    }
  }

  #gauge(): number {
    const gaugeUs = readGauge();
    this.#gauges.push(gaugeUs);
    return gaugeUs;
  }
}

/** Returns how much an attempt was disturbed, for comparison with other attempts. */
function disturbance({ gaugeUs, others }: Attempt): number {
  return gaugeUs * (1 + others);
}
