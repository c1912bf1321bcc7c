/** The plots of the report, as Vega-Lite specifications. */

import type { TopLevelSpec } from "vega-lite";
import {
  BATCHES,
  C_OFFLOAD,
  C_PLAIN,
  DEFAULTS,
  ITERATOR,
  JAVASCRIPT,
  SINGLE,
} from "../net/contenders.ts";
import { logAxis, roundTicks, ticksAt } from "./log-axis.ts";
import type { Series } from "./series.ts";
import { LIMIT, OTHERS, OURS, OURS_ALSO } from "./theme.ts";

/** A plot, the name of its file, and its description. */
export interface Plot {
  readonly name: string;
  readonly title: string;
  readonly spec: TopLevelSpec;
}

/** The data of a bar, point or label. */
type Datum = Readonly<Record<string, string | number>>;

const BYTES = 1200;
/** The peers that are drawn, from the top: this library, JavaScript runtimes, C. */
const PEERS = [
  ...[DEFAULTS, BATCHES, SINGLE, ITERATOR],
  ...[...JAVASCRIPT, C_PLAIN, C_OFFLOAD],
].map(({ name }) => name);
const COLORS = [
  // No plot has all four.
  ...[OURS, OURS_ALSO, OURS, OURS_ALSO],
  ...JAVASCRIPT.map(() => OTHERS),
  ...[C_PLAIN, C_OFFLOAD].map(() => LIMIT),
];
const PEER_SCALE = { domain: PEERS, range: COLORS } as const;

/** The size of a panel of a plot, in pixels. */
const PANEL_WIDTH = 190;

/** Returns all plots that there are results for. */
export function plotsOf(series: readonly Series[]): Plot[] {
  const all = [
    throughput(series),
    processor(series),
    latency(series),
    growth(series),
    servers(series),
    prefix(series),
  ];
  return all.filter((plot) => plot !== undefined);
}

// --------------------------------------------------------- panels by scenario, rows by peer ----

/** The encodings of the peer of a datum: its row, and its colour. */
const peerRow = {
  field: "peer",
  type: "nominal",
  sort: PEERS,
  title: null,
  axis: { labelLimit: 240 },
} as const;
const peerColor = { field: "peer", type: "nominal", scale: PEER_SCALE, legend: null } as const;

/** Returns the series of these scenarios that are drawn: one datagram size, and `PEERS`. */
function drawn(series: readonly Series[], scenarios: readonly string[]): Series[] {
  return series.filter(
    ({ scenario, peer, parameters }) =>
      scenarios.includes(scenario) && PEERS.includes(peer) && parameters.bytes === BYTES,
  );
}

type Panel = Extract<TopLevelSpec, { readonly facet: unknown }>["spec"];

const PEER_PANEL = { width: PANEL_WIDTH, height: { step: 20 } } as const;

/** Returns a plot of one panel per scenario, side by side, each with a scale of its own. */
function panelsByScenario(
  scenarios: readonly string[],
  values: Datum[],
  panel: Panel,
): TopLevelSpec {
  return {
    data: { values },
    facet: { column: { field: "scenario", sort: [...scenarios], title: null } },
    spec: panel,
    bounds: "flush",
    spacing: 45,
    resolve: { scale: { x: "independent" } },
  };
}

const THROUGHPUT_SCENARIOS = ["send", "receive", "relay"];

function throughput(series: readonly Series[]): Plot | undefined {
  const shown = drawn(series, THROUGHPUT_SCENARIOS);
  const values = shown.flatMap(({ scenario, peer, medians }): Datum[] =>
    medians.rate === undefined ? [] : [{ scenario, peer, rate: medians.rate / 1e6 }],
  );
  if (values.length === 0) return undefined;
  const x = { field: "rate", type: "quantitative", title: "million datagrams a second" } as const;
  const label = { field: "rate", type: "quantitative", format: ".2~f" } as const;
  return {
    name: "throughput",
    title: `Datagrams of ${BYTES} bytes a second: send, receive, relay with a prefix`,
    spec: panelsByScenario(THROUGHPUT_SCENARIOS, values, {
      ...PEER_PANEL,
      encoding: { y: peerRow },
      layer: [
        { mark: "bar", encoding: { x: { ...x, axis: { tickCount: 4 } }, color: peerColor } },
        { mark: { type: "text", align: "left", dx: 3 }, encoding: { x, text: label } },
      ],
    }),
  };
}

