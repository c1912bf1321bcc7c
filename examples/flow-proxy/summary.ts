/** The summary that is printed at the end: tables, or one JSON object. */

import {
  datagramsTransferred,
  dropsTotal,
  type EndpointSnapshot,
  messagesTransferred,
  systemCalls,
} from "./counters.ts";
import { hasPassed, type LoadReport } from "./load-generator.ts";
import { formatRate } from "./progress-line.ts";

export interface Summary {
  readonly backend: string;
  /** How long the endpoints ran. */
  readonly seconds: number;
  readonly endpoints: readonly EndpointSnapshot[];
  readonly load?: LoadReport | undefined;
}

/** Formats the summary as JSON, on one line. The endpoints are properties named by their role. */
export function summaryJson({ endpoints, ...other }: Summary): string {
  const byRole = Object.fromEntries(endpoints.map(({ role, ...counters }) => [role, counters]));
  return JSON.stringify({ ...other, ...byRole });
}

/** Formats the summary as tables, with a verdict if there was load. */
export function summaryText(summary: Summary): string {
  const { endpoints, load } = summary;
  const parts = [];
  if (endpoints.length > 0) parts.push(endpointTable(summary));
  if (load !== undefined) parts.push(loadTable(load), verdict(load));
  return `${parts.join("\n\n")}\n`;
}

function endpointTable({ endpoints, seconds, backend }: Summary): string {
  const row = (name: string, value: (endpoint: EndpointSnapshot) => string | number) => [
    name,
    ...endpoints.map((endpoint) => String(value(endpoint))),
  ];
  const rows = [
    [`${seconds.toFixed(1)} s, ${backend}`, ...endpoints.map(({ role }) => role)],
    row("flows now", ({ flows }) => flows),
    row("flows opened", ({ flowCounters }) => flowCounters.opened),
    row("flows expired", ({ flowCounters }) => flowCounters.expired),
    row("flows evicted", ({ flowCounters }) => flowCounters.evicted),
    row("flows ended by ingress", ({ flowCounters }) => flowCounters.ended),
    row("flows moved", ({ flowCounters }) => flowCounters.moved),
    row("datagrams to upstream", ({ toUpstream }) => toUpstream.datagrams),
    row("datagrams to clients", ({ toClients }) => toClients.datagrams),
    row("datagrams/s", ({ toUpstream, toClients }) =>
      formatRate((toUpstream.datagrams + toClients.datagrams) / seconds),
    ),
    row("Gbit/s", ({ toUpstream, toClients }) =>
      (((toUpstream.bytes + toClients.bytes) * 8) / seconds / 1e9).toFixed(3),
    ),
    row("system calls", systemCalls),
    row("datagrams/system call", (endpoint) =>
      (datagramsTransferred(endpoint) / Math.max(1, systemCalls(endpoint))).toFixed(1),
    ),
    row("datagrams/message", (endpoint) =>
      (datagramsTransferred(endpoint) / Math.max(1, messagesTransferred(endpoint))).toFixed(1),
    ),
    row("socket errors", ({ socketErrors }) => socketErrors),
    row("drops", dropsTotal),
  ];
  return table([...rows, ...dropRows(endpoints)]);
}

/** Returns a row for each reason for which datagrams were dropped. */
function dropRows(endpoints: readonly EndpointSnapshot[]): string[][] {
  const dropsOf = ({ drops, sockets }: EndpointSnapshot) => ({
    ...drops,
    receiveQueueFull: sockets.datagramsDropped,
    refusedSends: sockets.sendDrops,
  });
  const first = endpoints[0];
  if (first === undefined) return [];
  const reasons = Object.keys(dropsOf(first)) as (keyof ReturnType<typeof dropsOf>)[];
  return reasons
    .filter((reason) => endpoints.some((endpoint) => dropsOf(endpoint)[reason] > 0))
    .map((reason) => [
      `  ${reason}`,
      ...endpoints.map((endpoint) => String(dropsOf(endpoint)[reason])),
    ]);
}

function loadTable(load: LoadReport): string {
  const { seconds, clients, window } = load;
  return table([
    [`${seconds.toFixed(1)} s of load`, `${clients} clients, window ${window}`],
    ["requests", String(load.requests)],
    ["valid replies", String(load.replies)],
    ["valid replies/s", formatRate(load.replies / seconds)],
    ["lost", String(load.lost)],
    ["late", String(load.late)],
    ["duplicated", String(load.duplicated)],
    ["altered", String(load.altered)],
    ["misdelivered", String(load.misdelivered)],
    ["socket errors", String(load.socketErrors)],
  ]);
}

function verdict(load: LoadReport): string {
  if (load.replies === 0) return "FAILED: no valid reply was received";
  const wrong = load.altered + load.misdelivered;
  if (!hasPassed(load)) return `FAILED: ${wrong} replies were altered or reached the wrong client`;
  const loss = load.lost === 0 ? "no" : `${((100 * load.lost) / load.requests).toFixed(3)} %`;
  return `OK: all replies reached the right client unaltered; ${loss} loss`;
}

/** Formats rows of cells. The first column is aligned left, the others right. */
function table(rows: readonly string[][]): string {
  const widths = (rows[0] as string[]).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] as string).length)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] as number;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  "),
  );
  lines.splice(1, 0, "-".repeat((lines[0] as string).length));
  return lines.join("\n");
}
