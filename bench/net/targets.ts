/** The targets of the network benchmarks. Nearly all of them compare peers within a run. */

import type { Sample } from "../results.ts";
import {
  type Comparison,
  hasSameParameters,
  judge,
  type Target,
  type Verdict,
} from "../targets.ts";
import * as contenders from "./contenders.ts";
import { DEFAULT_BATCH, DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";
import type { Point } from "./scenario.ts";
import { WORKLOAD_TARGETS } from "./workload-targets.ts";

const AT_1200: Point = { bytes: DEFAULT_DATAGRAM_BYTES };
const TO_64: Point = { ...AT_1200, peers: DEFAULT_BATCH };

/** The ratio from which on two results count as equal: a few rounds cannot resolve less. */
const EQUAL = 0.97;

const ours = contenders.DEFAULTS.name;
const batches = contenders.BATCHES.name;
const oneBuffer = contenders.ONE_BUFFER.name;
const offloadOff = contenders.OFFLOAD_OFF.name;
const bun = contenders.BUN.name;
const plain = contenders.C_PLAIN.name;
const offload = contenders.C_OFFLOAD.name;
const separate = contenders.C_SEPARATE.name;

/** Makes targets for throughput: ratios of rates, or of times per datagram in a drain. */
function throughputTargets(
  {
    path,
    scenario,
    parameters = AT_1200,
  }: {
    readonly path: string;
    readonly scenario: string;
    readonly parameters?: Point;
  },
  pairs: readonly Required<Pick<Target, "ours" | "against" | "atLeast">>[],
): readonly Target[] {
  const [figure, comparison]: [string, Comparison] = scenario.endsWith("drain")
    ? ["ns", "speed-up"]
    : ["rate", "ratio"];
  const common = { path, scenario, parameters, figure, comparison, unit: "x" };
  return pairs.map((pair) => ({ ...common, ...pair }));
}

const echo = { parameters: AT_1200, ours, unit: "x" } as const;
const start = {
  path: "start",
  scenario: "start",
  parameters: AT_1200,
  ours,
  against: bun,
} as const;
const user = { parameters: AT_1200, figure: "userUs", comparison: "value", unit: "us" } as const;

/** The targets with limits of their own. `judgeAll` adds the comparisons with every peer. */
export const NET_TARGETS: readonly Target[] = [
  ...throughputTargets({ path: "receive, offload off", scenario: "receive, default queue" }, [
    { ours: offloadOff, against: bun, atLeast: 2 },
    { ours: offloadOff, against: plain, atLeast: 0.95 },
  ]),
  ...throughputTargets({ path: "receive, full queue, offload off", scenario: "receive, drain" }, [
    { ours: offloadOff, against: bun, atLeast: 2 },
  ]),
  ...[
    { ours: offloadOff, atMost: 0.08 },
    { ours: batches, atMost: 0.04 },
  ].flatMap((limit): Target[] => [
    // With a full queue, unlike in a flood, no receive is wasted on an empty queue.
    { path: "receive, full queue", scenario: "receive, drain", ...user, ...limit },
    { path: "receive, flood", scenario: "receive", ...user, ...limit },
  ]),
  {
    ...echo,
    path: "idle",
    scenario: "echo, idle",
    figure: "p50Us",
    comparison: "ratio",
    against: bun,
    atMost: 1.1,
  },
  {
    ...echo,
    path: "idle",
    scenario: "echo, idle",
    figure: "p99Us",
    comparison: "ratio",
    against: bun,
    atMost: 1 / EQUAL,
  },
  {
    ...echo,
    path: "idle, offload on",
    scenario: "echo, idle",
    figure: "p50Us",
    comparison: "ratio",
    against: offloadOff,
    atMost: 1.05,
  },
  {
    ...echo,
    path: "ping-pong",
    scenario: "echo, ping-pong",
    figure: "p50Us",
    comparison: "speed-up",
    against: bun,
    atLeast: 1.3,
  },
  {
    ...echo,
    path: "ping-pong",
    scenario: "echo, ping-pong",
    figure: "p99Us",
    comparison: "ratio",
    against: bun,
    atMost: 1 / EQUAL,
  },
  ...throughputTargets({ path: "send 64 to one peer", scenario: "send" }, [
    { ours, against: bun, atLeast: 8 },
    { ours, against: offload, atLeast: 0.85 },
    { ours: oneBuffer, against: offload, atLeast: 0.85 },
    { ours, against: separate, atLeast: 0.95 },
  ]),
  ...throughputTargets({ path: "receive from GSO", scenario: "receive" }, [
    { ours, against: bun, atLeast: 3 },
    { ours, against: offload, atLeast: 0.8 },
    { ours: batches, against: offload, atLeast: 0.9 },
  ]),
  ...throughputTargets({ path: "receive, full queue", scenario: "receive, drain" }, [
    { ours, against: offload, atLeast: 0.8 },
    { ours, against: separate, atLeast: 0.9 },
    { ours: batches, against: offload, atLeast: 0.9 },
  ]),
  ...throughputTargets({ path: "relay with prefix", scenario: "relay" }, [
    { ours: batches, against: bun, atLeast: 12 },
    { ours: batches, against: plain, atLeast: 8 },
    { ours: batches, against: offload, atLeast: 0.7 },
  ]),
  ...throughputTargets({ path: "relay, full queue", scenario: "relay, drain" }, [
    { ours: batches, against: offload, atLeast: 0.7 },
  ]),
  ...throughputTargets(
    { path: "send to 64 peers", scenario: "send to many peers", parameters: TO_64 },
    [{ ours, against: bun, atLeast: 1 }],
  ),
  {
    ...start,
    path: "start, published package",
    ours: contenders.PUBLISHED.name,
    figure: "ms",
    comparison: "difference",
    atMost: 10,
    unit: "ms",
  },
  { ...start, figure: "ms", comparison: "difference", atMost: 20, unit: "ms" },
  { ...start, figure: "residentMiB", comparison: "difference", atMost: 8, unit: "MiB" },
  ...WORKLOAD_TARGETS,
];

/** The figures in which this library must not be worse than any JavaScript peer. */
const COMPARED_FIGURES: readonly { readonly figure: string; readonly comparison: Comparison }[] = [
  { figure: "rate", comparison: "ratio" },
  { figure: "p50Us", comparison: "speed-up" },
  { figure: "ns", comparison: "speed-up" },
  { figure: "cpuUs", comparison: "speed-up" },
];

/** Scenarios whose load determines a figure: by its pace, or by the datagrams in flight. */
const DETERMINED_BY_LOAD: Readonly<Record<string, readonly string[]>> = {
  rate: ["echo, idle"],
  p50Us: ["echo, many flows", "echo to clients"],
};

/** Judges every target that has samples, and the comparisons with every peer. */
export function judgeAll(samples: readonly Sample[]): Verdict[] {
  const scenarios = new Set(samples.filter(({ suite }) => suite === "net").map((s) => s.scenario));
  const named = NET_TARGETS.map((target) => judge(target, samples));
  const compared = [...scenarios].flatMap((scenario) =>
    COMPARED_FIGURES.flatMap((figure) => worstOf(scenario, figure, samples) ?? []),
  );
  return [...named.filter(({ value }) => value !== undefined), ...compared];
}

/** Returns the comparison, of all points of a scenario and all peers, with the lowest value. */
function worstOf(
  scenario: string,
  { figure, comparison }: (typeof COMPARED_FIGURES)[number],
  samples: readonly Sample[],
): Verdict | undefined {
  if (DETERMINED_BY_LOAD[figure]?.includes(scenario)) return undefined;
  const ofScenario = samples.filter((sample) => sample.scenario === scenario);
  const verdicts = pointsOf(ofScenario).flatMap((parameters) =>
    [...contenders.JAVASCRIPT, contenders.UNIX_DGRAM].map(({ name: against }) => {
      const point = Object.entries(parameters).map(([name, value]) => `${value} ${name}`);
      const path = `${scenario}, worst: ${point.join(", ")}`;
      const target = { path, scenario, parameters, figure, comparison, ours, against };
      return judge({ ...target, atLeast: EQUAL, unit: "x" }, ofScenario);
    }),
  );
  const measured = verdicts.filter((verdict) => verdict.value !== undefined);
  return measured.toSorted((a, b) => Number(a.value) - Number(b.value))[0];
}

function pointsOf(samples: readonly Sample[]): Point[] {
  const points: Point[] = [];
  for (const { parameters } of samples) {
    if (!points.some((point) => hasSameParameters(point, parameters))) points.push(parameters);
  }
  return points;
}
