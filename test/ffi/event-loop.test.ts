/** Who watches a descriptor, as the kernel says; and what Bun's loop watches for a reactor. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { type EpollRegistration, findRegistration as findWatchBy } from "../../ffi/poller.ts";
import { nextTurn, openDescriptors } from "../tools/sockets.ts";
import { modeMissing, NotifiedPoller, settled } from "./notifier.ts";
import { drain, sendOne } from "./raw-sockets.ts";
import { loadedNative, loadedShim, openPair, testIf } from "./tools.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const POLLIN = 1;
const FOR_GOOD = false;

const native = loadedNative();
const findRegistration = (fd: number) => findWatchBy(loadedShim(), fd);
const reason = await modeMissing("loop");

describe("findRegistration", () => {
  test("finds a descriptor that Bun's loop watches, and not once it is closed", async () => {
    const { fd, socket } = await watched();
    const watch = findRegistration(fd) as EpollRegistration;
    expect(linkOf(watch.epoll)).toBe("anon_inode:[eventpoll]");
    expect(watchedEntries().filter((entry) => entry.fd === fd)).toEqual([
      { epoll: watch.epoll, fd },
    ]);
    expect(watch.data).toBeGreaterThan(0n);
    socket.close();
    await nextTurn();
    expect(findRegistration(fd)).toBeUndefined();
  });

  test("finds the same loop for every descriptor of a thread, with data of its own", async () => {
    const all = [await watched(), await watched(), await watched()];
    const watches = all.map(({ fd }) => findRegistration(fd) as EpollRegistration);
    expect(new Set(watches.map(({ epoll }) => epoll)).size).toBe(1);
    expect(new Set(watches.map(({ data }) => data)).size).toBe(all.length);
    for (const { socket } of all) socket.close();
  });

  test("a descriptor that is open, but watched by nobody, is not found", () => {
    const fd = native.open(AF_INET, SOCK_DGRAM, 0);
    expect(findRegistration(fd)).toBeUndefined();
    native.close(fd);
  });

  test("finds those that are watched, and no number that looks like one of them", async () => {
    const { fd, socket } = await watched();
    const numbers = new Set(watchedEntries().map((entry) => entry.fd));
    const lookAlikes = [fd * 10, fd * 10 + 1, fd + 1000, fd % 10, Math.floor(fd / 10), -fd, -1];
    for (const number of [fd, ...lookAlikes]) {
      expect([number, findRegistration(number) !== undefined]).toEqual([
        number,
        numbers.has(number),
      ]);
    }
    expect(lookAlikes.some((number) => !numbers.has(number))).toBe(true);
    socket.close();
  });

  test("tells the loop of a Worker from this thread's", async () => {
    const { fd, socket } = await watched();
    const worker = new Worker(new URL("children/worker-watch.ts", import.meta.url));
    const theirs = await new Promise<{ fd: number; watch: EpollRegistration }>(
      (resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      },
    );
    expect(findRegistration(theirs.fd)).toEqual(theirs.watch);
    expect(theirs.watch.epoll).not.toBe(findRegistration(fd)?.epoll);
    const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
    worker.terminate();
    await closed;
    socket.close();
  });
});

describe("Bun's loop", () => {
  const testWhere = testIf(reason && `loop: ${reason}`);

  testWhere(
    "rings at every turn while something is ready, and is quiet once it is taken",
    async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const notified = await NotifiedPoller.open("loop");
      expect(notified.poller.arm(pair.right, POLLIN, 1, FOR_GOOD)).toBe(0);
      for (let round = 0; round < 20; round++) {
        sendOne(pair.left);
        const before = notified.notifications;
        await notified.until(() => notified.notifications >= before + 3);
        drain(pair.right);
        const after = notified.notifications;
        for (let turn = 0; turn < 5; turn++) await nextTurn();
        expect(notified.notifications).toBe(after);
      }
      notified.end();
    },
  );

  testWhere(
    "watches the reactor by the bell's number, and no longer once that is closed",
    async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const { fd, socket } = await watched();
      const loop = findRegistration(fd)?.epoll as number;
      socket.close();
      const before = reactorsWatched(loop);
      const notified = await NotifiedPoller.open("loop");
      expect(notified.poller.arm(pair.right, POLLIN, 1, FOR_GOOD)).toBe(0);
      const added = reactorsWatched(loop).filter((number) => !before.includes(number));
      expect(added.length).toBe(1);
      sendOne(pair.left);
      await notified.until(() => notified.notifications >= 3);
      // The reactor lives on, with something ready, and in its own epoll instance still.
      notified.end();
      const { notifications } = notified;
      const times = notified.times.get(1) as number;
      for (let turn = 0; turn < 20; turn++) await nextTurn();
      expect(watchedEntries()).not.toContainEqual({ epoll: loop, fd: added[0] as number });
      expect(notified.notifications).toBe(notifications);
      notified.collect();
      expect(notified.times.get(1)).toBe(times + 1);
    },
  );

  testWhere("watches nothing and has nothing open after many reactors came and went", async () => {
    using pair = openPair(native, SOCK_DGRAM);
    await settled(openDescriptors());
    const before = openDescriptors();
    const entries = watchedEntries().length;
    for (let cycle = 1; cycle <= 200; cycle++) await comeAndGo(pair, cycle);
    await settled(before);
    expect(openDescriptors()).toBeLessThanOrEqual(before + HELD_MAX);
    expect(watchedEntries().length).toBeLessThanOrEqual(entries + HELD_MAX);
  });
});

/** Reactors, of hundreds, that the collector may still see on the stack, which it reads by guess. */
const HELD_MAX = 3;

/** Opens a reactor, has it wait for the right end of a pair, and closes it. */
async function comeAndGo(pair: ReturnType<typeof openPair>, cycle: number): Promise<void> {
  const notified = await NotifiedPoller.open("loop");
  expect(notified.poller.arm(pair.right, POLLIN, cycle, FOR_GOOD)).toBe(0);
  // Some go with something ready, some when they told of it, some idle.
  if (cycle % 3 > 0) sendOne(pair.left);
  if (cycle % 3 === 1) await notified.until(() => notified.reported.has(cycle));
  notified.end();
  drain(pair.right);
  // Some are collected while others are in use.
  if (cycle % 20 === 0) Bun.gc(true);
}

/** A descriptor that an epoll instance of this process has. */
interface WatchedEntry {
  readonly epoll: number;
  readonly fd: number;
}

/** All that the epoll instances of this process have. */
function watchedEntries(): WatchedEntry[] {
  const instances = readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => linkOf(fd) === "anon_inode:[eventpoll]");
  return instances.flatMap((epoll) =>
    readFileSync(`/proc/self/fdinfo/${epoll}`, "latin1")
      .split("\n")
      .filter((line) => line.startsWith("tfd:"))
      .map((line) => ({ epoll, fd: Number(line.split(/\s+/)[1]) })),
  );
}

/** The epoll instances that `loop` watches. */
function reactorsWatched(loop: number): number[] {
  return watchedEntries()
    .filter(({ epoll, fd }) => epoll === loop && linkOf(fd) === "anon_inode:[eventpoll]")
    .map(({ fd }) => fd);
}

/** What a descriptor is; none for one that is not open. */
function linkOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

/** A socket that Bun's loop watches. */
async function watched(): Promise<{ fd: number; socket: { close(): void } }> {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  const socket = await Bun.udpSocket({ fd, socket: { data() {} } } as object);
  return { fd, socket };
}
