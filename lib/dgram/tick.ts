/**
 * Work that waits for the end of the current tick, so that datagrams can be sent together.
 *
 * While a socket delivers several datagrams that it has read, each of which has a tick of its own for
 * its listeners, the work of all these ticks waits until the last one has been delivered.
 */

/** The number of sockets that are delivering. More than one if one starts within another. */
let holds = 0;
const held: Set<() => void> = new Set();
let hasExitListener = false;

/** Calls `work` when the current tick ends. It must not throw. */
export function atEndOfTick(work: () => void): void {
  process.nextTick(runOrHold, work);
}

function runOrHold(work: () => void): void {
  if (holds === 0) work();
  else held.add(work);
}

/** Holds the work back. */
export function hold(): void {
  holds++;
  if (hasExitListener) return;
  hasExitListener = true;
  // A listener may end the process.
  process.on("exit", runHeld);
}

/** Ends a `hold`. After the last one, does the work. */
export function release(): void {
  if (--holds === 0) runHeld();
}

function runHeld(): void {
  for (const work of held) {
    held.delete(work);
    work();
  }
}
