/**
 * The vocabulary of polling: a poll answers its value, or `Pending` after it kept the waker.
 *
 * Everything that waits in this library is built on it: promises (operations.ts) are polls that
 * are called again when their waker is.
 */

/** "Not now; the waker you gave will be called when it is worth another try." */
export const Pending: unique symbol = Symbol("datagram-socket.Pending");
export type Pending = typeof Pending;

/** What a poll answers: its value, or `Pending`. An error is thrown. */
export type Poll<T> = T | Pending;

/** "Not now", from a `try*` call: nobody is woken. */
export const WouldBlock: unique symbol = Symbol("datagram-socket.WouldBlock");
export type WouldBlock = typeof WouldBlock;

/**
 * Called once when a poll that answered `Pending` is worth another try; it may be called without
 * need. A poll keeps the waker it was given last, and only that one.
 */
export type Waker = () => void;

/**
 * Polls as `poll` does, and answers a promise for the value: called again whenever it is woken,
 * and never once it is done.
 *
 * @example
 * ```ts
 * await pollFn((waker) => connection.pollShutdown(waker));
 * ```
 */
export function pollFn<T>(poll: (waker: Waker) => Poll<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    let isPolling = false;
    let isWoken = false;
    let isDone = false;
    const attempt = () => {
      isWoken = true;
      // A waker may be called late: what the poll gave then would be lost.
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
      // Later, since a poll that always wakes itself would otherwise hold the thread.
      if (isWoken && !isDone) setImmediate(attempt);
    };
    attempt();
  });
}

/**
 * @internal A waker is somebody else's code: what it throws is reported, and others still get
 * theirs.
 */
export function callWaker(waker: Waker): void {
  try {
    waker();
  } catch (error) {
    reportError(error);
  }
}
