/** The rule that decides whether a soak run was flat, on made-up runs. */

import { expect, test } from "bun:test";
import { growthOf, verdictsOf } from "./flatness.ts";
import type { SoakSample } from "./messages.ts";

const FLAT: SoakSample = {
  seconds: 0,
  rssMiB: 100,
  heapMiB: 10,
  descriptors: 200,
  flows: 400,
  flowsOpened: 0,
  datagrams: 0,
  drops: 0,
  exchanges: 0,
  exchangesLost: 0,
};

/** Returns a run of ten minutes, whose samples `change` computes from the time in seconds. */
function runOf(change: (seconds: number) => Partial<SoakSample>): SoakSample[] {
  return Array.from({ length: 600 }, (_, seconds) => ({
    ...FLAT,
    seconds,
    exchanges: 100 * seconds,
    ...change(seconds),
  }));
}

function exceeded(samples: readonly SoakSample[]): string[] {
  return verdictsOf(samples)
    .filter(({ value, max }) => !(value <= max))
    .map(({ name }) => name);
}

test("a run whose memory rises and falls between collections is flat", () => {
  const samples = runOf((seconds) => ({ rssMiB: 100 + (seconds % 60), heapMiB: seconds % 37 }));
  expect(exceeded(samples)).toEqual([]);
});

test("growth during the warm-up is accepted", () => {
  expect(exceeded(runOf((seconds) => ({ rssMiB: Math.min(100, seconds) })))).toEqual([]);
});

test("each kind of growth is found", () => {
  const resident = runOf((seconds) => ({ rssMiB: 100 + seconds / 20 + (seconds % 9) }));
  expect(exceeded(resident)).toEqual(["growth of resident memory, MiB"]);
  const heap = runOf((seconds) => ({ heapMiB: 10 + seconds / 20 }));
  expect(exceeded(heap)).toEqual(["growth of the JavaScript heap, MiB"]);
  const descriptors = runOf((seconds) => ({ descriptors: 200 + seconds }));
  expect(exceeded(descriptors)).toEqual(["growth of open descriptors"]);
  const lost = runOf((seconds) => ({ exchangesLost: seconds }));
  expect(exceeded(lost)).toEqual(["share of exchanges without a reply"]);
});

test("the growth is that of the low points after the warm-up", () => {
  const samples = runOf((seconds) => ({ rssMiB: seconds }));
  // Of the 450 samples after the warm-up, the first and the last 112 are compared.
  expect(growthOf(samples, ({ rssMiB }) => rssMiB)).toBe(450 - 112);
});
