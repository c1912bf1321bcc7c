/**
 * Tells whether code allocates. The heap's size alone would not: what was allocated and dropped is
 * gone when it is measured. But a million allocations, however small, fill the nursery and make
 * the garbage collector run, and garbage that was watched when the code began is gone then.
 */

import { heapStats } from "bun:jsc";

const CALLS = 1_000_000;
const WARM_UP_CALLS = 100_000;
const WATCHED = 64;
/** About the heap of a process that runs one file of tests. */
const SMALL_HEAP_BYTES = 8 * 2 ** 20;
const ATTEMPTS_MAX = 5;

/** Objects that nothing refers to; a function of its own, so that none stays on the stack. */
export function watchGarbage(): WeakRef<object>[] {
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
  // The collector waits the longer, the larger the heap is that other tests left.
  const size = calls === CALLS ? Math.ceil(heapStats().heapSize / SMALL_HEAP_BYTES) : 1;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (await leavesHeapAlone(op, calls * Math.min(size, 16))) return false;
  }
  return true;
}

/** Few enough rounds of some kilobytes each for no collection to come between. */
const ROUNDS = 2000;

/**
 * How many bytes each of many calls of `round` allocates, which is longer than the `op` of
 * `allocates`: by how much the heap grows, as nothing is collected before the next turn of the
 * event loop. What the engine allocates for itself disturbs some attempts, so the least counts. For
 * a process of its own: garbage of others leaves blocks that are filled before the heap grows.
 */
export function bytesAllocated(round: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    for (let i = 0; i < ROUNDS; i++) round();
    Bun.gc(true);
    const before = heapStats().heapCapacity;
    for (let i = 0; i < ROUNDS; i++) round();
    least = Math.min(least, (heapStats().heapCapacity - before) / ROUNDS);
  }
  return least;
}
