/**
 * Computes what each additional datagram of a batch allocates, from the results of two batch sizes.
 * This excludes allocations per batch, such as that of a promise.
 */

import type { Sample } from "../results.ts";

/** Returns a sample named `name` for each peer, from its samples of `scenario` by batch size. */
export function slopes(samples: readonly Sample[], scenario: string, name: string): Sample[] {
  const bySize = samples
    .filter((sample) => sample.scenario === scenario)
    .toSorted((a, b) => batchOf(a) - batchOf(b));
  return [...Map.groupBy(bySize, ({ peer }) => peer)].flatMap(([, sizes]) => {
    const [small, large] = [sizes.at(0), sizes.at(-1)];
    if (small === undefined || large === undefined || small === large) return [];
    const { batch: _, ...parameters } = large.parameters;
    return { ...large, scenario: name, parameters, figures: slopeOf(small, large) };
  });
}

function slopeOf(small: Sample, large: Sample): Sample["figures"] {
  const additional = batchOf(large) - batchOf(small);
  const bytes = ({ figures, parameters }: Sample) =>
    Number(figures.bytesAllocated) * Number(parameters.batch);
  const slope = Math.round((bytes(large) - bytes(small)) / additional);
  // A negative slope is noise: the heap grows by pages.
  return { bytesAllocated: Math.max(0, slope) };
}

function batchOf({ parameters }: Sample): number {
  return Number(parameters.batch);
}
