/** The notifiers, where Bun or the kernel refuses: no descriptor and no socket of Bun stays open. */

import { describe, expect, spyOn, test } from "bun:test";
import { openLoopNotifier } from "../../lib/readiness/loop-notifier.ts";
import { within } from "../../lib/readiness/notifier.ts";
import { openThreadNotifier } from "../../lib/readiness/thread-notifier.ts";
import { nextTick } from "../tools/sockets.ts";
import { FakeNative, FakeSocket, withBunSocket } from "./fakes.ts";

const EPERM = 1;
const EAGAIN = 11;
/** The first descriptor of a fake. A pair has this one and the next. */
const FIRST = 1000;

describe("openLoopNotifier", () => {
  const open = (fake: FakeNative) => openLoopNotifier(fake.native, fake.realPoller, () => {});

  test("passes the ownership of its descriptor to Bun", async () => {
    const [fake, socket] = [new FakeNative(), new FakeSocket()];
    await withBunSocket({ socket }, () => open(fake));
    expect([fake.disowned, fake.closed, socket.isClosed]).toEqual([[FIRST], [], false]);
  });

  test("closes its descriptor if Bun cannot adopt it", async () => {
    const [fake, socket] = [new FakeNative(), new FakeSocket()];
    const error = new Error("refused");
    await expect(withBunSocket({ socket, error }, () => open(fake))).rejects.toBe(error);
    expect([fake.disowned, fake.closed]).toEqual([[], [FIRST]]);
  });

  test("closes Bun's socket if the event loop cannot watch an epoll instance", async () => {
    const [fake, socket] = [new FakeNative(), new FakeSocket()];
    fake.fakePoller.openResult = -EPERM;
    const opening = withBunSocket({ socket }, () => open(fake));
    await expect(opening).rejects.toMatchObject({ code: "EPERM", syscall: "epoll_ctl" });
    expect([socket.isClosed, fake.closed]).toEqual([true, []]);
  });
});

describe("openThreadNotifier", () => {
  /** Opens a notifier. `Bun.connect` returns `socket`, or fails with `error`. */
  async function open(fake: FakeNative, socket: FakeSocket, error?: Error) {
    const connecting = spyOn(Bun, "connect").mockImplementation((async () => {
      if (error !== undefined) throw error;
      return socket;
    }) as never);
    try {
      return await openThreadNotifier(fake.native, fake.realPoller, () => {});
    } finally {
      connecting.mockRestore();
    }
  }

  test("passes the ownership of one descriptor to Bun, and closes it with the notifier", async () => {
    const [fake, socket] = [new FakeNative(), new FakeSocket()];
    const notifier = await open(fake, socket);
    expect([fake.disowned, fake.closed, socket.isClosed]).toEqual([[FIRST + 1], [], false]);
    notifier.unref();
    expect(socket.isRef).toBe(false);
    notifier.close();
    expect(socket.isClosed).toBe(true);
  });

  test("closes both descriptors if Bun cannot adopt one", async () => {
    const [fake, socket] = [new FakeNative(), new FakeSocket()];
    const error = new Error("refused");
    await expect(open(fake, socket, error)).rejects.toBe(error);
    expect([fake.disowned, fake.closed.toSorted()]).toEqual([[], [FIRST, FIRST + 1]]);
  });

  test("closes its descriptor and Bun's socket if the thread cannot be started", async () => {
    const [fake, socket] = [new FakeNative(), new FakeSocket()];
    fake.fakePoller.openResult = -EAGAIN;
    const expected = { code: "EAGAIN", syscall: "pthread_create" };
    await expect(open(fake, socket)).rejects.toMatchObject(expected);
    expect([fake.closed, socket.isClosed]).toEqual([[FIRST], true]);
  });
});

describe("within", () => {
  test("returns the value of the promise, and fails if there is none in time", async () => {
    expect(await within(1000, Promise.resolve(7), "no event")).toBe(7);
    const isAlive = setInterval(() => {}, 1000);
    const never = new Promise(() => {});
    await expect(within(2, never, "no event")).rejects.toThrow("no event in 2 ms");
    clearInterval(isAlive);
  }, 5000);

  test("returns the value of an event that happened while the thread was busy", async () => {
    const event = Promise.withResolvers<number>();
    const waiting = within(2, event.promise, "no event");
    const untilMs = performance.now() + 20;
    while (performance.now() < untilMs);
    // The timer is due. The event is noticed two ticks later.
    void nextTick()
      .then(nextTick)
      .then(() => event.resolve(7));
    expect(await waiting).toBe(7);
  });
});
