/**
 * The number of outstanding requests that all clients may have together. Clients that want to send
 * a burst take turns.
 */

import { RUN_REQUESTS } from "./request.ts";

/** The outstanding requests of all clients. */
export class RequestBudget {
  #available: number;
  /**
   * A client may send at least that many, or as many as it wants. Less would break up the bursts;
   * more would make all clients wait for a few lost requests.
   */
  readonly #burstMin: number;
  /** Clients that wait for their turn, and how many requests each wants to send. */
  readonly #waiting: { readonly wake: () => void; readonly count: number }[] = [];
  readonly #isWaiting = new Set<() => void>();
  #isWakeScheduled = false;
  /** The waker that is being called, whose client may take before the waiting ones. */
  #turn: (() => void) | undefined;

  constructor(requestsMax: number) {
    this.#available = requestsMax;
    this.#burstMin = Math.ceil(Math.min(RUN_REQUESTS, requestsMax) / 2);
  }

  /**
   * Takes up to `count` requests, and returns their number. If there are too few, or others wait,
   * returns 0, and calls `wake` when it is the caller's turn. A caller waits at most once.
   */
  take(count: number, wake: () => void): number {
    const mayTake = this.#waiting.length === 0 || this.#turn === wake;
    if (mayTake && this.#isEnoughFor(count)) {
      const taken = Math.min(count, this.#available);
      this.#available -= taken;
      return taken;
    }
    if (!this.#isWaiting.has(wake)) {
      this.#isWaiting.add(wake);
      this.#waiting.push({ wake, count });
    }
    return 0;
  }

  /** Returns `count` requests, which have a reply or count as lost. */
  give(count: number): void {
    this.#available += count;
    if (this.#isWakeScheduled || this.#waiting.length === 0) return;
    this.#isWakeScheduled = true;
    // Later: the caller has not checked all of its replies yet, and all share one receive batch.
    queueMicrotask(this.#wake);
  }

  #isEnoughFor(count: number): boolean {
    return this.#available >= Math.min(count, this.#burstMin);
  }

  readonly #wake = (): void => {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || !this.#isEnoughFor(next.count)) break;
      this.#waiting.shift();
      this.#isWaiting.delete(next.wake);
      this.#turn = next.wake;
      next.wake();
      this.#turn = undefined;
    }
    this.#isWakeScheduled = false;
  };
}
