/** One waker for the two parties that may wait on one direction of a socket. */

import type { OperationQueue } from "./operation-queue.ts";
import { callWaker, Pending, type Poll, type Waker } from "./poll.ts";

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

  /** Passed to the engine in place of any waker. Allocated once. */
  readonly wake: Waker = () => {
    const waker = this.#pollWaker;
    this.#pollWaker = null;
    this.#queue()?.waker();
    if (waker !== null) callWaker(waker);
  };

  /** Returns the result of a poll. If it is `Pending`, stores `waker` unless it is the queue's. */
  store(result: Poll<number>, waker: Waker | null): Poll<number> {
    if (result === Pending && waker !== null && waker !== this.#queue()?.waker) {
      this.#pollWaker = waker;
    }
    return result;
  }
}
