/**
 * Takes samples on a machine that is not always as fast: each between two looks at a gauge, and
 * again when that tells of a slow spell, or when other programs ran beside it. A sample that fails
 * is taken again as well.
 */

import type { Figures } from "./measures.ts";
import { readGauge } from "./processes.ts";
import { othersTicks } from "./usage.ts";

/** How many times a sample is taken, at the most. */
const ATTEMPTS_MAX = 3;
/** After so many failures nothing better is to be expected. */
const FAILURES_MAX = 2;
/** A gauge this much above a good one of the run tells of a slow spell. */
const SLOW_GAUGE = 1.15;
/** Other programs may have this part of a processor: more disturbs. */
const OTHERS_MAX = 0.1;
/** USER_HZ of Linux is 100 everywhere. */
const MS_A_TICK = 10;
/** Looks at the gauge before the first sample. */
const FIRST_LOOKS = 10;

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

  /** Takes samples again for so long in all, and no longer. */
  constructor(repeatSeconds: number) {
    this.#repeatMsLeft = repeatSeconds * 1e3;
    for (let look = 0; look < FIRST_LOOKS; look++) this.#gauge();
  }

  /** What went wrong, whether or not another attempt went better. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  /**
   * A gauge above this tells of a slow spell. What is good is the lower quartile of all so far:
   * the very best is a lucky moment, which would make everything else look slow.
   */
  get #slowGaugeUs(): number {
    const sorted = this.#gauges.toSorted((a, b) => a - b);
    return SLOW_GAUGE * (sorted[Math.floor(sorted.length / 4)] as number);
  }

  /** Adds `slow` to figures: 1 where even the best attempt was disturbed, 0 elsewhere. */
  mark(figures: Figures): Figures {
    const { gaugeUs = 0, others = 0 } = figures;
    return { ...figures, slow: Number(this.#isDisturbed({ gaugeUs, others })) };
  }

  /**
   * What `measure` answers, of one contender or of several, with what is known of the attempt among
   * the figures of each: `gaugeUs`, `others` (processors that other programs used) and `attempts`.
   * Of several attempts the best one. Undefined where every attempt failed.
   */
  async take(
    what: string,
    measure: () => Promise<readonly Figures[]>,
  ): Promise<readonly Figures[] | undefined> {
    let best: Attempt | undefined;
    let failed = 0;
    let attempts = 0;
    while (attempts < ATTEMPTS_MAX && failed < FAILURES_MAX) {
      if (best !== undefined && this.#repeatMsLeft <= 0) break;
      const startMs = performance.now();
      const attempt = await this.#attempt(what, measure);
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
    what: string,
    measure: () => Promise<readonly Figures[]>,
  ): Promise<Attempt | undefined> {
    const before = this.#gauge();
    const startMs = performance.now();
    const startTicks = othersTicks();
    try {
      const figures = await measure();
      const ticks = Math.max(0, othersTicks() - startTicks);
      const others = (ticks * MS_A_TICK) / (performance.now() - startMs);
      return { figures, gaugeUs: Math.max(before, this.#gauge()), others };
    } catch (error) {
      this.#failures.push(`${what}: ${(error as Error).message}`);
      return undefined;
    }
  }

  #gauge(): number {
    const gaugeUs = readGauge();
    this.#gauges.push(gaugeUs);
    return gaugeUs;
  }
}

/** How much a sample was disturbed, to compare attempts. */
function disturbance({ gaugeUs, others }: Attempt): number {
  return gaugeUs * (1 + others);
}
