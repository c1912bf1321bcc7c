/** Measures what a peer does, in its own process, and prints it. */

import { BATCH, checkDatagram, SEGMENTS } from "../datagrams.ts";
import { referencePath, run } from "../processes.ts";
import { median } from "../statistics.ts";

/** How long everybody runs before being timed. */
const WARM_UP_MS = 500;
/** Datagrams that are looked at before. */
const CHECKED = 1000;
/** Laps of a drain that are not timed. */
const WARM_UP_LAPS = 10;
/** A queue that takes longer to drain lost some when it was filled. */
const DRAIN_TIMEOUT_MS = 2000;
/** Between two looks at the clock. */
const CALLS_A_LOOK = 8;

/** Hears what a peer received or relayed. */
export interface Received {
  /** Whether each datagram, as it came, is to be given to `check` before it is counted. */
  readonly isChecking: boolean;
  check(bytes: Uint8Array): void;
  /** Counts datagrams that came by `calls` receives. */
  count(datagrams: number, calls: number): void;
}

/** Opens what receives: the port it listens on. */
export type Open = (received: Received) => Promise<number>;

/** Prints a JSON object in a line of its own. */
export function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

class Counter implements Received {
  isChecking = true;
  total = 0;
  calls = 0;
  /** Called once, when `total` is at least `goal`. */
  onGoal: () => void = () => {};
  goal = Number.POSITIVE_INFINITY;
  #checked = 0;

  check(bytes: Uint8Array): void {
    checkDatagram(bytes);
    if (++this.#checked === CHECKED) this.isChecking = false;
  }

  count(datagrams: number, calls: number): void {
    this.total += datagrams;
    this.calls += calls;
    if (this.total < this.goal) return;
    this.goal = Number.POSITIVE_INFINITY;
    this.onGoal();
  }
}

/** What was counted and used since it was made. */
class Measurement {
  readonly #counter: Counter;
  readonly #total: number;
  readonly #calls: number;
  readonly #startMs = performance.now();
  readonly #before = process.cpuUsage();

  constructor(counter: Counter) {
    this.#counter = counter;
    this.#total = counter.total;
    this.#calls = counter.calls;
  }

  print(): void {
    const { user, system } = process.cpuUsage(this.#before);
    const seconds = (performance.now() - this.#startMs) / 1e3;
    const { total, calls } = this.#counter;
    print({
      datagrams: total - this.#total,
      total,
      calls: calls - this.#calls,
      seconds,
      userSeconds: user / 1e6,
      systemSeconds: system / 1e6,
    });
  }
}

/** Prints the port, and what came in `seconds`, from a while after the first datagram on. */
export async function measureFor(seconds: number, open: Open): Promise<void> {
  const counter = new Counter();
  counter.goal = 1;
  counter.onGoal = () => setTimeout(begin, WARM_UP_MS);
  const begin = () => {
    const measurement = new Measurement(counter);
    setTimeout(() => {
      measurement.print();
      process.exit(0);
    }, seconds * 1e3);
  };
  print({ port: await open(counter) });
}

/**
 * Prints how long a datagram takes when the queue is full already: then no sender is the limit,
 * and none needs a processor.
 */
export async function measureDrain(laps: number, messages: number, open: Open): Promise<void> {
  const counter = new Counter();
  const port = await open(counter);
  const fill = [referencePath(), "fill", String(port), String(messages)];
  const datagrams = messages * SEGMENTS;
  const times: number[] = [];
  for (let lap = -WARM_UP_LAPS; lap < laps; lap++) {
    const drained = Promise.withResolvers<number>();
    counter.goal = counter.total + datagrams;
    counter.onGoal = () => drained.resolve(performance.now());
    const { total } = counter;
    const tooLate = () =>
      drained.reject(new Error(`drain expected ${datagrams}, got ${counter.total - total}`));
    // Blocks the event loop, so that nothing is received meanwhile.
    run(fill);
    const timer = setTimeout(tooLate, DRAIN_TIMEOUT_MS);
    const startMs = performance.now();
    const endMs = await drained.promise;
    clearTimeout(timer);
    if (lap >= 0) times.push(((endMs - startMs) * 1e6) / datagrams);
    // What was received last may still be on the stack; and the socket is to go idle.
    await Bun.sleep(1);
  }
  print({ nsPerDatagram: median(times), total: counter.total });
  process.exit(0);
}

/** Prints how many datagrams `send`, which sends one batch, got out in `seconds`. */
export async function measureSend(seconds: number, send: () => Promise<void>): Promise<void> {
  const counter = new Counter();
  const runUntil = async (endMs: number) => {
    while (performance.now() < endMs) {
      for (let i = 0; i < CALLS_A_LOOK; i++) {
        await send();
        counter.count(BATCH, 1);
      }
    }
  };
  await runUntil(performance.now() + WARM_UP_MS);
  const measurement = new Measurement(counter);
  await runUntil(performance.now() + seconds * 1e3);
  measurement.print();
  process.exit(0);
}
