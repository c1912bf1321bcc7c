/** Prints the current rates to stderr, once per second. A terminal shows them on one line. */

import {
  datagramsTransferred,
  dropsTotal,
  type EndpointSnapshot,
  systemCalls,
} from "./counters.ts";

const INTERVAL_MS = 1000;

interface Sample {
  readonly atMs: number;
  readonly endpoints: readonly EndpointSnapshot[];
}

/** Formats what happened between two samples. */
function formatProgress(previous: Sample, current: Sample): string {
  const seconds = (current.atMs - previous.atMs) / 1000;
  const difference = (value: (endpoint: EndpointSnapshot) => number) =>
    total(current, value) - total(previous, value);
  const transferred = difference(datagramsTransferred);
  const calls = difference(systemCalls);
  // A datagram of the demo passes both endpoints, and is counted at the first one only.
  const first = current.endpoints[0] as EndpointSnapshot;
  const firstBefore = previous.endpoints[0] as EndpointSnapshot;
  const datagrams = forwarded(first, "datagrams") - forwarded(firstBefore, "datagrams");
  const bytes = forwarded(first, "bytes") - forwarded(firstBefore, "bytes");
  return [
    `flows ${first.flows}`,
    `${formatRate(datagrams / seconds)} datagrams/s`,
    `${((bytes * 8) / seconds / 1e9).toFixed(3)} Gbit/s`,
    `${(calls === 0 ? 0 : transferred / calls).toFixed(1)} datagrams/syscall`,
    `drops ${total(current, dropsTotal)}`,
  ].join("  ");
}

/** Formats a rate, for example `950`, `12.3 k` or `1.20 M`. */
export function formatRate(perSecond: number): string {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(2)} M`;
  if (perSecond >= 1e4) return `${(perSecond / 1e3).toFixed(1)} k`;
  return perSecond.toFixed(0);
}

function forwarded({ toUpstream, toClients }: EndpointSnapshot, unit: "datagrams" | "bytes") {
  return toUpstream[unit] + toClients[unit];
}

function total({ endpoints }: Sample, value: (endpoint: EndpointSnapshot) => number): number {
  return endpoints.reduce((sum, endpoint) => sum + value(endpoint), 0);
}

export interface ProgressLineOptions {
  readonly sample: () => readonly EndpointSnapshot[];
  /** Whether to print if stderr is not a terminal, too. */
  readonly printsWithoutTerminal: boolean;
}

/** Prints progress until it is stopped. */
export class ProgressLine {
  readonly #options: ProgressLineOptions;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #previous: Sample;

  constructor(options: ProgressLineOptions) {
    this.#options = options;
    this.#previous = this.#sample();
    const isShown = process.stderr.isTTY || options.printsWithoutTerminal;
    this.#timer = isShown ? setInterval(() => this.#print(), INTERVAL_MS) : undefined;
  }

  /** Stops printing, and clears the line on a terminal. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }

  #sample(): Sample {
    return { atMs: performance.now(), endpoints: this.#options.sample() };
  }

  #print(): void {
    const current = this.#sample();
    const line = formatProgress(this.#previous, current);
    this.#previous = current;
    // Carriage return, and "erase to the end of the line" (ECMA-48, EL).
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  }
}
