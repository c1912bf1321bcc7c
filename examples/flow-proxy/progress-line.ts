/** What is going on right now: one line a second, rewritten in place on a terminal. */

import { dropsTotal, type HalfSnapshot } from "./counts.ts";

const INTERVAL_MS = 1000;

/** What the line is made of. */
interface Sample {
  readonly atMs: number;
  readonly halves: readonly HalfSnapshot[];
}

/** The line of the second between two samples. */
export function formatLine(before: Sample, now: Sample): string {
  const seconds = (now.atMs - before.atMs) / 1000;
  const [first, firstBefore] = [now.halves[0] as HalfSnapshot, before.halves[0] as HalfSnapshot];
  // With both halves here, each datagram passes both: it is counted at the first one.
  const datagrams = forwarded(first, "datagrams") - forwarded(firstBefore, "datagrams");
  const bytes = forwarded(first, "bytes") - forwarded(firstBefore, "bytes");
  const moved = total(now, movedBySockets) - total(before, movedBySockets);
  const calls = total(now, callsOfSockets) - total(before, callsOfSockets);
  return [
    `flows ${first.flows}`,
    `${formatRate(datagrams / seconds)} datagrams/s`,
    `${((bytes * 8) / seconds / 1e9).toFixed(3)} Gbit/s`,
    `${(calls === 0 ? 0 : moved / calls).toFixed(1)} datagrams/syscall`,
    `drops ${total(now, dropsTotal)}`,
  ].join("  ");
}

/** Datagrams that sockets moved in either direction. */
export function movedBySockets({ sockets }: HalfSnapshot): number {
  return sockets.datagramsReceived + sockets.datagramsSent;
}

/** The messages they were, of which one may carry many. */
export function messagesOfSockets({ sockets }: HalfSnapshot): number {
  return sockets.messagesReceived + sockets.messagesSent;
}

/** The system calls this took, those that found nothing or no room included. */
export function callsOfSockets({ sockets }: HalfSnapshot): number {
  return sockets.receiveCalls + sockets.sendCalls;
}

/** `950`, `12.3 k`, `1.2 M`. */
export function formatRate(perSecond: number): string {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(2)} M`;
  if (perSecond >= 1e4) return `${(perSecond / 1e3).toFixed(1)} k`;
  return perSecond.toFixed(0);
}

function forwarded({ up, down }: HalfSnapshot, what: "datagrams" | "bytes"): number {
  return up[what] + down[what];
}

function total({ halves }: Sample, of: (half: HalfSnapshot) => number): number {
  return halves.reduce((sum, half) => sum + of(half), 0);
}

export interface LiveLineOptions {
  readonly sample: () => readonly HalfSnapshot[];
  /** Whether to print also where there is no terminal to rewrite a line of. */
  readonly always: boolean;
}

/** Prints the line to stderr until it is stopped. */
export class LiveLine {
  readonly #options: LiveLineOptions;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #before: Sample;

  constructor(options: LiveLineOptions) {
    this.#options = options;
    this.#before = this.#sample();
    const isShown = process.stderr.isTTY || options.always;
    this.#timer = isShown ? setInterval(() => this.#print(), INTERVAL_MS) : undefined;
  }

  /** Ends the line. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }

  #sample(): Sample {
    return { atMs: performance.now(), halves: this.#options.sample() };
  }

  #print(): void {
    const now = this.#sample();
    const line = formatLine(this.#before, now);
    this.#before = now;
    // Carriage return and "erase to the end of the line" (ECMA-48, EL).
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  }
}
