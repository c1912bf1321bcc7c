/** The reactor on a fake kernel: registrations, events, and what remains of removed sockets. */

import { beforeEach, describe, expect, spyOn, test } from "bun:test";
import { POLLERR, POLLIN, POLLOUT } from "../../lib/linux/constants.ts";
import type { Interest, Registration } from "../../lib/readiness/interest.ts";
import { thrown } from "../tools/sockets.ts";
import { FakeReactor, FakeSocket } from "./fakes.ts";

const ENOMEM = 12;
const EMFILE = 24;
/** The maximum number of events of one notification. */
const READY_MAX = 64;
/** After this number of events in a row without a datagram, a socket is retried by a timer. */
const EMPTY_EVENTS_MAX = 16;

let fake: FakeReactor;
beforeEach(async () => {
  fake = await FakeReactor.create();
});

/** Returns a waker, and the number of its calls. */
function counter(): { readonly wake: () => void; readonly calls: number } {
  let calls = 0;
  return {
    wake: () => {
      calls++;
    },
    get calls() {
      return calls;
    },
  };
}

/** Adds a socket whose receive waits, so that no other one is the only one that is armed. */
function addWaiting(fd: number): Registration {
  const added = fake.reactor.add(fd);
  fake.reactor.wait(added.read, () => {});
  return added;
}

/** Waits for an event, although the latest wait was short. */
function waitArmed(interest: Interest): void {
  interest.hasShortWaits = false;
  fake.reactor.wait(interest, () => {});
  expect(interest.state).toBe("armed");
}

describe("the probe", () => {
  test("closes its socket pair, and leaves the notifier unreferenced", () => {
    // The pair that follows the descriptor of the notifier, whose owner is Bun now.
    expect(fake.fake.closed.toSorted()).toEqual([1001, 1002]);
    expect(fake.poller.removed).toContain(1001);
    expect([fake.socket.isRef, fake.socket.isClosed]).toEqual([false, false]);
  });

  test.each([0, 1])("fails after %i notifications, and closes the notifier", async (count) => {
    const closing = spyOn(FakeSocket.prototype, "close");
    try {
      await expect(FakeReactor.create(count)).rejects.toThrow("sent no notification");
      expect(closing).toHaveBeenCalledTimes(1);
    } finally {
      closing.mockRestore();
    }
  });
});

describe("an event", () => {
  test("wakes its interest once, also if the socket is ready again", () => {
    addWaiting(5);
    const { read } = fake.reactor.add(6);
    const woken = counter();
    fake.reactor.wait(read, woken.wake);
    fake.report(read, POLLIN);
    fake.report(read, POLLIN);
    expect(woken.calls).toBe(1);
  });

  test("without a waiter stops further events, until the next wait", () => {
    addWaiting(5);
    const { read } = fake.reactor.add(6);
    fake.reactor.wait(read, () => {});
    fake.report(read, POLLIN);
    expect(fake.poller.armings.get(6)?.events).toBe(POLLIN);
    fake.report(read, POLLIN);
    expect(fake.poller.armings.get(6)?.events).toBe(0);
    const woken = counter();
    fake.reactor.wait(read, woken.wake);
    expect(fake.poller.armings.get(6)?.events).toBe(POLLIN);
    fake.report(read, POLLIN);
    expect(woken.calls).toBe(1);
  });

  test("of an error is recorded, and others are not", () => {
    addWaiting(5);
    const { read } = fake.reactor.add(6);
    fake.reactor.wait(read, () => {});
    fake.report(read, POLLIN);
    expect(read.mayHaveError).toBe(false);
    waitArmed(read);
    fake.report(read, POLLIN | POLLERR);
    expect(read.mayHaveError).toBe(true);
  });

  test("of a removed socket does not wake the next one with its slot", () => {
    addWaiting(5);
    const former = fake.reactor.add(6);
    fake.reactor.wait(former.read, () => {});
    const { token } = former.read;
    fake.reactor.remove(former);
    const { read } = fake.reactor.add(7);
    expect(read.slot).toBe(former.read.slot);
    const woken = counter();
    fake.reactor.wait(read, woken.wake);
    fake.poller.push(token, POLLIN);
    fake.notify();
    expect(woken.calls).toBe(0);
    fake.report(read, POLLIN);
    expect(woken.calls).toBe(1);
  });

  test("of one of two waiting sockets does not wake the other", () => {
    const first = fake.reactor.add(5);
    const second = fake.reactor.add(6);
    const woken = [counter(), counter()] as const;
    fake.reactor.wait(first.read, woken[0].wake);
    fake.reactor.wait(second.read, woken[1].wake);
    fake.report(first.read, POLLIN);
    expect(woken.map(({ calls }) => calls)).toEqual([1, 0]);
  });

  test("is not needed by the only socket that waits: a notification wakes it", () => {
    const removed = addWaiting(5);
    const { read } = fake.reactor.add(6);
    const woken = counter();
    fake.reactor.wait(read, woken.wake);
    fake.notify();
    expect(woken.calls).toBe(0);
    fake.reactor.remove(removed);
    fake.notify();
    expect(woken.calls).toBe(1);
  });

  test("is handled with all others of its notification, however many there are", () => {
    const woken = counter();
    const all = Array.from({ length: READY_MAX + 6 }, (_, i) => fake.reactor.add(10 + i));
    for (const { read } of all) {
      fake.reactor.wait(read, woken.wake);
      fake.poller.push(read.token, POLLIN);
    }
    fake.notify();
    expect(woken.calls).toBe(all.length);
  });
});