function processor(series: readonly Series[]): Plot | undefined {
  const shown = drawn(series, THROUGHPUT_SCENARIOS);
  const values = shown.flatMap(({ scenario, peer, medians }): Datum[] => {
    const { userUs, systemUs } = medians;
    if (userUs === undefined || systemUs === undefined) return [];
    return [
      { scenario, peer, mode: "user", us: userUs },
      { scenario, peer, mode: "system", us: systemUs },
    ];
  });
  if (values.length === 0) return undefined;
  const x = {
    field: "us",
    type: "quantitative",
    title: "µs a datagram",
    axis: { tickCount: 4 },
  } as const;
  const opacity = {
    field: "mode",
    type: "ordinal",
    scale: { domain: ["user", "system"], range: [1, 0.45] },
    legend: null,
  } as const;
  const order = { field: "mode", sort: "descending" } as const;
  return {
    name: "processor-time",
    title: `Processor time of a datagram of ${BYTES} bytes: user (full) and system (pale)`,
    spec: panelsByScenario(THROUGHPUT_SCENARIOS, values, {
      ...PEER_PANEL,
      mark: "bar",
      encoding: { y: peerRow, x, color: peerColor, opacity, order },
    }),
  };
}

const ECHO_SCENARIOS = ["echo, ping-pong", "echo, idle", "echo, many flows"];

function latency(series: readonly Series[]): Plot | undefined {
  const shown = drawn(series, ECHO_SCENARIOS);
  const values = shown.flatMap(({ scenario, peer, medians }): Datum[] => {
    const { p50Us, p99Us } = medians;
    return p50Us === undefined || p99Us === undefined ? [] : [{ scenario, peer, p50Us, p99Us }];
  });
  if (values.length === 0) return undefined;
  const scale = { type: "log", nice: true } as const;
  const x = { field: "p50Us", type: "quantitative", title: "µs, log: p50 to p99", scale } as const;
  const label = { field: "p50Us", type: "quantitative", format: ".3~s" } as const;
  return {
    name: "latency",
    title: `Round trips of ${BYTES} bytes: from the median to the slowest in a hundred`,
    spec: panelsByScenario(ECHO_SCENARIOS, values, {
      ...PEER_PANEL,
      encoding: { y: peerRow },
      layer: [
        {
          mark: { type: "rule", strokeWidth: 2, opacity: 0.5 },
          encoding: {
            x: { ...x, axis: { tickCount: 4, grid: false } },
            x2: { field: "p99Us" },
            color: peerColor,
          },
        },
        {
          mark: { type: "point", filled: true, size: 60, opacity: 1 },
          encoding: { x, color: peerColor },
        },
        { mark: { type: "text", dy: -9 }, encoding: { x, text: label } },
      ],
    }),
  };
}

// --------------------------------------------------------------------------- cost curves ----

const CURVE = { type: "line", point: true } as const;
const CURVE_LEGEND = { title: null, orient: "bottom", labelLimit: 240 } as const;

/** A growth scenario: the parameter that grows, and the figure of the cost per datagram. */
interface Curve {
  readonly scenario: string;
  readonly parameter: string;
  readonly figure: string;
  readonly title: string;
}

const CURVES: readonly Curve[] = [
  {
    scenario: "send, batch size",
    parameter: "batch",
    figure: "cpuUs",
    title: "CPU µs to send one",
  },
  { scenario: "receive, batch size", parameter: "batch", figure: "ns", title: "ns to receive one" },
  {
    scenario: "receive, sockets",
    parameter: "sockets",
    figure: "cpuUs",
    title: "CPU µs to receive one",
  },
  { scenario: "flow table", parameter: "flows", figure: "ns", title: "ns to find a flow" },
  {
    scenario: "receive, workers with reusePort",
    parameter: "workers",
    figure: "cpuUs",
    title: "CPU µs to receive one",
  },
];

/** Replies of servers. */
const SERVER_CURVES: readonly Curve[] = [
  {
    scenario: "interleaved peers, 1 to 1024",
    parameter: "peers",
    figure: "cpuUs",
    title: "CPU µs to send one of 1,024",
  },
  {
    scenario: "echo to clients, 1 to 1024",
    parameter: "flows",
    figure: "cpuUs",
    title: "CPU µs of an echo",
  },
];

