/**
 * Timers and a clock that the fake timers of test runners do not replace: retries and time-outs of
 * sockets depend on the kernel and the network, whose time goes on.
 *
 * The fake timers of `bun:test` replace `setTimeout` and `performance.now` within the engine, so that
 * keeping the original functions is not sufficient. They replace neither `Atomics.waitAsync` nor the
 * clock of the system.
 */

import { sharedValue } from "./thread-state.ts";

const { setTimeout: setEngineTimeout } = globalThis;

/** As the global function when this module was loaded. */
export const setImmediate: typeof globalThis.setImmediate = globalThis.setImmediate;

type WaitAsync = (
  cells: Int32Array<SharedArrayBuffer>,
  index: number,
  value: number,
  timeoutMs: number,
) => { readonly value: Promise<unknown> | string };

/** Missing from the types of ES2024. */
const { waitAsync } = Atomics as unknown as { readonly waitAsync?: WaitAsync };

/** A cell that nothing notifies, so that a wait for it lasts until its time-out. */
let cells: Int32Array<SharedArrayBuffer> | undefined;

/**
 * Calls `callback` after `delayMs` (1 at least), and returns a function that prevents the call. The
 * timer does not keep the process alive. Takes 1 us.
 */
export function startTimer(delayMs: number, callback: () => void): () => void {
  let isCancelled = false;
  const fire = () => {
    if (!isCancelled) callback();
  };
  // Without a time-out, `waitAsync` returns at once.
  const timeoutMs = Math.max(1, delayMs);
  if (waitAsync === undefined) {
    setEngineTimeout(fire, timeoutMs).unref();
  } else {
    cells ??= new Int32Array(new SharedArrayBuffer(4));
    void Promise.resolve(waitAsync(cells, 0, 0, timeoutMs).value).then(fire);
  }
  return () => {
    isCancelled = true;
  };
}

/** The longest time-out in milliseconds: 2^31-1. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Keeps the process alive until the function that it returns is called, or for 24 days. */
export function keepProcessAlive(): () => void {
  const timer = setEngineTimeout(() => {}, TIMER_MS_MAX);
  return () => clearTimeout(timer);
}

const performanceNow = performance.now.bind(performance);

const clock: { nowMs: () => number } = sharedValue("clock", () => ({ nowMs: performanceNow }));

/** Returns the time in milliseconds, since a moment that is fixed for this thread. */
export function nowMs(): number {
  return clock.nowMs();
}

/** Makes `nowMs` read the clock of the system, which continues from the time it has returned. */
export function useSystemClock(systemNowMs: () => number): void {
  const offsetMs = nowMs() - systemNowMs();
  clock.nowMs = () => systemNowMs() + offsetMs;
}

/**
 * Calls `callback` after a number of ticks of the event loop, each of which has looked for I/O. The
 * thread may have been busy, so that a timer fires before an event that has happened long before.
 */
export function afterTicks(ticks: number, callback: () => void): void {
  if (ticks === 0) callback();
  else setImmediate(() => afterTicks(ticks - 1, callback));
}
