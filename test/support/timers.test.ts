/** Timers and the clock of the library, under the fake timers of a test runner. */

import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadNative } from "../../ffi/native.ts";
import { loadNativeThread } from "../../lib/readiness/thread-reactor.ts";
import { afterTicks, nowMs, setImmediate, startTimer } from "../../lib/support/timers.ts";

const LIB = join(import.meta.dir, "../../lib");

/** Waits for a promise or, in real time, until the time is over. */
function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => void startTimer(ms, resolve));
}

describe.each(["real", "fake"])("with %s timers of the test runner", (kind) => {
  beforeEach(() => {
    if (kind === "fake") jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  test("timers fire once, after their delays", async () => {
    await loadNativeThread();
    const delays = [30, 1, 10, 20];
    const startMs = nowMs();
    const firedMs: number[] = [];
    for (const [i, delayMs] of delays.entries()) {
      startTimer(delayMs, () => {
        expect(firedMs[i]).toBeUndefined();
        firedMs[i] = nowMs() - startMs;
      });
    }
    while (Object.keys(firedMs).length < delays.length) await elapsed(1);
    await elapsed(40);
    if (!("native" in loadNative())) return;
    for (const [i, delayMs] of delays.entries()) expect(firedMs[i]).toBeGreaterThan(delayMs - 1);
  });

  test("a timer that is cancelled does not fire", async () => {
    let hasFired = false;
    const cancel = startTimer(5, () => {
      hasFired = true;
    });
    cancel();
    cancel();
    await elapsed(20);
    expect(hasFired).toBe(false);
  });

  test("a delay of less than a millisecond is one millisecond", async () => {
    for (const delayMs of [0, 0.25, -5]) await elapsed(delayMs);
  });

  test("setImmediate and afterTicks call back in later ticks", async () => {
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      afterTicks(2, () => {
        order.push("second tick");
        resolve();
      });
      setImmediate(() => order.push("first tick"));
      order.push("now");
      afterTicks(0, () => order.push("no tick"));
    });
    expect(order).toEqual(["now", "no tick", "first tick", "second tick"]);
  });

  test("the clock advances once the shim is loaded", async () => {
    if ("reason" in (await loadNativeThread())) return;
    const start = nowMs();
    await elapsed(20);
    expect(nowMs() - start).toBeGreaterThan(15);
    expect(nowMs() - start).toBeLessThan(10_000);
  });
});

test("a timer does not keep the process alive", () => {
  const script = `import { startTimer } from "${LIB}/support/timers.ts"; startTimer(60_000, () => {});`;
  const { exitCode } = Bun.spawnSync([process.execPath, "-e", script], { timeout: 20_000 });
  expect(exitCode).toBe(0);
});

test("no other module of the sockets uses the timers or the clock of the engine", () => {
  const uses: string[] = [];
  for (const file of new Bun.Glob("**/*.ts").scanSync(LIB)) {
    // The simulation of lib/testing/ has a clock of its own, and the program of lib/doctor/ a process.
    if (file === "support/timers.ts" || /^(testing|doctor)\//.test(file)) continue;
    const text = readFileSync(join(LIB, file), "utf8");
    const imported = /import \{([^}]*)\} from "[./]+support\/timers\.ts"/.exec(text)?.[1] ?? "";
    const patterns = [/\bset(?:Timeout|Interval)\(/, /\bperformance\.now\(/, /\bBun\.sleep\b/];
    if (!imported.includes("setImmediate")) patterns.push(/\bsetImmediate\(/);
    if (patterns.some((pattern) => pattern.test(text))) uses.push(file);
  }
  expect(uses).toEqual([]);
});
