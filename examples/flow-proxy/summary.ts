/** What is printed at the end: tables for people, or one JSON object. */

import { dropsTotal, type HalfSnapshot } from "./counts.ts";
import { callsOfSockets, formatRate, messagesOfSockets, movedBySockets } from "./live-line.ts";
import { isIntact, type LoadReport } from "./load.ts";

/** All there is to tell of a run. */
export interface Summary {
  readonly backend: string;
  /** How long the halves ran. */
  readonly seconds: number;
  readonly halves: readonly HalfSnapshot[];
  readonly load?: LoadReport | undefined;
}

/** One JSON object on one line. */
export function summaryJson({ halves, ...rest }: Summary): string {
  const byRole = Object.fromEntries(halves.map(({ role, ...half }) => [role, half]));
  return JSON.stringify({ ...rest, ...byRole });
}

/** The tables, and a verdict when there was load. */
export function summaryText(summary: Summary): string {
  const { halves, load } = summary;
  const parts = [];
  if (halves.length > 0) parts.push(halvesTable(summary));
  if (load !== undefined) parts.push(loadTable(load), verdict(load));
  return `${parts.join("\n\n")}\n`;
}

function halvesTable({ halves, seconds, backend }: Summary): string {
  const row = (name: string, value: (half: HalfSnapshot) => string | number) => [
    name,
    ...halves.map((half) => String(value(half))),
  ];
  const rows = [
    [`${seconds.toFixed(1)} s, ${backend}`, ...halves.map((half) => half.role)],
    row("flows now", (half) => half.flows),
    row("flows opened", (half) => half.flowCounts.opened),
    row("flows expired", (half) => half.flowCounts.expired),
    row("flows evicted", (half) => half.flowCounts.evicted),
    row("datagrams to upstream", (half) => half.up.datagrams),
    row("datagrams to clients", (half) => half.down.datagrams),
    row("datagrams/s", (half) => formatRate((half.up.datagrams + half.down.datagrams) / seconds)),
    row("Gbit/s", (half) => (((half.up.bytes + half.down.bytes) * 8) / seconds / 1e9).toFixed(3)),
    row("system calls", callsOfSockets),
    row("datagrams/system call", (half) =>
      (movedBySockets(half) / Math.max(1, callsOfSockets(half))).toFixed(1),
    ),
    row("datagrams/message", (half) =>
      (movedBySockets(half) / Math.max(1, messagesOfSockets(half))).toFixed(1),
    ),
    row("socket errors", (half) => half.socketErrors),
    row("drops", dropsTotal),
  ];
  return table([...rows, ...dropRows(halves)]);
}

/** A row for each reason that dropped something. */
function dropRows(halves: readonly HalfSnapshot[]): string[][] {
  const of = (half: HalfSnapshot) => ({
    ...half.drops,
    receiveQueueFull: half.sockets.datagramsDropped,
  });
  const first = halves[0];
  if (first === undefined) return [];
  const reasons = Object.keys(of(first)) as (keyof ReturnType<typeof of>)[];
  return reasons
    .filter((reason) => halves.some((half) => of(half)[reason] > 0))
    .map((reason) => [`  ${reason}`, ...halves.map((half) => String(of(half)[reason]))]);
}

function loadTable(load: LoadReport): string {
  const { seconds, clients, window } = load;
  return table([
    [`${seconds.toFixed(1)} s of load`, `${clients} clients, ${window} open each`],
    ["questions", String(load.sent)],
    ["answers unaltered", String(load.answered)],
    ["answers/s", formatRate(load.answered / seconds)],
    ["lost", String(load.lost)],
    ["late", String(load.late)],
    ["duplicated", String(load.duplicated)],
    ["altered", String(load.altered)],
    ["misdelivered", String(load.misdelivered)],
    ["socket errors", String(load.socketErrors)],
  ]);
}

function verdict(load: LoadReport): string {
  if (load.answered === 0) return "FAILED: no answer came back";
  const wrong = load.altered + load.misdelivered;
  if (!isIntact(load)) return `FAILED: ${wrong} answers were altered or went to the wrong client`;
  const lossPercent = (100 * load.lost) / load.sent;
  const loss = load.lost === 0 ? "none was lost" : `${lossPercent.toFixed(3)} % were lost`;
  return `OK: every answer came back unaltered to the right client; ${loss}`;
}

/** Columns as wide as their widest cell; all but the first flush right. */
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
