/**
 * Detects memory allocations. The size of the heap is not enough, because garbage may have been
 * collected before it is measured. But a million allocations of any size make the garbage collector
 * run, and weak references to older garbage are then cleared.
 */

import { heapStats } from "bun:jsc";

const CALLS = 1_000_000;
const WARM_UP_CALLS = 100_000;
const WEAK_REFERENCES = 64;
/** The approximate heap size of a process that runs one test file. */
const SMALL_HEAP_BYTES = 8 * 2 ** 20;
const ATTEMPTS_MAX = 5;

/**
 * Returns weak references to garbage. A separate function, so that no reference to the objects
 * stays on the caller's stack.
 */
export function watchGarbage(): WeakRef<object>[] {
  return Array.from({ length: WEAK_REFERENCES }, (_, index) => new WeakRef({ index }));
}

/** Returns whether the heap did not change while `op` was called `calls` times. */
async function leavesHeapUnchanged(op: (index: number) => void, calls: number): Promise<boolean> {
  Bun.gc(true);
  const watched = watchGarbage();
  // A new WeakRef keeps its object alive until the current task ends.
  await new Promise((resolve) => setImmediate(resolve));
  const before = heapStats().heapSize;
  for (let i = 0; i < calls; i++) op(i);
  const after = heapStats().heapSize;
  return after === before && watched.every((ref) => ref.deref() !== undefined);
}

/**
 * Returns whether `op` allocates in each call, after the JIT has compiled it. One allocation per
 * call makes every attempt fail, while allocations of the engine itself make only some fail.
 *
 * @param calls the calls per attempt. Fewer than the default suffice if `op` repeats an action that
 * must not allocate: about a million repetitions are needed.
 */
export async function allocates(
  op: (index: number) => void,
  calls: number = CALLS,
): Promise<boolean> {
  for (let i = 0; i < Math.min(calls, WARM_UP_CALLS); i++) op(i);
  // The larger the heap that earlier tests have left, the later the collector runs.
  const factor = calls === CALLS ? Math.ceil(heapStats().heapSize / SMALL_HEAP_BYTES) : 1;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (await leavesHeapUnchanged(op, calls * Math.min(factor, 16))) return false;
  }
  return true;
}

/** Few enough rounds, of some kilobytes each, that no collection happens during a measurement. */
const ROUNDS = 2000;

/**
 * Returns the number of bytes that a call of `round` allocates: the growth of the heap over many
 * calls in one tick of the event loop, during which nothing is collected. Returns the minimum of
 * several attempts, as the engine itself allocates in some; `enoughBytes` or less ends them.
 *
 * Must run in a process of its own: blocks with earlier garbage are filled before the heap grows.
 */
export function bytesAllocated(round: () => void, enoughBytes: number = 0): number {
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < ATTEMPTS_MAX && least > enoughBytes; attempt++) {
    for (let i = 0; i < ROUNDS; i++) round();
    Bun.gc(true);
    const before = heapStats().heapCapacity;
    for (let i = 0; i < ROUNDS; i++) round();
    least = Math.min(least, (heapStats().heapCapacity - before) / ROUNDS);
  }
  return least;
}
