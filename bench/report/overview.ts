/** The README's first screen: what matters most, ours beside what Bun has and beside C. */

import type { Results, Sample } from "../results.ts";
import { judge } from "../targets.ts";
import { digits, figureOf } from "./figures.ts";
import { table } from "./markdown.ts";
import { placeOf, type Series, seriesOf } from "./series.ts";

/** A line of it. */
interface Row {
  readonly what: string;
  readonly scenario: string;
  readonly parameters: Readonly<Record<string, number>>;
  readonly figure: string;
  readonly unit: string;
  readonly ours: string;
  readonly bun: string;
  readonly c?: string;
}

const BYTES = { bytes: 1200 };
const BUN = "Bun.udpSocket";
const OURS = "datagram-socket";
const BATCHES = "datagram-socket, batches";
const C_OFFLOAD = "C, GRO/GSO";
const C_PLAIN = "C, recvmmsg/sendmmsg";

const rate = { parameters: BYTES, figure: "rate", unit: "M/s", bun: BUN } as const;
const trip = { parameters: BYTES, figure: "p50Us", unit: "µs", bun: BUN, c: C_PLAIN } as const;

const ROWS: readonly Row[] = [
  { ...rate, what: "send to one peer, `sendMany`", scenario: "send", ours: OURS, c: C_OFFLOAD },
  { ...rate, what: "receive, `recvMany`", scenario: "receive", ours: OURS, c: C_OFFLOAD },
  {
    ...rate,
    what: "relay with an 8-byte prefix, `recvBatch`, `sendBatch`",
    scenario: "relay",
    ours: BATCHES,
    c: C_OFFLOAD,
  },
  {
    ...rate,
    what: "send to 64 peers, one each",
    parameters: { ...BYTES, peers: 64 },
    scenario: "send to many peers",
    ours: OURS,
    c: C_PLAIN,
  },
  { ...trip, what: "round trip, ping-pong, p50", scenario: "echo, ping-pong", ours: OURS },
  { ...trip, what: "round trip, idle, p50", scenario: "echo, idle", ours: OURS },
  {
    what: "payload into a pooled buffer, prefix in front; `Buffer.concat`",
    scenario: "prefix, pooled",
    parameters: BYTES,
    figure: "ns",
    unit: "ns",
    ours: "headroom",
    bun: "Buffer.concat",
  },
];

const HOW =
  "Medians of several rounds. The last two columns say how many times as good: the median of what " +
  "each round says. Absolute figures move from machine to machine; these are made by " +
  "`npm run bench:net`, `npm run bench:micro` and `npm run bench:report`. More: [figures](#figures).";

/** The table, and what it was measured on. Lines that nobody measured are left out. */
export function overview(samples: readonly Sample[], latest: Results): string {
  const series = seriesOf(samples);
  const rows = ROWS.flatMap((row) => {
    const line = cells(row, samples, series);
    return line === undefined ? [] : [line];
  });
  if (rows.length === 0) throw new Error("no line of the overview was measured: run bench:net");
  const headings = [`${placeOf(BYTES)}, loopback`, "Bun", OURS, "C", "times Bun", "of C"];
  return `${table(headings, rows)}\n\n${machineOf(latest)} ${HOW}`;
}

function cells(
  row: Row,
  samples: readonly Sample[],
  series: readonly Series[],
): string[] | undefined {
  const { what, ours, bun, c, unit, figure } = row;
  const show = (peer: string | undefined) => {
    const value = medianOf(row, peer, series);
    return value === undefined ? "" : `${figureOf(figure)?.write(value)} ${unit}`;
  };
  if (show(ours) === "") return undefined;
  const than = (against: string | undefined) => {
    const value = against && timesAsGood(row, against, samples);
    return value === undefined || value === "" ? "" : digits(value);
  };
  return [what, show(bun), `**${show(ours)}**`, show(c), than(bun), than(c)];
}

function medianOf(
  { scenario, parameters, figure }: Row,
  peer: string | undefined,
  series: readonly Series[],
): number | undefined {
  const place = placeOf(parameters);
  const found = series.find(
    (one) => one.scenario === scenario && one.peer === peer && placeOf(one.parameters) === place,
  );
  return found?.medians[figure];
}

/** How many times as good as another ours is: the median of the rounds' ratios. */
function timesAsGood(row: Row, against: string, samples: readonly Sample[]): number | undefined {
  const comparison = figureOf(row.figure)?.better === "more" ? "ratio" : "speed-up";
  const { what: path, scenario, parameters, figure, ours } = row;
  const target = {
    path,
    scenario,
    parameters,
    figure,
    comparison,
    ours,
    against,
    unit: "x",
  } as const;
  return judge(target, samples).value;
}

/** Which machine, which software and when. */
export function machineOf({ machine, versions, startedAt }: Results): string {
  const { cpu, cores, memoryGiB, kernel } = machine;
  const software = Object.entries(versions)
    .filter(([name]) => name !== "library" && name !== "mitata")
    .map(([name, version]) => `${name} ${version}`);
  const hardware = `${cpu}, ${cores} processors, ${memoryGiB} GiB, Linux ${kernel}`;
  return `${hardware}; ${software.join(", ")}; ${startedAt.slice(0, 10)}.`;
}
