/**
 * A Worker that ends the process if a seed takes too long: a program that loops forever on the main
 * thread cannot report itself.
 */

declare const self: Worker;

/** What the main thread sends to the watchdog, once. */
export interface WatchdogInit {
  /** The seed that runs. Written by the main thread. */
  readonly seed: BigInt64Array;
  /** The time after which a seed is considered to hang. */
  readonly limitMs: number;
}

const CHECK_MS = 100;

self.onmessage = ({ data }: MessageEvent<WatchdogInit>) => {
  let seed = -1n;
  let sinceMs = 0;
  setInterval(() => {
    const current = Atomics.load(data.seed, 0);
    if (current !== seed) {
      seed = current;
      sinceMs = performance.now();
    } else if (performance.now() - sinceMs > data.limitMs) {
      const command = `replay: npm run test:sim -- --seed ${seed}`;
      // Written at once: the process ends now.
      process
        .getBuiltinModule("node:fs")
        .writeSync(2, `seed ${seed}: hangs, without an event for ${data.limitMs} ms\n${command}\n`);
      process.kill(process.pid, "SIGKILL");
    }
  }, CHECK_MS);
};
