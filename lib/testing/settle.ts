/** Waits until the real event loop has run everything that is due now. */

/** The number of immediates to wait for if this runtime does not number them. */
const ROUNDS_WITHOUT_IDS = 8;

/**
 * Returns a promise that is fulfilled when all promise callbacks and `setImmediate` callbacks have
 * run, including those that they add. Real timers and I/O are not waited for.
 *
 * An immediate runs after all promise callbacks and after the immediates that were added before it.
 * Bun numbers immediates and timers consecutively: if the numbers of two immediates, the second of
 * which was added by the first, are consecutive, nothing else was added in between, and nothing is
 * left. A round costs about 0.6 us.
 */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    let rounds = 0;
    let id = Number.NaN;
    const round = (): void => {
      const immediate = setImmediate(round);
      const nextId = Number(immediate);
      const isIdle = Number.isNaN(nextId) ? rounds++ === ROUNDS_WITHOUT_IDS : nextId === id + 1;
      id = nextId;
      if (!isIdle) return;
      clearImmediate(immediate);
      resolve();
    };
    round();
  });
}
