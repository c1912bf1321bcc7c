/**
 * Measures what a peer does, in its own process, and prints it. Runs on Bun, Node and Deno.
 *
 * Clocks are looked at where datagrams are counted, not by timers: a runtime that is flooded may
 * come to its timers when the flood is over, and would then measure silence.
 */

import { readSync, writeSync } from "node:fs";
import { performance } from "node:perf_hooks";
import process from "node:process";
import { median } from "../../statistics.ts";
import { BATCH, checkDatagram } from "../datagrams.ts";
import type { Opened, Received, Sender } from "./peer.ts";

/** How long everybody runs before being timed. */
const WARM_UP_MS = 300;
/** Datagrams that are looked at before. */
const CHECKED = 1000;
/** Laps of a drain that are not timed: until then compilers take a part of the processor. */
const WARM_UP_LAPS = 150;
/** Datagrams between two looks at the clock, where they come one by one. */
const DATAGRAMS_A_LOOK = 64;

/** Opens what receives. */
export type Open = (received: Received) => Promise<Opened>;

/** Prints a JSON object in a line of its own, at once. */
export function print(value: object): void {
  writeSync(1, `${JSON.stringify(value)}\n`);
}

/** Counts, and calls `onWake` whenever `wakeAt` datagrams were counted. */
class Meter implements Received {
  isChecking = true;
  total = 0;
  wakeAt = 1;
  onWake: () => void = () => {};
  #checked = 0;

  check(bytes: Uint8Array): void {
    checkDatagram(bytes);
    if (++this.#checked === CHECKED) this.isChecking = false;
  }

  count(datagrams: number): void {
    this.total += datagrams;
    if (this.total >= this.wakeAt) this.onWake();
  }
}

/** What is counted and used from when it was made on, less the time it is paused. */
class Measurement {
  /** When it was made, or resumed. */
  startMs = 0;
  readonly #meter: Meter;
  readonly #calls: (() => number) | undefined;
  readonly #total: number;
  readonly #callsBefore: number | undefined;
  readonly #residentBytes = process.memoryUsage.rss();
  readonly #used = { seconds: 0, userSeconds: 0, systemSeconds: 0 };
  #before = process.cpuUsage();

  constructor(meter: Meter, calls: (() => number) | undefined) {
    this.#meter = meter;
    this.#calls = calls;
    this.#total = meter.total;
    this.#callsBefore = calls?.();
    this.resume();
  }

  resume(): void {
    this.#before = process.cpuUsage();
    this.startMs = performance.now();
  }

  pause(): void {
    const { user, system } = process.cpuUsage();
    this.#used.seconds += (performance.now() - this.startMs) / 1e3;
    this.#used.userSeconds += (user - this.#before.user) / 1e6;
    this.#used.systemSeconds += (system - this.#before.system) / 1e6;
  }

  /** Of one that is paused. */
  print(): void {
    const { total } = this.#meter;
    const calls = this.#calls?.();
    print({
      datagrams: total - this.#total,
      total,
      ...(calls !== undefined && { calls: calls - (this.#callsBefore as number) }),
      ...this.#used,
      memoryGrowthBytes: process.memoryUsage.rss() - this.#residentBytes,
    });
  }
}

/** Has the meter print what is counted in `seconds`, from a while after the first count on. */
function timed(meter: Meter, seconds: number, calls: () => (() => number) | undefined, end = exit) {
  let warmMs: number | undefined;
  let measurement: Measurement | undefined;
  meter.onWake = () => {
    meter.wakeAt = meter.total + DATAGRAMS_A_LOOK;
    const nowMs = performance.now();
    warmMs ??= nowMs + WARM_UP_MS;
    if (measurement === undefined) {
      if (nowMs >= warmMs) measurement = new Measurement(meter, calls());
    } else if (nowMs >= measurement.startMs + seconds * 1e3) {
      measurement.pause();
      measurement.print();
      meter.wakeAt = Number.POSITIVE_INFINITY;
      end();
    }
  };
}

function exit(): void {
  process.exit(0);
}

/** Prints the ports of what `sockets` calls open, and what came in `seconds`. */
export async function measureFor(seconds: number, open: Open, sockets = 1): Promise<void> {
  const meter = new Meter();
  const opened: Opened[] = [];
  timed(meter, seconds, () => sumOfCalls(opened));
  while (opened.length < sockets) opened.push(await open(meter));
  const ports = opened.map(({ port }) => port);
  print({ port: ports[0], ports });
}

function sumOfCalls(opened: readonly Opened[]): (() => number) | undefined {
  const calls = opened.flatMap((one) => one.calls ?? []);
  if (calls.length < opened.length) return undefined;
  return () => calls.reduce((sum, ofOne) => sum + ofOne(), 0);
}

/**
 * Prints how long a datagram takes when the queue is full already: then no sender is the limit,
 * and none needs a processor. The clock runs from the first receive to the last, since how long
 * one takes to wake up is for echoes to tell. Before every lap the port is printed, and standard input waited for,
 * which blocks the event loop, so that nothing is received while the queue is filled.
 */
export async function measureDrain(laps: number, datagrams: number, open: Open): Promise<void> {
  const meter = new Meter();
  const { port, calls } = await open(meter);
  const times: number[] = [];
  let measurement: Measurement | undefined;
  for (let lap = -WARM_UP_LAPS; lap < laps; lap++) {
    const drained = Promise.withResolvers<number>();
    const end = meter.total + datagrams;
    let startMs = 0;
    let left = 0;
    meter.wakeAt = meter.total + 1;
    meter.onWake = () => {
      startMs = performance.now();
      left = end - meter.total;
      meter.wakeAt = end;
      meter.onWake = () => {
        meter.wakeAt = Number.POSITIVE_INFINITY;
        drained.resolve(performance.now());
        measurement?.pause();
      };
    };
    print({ port });
    readSync(0, new Uint8Array(1));
    if (lap === 0) measurement = new Measurement(meter, calls);
    else measurement?.resume();
    const endMs = await drained.promise;
    if (lap >= 0) times.push(((endMs - startMs) * 1e6) / left);
    // What was received last is still on the stack.
    await new Promise(setImmediate);
  }
  measurement?.print();
  print({ ns: median(times) });
  exit();
}

/** Prints how many datagrams a sender got out in `seconds`; `goesOn`: until it is killed. */
export async function measureSend(
  seconds: number,
  { send, calls }: Sender,
  goesOn = false,
): Promise<void> {
  const meter = new Meter();
  timed(meter, seconds, () => calls, goesOn ? () => {} : exit);
  for (;;) {
    await send();
    meter.count(BATCH);
  }
}

/** Prints how long it took from the start of the process to the first datagram, and its memory. */
export async function measureStart(open: Open): Promise<void> {
  const meter = new Meter();
  meter.onWake = () => {
    print({ ms: performance.now(), residentBytes: process.memoryUsage.rss() });
    exit();
  };
  print({ port: (await open(meter)).port });
}
