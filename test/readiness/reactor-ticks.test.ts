/** The reactor on a fake kernel and a fake clock: budgets of a tick, spinning, and retries. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { POLLIN } from "../../lib/linux/constants.ts";
import type { Interest } from "../../lib/readiness/interest.ts";
import { useSystemClock } from "../../lib/support/timers.ts";
import { loadedNative } from "../ffi/tools.ts";
import { nextTick } from "../tools/sockets.ts";
import { FakeReactor } from "./fakes.ts";

/** The number of datagrams that one direction of a socket may transfer in a tick. */
const DATAGRAMS_PER_TICK = 2048;
/** Enough for a tick to be scheduled. */
const SOME_DATAGRAMS = 9;
/** More than the time that all sockets together may use in a tick. */
const OVER_TIME_MS = 2;
/** The maximum number of spinning interests. */
const SPINNING_MAX = 64;

let clockMs = 0;
let fake: FakeReactor;

const realMs = () => loadedNative().monotonicMs();
beforeAll(() => {
  clockMs = realMs();
  useSystemClock(() => clockMs);
});
afterAll(() => useSystemClock(realMs));
beforeEach(async () => {
  fake = await FakeReactor.create();
});

function addReader(fd: number): Interest {
  return fake.reactor.add(fd).read;
}

/** Lets an interest use up its budget, and wait for the next tick with `waker`. */
function defer(interest: Interest, waker: () => void): void {
  expect(fake.reactor.mayRun(interest, waker)).toBe(true);
  fake.reactor.recordDatagrams(interest, DATAGRAMS_PER_TICK);
  expect(fake.reactor.mayRun(interest, waker)).toBe(false);
}

describe("the budget of a tick", () => {
  test("defers a socket that has transferred its number of datagrams to the next tick", async () => {
    const read = addReader(5);
    let wakes = 0;
    expect(fake.reactor.mayRun(read, () => wakes++)).toBe(true);
    fake.reactor.recordDatagrams(read, DATAGRAMS_PER_TICK - 1);
    expect(fake.reactor.mayRun(read, () => wakes++)).toBe(true);
    fake.reactor.recordDatagrams(read, 1);
    expect(fake.reactor.mayRun(read, () => wakes++)).toBe(false);
    // Another socket has a budget of its own, and a try without a waker has none.
    expect(fake.reactor.mayRun(addReader(6), () => {})).toBe(true);
    expect(fake.reactor.mayRun(read, null)).toBe(true);
    expect(wakes).toBe(0);
    await nextTick();
    expect(wakes).toBe(1);
    expect(fake.reactor.mayRun(read, () => {})).toBe(true);
  });

  test("defers all sockets when the time is used up, to the next tick", async () => {
    const [first, second] = [addReader(5), addReader(6)];
    fake.reactor.recordDatagrams(first, SOME_DATAGRAMS);
    expect(fake.reactor.mayRun(second, () => {})).toBe(true);
    clockMs += OVER_TIME_MS;
    let wakes = 0;
    expect(fake.reactor.mayRun(second, () => wakes++)).toBe(false);
    await nextTick();
    expect(wakes).toBe(1);
  });

  test("begins again with the next tick", async () => {
    const [first, second] = [addReader(5), addReader(6)];
    fake.reactor.recordDatagrams(first, SOME_DATAGRAMS);
    await nextTick();
    clockMs += 100;
    fake.reactor.recordDatagrams(first, SOME_DATAGRAMS);
    expect(fake.reactor.mayRun(second, () => {})).toBe(true);
  });

  test("defers the sockets that a tick has no time for, before those that come later", async () => {
    const order: string[] = [];
    const late = addReader(9);
    const slow = addReader(5);
    defer(slow, () => {
      order.push("slow");
      defer(late, () => order.push("late"));
      clockMs += OVER_TIME_MS;
    });
    for (const fd of [6, 7, 8]) defer(addReader(fd), () => order.push(`${fd}`));
    await nextTick();
    expect(order).toEqual(["slow"]);
    await nextTick();
    expect(order).toEqual(["slow", "6", "7", "8", "late"]);
  });
});

describe("a reader that is armed", () => {
  test("is not registered for events while it waits for the next tick", async () => {
    const read = addReader(5);
    fake.reactor.wait(addReader(6), () => {});
    fake.reactor.wait(read, () => {});
    expect(fake.poller.armings.get(5)?.events).toBe(POLLIN);
    let wakes = 0;
    defer(read, () => wakes++);
    expect(fake.poller.armings.get(5)?.events).toBe(0);
    // An event that the kernel had queued before.
    fake.report(read, POLLIN);
    expect(wakes).toBe(0);
    await nextTick();
    expect(wakes).toBe(1);
  });
});

describe("an interest whose latest waits were short", () => {
  test("is retried in the next tick, and registered with epoll after a while", async () => {
    const read = addReader(5);
    read.hasShortWaits = true;
    let wakes = 0;
    fake.reactor.wait(read, () => wakes++);
    expect([read.state, fake.poller.armings.has(5)]).toEqual(["spinning", false]);
    await nextTick();
    expect(wakes).toBe(1);
    clockMs += 1;
    fake.reactor.wait(read, () => wakes++);
    expect([read.state, read.hasShortWaits]).toEqual(["armed", false]);
    expect(fake.poller.armings.get(5)?.events).toBe(POLLIN);
  });

  test("is registered with epoll if it is a writer", () => {
    const { write } = fake.reactor.add(5);
    write.hasShortWaits = true;
    fake.reactor.wait(write, () => {});
    expect(write.state).toBe("armed");
  });

  test("is registered with epoll while many others are retried in every tick", async () => {
    const states = Array.from({ length: SPINNING_MAX + 1 }, (_, i) => {
      const read = addReader(10 + i);
      read.hasShortWaits = true;
      fake.reactor.wait(read, () => {});
      return read.state;
    });
    expect(states.slice(0, SPINNING_MAX).every((state) => state === "spinning")).toBe(true);
    expect(states[SPINNING_MAX]).toBe("armed");
    await nextTick();
  });
});

describe("retryLater", () => {
  test("doubles the delay up to 16 ms, until a datagram is transferred", () => {
    const read = addReader(5);
    const delays = Array.from({ length: 6 }, () => {
      fake.reactor.retryLater(read, () => {});
      return read.retryDelayMs;
    });
    expect(delays).toEqual([2, 4, 8, 16, 16, 16]);
    fake.reactor.recordDatagrams(read, 1);
    expect(read.retryDelayMs).toBe(1);
  });

  test("waits no longer than its caller allows", async () => {
    const [limited, other] = [addReader(5), addReader(6)];
    limited.retryDelayMs = other.retryDelayMs = 16;
    const order: string[] = [];
    const isAlive = setInterval(() => {}, 1000);
    await Promise.all([
      new Promise<void>((resolve) => {
        fake.reactor.retryLater(other, () => resolve(void order.push("other")));
      }),
      new Promise<void>((resolve) => {
        fake.reactor.retryLater(limited, () => resolve(void order.push("limited")), 1);
      }),
    ]);
    clearInterval(isAlive);
    expect(order).toEqual(["limited", "other"]);
  });
});
