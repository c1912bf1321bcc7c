/** The plots: what is drawn of the measurements, as Vega-Lite says it. */

import type { TopLevelSpec } from "vega-lite";
import { BATCHES, C_OFFLOAD, C_PLAIN, DEFAULTS, JAVASCRIPT } from "../net/contenders.ts";
import type { Series } from "./series.ts";
import { LIMIT, OTHERS, OURS, OURS_ALSO } from "./theme.ts";

/** A drawing with the name of its file and what it shows in words. */
export interface Plot {
  readonly name: string;
  readonly title: string;
  readonly spec: TopLevelSpec;
}

/** What a bar or a point is drawn of. */
type Datum = Readonly<Record<string, string | number>>;

const BYTES = 1200;
/** Who is drawn, from the top: this library, what else there is for JavaScript, C. */
const PEERS = [DEFAULTS, BATCHES, ...JAVASCRIPT, C_PLAIN, C_OFFLOAD].map(({ name }) => name);
const COLORS = [
  OURS,
  OURS_ALSO,
  ...JAVASCRIPT.map(() => OTHERS),
  ...[C_PLAIN, C_OFFLOAD].map(() => LIMIT),
];
const peerColor = { field: "peer", scale: { domain: PEERS, range: COLORS }, legend: null } as const;
const peerAxis = { field: "peer", sort: PEERS, title: null, axis: { labelLimit: 240 } } as const;

/** Panels side by side, each with a scale of its own. */
const PANELS = { bounds: "flush", spacing: 45, resolve: { scale: { x: "independent" } } } as const;

/** Every plot that there are measurements for. */
export function plotsOf(series: readonly Series[]): Plot[] {
  const all = [
    throughput(series),
    processor(series),
    latency(series),
    growth(series),
    prefix(series),
  ];
  return all.filter((plot) => plot !== undefined);
}

/** Series of these scenarios at the usual size, of peers that are drawn. */
function drawn(series: readonly Series[], scenarios: readonly string[]): Series[] {
  return series.filter(
    ({ scenario, peer, parameters }) =>
      scenarios.includes(scenario) && PEERS.includes(peer) && parameters.bytes === BYTES,
  );
}

const THROUGH = ["send", "receive", "relay"];

function throughput(series: readonly Series[]): Plot | undefined {
  const values = drawn(series, THROUGH).flatMap(({ scenario, peer, medians }): Datum[] =>
    medians.rate === undefined ? [] : [{ scenario, peer, rate: medians.rate / 1e6 }],
  );
  if (values.length === 0) return undefined;
  const x = { field: "rate", type: "quantitative", title: "million datagrams a second" } as const;
  const label = { field: "rate", type: "quantitative", format: ".2~f" } as const;
  return {
    name: "throughput",
    title: `Datagrams of ${BYTES} bytes a second: send, receive, relay with a prefix`,
    spec: {
      data: { values },
      facet: { column: { field: "scenario", sort: THROUGH, title: null } },
      spec: {
        width: 190,
        height: { step: 20 },
        encoding: { y: { ...peerAxis, type: "nominal" } },
        layer: [
          {
            mark: "bar",
            encoding: {
              x: { ...x, axis: { tickCount: 4 } },
              color: { ...peerColor, type: "nominal" },
            },
          },
          { mark: { type: "text", align: "left", dx: 3 }, encoding: { x, text: label } },
        ],
      },
      ...PANELS,
    },
  };
}

