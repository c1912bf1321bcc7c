/** What the network benchmarks are to reach, all by ratios of one run. */

import type { Sample } from "../results.ts";
import { type Comparison, isSamePlace, judge, type Target, type Verdict } from "../targets.ts";
import * as who from "./contenders.ts";
import { DEFAULT_BATCH, DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";

const AT_1200 = { bytes: DEFAULT_DATAGRAM_BYTES };
const TO_64 = { ...AT_1200, peers: DEFAULT_BATCH };

/** Level, as far as a median of a few rounds can tell. */
const LEVEL = 0.97;

const ours = who.DEFAULTS.name;
const batches = who.BATCHES.name;
const oneBuffer = who.ONE_BUFFER.name;
const offloadOff = who.OFFLOAD_OFF.name;
const bun = who.BUN.name;
const plain = who.C_PLAIN.name;
const offload = who.C_OFFLOAD.name;

/** How many times the rate of another; of drains, whose figure is time, how many times as fast. */
function times(
  path: string,
  scenario: string,
  mine: string,
  against: string,
  atLeast: number,
  parameters: Target["parameters"] = AT_1200,
): Target {
  const isDrain = scenario.endsWith("drain");
  const [figure, comparison]: [string, Comparison] = isDrain
    ? ["ns", "speed-up"]
    : ["rate", "ratio"];
  return {
    path,
    scenario,
    parameters,
    figure,
    comparison,
    ours: mine,
    against,
    atLeast,
    unit: "x",
  };
}

const echo = { parameters: AT_1200, ours, unit: "x" } as const;
const start = {
  path: "start",
  scenario: "start",
  parameters: AT_1200,
  ours,
  against: bun,
} as const;
const user = { scenario: "receive, drain", parameters: AT_1200, figure: "userUs" } as const;

/** Those that are named; `judgeAll` adds those against every peer. */
export const NET_TARGETS: readonly Target[] = [
  times("receive, offload off", "receive, default queue", offloadOff, bun, 2),
  times("receive, offload off", "receive, default queue", offloadOff, plain, 0.9),
  times("receive, full queue, offload off", "receive, drain", offloadOff, bun, 2),
  ...[
    { ours: offloadOff, atMost: 0.08 },
    { ours: batches, atMost: 0.04 },
  ].flatMap((limit): Target[] => [
    // A receiver that waits for its sender asks again and again; one that has a full queue does not.
    { path: "receive, full queue", ...user, comparison: "value", ...limit, unit: "us" },
    {
      path: "receive, flood",
      ...user,
      scenario: "receive",
      comparison: "value",
      ...limit,
      unit: "us",
    },
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
    atMost: 1 / LEVEL,
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
    atMost: 1 / LEVEL,
  },
  times("send 64 to one peer", "send", ours, bun, 8),
  times("send 64 to one peer", "send", ours, offload, 0.85),
  times("send 64 to one peer", "send", oneBuffer, offload, 0.85),
  times("receive from GSO", "receive", ours, bun, 3),
  times("receive from GSO", "receive", ours, offload, 0.8),
  times("receive from GSO", "receive", batches, offload, 0.9),
  times("receive, full queue", "receive, drain", ours, offload, 0.8),
  times("receive, full queue", "receive, drain", batches, offload, 0.9),
  times("relay with prefix", "relay", batches, bun, 12),
  times("relay with prefix", "relay", batches, plain, 8),
  times("relay with prefix", "relay", batches, offload, 0.7),
  times("relay, full queue", "relay, drain", batches, offload, 0.7),
  times("send to 64 peers", "send to many peers", ours, bun, 1, TO_64),
  { ...start, figure: "ms", comparison: "difference", atMost: 20, unit: "ms" },
  { ...start, figure: "residentMiB", comparison: "difference", atMost: 8, unit: "MiB" },
];

/** Which figures of a scenario are held against every peer. */
const AHEAD: readonly { readonly figure: string; readonly comparison: Comparison }[] = [
  { figure: "rate", comparison: "ratio" },
  { figure: "p50Us", comparison: "speed-up" },
  { figure: "ns", comparison: "speed-up" },
  { figure: "cpuUs", comparison: "speed-up" },
];

/** Where a figure says nothing: at a given pace, or with a given number of datagrams on the way. */
const IS_GIVEN: Readonly<Record<string, readonly string[]>> = {
  rate: ["echo, idle"],
  p50Us: ["echo, many flows"],
};

/** Every target that `samples` have something to say about. */
export function judgeAll(samples: readonly Sample[]): Verdict[] {
  const scenarios = new Set(samples.filter(({ suite }) => suite === "net").map((s) => s.scenario));
  const named = NET_TARGETS.map((target) => judge(target, samples));
  const ahead = [...scenarios].flatMap((scenario) =>
    AHEAD.flatMap((figure) => worstOf(scenario, figure, samples) ?? []),
  );
  return [...named.filter(({ value }) => value !== undefined), ...ahead];
}

/** The place and the peer beside which this library is the least ahead in a scenario. */
function worstOf(
  scenario: string,
  { figure, comparison }: (typeof AHEAD)[number],
  samples: readonly Sample[],
): Verdict | undefined {
  if (IS_GIVEN[figure]?.includes(scenario)) return undefined;
  const of = samples.filter((sample) => sample.scenario === scenario);
  const verdicts = places(of).flatMap((parameters) =>
    [...who.JAVASCRIPT, who.UNIX_DGRAM].map(({ name: against }) => {
      const where = Object.entries(parameters).map(([axis, value]) => `${value} ${axis}`);
      const path = `${scenario}, worst: ${where.join(", ")}`;
      const target = { path, scenario, parameters, figure, comparison, ours, against };
      return judge({ ...target, atLeast: LEVEL, unit: "x" }, of);
    }),
  );
  const measured = verdicts.filter((verdict) => verdict.value !== undefined);
  return measured.toSorted((a, b) => Number(a.value) - Number(b.value))[0];
}

function places(samples: readonly Sample[]): Target["parameters"][] {
  const found: Target["parameters"][] = [];
  for (const { parameters } of samples) {
    if (!found.some((place) => isSamePlace(place, parameters))) found.push(parameters);
  }
  return found;
}
