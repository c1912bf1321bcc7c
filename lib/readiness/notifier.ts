/** Notifiers wake Bun's event loop when a socket is ready. */

import { afterTicks, startTimer } from "../support/timers.ts";

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

/** The number of ticks of the event loop that an event is still waited for after a time-out. */
const LATE_TICKS = 3;

/**
 * Waits for `promise`, at most `limitMs`, and longer only if the thread is busy.
 *
 * @throws Error with `message` when the time is over.
 */
export async function within<T>(limitMs: number, promise: Promise<T>, message: string): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const cancel = startTimer(limitMs, () =>
    afterTicks(LATE_TICKS, () => reject(new Error(`${message} in ${limitMs} ms`))),
  );
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    cancel();
  }
}
