/**
 * The overview: this library, `Bun.udpSocket` and C side by side. README.md has the most important
 * rows, bench/README.md all.
 */

import { digits, figureOf } from "../figures.ts";
import type { Results, Sample } from "../results.ts";
import { judge } from "../targets.ts";
import { table } from "./markdown.ts";
import { describeParameters, type Series, seriesOf } from "./series.ts";

/** A row of the table. */
interface Row {
  readonly label: string;
  readonly scenario: string;
  readonly parameters: Sample["parameters"];
  readonly figure: string;
  readonly unit: string;
  /** The peers of the columns. */
  readonly ours: string;
  readonly bun: string;
  readonly c?: string;
  /** Whether README.md has the row as well. */
  readonly isShort?: true;
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
  {
    ...rate,
    label: "send to one peer, `sendMany`",
    scenario: "send",
    ours: OURS,
    c: C_OFFLOAD,
    isShort: true,
  },
  {
    ...rate,
    label: "receive, `recvMany`",
    scenario: "receive",
    ours: OURS,
    c: C_OFFLOAD,
    isShort: true,
  },
  {
    ...rate,
    isShort: true,
    label: "relay with an 8-byte prefix, `recvBatch`, `sendBatch`",
    scenario: "relay",
    ours: BATCHES,
    c: C_OFFLOAD,
  },
  {
    ...rate,
    label: "send to 64 peers, one each",
    parameters: { ...BYTES, peers: 64 },
    scenario: "send to many peers",
    ours: OURS,
    c: C_PLAIN,
  },
  {
    ...rate,
    label: "send 1,024 to 64 peers in turn, `sendBatch`",
    parameters: { ...BYTES, batch: 1024, peers: 64 },
    scenario: "interleaved peers",
    ours: BATCHES,
    c: C_OFFLOAD,
  },
  {
    ...rate,
    isShort: true,
    label: "echo 64 bytes to 256 clients, `recvFrom`, `sendTo`",
    parameters: { bytes: 64, flows: 256 },
    scenario: "echo to clients",
    ours: "datagram-socket, single datagrams",
    c: C_PLAIN,
  },
  {
    label: "HTTP/3 download through a proxy with flow IDs",
    scenario: "HTTP/3 download",
    parameters: { megabytes: 100 },
    figure: "megabytesPerS",
    unit: "MB/s",
    ours: "datagram-socket, flow proxy",
    bun: BUN,
  },
  {
    label: "QUIC download, quiche at both ends of one thread",
    scenario: "QUIC download",
    parameters: { megabytes: 100 },
    figure: "megabytesPerS",
    unit: "MB/s",
    ours: "quiche on datagram-socket",
    bun: "quiche on Bun.udpSocket",
  },
  {
    ...trip,
    label: "round trip, ping-pong, p50",
    scenario: "echo, ping-pong",
    ours: OURS,
    isShort: true,
  },
  { ...trip, label: "round trip, idle, p50", scenario: "echo, idle", ours: OURS, isShort: true },
  {
    label: "payload into a pooled buffer, prefix in front; `Buffer.concat`",
    scenario: "prefix, pooled",
    parameters: BYTES,
    figure: "ns",
    unit: "ns",
    ours: "headroom",
    bun: "Buffer.concat",
  },
];

const RATIOS =
  "Medians of several rounds. The last two columns compare this library with Bun and with C " +
  "(more than 1 is better): the median of the ratios within each round. Absolute values depend " +
  "on the machine.";

/** Returns the table of all rows, with the machine that it was measured on. */
export function overview(samples: readonly Sample[], latest: Results): string {
  return `${tableOf(ROWS, samples)}\n\n${describeMachine(latest)} ${RATIOS}`;
}

/** Returns the table of the rows for README.md. */
export function shortOverview(samples: readonly Sample[], { machine, versions }: Results): string {
  const bun = versions.bun === undefined ? "" : `, Bun ${versions.bun}`;
  const where = `Linux ${machine.kernel.replace(/-.*/, "")}, ${machine.cores} processors${bun}.`;
  return `${tableOf(
    ROWS.filter(({ isShort }) => isShort),
    samples,
  )}\n\n${where} ${RATIOS}`;
}

/** Leaves out unmeasured rows. */
function tableOf(wanted: readonly Row[], samples: readonly Sample[]): string {
  const series = seriesOf(samples);
  const rows = wanted.flatMap((row) => {
    const cells = cellsOf(row, samples, series);
    return cells === undefined ? [] : [cells];
  });
  if (rows.length === 0) throw new Error("no line of the overview was measured: run bench:net");
  const parameters = describeParameters(BYTES);
  const headings = [`${parameters}, loopback`, "Bun", OURS, "C", "times Bun", "of C"];
  return table(headings, rows);
}

function cellsOf(
  row: Row,
  samples: readonly Sample[],
  series: readonly Series[],
): string[] | undefined {
  const { label, ours, bun, c, unit, figure } = row;
  const show = (peer: string | undefined) => {
    const value = medianOf(row, peer, series);
    return value === undefined ? "" : `${figureOf(figure)?.write(value)} ${unit}`;
  };
  if (show(ours) === "") return undefined;
  const compare = (against: string | undefined) => {
    const value = against && timesAsGood(row, against, samples);
    return value === undefined || value === "" ? "" : digits(value);
  };
  return [label, show(bun), `**${show(ours)}**`, show(c), compare(bun), compare(c)];
}

function medianOf(
  { scenario, parameters, figure }: Row,
  peer: string | undefined,
  series: readonly Series[],
): number | undefined {
  const wanted = describeParameters(parameters);
  const found = series.find(
    (one) =>
      one.scenario === scenario &&
      one.peer === peer &&
      describeParameters(one.parameters) === wanted,
  );
  return found?.medians[figure];
}

/** Returns the factor by which this library is better than `against`. */
function timesAsGood(row: Row, against: string, samples: readonly Sample[]): number | undefined {
  const comparison = figureOf(row.figure)?.better === "more" ? "ratio" : "speed-up";
  const { label: path, scenario, parameters, figure, ours } = row;
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

/** Returns the machine, the software versions and the date of a run as text. */
export function describeMachine({ machine, versions, startedAt }: Results): string {
  const { cpu, cores, memoryGiB, kernel } = machine;
  const software = Object.entries(versions)
    .filter(([name]) => name !== "library" && name !== "mitata")
    .map(([name, version]) => `${name} ${version}`);
  const hardware = `${cpu}, ${cores} processors, ${memoryGiB} GiB, Linux ${kernel}`;
  return `${hardware}; ${software.join(", ")}; ${startedAt.slice(0, 10)}.`;
}
