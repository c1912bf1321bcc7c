/** Virtual time: the clock and the timers of a simulation. */

import { inspectAs, rangeError, showState } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { checkMilliseconds } from "./check-values.ts";
import type { EventQueue, SimTask } from "./event-queue.ts";

/** A timer of a `SimClock`. */
export class SimTimer {
  /** @internal */
  _task: SimTask | undefined;
  /** @internal */
  readonly _cancel: (timer: SimTimer) => void;

  /** @internal */
  constructor(cancel: (timer: SimTimer) => void) {
    this._cancel = cancel;
  }

  /** Cancels the timer. No effect if it has fired. */
  clear(): void {
    this._cancel(this);
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

if (isShared("SimTimer", SimTimer)) {
  // @ts-expect-error See `isShared`.
  SimTimer = sharedClass("SimTimer");
}

/**
 * The clock of a simulation, to pass to the code under test instead of `performance.now`,
 * `setTimeout` and `setInterval`. Its time advances only while `SimNetwork.run` runs, from one event
 * to the next.
 */
export class SimClock {
  static {
    inspectAs(SimClock.prototype, (clock) => showState("SimClock", clock.toJSON()));
  }

  readonly #queue: EventQueue;
  #nowMs = 0;

  /** @internal */
  constructor(queue: EventQueue) {
    this.#queue = queue;
  }

  /** Returns what `JSON.stringify` prints: the virtual time. */
  toJSON(): { now: number } {
    return { now: this.#nowMs };
  }

  /** The virtual time in milliseconds, with fractions, since the network was created. */
  get now(): number {
    return this.#nowMs;
  }

  /** Calls `callback` after `delayMs` milliseconds of virtual time (>= 0, with fractions). */
  setTimeout(callback: () => void, delayMs: number): SimTimer {
    const timer = this.#newTimer(delayMs);
    timer._task = this.#queue.add(this.#nowMs + delayMs, callback, true);
    return timer;
  }

  /** Calls `callback` every `intervalMs` milliseconds (> 0) until the timer is cleared. */
  setInterval(callback: () => void, intervalMs: number): SimTimer {
    const timer = this.#newTimer(intervalMs);
    if (intervalMs === 0) throw rangeError("intervalMs", "milliseconds above 0", intervalMs);
    let timeMs = this.#nowMs;
    const next = (): void => {
      timeMs += intervalMs;
      timer._task = this.#queue.add(
        timeMs,
        () => {
          next();
          callback();
        },
        true,
      );
    };
    next();
    return timer;
  }

  /** Cancels a timer. Accepts `undefined`, as `clearTimeout` does. */
  clear(timer: SimTimer | undefined): void {
    timer?.clear();
  }

  /** Returns a promise that is fulfilled after `delayMs` milliseconds of virtual time. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.setTimeout(resolve, delayMs);
    });
  }

  /**
   * Returns a signal that aborts after `delayMs` milliseconds of virtual time, with the reason that
   * `AbortSignal.timeout` uses: a `DOMException` named `TimeoutError`.
   */
  timeoutSignal(delayMs: number): AbortSignal {
    const controller = new AbortController();
    const reason = new DOMException("The operation timed out.", "TimeoutError");
    this.setTimeout(() => controller.abort(reason), delayMs);
    return controller.signal;
  }

  /** @internal Sets the time, which never goes back. */
  _advance(timeMs: number): void {
    this.#nowMs = timeMs;
  }

  #newTimer(delayMs: number): SimTimer {
    checkMilliseconds("delayMs", delayMs);
    return new SimTimer((timer) => {
      if (timer._task !== undefined) this.#queue.cancel(timer._task);
      timer._task = undefined;
    });
  }
}

if (isShared("SimClock", SimClock)) {
  // @ts-expect-error See `isShared`.
  SimClock = sharedClass("SimClock");
}
