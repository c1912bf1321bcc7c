/**
 * What each datagram more costs: from batches of two sizes, so that what is paid once a batch, such
 * as a promise, is not laid on its datagrams.
 */

import type { Sample } from "../results.ts";

/** The samples of `scenario` by batch size, and of each peer one without, named `name`. */
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
  const more = batchOf(large) - batchOf(small);
  const bytes = ({ figures, parameters }: Sample) =>
    Number(figures.bytesAllocated) * Number(parameters.batch);
  // Less for more datagrams is a page here or there.
  return { bytesAllocated: Math.max(0, Math.round((bytes(large) - bytes(small)) / more)) };
}

function batchOf({ parameters }: Sample): number {
  return Number(parameters.batch);
}
