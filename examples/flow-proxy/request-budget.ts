/**
 * The number of outstanding requests that all clients may have together. Clients that want to send
 * a burst take turns.
 */

/** The outstanding requests of all clients. */
export class RequestBudget {
  #available: number;
  /** Clients that wait for their turn, and how many requests each wants to send. */
  readonly #waiting: { readonly wake: () => void; readonly count: number }[] = [];
  readonly #isWaiting = new Set<() => void>();
  #isWakeScheduled = false;
  /** The waker that is being called, whose client may take before the waiting ones. */
  #turn: (() => void) | undefined;

  constructor(requestsMax: number) {
    this.#available = requestsMax;
  }

  /**
   * Takes `count` requests and returns true. If there are too few, or others wait, returns false,
   * and calls `wake` when it is the caller's turn. A caller waits at most once.
   */
  take(count: number, wake: () => void): boolean {
    if (this.#available >= count && (this.#waiting.length === 0 || this.#turn === wake)) {
      this.#available -= count;
      return true;
    }
    if (!this.#isWaiting.has(wake)) {
      this.#isWaiting.add(wake);
      this.#waiting.push({ wake, count });
    }
    return false;
  }

  /** Returns `count` requests, which have a reply or count as lost. */
  give(count: number): void {
    this.#available += count;
    if (this.#isWakeScheduled || this.#waiting.length === 0) return;
    this.#isWakeScheduled = true;
    // Later: the caller has not checked all of its replies yet, and all share one receive batch.
    queueMicrotask(this.#wake);
  }

  readonly #wake = (): void => {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || next.count > this.#available) break;
      this.#waiting.shift();
      this.#isWaiting.delete(next.wake);
      this.#turn = next.wake;
      next.wake();
      this.#turn = undefined;
    }
    this.#isWakeScheduled = false;
  };
}