describe("a wait", () => {
  test("of a writer uses a duplicate, and keeps the registration of the reader", () => {
    const { read, write } = addWaiting(5);
    const woken = counter();
    fake.reactor.wait(write, woken.wake);
    expect(write.fd).not.toBe(5);
    expect(fake.poller.armings.get(5)).toMatchObject({ events: POLLIN, token: read.token });
    const arming = fake.poller.armings.get(write.fd);
    expect(arming).toEqual({ events: POLLOUT, token: write.token, isOnce: true });
    fake.report(write, POLLOUT);
    expect(woken.calls).toBe(1);
  });

  test("is retried by a timer if the kernel refuses the registration", async () => {
    const { read } = fake.reactor.add(5);
    fake.poller.result = -ENOMEM;
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    fake.reactor.wait(read, resolve);
    const isAlive = setInterval(() => {}, 1000);
    await woken;
    clearInterval(isAlive);
    expect(read.state).toBe("idle");
  }, 5000);

  test("is retried by a timer if there is no descriptor for a writer", async () => {
    const { write } = fake.reactor.add(5);
    fake.fake.duplicateResult = -EMFILE;
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    fake.reactor.wait(write, resolve);
    const isAlive = setInterval(() => {}, 1000);
    await woken;
    clearInterval(isAlive);
    expect([write.state, write.fd]).toEqual(["idle", 5]);
  }, 5000);

  test("after many events without a datagram is retried by a timer, without events", async () => {
    const { read } = addWaiting(5);
    addWaiting(6);
    for (let i = 0; i <= EMPTY_EVENTS_MAX; i++) {
      fake.report(read, POLLIN);
      expect(fake.poller.armings.get(5)?.events).toBe(POLLIN);
      if (i < EMPTY_EVENTS_MAX) waitArmed(read);
    }
    expect(read.emptyEvents).toBe(EMPTY_EVENTS_MAX + 1);
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    fake.reactor.waitForDatagram(read, resolve);
    expect([read.state, fake.poller.armings.get(5)?.events]).toEqual(["idle", 0]);
    const isAlive = setInterval(() => {}, 1000);
    await woken;
    clearInterval(isAlive);
    // A datagram ends that state.
    fake.reactor.recordDatagrams(read, 1);
    expect(read.emptyEvents).toBe(0);
    read.hasShortWaits = false;
    fake.reactor.waitForDatagram(read, () => {});
    expect([read.state, fake.poller.armings.get(5)?.events]).toEqual(["armed", POLLIN]);
  }, 5000);
});

describe("remove", () => {
  test("forgets the waiters, and closes and unregisters the duplicates", () => {
    const added = addWaiting(5);
    fake.reactor.wait(added.write, () => {});
    fake.reactor.wait(added.error, () => {});
    const duplicates = [added.write.fd, added.error.fd];
    expect(new Set([5, ...duplicates]).size).toBe(3);
    const before = fake.fake.closed.length;
    fake.reactor.remove(added);
    expect(fake.poller.removed).toEqual(expect.arrayContaining([5, ...duplicates]));
    expect(fake.fake.closed.slice(before)).toEqual(duplicates);
    for (const { waker, state, fd } of [added.read, added.write, added.error]) {
      expect([waker, state, fd]).toEqual([null, "idle", -1]);
    }
    expect(fake.reactor.has(5)).toBe(false);
  });

  test("makes its slots free, so that opening and closing sockets needs no more of them", () => {
    const slots = Array.from({ length: 5 }, () => {
      const added = fake.reactor.add(5);
      fake.reactor.remove(added);
      return added.read.slot;
    });
    expect(new Set(slots).size).toBe(1);
  });
});

test("the process is released by the last of as many unref as ref", () => {
  const { reactor, socket } = fake;
  reactor.ref();
  reactor.ref();
  expect(socket.isRef).toBe(true);
  reactor.unref();
  expect(socket.isRef).toBe(true);
  reactor.unref();
  expect(socket.isRef).toBe(false);
});

test("a thread has a limited number of sockets: beyond it, adding one fails with EMFILE", async () => {
  // Not kept in a variable of this file: a million objects make each garbage collection slower.
  const { reactor } = await FakeReactor.create();
  const SLOTS_MAX = 2 ** 20;
  // Three interests for each socket.
  const count = SLOTS_MAX / 3;
  let added = 0;
  const addAll = () => {
    for (; added <= count; added++) reactor.add(10);
  };
  expect(thrown(addAll)).toMatchObject({ name: "SocketError", code: "EMFILE" });
  expect(added).toBe(Math.floor(count));
});
