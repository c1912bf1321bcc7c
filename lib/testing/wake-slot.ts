/** The waker of one direction of a simulated socket. */

import type { Waker } from "../poll/poll.ts";
import type { Wire } from "./wire.ts";

/** The maximum delay of a wake-up without a reason, in milliseconds. */
const SPURIOUS_MS_MAX = 5;

/** Stores one waker, and calls it once when the direction is ready. */
export class WakeSlot {
  readonly #wire: Wire;
  readonly #spuriousWakes: number;
  #waker: Waker | null = null;
  #isScheduled = false;

  constructor(wire: Wire, spuriousWakes: number) {
    this.#wire = wire;
    this.#spuriousWakes = spuriousWakes;
  }

  /** Stores `waker`, replacing an earlier one; `null` keeps it. */
  store(waker: Waker | null): void {
    if (waker === null) return;
    this.#waker = waker;
    if (!this.#wire.random.chance(this.#spuriousWakes)) return;
    this.#wire.schedule(this.#wire.random.between(0, SPURIOUS_MS_MAX), () => this.ready());
  }

  /** Calls the stored waker, if any, when the event loop of the host runs next. */
  ready(): void {
    if (this.#waker === null || this.#isScheduled) return;
    this.#isScheduled = true;
    this.#wire.scheduleWake(() => {
      this.#isScheduled = false;
      const waker = this.#waker;
      this.#waker = null;
      waker?.();
    });
  }
}
