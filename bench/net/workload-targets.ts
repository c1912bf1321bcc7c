/** The targets for workloads of servers: many peers, single datagrams, QUIC, many sockets. */

import type { Target } from "../targets.ts";
import * as contenders from "./contenders.ts";
import { DEFAULT_DATAGRAM_BYTES, LARGE_BATCH } from "./datagrams.ts";
import { FLOW_PROXY_DEMO } from "./flow-proxy-demo.ts";
import { FLOW_PROXY, HTTP3 } from "./http3/scenario.ts";
import { CLOSED_SOCKETS, IDLE_SOCKETS } from "./memory/scenarios.ts";
import { ON_BATCHES, ON_BUN, QUIC, QUIC_DOWNLOAD } from "./quiche/scenario.ts";

/**
 * What both halves forwarded in a second when the load sent datagrams of all lengths, one or two
 * per message, on the machine of the results.
 */
const DEMO_RATE_OF_SINGLE_DATAGRAMS = 126_000;

const batches = contenders.BATCHES.name;
const bun = contenders.BUN.name;

const toPeers = {
  path: "1024 to 64 peers, interleaved",
  parameters: { bytes: DEFAULT_DATAGRAM_BYTES, batch: LARGE_BATCH, peers: 64 },
  figure: "rate",
  comparison: "ratio",
  ours: batches,
  unit: "x",
} as const;

const download = {
  path: "HTTP/3 through the flow proxy",
  scenario: HTTP3.name,
  parameters: { megabytes: 100 },
  comparison: "ratio",
  ours: FLOW_PROXY.name,
  unit: "x",
} as const;

const quicDownload = {
  path: "QUIC download, quiche at both ends",
  scenario: QUIC.name,
  parameters: QUIC_DOWNLOAD,
  comparison: "ratio",
  ours: ON_BATCHES.name,
  against: ON_BUN.name,
  unit: "x",
} as const;

const echoTargets = [32, 256].flatMap((flows) =>
  [
    { ours: contenders.SINGLE.name, atLeast: 1.2 },
    { ours: contenders.ITERATOR.name, atLeast: 1.4 },
  ].map(
    (limit): Target => ({
      path: `echo to ${flows} clients`,
      scenario: "echo to clients",
      parameters: { bytes: 64, flows },
      figure: "rate",
      comparison: "ratio",
      against: bun,
      unit: "x",
      ...limit,
    }),
  ),
);

export const WORKLOAD_TARGETS: readonly Target[] = [
  { ...toPeers, scenario: "interleaved peers", against: bun, atLeast: 8 },
  {
    ...toPeers,
    scenario: "interleaved peers",
    against: batches,
    of: "grouped peers",
    atLeast: 0.7,
  },
  ...echoTargets,
  { ...download, figure: "megabytesPerS", against: bun, atLeast: 2 },
  { ...download, figure: "relayCpuMs", against: bun, atMost: 0.45 },
  { ...quicDownload, figure: "megabytesPerS", atLeast: 1.8 },
  { ...quicDownload, figure: "endsCpuMs", atMost: 0.6 },
  {
    path: "flow proxy demo, both halves",
    scenario: FLOW_PROXY_DEMO.name,
    parameters: { clients: 64 },
    figure: "rate",
    comparison: "value",
    ours: contenders.DEFAULTS.name,
    atLeast: 5 * DEMO_RATE_OF_SINGLE_DATAGRAMS,
    unit: "/s",
  },
  {
    path: "1,000 idle sockets after a burst through each",
    scenario: IDLE_SOCKETS.name,
    parameters: { sockets: 1000 },
    figure: "perSocketKiB",
    comparison: "value",
    ours: contenders.DEFAULTS.name,
    atMost: 4,
    unit: "KiB",
  },
  {
    path: "after closing 300 sockets",
    scenario: CLOSED_SOCKETS.name,
    parameters: { sockets: 300 },
    figure: "retainedMiB",
    comparison: "value",
    ours: contenders.DEFAULTS.name,
    atMost: 4,
    unit: "MiB",
  },
];
