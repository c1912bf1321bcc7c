/**
 * How many bytes each way of one file allocates, as a JSON object. To be run with the garbage
 * collector off (`BUN_JSC_useGC=0`): then whatever is allocated stays, and is seen to stay.
 *
 *     BUN_JSC_useGC=0 bun bench/micro/allocation.ts FILE
 */

import { idOf, loadComparisons, type Way } from "./comparison.ts";

/** Bytes an operation, by the `idOf` of each way. */
export type Allocations = Readonly<Record<string, number>>;

/** When a stretch ends: whichever comes first. All of them together stay within the memory. */
const CALLS_MAX = 2 ** 17;
const STRETCH_BYTES_MAX = 8 * 2 ** 20;
const STRETCH_MS = 300;
/** Looks at what is compiled. */
const SETTLED_LOOKS = 3;
/** What JavaScriptCore puts outside its heap is longer than this (`fastSizeLimit`), in bytes. */
const OUTSIDE_BYTES_MIN = 1000;

interface Memory {
  /** Blocks of the heap, and the memory of `ArrayBuffer`s. */
  readonly heapBytes: number;
  readonly residentBytes: number;
}

function memory(): Memory {
  const { heapTotal, arrayBuffers, rss } = process.memoryUsage();
  return { heapBytes: heapTotal + arrayBuffers, residentBytes: rss };
}

/**
 * What one call allocates, told by the last and longest of several runs, each twice as long.
 *
 * One thing is in neither of the heap's figures: the memory of a typed array above 1000 bytes that
 * was made without an `ArrayBuffer`. Only the process shows it, once it has been written to.
 */
async function bytesACall(run: Way["run"]): Promise<number> {
  // What looking itself allocates.
  const looking = memory();
  const cost = memory().heapBytes - looking.heapBytes;
  const startedMs = performance.now();
  for (let calls = 16; ; calls *= 2) {
    const before = memory();
    const first = run();
    if (first instanceof Promise) {
      await first;
      for (let i = 1; i < calls; i++) await run();
    } else {
      for (let i = 1; i < calls; i++) run();
    }
    const after = memory();
    const inHeap = Math.max(0, after.heapBytes - before.heapBytes - cost) / calls;
    const resident = (after.residentBytes - before.residentBytes) / calls;
    const isOutside = resident > OUTSIDE_BYTES_MIN && resident > 2 * inHeap;
    const bytes = isOutside ? resident : inHeap;
    const isLong = calls >= CALLS_MAX || performance.now() - startedMs > STRETCH_MS;
    if (isLong || bytes * calls > STRETCH_BYTES_MAX / 2) return bytes;
  }
}

/** The same once it is compiled: the least of a few, as a compiler that is at work adds its own. */
async function settledBytesACall(run: Way["run"]): Promise<number> {
  await bytesACall(run);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < SETTLED_LOOKS; i++) least = Math.min(least, await bytesACall(run));
  return least;
}

async function measure(path: string): Promise<Allocations> {
  const allocations: Record<string, number> = {};
  for (const comparison of await loadComparisons(path)) {
    for (const way of comparison.ways) {
      if ("runTimed" in way) continue;
      const bytes = Math.round(await settledBytesACall(way.run));
      allocations[idOf(comparison, way)] = bytes / (comparison.operations ?? 1);
    }
  }
  return allocations;
}

/** Runs this program on a file: what it found. */
export function allocationsOf(path: string): Allocations {
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, import.meta.path, path], {
    env: { ...process.env, BUN_JSC_useGC: "0" },
    stderr: "inherit",
  });
  if (exitCode !== 0) throw new Error(`${path}: expected exit code 0, got ${exitCode}`);
  return JSON.parse(stdout.toString()) as Allocations;
}

if (import.meta.main) {
  const [path] = process.argv.slice(2);
  if (path === undefined) throw new Error("a file to measure is expected");
  console.log(JSON.stringify(await measure(path)));
  process.exit();
}
