/**
 * Delays receives of sockets that receive bursts, as the interrupt moderation of network adapters
 * does: datagrams accumulate in the receive queue, and one wake-up serves many. Meanwhile the
 * sockets are not registered with epoll, and the thread sleeps.
 *
 * All sockets share one timer, which wakes them together.
 */

import type { Poller } from "../../ffi/native.ts";
import type { Interest } from "./interest.ts";

/** The number of datagrams between two waits that is a burst. */
const BURST_MIN = 4;

/** The delayed interests of a reactor. */
export class BurstDelays {
  readonly #poller: Pick<Poller, "setTimer">;
  #delayed: Interest[] = [];
  /** The list that `wake` works through. */
  #waking: Interest[] = [];
  /** When the timer expires, if any interest is delayed. */
  #dueMs = 0;

  constructor(poller: Pick<Poller, "setTimer">) {
    this.#poller = poller;
  }

  /** Whether the timer may be reported. */
  get isPending(): boolean {
    return this.#delayed.length > 0;
  }

  /**
   * Delays an interest that begins to wait, if it has received a burst. Returns whether it has: then
   * `wake` calls its waker.
   */
  delay(interest: Interest, now: number): boolean {
    const { burstDelayUs, datagramsSinceWait } = interest;
    interest.datagramsSinceWait = 0;
    if (burstDelayUs === 0 || datagramsSinceWait < BURST_MIN) return false;
    // After the delay, a socket without datagrams is armed.
    interest.hasShortWaits = false;
    const dueMs = now + burstDelayUs / 1e3;
    if (!this.isPending || dueMs < this.#dueMs) {
      // Fails without a descriptor for the timer.
      if (this.#poller.setTimer(burstDelayUs) < 0) return false;
      this.#dueMs = dueMs;
    }
    this.#delayed.push(interest);
    return true;
  }

  /** Removes an interest that is delayed. */
  remove(interest: Interest): void {
    const i = this.#delayed.indexOf(interest);
    if (i !== -1) this.#delayed.splice(i, 1);
  }

  /** Wakes all delayed interests. To be called when the timer has expired. */
  wake(): void {
    const waking = this.#delayed;
    this.#delayed = this.#waking;
    this.#waking = waking;
    for (const interest of waking) {
      // A waker may have closed the next socket, or received from it.
      if (interest.state !== "delayed") continue;
      interest.state = "idle";
      interest.wake();
    }
    waking.length = 0;
  }
}
