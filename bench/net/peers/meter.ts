/**
 * Measures a peer within its own process, and prints the results. Runs on Bun, Node and Deno.
 *
 * The clock is read when datagrams are counted, not by timers: a runtime that is flooded may run
 * its timers only after the flood has ended, and would then measure an idle socket.
 */

import { readSync, writeSync } from "node:fs";
import { performance } from "node:perf_hooks";
import process from "node:process";
import { median } from "../../statistics.ts";
import { BATCH, checkDatagram } from "../datagrams.ts";
import type { Listener, Recorder, Sender } from "./peer.ts";

/** How long a peer runs before it is timed. */
const WARM_UP_MS = 300;
/** The number of datagrams that are checked, at the beginning of the warm-up. */
const CHECKED_DATAGRAMS = 1000;
/** Laps of a drain that are not timed: compiler threads share the processor until then. */
const WARM_UP_LAPS = 150;
/** The minimum number of datagrams between two reads of the clock. */
const DATAGRAMS_PER_CLOCK_READ = 64;

/** Opens a receiving socket. */
export type Listen = (recorder: Recorder) => Promise<Listener>;

type SystemCalls = Listener["systemCalls"];

/** Prints a JSON object on a line, synchronously. */
export function print(value: object): void {
  writeSync(1, `${JSON.stringify(value)}\n`);
}

/** Counts datagrams, and calls `onWake` when the total is `wakeAt` or more. */
class Meter implements Recorder {
  isChecking = true;
  total = 0;
  wakeAt = 1;
  onWake: () => void = () => {};
  #checked = 0;

  check(bytes: Uint8Array): void {
    checkDatagram(bytes);
    if (++this.#checked === CHECKED_DATAGRAMS) this.isChecking = false;
  }

  count(datagrams: number): void {
    this.total += datagrams;
    if (this.total >= this.wakeAt) this.onWake();
  }
}

/** The datagrams, time, CPU time and memory since its creation, except while paused. */
class Measurement {
  /** When it was created or last resumed. */
  startMs = 0;
  readonly #meter: Meter;
  readonly #systemCalls: SystemCalls;
  readonly #totalBefore: number;
  readonly #systemCallsBefore: number | undefined;
  readonly #residentBytesBefore = process.memoryUsage.rss();
  readonly #used = { seconds: 0, userSeconds: 0, systemSeconds: 0 };
  #cpuUsageBefore = process.cpuUsage();

  constructor(meter: Meter, systemCalls: SystemCalls) {
    this.#meter = meter;
    this.#systemCalls = systemCalls;
    this.#totalBefore = meter.total;
    this.#systemCallsBefore = systemCalls?.();
    this.resume();
  }

  resume(): void {
    this.#cpuUsageBefore = process.cpuUsage();
    this.startMs = performance.now();
  }

  pause(): void {
    const { user, system } = process.cpuUsage();
    this.#used.seconds += (performance.now() - this.startMs) / 1e3;
    this.#used.userSeconds += (user - this.#cpuUsageBefore.user) / 1e6;
    this.#used.systemSeconds += (system - this.#cpuUsageBefore.system) / 1e6;
  }

  /** Prints the result. Must be paused. */
  print(): void {
    const { total } = this.#meter;
    const calls = this.#systemCalls?.();
    print({
      datagrams: total - this.#totalBefore,
      total,
      ...(calls !== undefined && { calls: calls - (this.#systemCallsBefore as number) }),
      ...this.#used,
      memoryGrowthBytes: process.memoryUsage.rss() - this.#residentBytesBefore,
    });
  }
}

/**
 * Makes the meter measure for `seconds`, after a warm-up that begins with the first datagram, print
 * the result and call `onEnd`.
 */
function measureTimed(
  meter: Meter,
  seconds: number,
  getSystemCalls: () => SystemCalls,
  onEnd = exit,
): void {
  let warmMs: number | undefined;
  let measurement: Measurement | undefined;
  meter.onWake = () => {
    meter.wakeAt = meter.total + DATAGRAMS_PER_CLOCK_READ;
    const nowMs = performance.now();
    warmMs ??= nowMs + WARM_UP_MS;
    if (measurement === undefined) {
      if (nowMs >= warmMs) measurement = new Measurement(meter, getSystemCalls());
    } else if (nowMs >= measurement.startMs + seconds * 1e3) {
      measurement.pause();
      measurement.print();
      meter.wakeAt = Number.POSITIVE_INFINITY;
      onEnd();
    }
  };
}

function exit(): void {
  process.exit(0);
}

/**
 * Calls `listen` once for each of `sockets`, and prints the ports. Measures for `seconds` what all
 * of them receive.
 */
export async function measureFor(seconds: number, listen: Listen, sockets = 1): Promise<void> {
  const meter = new Meter();
  const listeners: Listener[] = [];
  measureTimed(meter, seconds, () => totalSystemCalls(listeners));
  while (listeners.length < sockets) listeners.push(await listen(meter));
  const ports = listeners.map(({ port }) => port);
  print({ port: ports[0], ports });
}

function totalSystemCalls(listeners: readonly Listener[]): SystemCalls {
  const counters = listeners.flatMap(({ systemCalls }) => systemCalls ?? []);
  if (counters.length < listeners.length) return undefined;
  return () => counters.reduce((sum, count) => sum + count(), 0);
}

/**
 * Measures the time per datagram of emptying a full queue: then the sender neither limits the
 * receiver nor uses a processor at the same time. A lap is timed from its first receive to its
 * last, since echo scenarios measure the wake-up.
 *
 * Before each lap, prints the port and waits for a byte on standard input, which the parent process
 * sends after it has filled the queue. The wait blocks the event loop, so that nothing is received
 * meanwhile.
 */
export async function measureDrain(laps: number, datagrams: number, listen: Listen): Promise<void> {
  const meter = new Meter();
  const { port, systemCalls } = await listen(meter);
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
    if (lap === 0) measurement = new Measurement(meter, systemCalls);
    else measurement?.resume();
    const endMs = await drained.promise;
    if (lap >= 0) times.push(((endMs - startMs) * 1e6) / left);
    // The callback that counted the last datagram has not returned yet.
    await new Promise(setImmediate);
  }
  measurement?.print();
  print({ ns: median(times) });
  exit();
}

/** Measures for `seconds` what `sender` sends. Then exits, unless it `continues`. */
export async function measureSend(
  seconds: number,
  { send, systemCalls }: Sender,
  { continues = false }: { readonly continues?: boolean } = {},
): Promise<void> {
  const meter = new Meter();
  measureTimed(meter, seconds, () => systemCalls, continues ? () => {} : exit);
  for (;;) {
    await send();
    meter.count(BATCH);
  }
}

/** Prints the time from the start of the process to its first datagram, and its memory then. */
export async function measureStart(listen: Listen): Promise<void> {
  const meter = new Meter();
  meter.onWake = () => {
    print({ ms: performance.now(), residentBytes: process.memoryUsage.rss() });
    exit();
  };
  print({ port: (await listen(meter)).port });
}
