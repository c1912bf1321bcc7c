/**
 * Tells whether code allocates. The heap's size alone would not: what was allocated and dropped is
 * gone when it is measured. But a million allocations, however small, fill the nursery and make
 * the garbage collector run, and garbage that was watched when the code began is gone then.
 */

import { heapStats } from "bun:jsc";

const CALLS = 1_000_000;
const WARM_UP_CALLS = 100_000;
const WATCHED = 64;
const ATTEMPTS_MAX = 5;

/** Objects that nothing refers to; in a function of its own, so that none stays on the stack. */
function watchGarbage(): WeakRef<object>[] {
  return Array.from({ length: WATCHED }, (_, index) => new WeakRef({ index }));
}

/** Whether the heap stayed untouched while `op` ran `calls` times. */
async function leavesHeapAlone(op: (index: number) => void, calls: number): Promise<boolean> {
  Bun.gc(true);
  const watched = watchGarbage();
  // A reference just made keeps its object until the task ends.
  await new Promise((resolve) => setImmediate(resolve));
  const before = heapStats().heapSize;
  for (let i = 0; i < calls; i++) op(i);
  const after = heapStats().heapSize;
  return after === before && watched.every((ref) => ref.deref() !== undefined);
}

/**
 * Whether `op` allocates, judged over a million calls of it once compiled. What the engine
 * allocates for itself disturbs some attempts; an allocation per call disturbs every one.
 *
 * With fewer `calls`, each of which does something many times: whether it allocates each time.
 */
export async function allocates(
  op: (index: number) => void,
  calls: number = CALLS,
): Promise<boolean> {
  for (let i = 0; i < Math.min(calls, WARM_UP_CALLS); i++) op(i);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (await leavesHeapAlone(op, calls)) return false;
  }
  return true;
}

/** How often `allocatesOften` runs what it judges. */
const ROUNDS = 8000;
const WARM_UP_ROUNDS = 2000;

/**
 * Whether `round`, which is longer than the `op` of `allocates`, allocates as much as some fifty
 * small objects each time: half a million of them make the garbage collector run.
 */
export async function allocatesOften(round: () => void): Promise<boolean> {
  for (let i = 0; i < WARM_UP_ROUNDS; i++) round();
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    Bun.gc(true);
    const watched = watchGarbage();
    await new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < ROUNDS; i++) round();
    if (watched.every((ref) => ref.deref() !== undefined)) return false;
  }
  return true;
}