function processor(series: readonly Series[]): Plot | undefined {
  const values = drawn(series, THROUGH).flatMap(({ scenario, peer, medians }): Datum[] => {
    const { userUs, systemUs } = medians;
    if (userUs === undefined || systemUs === undefined) return [];
    return [
      { scenario, peer, mode: "user", us: userUs },
      { scenario, peer, mode: "system", us: systemUs },
    ];
  });
  if (values.length === 0) return undefined;
  return {
    name: "processor-time",
    title: `Processor time of a datagram of ${BYTES} bytes: user (full) and system (pale)`,
    spec: {
      data: { values },
      facet: { column: { field: "scenario", sort: THROUGH, title: null } },
      spec: {
        width: 190,
        height: { step: 20 },
        mark: "bar",
        encoding: {
          y: { ...peerAxis, type: "nominal" },
          x: {
            field: "us",
            type: "quantitative",
            title: "µs a datagram",
            axis: { tickCount: 4 },
          },
          color: { ...peerColor, type: "nominal" },
          opacity: {
            field: "mode",
            type: "ordinal",
            scale: { domain: ["user", "system"], range: [1, 0.45] },
            legend: null,
          },
          order: { field: "mode", sort: "descending" },
        },
      },
      ...PANELS,
    },
  };
}

const TRIPS = ["echo, ping-pong", "echo, idle", "echo, many flows"];

function latency(series: readonly Series[]): Plot | undefined {
  const values = drawn(series, TRIPS).flatMap(({ scenario, peer, medians }): Datum[] => {
    const { p50Us, p99Us } = medians;
    return p50Us === undefined || p99Us === undefined ? [] : [{ scenario, peer, p50Us, p99Us }];
  });
  if (values.length === 0) return undefined;
  const scale = { type: "log", nice: true } as const;
  const x = { field: "p50Us", type: "quantitative", title: "µs, log: p50 to p99", scale } as const;
  const color = { ...peerColor, type: "nominal" } as const;
  const label = { field: "p50Us", type: "quantitative", format: ".3~s" } as const;
  return {
    name: "latency",
    title: `Round trips of ${BYTES} bytes: from the median to the slowest in a hundred`,
    spec: {
      data: { values },
      facet: { column: { field: "scenario", sort: TRIPS, title: null } },
      spec: {
        width: 190,
        height: { step: 20 },
        encoding: { y: { ...peerAxis, type: "nominal" } },
        layer: [
          {
            mark: { type: "rule", strokeWidth: 2, opacity: 0.5 },
            encoding: {
              x: { ...x, axis: { tickCount: 4, grid: false } },
              x2: { field: "p99Us" },
              color,
            },
          },
          { mark: { type: "point", filled: true, size: 60, opacity: 1 }, encoding: { x, color } },
          { mark: { type: "text", dy: -9 }, encoding: { x, text: label } },
        ],
      },
      ...PANELS,
    },
  };
}

/** A curve: what grows, and the figure that tells what a datagram costs. */
interface Curve {
  readonly scenario: string;
  readonly axis: string;
  readonly figure: string;
  readonly title: string;
}

const CURVES: readonly Curve[] = [
  { scenario: "send, batch size", axis: "batch", figure: "cpuUs", title: "CPU µs to send one" },
  { scenario: "receive, batch size", axis: "batch", figure: "ns", title: "ns to receive one" },
  {
    scenario: "receive, sockets",
    axis: "sockets",
    figure: "cpuUs",
    title: "CPU µs to receive one",
  },
  { scenario: "flow table", axis: "flows", figure: "ns", title: "ns to find a flow" },
  {
    scenario: "receive, workers with reusePort",
    axis: "workers",
    figure: "cpuUs",
    title: "CPU µs to receive one",
  },
];

function growth(series: readonly Series[]): Plot | undefined {
  const drawn = CURVES.map((curve) => ({ curve, values: curveOf(curve, series) })).filter(
    ({ values }) => values.length > 0,
  );
  if (drawn.length === 0) return undefined;
  const peers = new Set(drawn.flatMap(({ values }) => values.map(({ peer }) => peer)));
  const legend = PEERS.filter((peer) => peers.has(peer));
  const curves = drawn.map(({ curve, values }) => curvePanel(curve, values, legend));
  return {
    name: "growth",
    title: "What a datagram costs as things grow, both axes logarithmic",
    spec: { columns: 3, concat: curves, spacing: 30 },
  };
}

