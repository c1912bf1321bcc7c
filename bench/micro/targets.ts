/** The targets of the microbenchmarks. */

import type { Target } from "../targets.ts";

const BYTES = 1200;
const LONGEST_BYTES = 65_000;
const HEADROOM = "headroom: tryAddPrefix, advance";
const SPLICE = "splice: spliceHeadroom, tryAddPrefix";

const TIMES: readonly Target[] = [
  {
    path: "tryAddPrefix and advance of 8 bytes",
    scenario: "DgramBuffer, each of 64",
    parameters: { bytes: BYTES },
    figure: "ns",
    comparison: "value",
    ours: "tryAddPrefix, 8 bytes, advance",
    atMost: 5,
    unit: "ns",
  },
  {
    path: "a pooled buffer, 1200 bytes of payload, a prefix",
    scenario: "prefix, pooled",
    parameters: { bytes: BYTES },
    figure: "ns",
    comparison: "value",
    ours: "headroom",
    atMost: 70,
    unit: "ns",
  },
  {
    path: "splice and prefix at 1200 bytes",
    scenario: "prefix alone",
    parameters: { bytes: BYTES },
    figure: "ns",
    comparison: "value",
    ours: SPLICE,
    atMost: 100,
    unit: "ns",
  },
  {
    path: "splice and prefix at 65000 bytes",
    scenario: "prefix alone",
    parameters: { bytes: LONGEST_BYTES },
    figure: "ns",
    comparison: "ratio",
    ours: SPLICE,
    against: "the payload copied once: set",
    atMost: 2,
    unit: "x",
  },
];

function withoutAllocation(path: string, scenario: string, ours: string): Target {
  return {
    path,
    scenario,
    parameters: { bytes: BYTES },
    figure: "bytesAllocated",
    comparison: "value",
    ours,
    atMost: 0,
    unit: "bytes",
  };
}

/** The scenario of slope.ts: what each additional datagram of a batch allocates. */
export const ADDITIONAL_DATAGRAM = "steady state, each datagram more";

const ALLOCATIONS: readonly Target[] = [
  withoutAllocation("tryAddPrefix and advance, allocated", "prefix alone", HEADROOM),
  withoutAllocation("splice and prefix, allocated", "prefix alone", SPLICE),
  withoutAllocation("a pooled buffer, allocated", "prefix, pooled", "headroom"),
  ...[
    "trySendMany, tryRecvMany",
    "sendMany, recvMany: one promise each a batch",
    "trySendBatch, tryRecvBatch",
    "relay by batches, 8 bytes of prefix",
  ].map((ours) => withoutAllocation("allocated for each datagram", ADDITIONAL_DATAGRAM, ours)),
];

export const MICRO_TARGETS: readonly Target[] = [...TIMES, ...ALLOCATIONS];
