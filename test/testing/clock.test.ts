/** Virtual time: when it advances, timers, and the errors of a run. */

import { describe, expect, test } from "bun:test";
import { SimNetwork, SimulationError } from "../../lib/testing/index.ts";

/** Returns the code of the error with which a run fails. */
async function codeOf(run: Promise<unknown>): Promise<string | undefined> {
  const error = await run.then(
    () => undefined,
    (error) => error,
  );
  return error instanceof SimulationError ? error.code : undefined;
}

describe("virtual time", () => {
  test("advances by hours without waiting", async () => {
    const net = new SimNetwork();
    const startMs = performance.now();
    await net.run(() => net.clock.sleep(3_000_000));
    expect(net.now).toBe(3_000_000);
    expect(performance.now() - startMs).toBeLessThan(1000);
  });

  test("stands still while promise callbacks and immediates are left", async () => {
    const net = new SimNetwork();
    const times: number[] = [];
    await net.run(async () => {
      net.clock.setTimeout(() => times.push(net.now), 1);
      for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
      for (let i = 0; i < 100; i++) await null;
      await new Promise<void>((resolve) => process.nextTick(resolve));
      times.push(net.now);
      await net.clock.sleep(2);
    });
    expect(times).toEqual([0, 1]);
  });

  test("stands still between runs, and events that are due later stay", async () => {
    const net = new SimNetwork();
    let isFired = false;
    net.clock.setTimeout(() => {
      isFired = true;
    }, 10);
    await net.run(() => net.clock.sleep(9));
    expect([net.now, isFired]).toEqual([9, false]);
    await net.run(() => net.clock.sleep(1));
    expect([net.now, isFired]).toEqual([10, true]);
  });
});

describe("timers", () => {
  test("fire in the order of their times, and of their creation", async () => {
    const net = new SimNetwork();
    const fired: string[] = [];
    const start = (name: string, delayMs: number) =>
      net.clock.setTimeout(() => fired.push(`${name} ${net.now}`), delayMs);
    start("c", 2);
    start("a", 0);
    start("d", 2);
    start("b", 1.5);
    start("cleared", 1).clear();
    await net.run(() => net.clock.sleep(2));
    expect(fired).toEqual(["a 0", "b 1.5", "c 2", "d 2"]);
  });

  test("let promise callbacks run between two that are due at the same time", async () => {
    const net = new SimNetwork();
    const order: string[] = [];
    for (const name of ["a", "b"]) {
      net.clock.setTimeout(() => {
        order.push(name);
        queueMicrotask(() => order.push(`after ${name}`));
      }, 1);
    }
    await net.run(() => net.clock.sleep(1));
    expect(order).toEqual(["a", "after a", "b", "after b"]);
  });

  test("repeat until they are cleared, also by their callback", async () => {
    const net = new SimNetwork();
    const times: number[] = [];
    const interval = net.clock.setInterval(() => {
      times.push(net.now);
      if (times.length === 3) net.clock.clear(interval);
    }, 2.5);
    await net.run(() => net.clock.sleep(100));
    expect(times).toEqual([2.5, 5, 7.5]);
    net.clock.clear(undefined);
  });

  test("abort a signal with the reason of AbortSignal.timeout", async () => {
    const net = new SimNetwork();
    const socket = net.bind("10.0.0.1");
    const signal = net.clock.timeoutSignal(5);
    const error = await net.run(() => socket.recv(new Uint8Array(1), { signal }).catch((e) => e));
    expect([error.name, net.now, socket.isWaiting]).toEqual(["TimeoutError", 5, false]);
  });

  test("refuse times that are negative or not numbers", () => {
    const { clock } = new SimNetwork();
    for (const delayMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => clock.setTimeout(() => {}, delayMs)).toThrow('"delayMs" expected milliseconds');
    }
    expect(() => clock.setInterval(() => {}, 0)).toThrow('"intervalMs" expected');
  });

  test("that are cleared in large numbers do not accumulate or fire", async () => {
    const net = new SimNetwork();
    let fired = 0;
    for (let i = 0; i < 10_000; i++) {
      const timer = net.clock.setTimeout(() => fired++, 1000 - (i % 1000));
      if (i % 10 !== 0) timer.clear();
    }
    await net.run(() => net.clock.sleep(1000));
    expect(fired).toBe(1000);
  });
});

describe("a run", () => {
  test("returns the value of main, or throws its error", async () => {
    const net = new SimNetwork();
    expect(await net.run(() => 1)).toBe(1);
    expect(await net.run(async () => 2)).toBe(2);
    await expect(net.run(() => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
    await expect(
      net.run(() => {
        throw new Error("at once");
      }),
    ).rejects.toThrow("at once");
    await expect(net.run(1 as never)).rejects.toThrow('"main" expected function, got 1');
  });

  test("fails if nothing is left that could settle the promise", async () => {
    const net = new SimNetwork();
    const socket = net.bind("10.0.0.1");
    expect(await codeOf(net.run(() => socket.recv(new Uint8Array(1))))).toBe("ERR_SIM_STALLED");
  });

  test("fails at untilMs, and can be continued", async () => {
    const net = new SimNetwork();
    const sleep = net.clock.sleep(100);
    expect(await codeOf(net.run(() => sleep, { untilMs: 50 }))).toBe("ERR_SIM_TIMEOUT");
    expect(net.now).toBeLessThanOrEqual(50);
    await net.run(() => sleep, { untilMs: 100 });
    expect(net.now).toBe(100);
    await expect(net.run(() => sleep, { untilMs: 99 })).rejects.toThrow('"untilMs" expected');
  });

  test("fails with the error of a timer or an observer", async () => {
    const net = new SimNetwork();
    const socket = net.bind("10.0.0.1");
    net.clock.setTimeout(() => {
      throw new Error("in a timer");
    }, 1);
    await expect(net.run(() => net.clock.sleep(2))).rejects.toThrow("in a timer");
    const stop = net.observe(() => {
      throw new Error("in an observer");
    });
    // The code under test does not see it.
    let sent = 0;
    const send = async () => {
      sent = await socket.sendTo(new Uint8Array(1), socket.localAddr);
      await net.clock.sleep(1);
    };
    await expect(net.run(send)).rejects.toThrow("in an observer");
    stop();
    expect(sent).toBe(1);
    await net.run(() => net.clock.sleep(1));
  });

  test("fails if the code under test adds immediates without end", async () => {
    const net = new SimNetwork();
    let isStopped = false;
    const again = () => {
      if (!isStopped) setImmediate(again);
    };
    const loop = async () => {
      again();
      await net.clock.sleep(1);
    };
    expect(await codeOf(net.run(loop))).toBe("ERR_SIM_BUSY");
    isStopped = true;
    await net.run(() => net.clock.sleep(1));
  });

  test("refuses a second one at the same time", async () => {
    const net = new SimNetwork();
    const first = net.run(() => net.clock.sleep(1));
    await expect(net.run(() => 1)).rejects.toThrow('"run" expected one run at a time');
    await first;
    expect(await net.run(() => 1)).toBe(1);
  });
});
