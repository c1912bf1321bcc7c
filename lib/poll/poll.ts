/**
 * Polling: a poll returns its value, or stores the caller's waker and returns `Pending`.
 *
 * Promises are built on polls (operation-queue.ts): a promise polls again when its waker is called.
 */

import { typeError } from "../support/check.ts";
import { setImmediate } from "../support/timers.ts";

/** The result of a poll that cannot proceed now. The waker is called when it should be retried. */
export const Pending: unique symbol = Symbol.for("datagram-socket.Pending");
export type Pending = typeof Pending;

/** The result of a poll: its value, or `Pending`. Errors are thrown. */
export type Poll<T> = T | Pending;

/** The result of a `try*` call that cannot proceed now. No waker is stored. */
export const WouldBlock: unique symbol = Symbol.for("datagram-socket.WouldBlock");
export type WouldBlock = typeof WouldBlock;

/**
 * Called once when a poll that returned `Pending` should be retried. Spurious calls are allowed. A
 * poll stores only the waker of its latest call.
 */
export type Waker = () => void;

/**
 * Checks the waker of a poll before the poll does anything: another value would be stored, and end
 * the process when it is called.
 *
 * @throws TypeError if it is neither a function nor `null`.
 */
export function checkWaker(waker: Waker | null): void {
  if (waker !== null && typeof waker !== "function") {
    throw typeError("waker", "function or null", waker);
  }
}

/**
 * @internal Returns the promise of `start`, or one that rejects if `start` throws, for instance
 * because an option has a getter that throws: methods that return a promise never throw.
 */
export function startPromise<T>(start: () => Promise<T>): Promise<T> {
  try {
    return start();
  } catch (error) {
    return Promise.reject(error);
  }
}

/**
 * Returns a promise for the value of `poll`, which is called again each time its waker is called,
 * and not after it returned a value or threw.
 *
 * @example
 * ```ts
 * await pollFn((waker) => connection.pollShutdown(waker));
 * ```
 */
export function pollFn<T>(poll: (waker: Waker) => Poll<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (typeof poll !== "function") throw typeError("poll", "function", poll);
    let isPolling = false;
    let isWoken = false;
    let isDone = false;
    const attempt = () => {
      isWoken = true;
      // A late call of the waker must not poll again: the value of that poll would be lost.
      if (isPolling || isDone) return;
      isPolling = true;
      isWoken = false;
      try {
        const result = poll(attempt);
        isDone = result !== Pending;
        if (result !== Pending) resolve(result);
      } catch (error) {
        isDone = true;
        reject(error);
      }
      isPolling = false;
      // In a later tick: a poll that always wakes itself must not block the event loop.
      if (isWoken && !isDone) setImmediate(attempt);
    };
    attempt();
  });
}

/**
 * @internal Calls a callback of the user. An error it throws is reported as an uncaught exception,
 * so that it does not keep other callbacks from being called.
 */
export function callWaker(waker: Waker): void {
  try {
    waker();
  } catch (error) {
    reportError(error);
  }
}
