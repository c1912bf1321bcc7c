/** One waker for the two parties that may wait on one direction of a socket. */

import type { OperationQueue } from "./operation-queue.ts";
import { callWaker, type Waker } from "./poll.ts";

/**
 * The waker of one direction. A socket stores one waker, but two may wait: the queue of promises,
 * and a caller that polls. This one wakes both, so that neither takes the wake-up of the other.
 */
export class SharedWaker {
  readonly #queue: () => OperationQueue | undefined;
  /** The waker of the caller's latest poll. */
  #pollWaker: Waker | null = null;

  constructor(queue: () => OperationQueue | undefined) {
    this.#queue = queue;
  }

  /** Passed to the engine. Allocated once. */
  readonly wake: Waker = () => {
    const waker = this.#pollWaker;
    this.#pollWaker = null;
    this.#queue()?.waker();
    if (waker !== null) callWaker(waker);
  };

  /** Stores `waker` unless it is the queue's own, and returns the waker to pass to the engine. */
  share(waker: Waker | null): Waker | null {
    if (waker === null) return null;
    if (waker !== this.#queue()?.waker) this.#pollWaker = waker;
    return this.wake;
  }
}
