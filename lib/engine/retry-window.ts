/** The bounded time in which a failed send is retried. */

import { nowMs } from "../support/timers.ts";

/** How long to retry: long enough for a queue at 1 Gbit/s to drain 1,600 packets. */
const WINDOW_MS = 20;
/** After this time without a failure, the next one starts a new window. */
const QUIET_MS = 100;

/**
 * Limits the retries of sends that fail with ENOBUFS, or because of a flood of ICMP errors.
 *
 * ENOBUFS means that the queue of the device is full, or that a packet was dropped at the device
 * (a firewall's egress hook). The kernel reports no event when a retry would succeed, so sends are
 * retried by a timer, and only within a window that begins with the first failure. A datagram that
 * fails after the window is refused at once, so that an outage does not delay one datagram after
 * another.
 */
export class RetryWindow {
  readonly #windowMs: number;
  #startMs = 0;
  #latestMs = Number.NEGATIVE_INFINITY;

  /** @param windowMs how long to retry. Default 20. */
  constructor(windowMs: number = WINDOW_MS) {
    this.#windowMs = windowMs;
  }

  /** Records a failure, and returns how long to continue in milliseconds; 0: not at all. */
  remainingMs(): number {
    const now = nowMs();
    if (now - this.#latestMs > QUIET_MS) this.#startMs = now;
    this.#latestMs = now;
    return Math.max(0, this.#startMs + this.#windowMs - now);
  }

  /** Ends the window after a successful send. */
  reset(): void {
    this.#latestMs = Number.NEGATIVE_INFINITY;
  }
}
