/** Decides whether memory, descriptors and losses stayed flat. */

import type { SoakSample } from "./messages.ts";

/** The part of the run in which compilers and pools still grow. */
const WARM_UP_PART = 0.25;
/** The part at the start and at the end of the remaining run whose low points are compared. */
const COMPARED_PART = 0.25;

/**
 * The growth of memory that is accepted, in MiB, whatever the duration: the collector's heap and
 * the allocator's caches fluctuate by that much. A leak of 100 bytes per exchange at 100 exchanges a
 * second grows by 34 MiB in an hour, and one of 16 bytes per datagram in seconds.
 */
const GROWTH_MIB_MAX = 16;
/** As many descriptors as the flows of a second, whose number fluctuates. */
const DESCRIPTORS_MAX = 100;
/** The accepted share of exchanges without a reply. The load does not exceed the buffers. */
const LOST_PART_MAX = 0.001;

/** What was measured, with its limit. */
export interface Verdict {
  readonly name: string;
  readonly value: number;
  readonly max: number;
}

/**
 * Returns a low value: a tenth of the values are lower. Between collections, memory rises and falls
 * like a saw; its low points show what is in use.
 */
function lowPoint(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 10)] as number;
}

/** Returns the difference between the low points of the end and of the start after the warm-up. */
export function growthOf(
  samples: readonly SoakSample[],
  of: (sample: SoakSample) => number,
): number {
  const values = samples.slice(Math.floor(samples.length * WARM_UP_PART)).map(of);
  const count = Math.max(1, Math.floor(values.length * COMPARED_PART));
  return lowPoint(values.slice(-count)) - lowPoint(values.slice(0, count));
}

/** Returns the verdicts on a run. It passed if no value exceeds its limit. */
export function verdictsOf(samples: readonly SoakSample[]): Verdict[] {
  const last = samples.at(-1) as SoakSample;
  return [
    {
      name: "growth of resident memory, MiB",
      value: growthOf(samples, ({ rssMiB }) => rssMiB),
      max: GROWTH_MIB_MAX,
    },
    {
      name: "growth of the JavaScript heap, MiB",
      value: growthOf(samples, ({ heapMiB }) => heapMiB),
      max: GROWTH_MIB_MAX,
    },
    {
      name: "growth of open descriptors",
      value: growthOf(samples, ({ descriptors }) => descriptors),
      max: DESCRIPTORS_MAX,
    },
    {
      name: "share of exchanges without a reply",
      value: last.exchangesLost / Math.max(1, last.exchanges),
      max: LOST_PART_MAX,
    },
  ];
}