function growth(series: readonly Series[]): Plot | undefined {
  const title = "What a datagram costs as things grow, both axes logarithmic";
  return curves({ name: "growth", title }, CURVES, series);
}

function servers(series: readonly Series[]): Plot | undefined {
  const title = "What a reply costs as peers and clients grow, both axes logarithmic";
  return curves({ name: "servers", title }, SERVER_CURVES, series);
}

/** Returns a plot with a panel for each curve that there are results for. */
function curves(
  named: Pick<Plot, "name" | "title">,
  all: readonly Curve[],
  series: readonly Series[],
): Plot | undefined {
  const drawn = all
    .map((curve) => ({ curve, values: pointsOf(curve, series) }))
    .filter(({ values }) => values.length > 0);
  if (drawn.length === 0) return undefined;
  const peers = new Set(drawn.flatMap(({ values }) => values.map(({ peer }) => peer)));
  const legend = PEERS.filter((peer) => peers.has(peer));
  const panels = drawn.map(({ curve, values }) => curvePanel(curve, values, legend));
  return {
    ...named,
    spec: { columns: 3, concat: panels, spacing: 30 },
  };
}

interface CurvePoint {
  readonly peer: string;
  readonly at: number;
  readonly cost: number;
}

function pointsOf({ scenario, parameter, figure }: Curve, series: readonly Series[]): CurvePoint[] {
  return series.flatMap((one) => {
    const [at, cost] = [one.parameters[parameter], one.medians[figure]];
    if (one.scenario !== scenario || at === undefined || cost === undefined) return [];
    return [{ peer: one.peer, at, cost }];
  });
}

function curvePanel({ parameter, title }: Curve, values: CurvePoint[], legend: string[]) {
  return {
    data: { values },
    width: PANEL_WIDTH,
    height: 150,
    mark: CURVE,
    encoding: {
      x: logAxis("at", parameter, ticksAt(values.map(({ at }) => at))),
      y: logAxis("cost", title, roundTicks(values.map(({ cost }) => cost))),
      color: {
        field: "peer",
        type: "nominal",
        scale: PEER_SCALE,
        legend: { ...CURVE_LEGEND, values: legend },
      },
    },
  } as const;
}

const PREFIX_SCENARIOS = ["prefix alone", "prefix, pooled", "prefix, fresh"];
/** The variants that are drawn, by peer: which line each belongs to. */
const PREFIX_LINES: Readonly<Record<string, string>> = {
  headroom: "headroom",
  "headroom: tryAddPrefix, advance": "headroom",
  splice: "splice",
  "splice: spliceHeadroom, tryAddPrefix": "splice",
  "Buffer.concat": "Buffer.concat",
  "new Uint8Array and set": "set into an array",
  "set into scratch": "set into an array",
  "the payload copied once: set": "one copy of the payload",
};

function prefix(series: readonly Series[]): Plot | undefined {
  const values = series.flatMap(({ scenario, peer, parameters, medians }): Datum[] => {
    const [line, bytes, ns] = [PREFIX_LINES[peer], parameters.bytes, medians.ns];
    const isDrawn = PREFIX_SCENARIOS.includes(scenario) && line !== undefined;
    return isDrawn && bytes !== undefined && ns !== undefined
      ? [{ scenario, line, bytes, ns }]
      : [];
  });
  if (values.length === 0) return undefined;
  return {
    name: "prefix",
    title: "Eight bytes in front of a payload, both axes logarithmic",
    spec: {
      data: { values },
      width: PANEL_WIDTH,
      height: 170,
      mark: CURVE,
      encoding: {
        column: { field: "scenario", sort: PREFIX_SCENARIOS, type: "nominal", title: null },
        x: logAxis("bytes", "bytes of payload", roundTicks(valuesOf(values, "bytes"))),
        y: logAxis("ns", "ns", roundTicks(valuesOf(values, "ns"))),
        color: {
          field: "line",
          type: "nominal",
          scale: {
            domain: [...new Set(Object.values(PREFIX_LINES))],
            range: [OURS, OURS_ALSO, OTHERS, "#3aa675", LIMIT],
          },
          legend: CURVE_LEGEND,
        },
      },
    },
  };
}

function valuesOf(data: readonly Datum[], field: string): number[] {
  return data.map((datum) => Number(datum[field]));
}