interface Point {
  readonly peer: string;
  readonly at: number;
  readonly cost: number;
}

function curveOf({ scenario, axis, figure }: Curve, series: readonly Series[]): Point[] {
  return series.flatMap((one) => {
    const [at, cost] = [one.parameters[axis], one.medians[figure]];
    if (one.scenario !== scenario || at === undefined || cost === undefined) return [];
    return [{ peer: one.peer, at, cost }];
  });
}

function curvePanel({ axis, title }: Curve, values: Point[], legend: string[]) {
  return {
    data: { values },
    width: 190,
    height: 150,
    mark: { type: "line", point: true },
    encoding: {
      x: logAxis(
        "at",
        axis,
        values.map(({ at }) => at),
        true,
      ),
      y: logAxis(
        "cost",
        title,
        values.map(({ cost }) => cost),
      ),
      color: {
        field: "peer",
        type: "nominal",
        scale: { domain: PEERS, range: COLORS },
        legend: { title: null, orient: "bottom", labelLimit: 240, values: legend },
      },
    },
  } as const;
}

/** How Vega is to write a tick: 0.5, 1,024, 65k. */
const TICK_LABEL =
  "format(datum.value, datum.value < 1 ? '~g' : datum.value < 10000 ? ',' : '.2~s')";

/** A logarithmic axis from 1, 2 or 5 to 1, 2 or 5; or with ticks where the values are. */
function logAxis(field: string, title: string, values: readonly number[], isExact = false) {
  const ticks = isExact ? [...new Set(values)].sort((a, b) => a - b) : roundTicks(values);
  const domain = [ticks.at(0) as number, ticks.at(-1) as number];
  return {
    field,
    title,
    type: "quantitative",
    scale: { type: "log", domain, nice: false },
    axis: { values: ticks, labelExpr: TICK_LABEL, labelFlush: false, labelOverlap: false },
  } as const;
}

/** Powers of ten, those between which the values lie; where these are few, twice and 5 times too. */
function roundTicks(values: readonly number[]): number[] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const steps = most / least > 50 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)); 10 ** power <= most; power++) {
    ticks.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(1))));
  }
  ticks.push(10 ** Math.ceil(Math.log10(most)));
  const first = ticks.findLastIndex((tick) => tick <= least);
  const last = ticks.findIndex((tick) => tick >= most);
  return [...new Set(ticks.slice(first, last + 1))];
}

const PREFIXES = ["prefix alone", "prefix, pooled", "prefix, fresh"];
const WAYS: Readonly<Record<string, string>> = {
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
    const [way, bytes, ns] = [WAYS[peer], parameters.bytes, medians.ns];
    const isOne = PREFIXES.includes(scenario) && way !== undefined;
    return isOne && bytes !== undefined && ns !== undefined ? [{ scenario, way, bytes, ns }] : [];
  });
  if (values.length === 0) return undefined;
  return {
    name: "prefix",
    title: "Eight bytes in front of a payload, both axes logarithmic",
    spec: {
      data: { values },
      width: 190,
      height: 170,
      mark: { type: "line", point: true },
      encoding: {
        column: { field: "scenario", sort: PREFIXES, type: "nominal", title: null },
        x: logAxis("bytes", "bytes of payload", valuesOf(values, "bytes")),
        y: logAxis("ns", "ns", valuesOf(values, "ns")),
        color: {
          field: "way",
          type: "nominal",
          scale: {
            domain: [...new Set(Object.values(WAYS))],
            range: [OURS, OURS_ALSO, OTHERS, "#3aa675", LIMIT],
          },
          legend: { title: null, orient: "bottom", labelLimit: 240 },
        },
      },
    },
  };
}

function valuesOf(data: readonly Datum[], field: string): number[] {
  return data.map((datum) => Number(datum[field]));
}
