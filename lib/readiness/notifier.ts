/** Notifiers wake Bun's event loop when a socket is ready. */

/**
 * - `"loop"`: Bun's event loop watches the poller's epoll instance (loop-notifier.ts).
 * - `"thread"`: a helper thread watches it and writes to a socket of the event loop
 *   (thread-notifier.ts). Works with any Bun, at the cost of a second wake-up.
 */
export type ReadinessMode = "loop" | "thread";

/** The object in Bun's event loop that receives the notifications. */
export interface Notifier {
  /** Keeps the process alive. */
  ref(): void;
  unref(): void;
  close(): void;
}

/**
 * Waits for `promise`, at most `limitMs`.
 *
 * @throws Error with `message` when the time is over.
 */
export async function within<T>(limitMs: number, promise: Promise<T>, message: string): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${message} in ${limitMs} ms`)), limitMs);
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
