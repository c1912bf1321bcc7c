/**
 * Promises over polls: callers that wait on one direction of a socket are served in the order in
 * which they came, each can be aborted, and an error settles the one at the head.
 */

import { typeError } from "../support/check.ts";
import { Pending, type Poll, type Waker } from "./poll.ts";

/** Options of everything that waits. */
export interface WaitOptions {
  /**
   * Aborts the wait: the promise rejects with the signal's reason, and no datagram is taken or
   * half sent. A call that already moved datagrams resolves with their count instead.
   */
  readonly signal?: AbortSignal | undefined;
}

interface Operation {
  readonly poll: (waker: Waker) => Poll<unknown>;
  readonly signal: AbortSignal | undefined;
  readonly partial: (() => unknown) | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Listens to `signal`, if there is one. */
  onAbort: (() => void) | undefined;
}

/** The callers that wait on one direction of a socket. */
export class OperationQueue {
  readonly #waiting: Operation[] = [];
  /** Whether a poll runs: of the head, or of a caller that found nobody waiting. */
  #isPolling = false;
  /** The head while it is polled. */
  #polled: Operation | undefined;
  /** Whether the poll that runs, or ran last, was woken while it did. */
  #isWoken = false;

  /** The waker of whoever is at the head. The only one this queue ever hands to a poll. */
  readonly #waker: Waker = () => this.#advance();

  /** Whether somebody is before whoever comes now: waits, or is served right now. */
  get isBusy(): boolean {
    return this.#isPolling || this.#waiting.length > 0;
  }

  /**
   * Polls at once if nobody is before this caller, and in its turn otherwise. `partial`, if given,
   * is asked on abort for a result to resolve with instead.
   */
  run<T>(
    poll: (waker: Waker) => Poll<T>,
    signal: AbortSignal | undefined,
    partial?: () => T | undefined,
  ): Promise<T> {
    if (signal !== undefined) {
      if (!(signal instanceof AbortSignal)) {
        return Promise.reject(typeError("signal", "AbortSignal", signal));
      }
      if (signal.aborted) return Promise.reject(signal.reason);
    }
    if (this.isBusy) return this.#wait(this.#waiting.length, poll, signal, partial);
    let result: Poll<T>;
    this.#isPolling = true;
    this.#isWoken = false;
    try {
      result = poll(this.#waker);
    } catch (error) {
      this.#isPolling = false;
      this.#advance();
      return Promise.reject(error);
    }
    this.#isPolling = false;
    if (result !== Pending) {
      this.#advance();
      return Promise.resolve(result);
    }
    // Whoever came while it was polled stands behind it.
    const promise = this.#wait(0, poll, signal, partial);
    if (signal?.aborted) this.#advance();
    else this.#pollAgainIfWoken();
    return promise;
  }

  #wait<T>(
    index: number,
    poll: (waker: Waker) => Poll<T>,
    signal: AbortSignal | undefined,
    partial: (() => T | undefined) | undefined,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = resolve as (value: unknown) => void;
      const onAbort = undefined;
      const operation: Operation = { poll, signal, partial, resolve: settle, reject, onAbort };
      if (signal !== undefined) {
        operation.onAbort = () => this.#onAbort(operation);
        signal.addEventListener("abort", operation.onAbort);
      }
      if (index === this.#waiting.length) this.#waiting.push(operation);
      else this.#waiting.splice(index, 0, operation);
    });
  }

  #onAbort(operation: Operation): void {
    // From within its own poll, which may have a datagram for it: `#advance` looks at it then.
    if (operation === this.#polled) return;
    const isHead = operation === this.#waiting[0];
    this.#endAborted(operation);
    if (isHead) this.#advance();
  }

  /**
   * Has the head polled again, if somebody waits: for when its waker may have been replaced by
   * another poll's, and there is something to tell, such as that the socket is closed.
   */
  wake(): void {
    this.#advance();
  }

  /** Serves from the head on, as far as it goes. */
  #advance(): void {
    // From within a poll: whoever polls goes on when that is done.
    if (this.#isPolling) {
      this.#isWoken = true;
      return;
    }
    while (this.#waiting.length > 0) {
      const head = this.#waiting[0] as Operation;
      if (head.signal?.aborted) this.#endAborted(head);
      else if (!this.#settle(head) && !head.signal?.aborted) break;
    }
    this.#pollAgainIfWoken();
  }

  /** Whether `operation` is done. */
  #settle(operation: Operation): boolean {
    this.#isPolling = true;
    this.#isWoken = false;
    this.#polled = operation;
    try {
      const result = operation.poll(this.#waker);
      if (result === Pending) return false;
      this.#leave(operation);
      operation.resolve(result);
    } catch (error) {
      this.#leave(operation);
      operation.reject(error);
    } finally {
      this.#isPolling = false;
      this.#polled = undefined;
    }
    return true;
  }

  /** A poll that is woken before it answers `Pending` has nobody left to wake. */
  #pollAgainIfWoken(): void {
    // Later, since one that always wakes itself would otherwise hold the thread.
    if (this.#isWoken && this.#waiting.length > 0) setImmediate(this.#waker);
    this.#isWoken = false;
  }

  #endAborted(operation: Operation): void {
    this.#leave(operation);
    const result = operation.partial?.();
    if (result === undefined) operation.reject(operation.signal?.reason);
    else operation.resolve(result);
  }

  #leave(operation: Operation): void {
    if (this.#waiting.length === 1) this.#waiting.pop();
    else this.#waiting.splice(this.#waiting.indexOf(operation), 1);
    if (operation.onAbort !== undefined) {
      operation.signal?.removeEventListener("abort", operation.onAbort);
    }
  }
}
