/**
 * Promises over polls: callers that wait on one direction of a socket are served in the order in
 * which they came, each can be aborted, and an error settles the one at the head.
 */

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
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly forgetSignal: () => void;
}

/** The callers that wait on one direction of a socket. */
export class OperationQueue {
  readonly #waiting: Operation[] = [];
  #advancing = false;

  /** The waker of whoever is at the head. The only one this queue ever hands to a poll. */
  readonly waker: Waker = () => this.#advance();

  /** Whether somebody waits, so that whoever comes now must wait too. */
  get isBusy(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * Waits in line for `poll`. The caller has tried it once, with `waker`, unless the queue was
   * busy. `partial`, if given, is asked on abort for a result to resolve with instead.
   */
  wait<T>(
    poll: (waker: Waker) => Poll<T>,
    signal: AbortSignal | undefined,
    partial?: () => T | undefined,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const operation: Operation = {
        poll,
        resolve: resolve as (value: unknown) => void,
        reject,
        forgetSignal: () => signal?.removeEventListener("abort", onAbort),
      };
      const onAbort = () => {
        const index = this.#waiting.indexOf(operation);
        if (index === -1) return;
        this.#waiting.splice(index, 1);
        operation.forgetSignal();
        const result = partial?.();
        if (result === undefined) reject(signal?.reason);
        else resolve(result);
        if (index === 0) this.#advance();
      };
      signal?.addEventListener("abort", onAbort);
      this.#waiting.push(operation);
    });
  }

  #advance(): void {
    // A poll may wake at once; the loop below goes on anyway.
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
        if (!this.#settle(head)) return;
      }
    } finally {
      this.#advancing = false;
    }
  }

  #settle(operation: Operation): boolean {
    let result: unknown;
    try {
      result = operation.poll(this.waker);
      if (result === Pending) return false;
    } catch (error) {
      this.#leave(operation);
      operation.reject(error);
      return true;
    }
    this.#leave(operation);
    operation.resolve(result);
    return true;
  }

  #leave(operation: Operation): void {
    this.#waiting.splice(this.#waiting.indexOf(operation), 1);
    operation.forgetSignal();
  }
}
