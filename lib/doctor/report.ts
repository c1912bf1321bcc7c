/** What `datagram-socket doctor` has found out, and how it is printed. */

import type { Backend } from "../engine/engine.ts";
import type { ReadinessMode } from "../readiness/notifier.ts";

/** The result of a probe. */
export interface Finding {
  /** Whether the probe has seen the feature work. */
  readonly works: boolean;
  /** What it has seen, or why the feature does not work. */
  readonly detail: string;
}

/** The kinds of metadata that are probed, in the order of the report. */
export const METADATA_PROBES = [
  "destination",
  "originalDestination",
  "ecn",
  "dscp",
  "hopLimit",
  "timestamp",
  "mark",
  "socketDrops",
  "source",
  "transmitTime",
  "transportErrors",
] as const;

export type MetadataProbe = (typeof METADATA_PROBES)[number];

/** The sizes of a buffer in bytes. */
export interface BufferLimit {
  /** The size of a new socket, as `socket.bufferBytes`. */
  readonly defaultBytes: number;
  /** The largest request that the kernel grants: `net.core.rmem_max` or `wmem_max`. */
  readonly requestMaxBytes: number;
  /** The size that it then reports: twice the request, for its own overhead (socket(7)). */
  readonly maxBytes: number;
}

/** What was measured over loopback, with both sockets in this thread. */
export interface LoopbackFigure {
  readonly payloadBytes: number;
  readonly datagramsPerSecond: number;
  /** Bits of payload. */
  readonly bitsPerSecond: number;
  /** Processor time of this process for sending and receiving a datagram. */
  readonly processorNanoseconds: number;
  /** System calls that send and receive; absent on the portable backend, whose calls Bun makes. */
  readonly datagramsPerSystemCall: number | null;
}

/** A problem, and what to change. */
export interface Remedy {
  readonly problem: string;
  /** Commands for a shell. */
  readonly commands: readonly string[];
  /** Options of `docker run` and `podman run`. */
  readonly containerOptions: readonly string[];
}

/** All results. `JSON.stringify` prints them as they are. */
export interface Report {
  readonly version: string;
  readonly bun: {
    readonly version: string;
    /** The range of package.json. */
    readonly required: string;
    readonly isSupported: boolean;
  };
  readonly kernel: { readonly platform: string; readonly release: string; readonly arch: string };
  /** `reason` says why the backend is not the native one. */
  readonly backend: { readonly name: Backend; readonly reason: string | null };
  /** `mode` is absent without the native backend; `reason` says why it is not `loop`. */
  readonly readiness: { readonly mode: ReadinessMode | null; readonly reason: string | null };
  /** Whether the open descriptors of a process are listed in /proc, which readiness needs. */
  readonly proc: Finding;
  readonly families: { readonly IPv4: Finding; readonly IPv6: Finding; readonly unix: Finding };
  readonly offload: { readonly gso: Finding; readonly gro: Finding };
  readonly metadata: Readonly<Record<MetadataProbe, Finding>>;
  /** Absent without the native backend. */
  readonly buffers: { readonly receive: BufferLimit; readonly send: BufferLimit } | null;
  readonly loopback: LoopbackFigure | { readonly reason: string };
  readonly remedies: readonly Remedy[];
}

/** Sequences of ECMA-48 (SGR). */
const STYLES = { bold: "1", good: "32", bad: "31", dim: "2" } as const;

type Style = keyof typeof STYLES;
type Paint = (style: Style, text: string) => string;

const painted: Paint = (style, text) => `\x1b[${STYLES[style]}m${text}\x1b[0m`;
const plain: Paint = (_style, text) => text;

const LABEL_WIDTH = 22;

/** Formats a report for people. Each line ends with a newline. */
export function formatReport(report: Report, { colours }: { readonly colours: boolean }): string {
  const paint = colours ? painted : plain;
  const { bun, kernel, backend, readiness, families, offload, metadata } = report;
  const row = (label: string, text: string) => `${label.padEnd(LABEL_WIDTH)}${text}`;
  const finding = (label: string, { works, detail }: Finding) =>
    row(label, `${works ? paint("good", "yes") : paint("bad", "no ")}  ${paint("dim", detail)}`);
  const isExpected = backend.name === "native" || kernel.platform !== "linux";
  const lines = [
    paint("bold", `datagram-socket ${report.version}`),
    row(
      "Bun",
      `${paint(bun.isSupported ? "good" : "bad", bun.version)} (required: ${bun.required})`,
    ),
    row("kernel", `${kernel.platform} ${kernel.release} ${kernel.arch}`),
    row("backend", withReason(paint(isExpected ? "good" : "bad", backend.name), backend.reason)),
    row("readiness", withReason(readiness.mode ?? "none", readiness.reason)),
    ...(kernel.platform === "linux" ? [finding("/proc", report.proc)] : []),
    finding("IPv4", families.IPv4),
    finding("IPv6", families.IPv6),
    finding("Unix datagrams", families.unix),
    finding("GSO", offload.gso),
    finding("GRO", offload.gro),
    "metadata",
    ...METADATA_PROBES.map((kind) => finding(`  ${kind}`, metadata[kind])),
    row("receive buffer", formatBuffer(report.buffers?.receive)),
    row("send buffer", formatBuffer(report.buffers?.send)),
    row("loopback", formatLoopback(report.loopback)),
    "",
    ...formatRemedies(report.remedies, paint),
  ];
  return `${lines.join("\n")}\n`;
}

function withReason(text: string, reason: string | null): string {
  return reason === null ? text : `${text}: ${reason}`;
}

function formatBuffer(limit: BufferLimit | undefined): string {
  if (limit === undefined) return "not known without the native backend";
  const { defaultBytes, requestMaxBytes, maxBytes } = limit;
  const granted = `${grouped(maxBytes)} if ${grouped(requestMaxBytes)} are requested`;
  return `${grouped(defaultBytes)} bytes by default, at most ${granted}`;
}

function formatLoopback(figure: Report["loopback"]): string {
  if ("reason" in figure) return `not measured: ${figure.reason}`;
  const { payloadBytes, bitsPerSecond, processorNanoseconds, datagramsPerSystemCall } = figure;
  const parts = [
    `${grouped(figure.datagramsPerSecond)} datagrams/s of ${grouped(payloadBytes)} bytes`,
    `${(bitsPerSecond / 1e9).toFixed(1)} Gbit/s`,
    `${grouped(processorNanoseconds)} ns of processor time each`,
  ];
  if (datagramsPerSystemCall !== null) parts.push(`${datagramsPerSystemCall} per system call`);
  return parts.join(", ");
}

function formatRemedies(remedies: readonly Remedy[], paint: Paint): string[] {
  if (remedies.length === 0) return ["Nothing to change."];
  return [
    paint("bold", "To change:"),
    ...remedies.flatMap(({ problem, commands, containerOptions }) => [
      `- ${problem}`,
      ...commands.map((command) => `    ${command}`),
      ...containerOptions.map(
        (option) => `    ${option}    # an option of docker run and podman run`,
      ),
    ]),
  ];
}

const NUMBERS = new Intl.NumberFormat("en");

function grouped(value: number): string {
  return NUMBERS.format(value);
}
