/** Runs a simulation: advances virtual time from event to event. */

import { numberError, rangeError, typeError } from "../support/check.ts";
import type { SimClock } from "./clock.ts";
import type { EventQueue, SimTask } from "./event-queue.ts";
import { settle } from "./settle.ts";
import { SimulationError } from "./simulation-error.ts";

/** Options of `SimNetwork.run`. */
export interface RunOptions {
  /**
   * The virtual time in milliseconds at which the run fails, counted from the creation of the
   * network. Default: one hour after the start of the run.
   */
  readonly untilMs?: number | undefined;
}

const RUN_MS_DEFAULT = 3_600_000;

/** The loop that drives a simulation. */
export class Runner {
  readonly #events: EventQueue;
  readonly #clock: SimClock;
  readonly #afterStep: () => void;
  #isRunning = false;
  /** Whether code under test ran since the event loop was idle. */
  #hasRunCode = false;

  /** `afterStep` is called after each step, and may throw to fail the run. */
  constructor(events: EventQueue, clock: SimClock, afterStep: () => void) {
    this.#events = events;
    this.#clock = clock;
    this.#afterStep = afterStep;
  }

  /** To be called before an event calls code under test. */
  willRunCode(): void {
    this.#hasRunCode = true;
  }

  /** As `SimNetwork.run`. */
  async run<T>(main: () => PromiseLike<T> | T, options: RunOptions): Promise<T> {
    if (typeof main !== "function") throw typeError("main", "function", main);
    if (this.#isRunning) throw rangeError("run", "one run at a time", "a second one");
    const { untilMs = this.#clock.now + RUN_MS_DEFAULT } = options;
    if (!(typeof untilMs === "number" && untilMs >= this.#clock.now)) {
      throw numberError("untilMs", `milliseconds of ${this.#clock.now} or more`, untilMs);
    }
    this.#isRunning = true;
    try {
      const promise = Promise.resolve(main());
      let isSettled = false;
      const onSettled = (): void => {
        isSettled = true;
      };
      promise.then(onSettled, onSettled);
      await settle();
      this.#afterStep();
      while (!isSettled) {
        this.#step(untilMs);
        if (this.#hasRunCode) await settle();
        this.#hasRunCode = false;
        this.#afterStep();
      }
      return await promise;
    } finally {
      this.#isRunning = false;
    }
  }

  /**
   * Runs the events that are due next, at the same time, until one is isolated: the wakers of all
   * sockets that are ready are called before the promise callbacks, as by the event loop.
   */
  #step(untilMs: number): void {
    const first = this.#events.peek();
    if (first === undefined) {
      throw new SimulationError(
        "ERR_SIM_STALLED",
        `the promise is pending at ${this.#clock.now} ms, and no timer, datagram or wake-up is left`,
      );
    }
    const { timeMs } = first;
    if (timeMs > untilMs) {
      throw new SimulationError("ERR_SIM_TIMEOUT", `the promise is pending at ${untilMs} ms`);
    }
    this.#clock._advance(timeMs);
    let task: SimTask | undefined = first;
    do {
      const { isIsolated } = task;
      if (isIsolated) {
        if (task !== first) return;
        this.#hasRunCode = true;
      }
      this.#events.take()?.();
      if (isIsolated) return;
      task = this.#events.peek();
    } while (task !== undefined && task.timeMs === timeMs);
  }
}
