/** Waits until the real event loop has run everything that is due now. */

import { SimulationError } from "./simulation-error.ts";

/** The number of immediates to wait for if this runtime does not number them consecutively. */
const ROUNDS_WITHOUT_IDS = 8;
/** After so many rounds the code under test is considered to loop: about 0.1 s. */
const ROUNDS_MAX = 100_000;

/** Whether this runtime numbers immediates and timers consecutively, as Bun does. */
const HAS_CONSECUTIVE_IDS: boolean = (() => {
  const [first, second] = [setImmediate(() => {}), setImmediate(() => {})];
  const isConsecutive = Number(second) === Number(first) + 1;
  clearImmediate(first);
  clearImmediate(second);
  return isConsecutive;
})();

/**
 * Returns a promise that is fulfilled when all promise callbacks and `setImmediate` callbacks have
 * run, including those that they add. Real timers and I/O are not waited for.
 *
 * An immediate runs after all promise callbacks and after the immediates that were added before it.
 * Bun numbers immediates and timers consecutively: if the numbers of two immediates, the second of
 * which was added by the first, are consecutive, nothing else was added in between, and nothing is
 * left. A round costs about 0.6 us.
 *
 * @throws SimulationError with code `ERR_SIM_BUSY` if the code under test adds immediates forever.
 */
export function settle(): Promise<void> {
  return new Promise((resolve, reject) => {
    let rounds = 0;
    let id = Number.NaN;
    const round = (): void => {
      const immediate = setImmediate(round);
      const nextId = Number(immediate);
      rounds++;
      const isIdle = HAS_CONSECUTIVE_IDS ? nextId === id + 1 : rounds > ROUNDS_WITHOUT_IDS;
      id = nextId;
      if (!isIdle && rounds < ROUNDS_MAX) return;
      clearImmediate(immediate);
      if (isIdle) resolve();
      else reject(new SimulationError("ERR_SIM_BUSY", `immediates are added without end`));
    };
    round();
  });
}
