/**
 * Measures the bytes that each variant of a file allocates, and prints them as a JSON object. Must
 * run without garbage collection (`BUN_JSC_useGC=0`), so that the heap grows by every allocation.
 *
 *     BUN_JSC_useGC=0 bun bench/micro/allocation.ts FILE
 */

import { idOf, loadComparisons, type Variant } from "./comparison.ts";

/** The bytes per operation, by the `idOf` of the variant. */
export type Allocations = Readonly<Record<string, number>>;

/** The limits of a measurement, so that all of them together do not exhaust the memory. */
const CALLS_MAX = 2 ** 17;
const MEASUREMENT_BYTES_MAX = 8 * 2 ** 20;
const MEASUREMENT_MS_MAX = 300;
/** The number of measurements after compilation. */
const MEASUREMENTS = 3;
/** JavaScriptCore stores larger typed arrays outside its heap (`fastSizeLimit`). */
const HEAP_ARRAY_BYTES_MAX = 1000;

interface Memory {
  /** The blocks of the heap, and the memory of `ArrayBuffer`s. */
  readonly heapBytes: number;
  readonly residentBytes: number;
}

function memory(): Memory {
  const { heapTotal, arrayBuffers, rss } = process.memoryUsage();
  return { heapBytes: heapTotal + arrayBuffers, residentBytes: rss };
}

/**
 * Returns the bytes that one call allocates. Doubles the number of calls until a limit is reached,
 * and uses the last measurement.
 *
 * The memory of a typed array of more than 1000 bytes that was created without an `ArrayBuffer` is
 * in neither figure of the heap. It appears only in the resident memory, once it is written to.
 */
async function bytesPerCall(run: Variant["run"]): Promise<number> {
  // `memory` itself allocates.
  const first = memory();
  const overhead = memory().heapBytes - first.heapBytes;
  const startedMs = performance.now();
  for (let calls = 16; ; calls *= 2) {
    const before = memory();
    const result = run();
    if (result instanceof Promise) {
      await result;
      for (let i = 1; i < calls; i++) await run();
    } else {
      for (let i = 1; i < calls; i++) run();
    }
    const after = memory();
    const inHeap = Math.max(0, after.heapBytes - before.heapBytes - overhead) / calls;
    const resident = (after.residentBytes - before.residentBytes) / calls;
    const isOutside = resident > HEAP_ARRAY_BYTES_MAX && resident > 2 * inHeap;
    const bytes = isOutside ? resident : inHeap;
    const isLong = calls >= CALLS_MAX || performance.now() - startedMs > MEASUREMENT_MS_MAX;
    if (isLong || bytes * calls > MEASUREMENT_BYTES_MAX / 2) return bytes;
  }
}

/**
 * Returns the bytes that one call allocates after compilation: the minimum of several measurements,
 * since compiler threads allocate as well.
 */
async function compiledBytesPerCall(run: Variant["run"]): Promise<number> {
  await bytesPerCall(run);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < MEASUREMENTS; i++) least = Math.min(least, await bytesPerCall(run));
  return least;
}

async function measure(path: string): Promise<Allocations> {
  const allocations: Record<string, number> = {};
  for (const comparison of await loadComparisons(path)) {
    for (const variant of comparison.variants) {
      if ("runTimed" in variant) continue;
      const bytes = Math.round(await compiledBytesPerCall(variant.run));
      allocations[idOf(comparison, variant)] = bytes / (comparison.operations ?? 1);
    }
  }
  return allocations;
}

/** Runs this program on a file, and returns its result. */
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
  if (path === undefined) throw new Error("expected the path of a file to measure");
  console.log(JSON.stringify(await measure(path)));
  process.exit();
}
