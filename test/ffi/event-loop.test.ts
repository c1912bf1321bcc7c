/**
 * The epoll registrations of Bun's event loop: how the library finds them, and what the loop has
 * registered while a poller is open and after it is closed.
 */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import {
  type EpollRegistration,
  findRegistration as findRegistrationWith,
} from "../../ffi/poller.ts";
import { nextTick, openDescriptors } from "../tools/sockets.ts";
import { modeMissing, NotifiedPoller, settled } from "./notifier.ts";
import { drain, sendOne } from "./raw-sockets.ts";
import { loadedNative, loadedShim, openPair, testIf } from "./tools.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const POLLIN = 1;
const ENOENT = 2;
/** `isOnce` of `arm`: an event does not disarm the descriptor. */
const LEVEL_TRIGGERED = false;

const native = loadedNative();
/** The registration of a descriptor, or undefined if it has none (ENOENT). */
function findRegistration(fd: number): EpollRegistration | undefined {
  const registration = findRegistrationWith(loadedShim(), fd);
  if (typeof registration !== "number") return registration;
  expect(registration).toBe(-ENOENT);
  return undefined;
}

/** Waits until no epoll instance has registered `fd`, for at most 2 s. */
async function unregistered(fd: number): Promise<void> {
  const deadlineMs = performance.now() + 2000;
  while (findRegistration(fd) !== undefined && performance.now() < deadlineMs) await nextTick();
}

const reason = await modeMissing("loop");

describe("findRegistration", () => {
  test("returns the epoll registration of a socket until the socket is closed", async () => {
    const { fd, socket } = await openRegistered();
    const registration = findRegistration(fd) as EpollRegistration;
    expect(linkOf(registration.epoll)).toBe("anon_inode:[eventpoll]");
    expect(epollEntries().filter((entry) => entry.fd === fd)).toEqual([
      { epoll: registration.epoll, fd },
    ]);
    expect(registration.data).toBeGreaterThan(0n);
    socket.close();
    // Bun closes the descriptor later than the socket, under load also later than the next tick.
    await unregistered(fd);
    expect(findRegistration(fd)).toBeUndefined();
  });

  test("returns one epoll instance, but different data, for the sockets of a thread", async () => {
    const all = [await openRegistered(), await openRegistered(), await openRegistered()];
    const registrations = all.map(({ fd }) => findRegistration(fd) as EpollRegistration);
    expect(new Set(registrations.map(({ epoll }) => epoll)).size).toBe(1);
    expect(new Set(registrations.map(({ data }) => data)).size).toBe(all.length);
    for (const { socket } of all) socket.close();
  });

  test("returns undefined for an open descriptor that no epoll instance has registered", () => {
    const fd = native.open(AF_INET, SOCK_DGRAM, 0);
    expect(findRegistration(fd)).toBeUndefined();
    native.close(fd);
  });

  test("does not confuse a registered descriptor with numbers that share its digits", async () => {
    const { fd, socket } = await openRegistered();
    const registered = new Set(epollEntries().map((entry) => entry.fd));
    const similar = [fd * 10, fd * 10 + 1, fd + 1000, fd % 10, Math.floor(fd / 10), -fd, -1];
    for (const number of [fd, ...similar]) {
      expect([number, findRegistration(number) !== undefined]).toEqual([
        number,
        registered.has(number),
      ]);
    }
    expect(similar.some((number) => !registered.has(number))).toBe(true);
    socket.close();
  });

  test("returns different epoll instances for a Worker and the main thread", async () => {
    const { fd, socket } = await openRegistered();
    const worker = new Worker(new URL("children/worker-registration.ts", import.meta.url));
    const inWorker = await new Promise<{ fd: number; registration: EpollRegistration }>(
      (resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      },
    );
    expect(findRegistration(inWorker.fd)).toEqual(inWorker.registration);
    expect(inWorker.registration.epoll).not.toBe(findRegistration(fd)?.epoll);
    const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
    worker.terminate();
    await closed;
    socket.close();
  });
});

describe("Bun's event loop", () => {
  const testInLoopMode = testIf(reason && `loop: ${reason}`);

  testInLoopMode(
    "notifies in every tick while a datagram is queued, and stops once it is received",
    async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const notified = await NotifiedPoller.open("loop");
      expect(notified.poller.arm(pair.right, POLLIN, 1, LEVEL_TRIGGERED)).toBe(0);
      for (let round = 0; round < 20; round++) {
        sendOne(pair.left);
        const before = notified.notifications;
        await notified.until(() => notified.notifications >= before + 3);
        drain(pair.right);
        const after = notified.notifications;
        for (let tick = 0; tick < 5; tick++) await nextTick();
        expect(notified.notifications).toBe(after);
      }
      notified.end();
    },
  );

  testInLoopMode(
    "has the poller registered under the notifier's descriptor until the notifier is closed",
    async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const { fd, socket } = await openRegistered();
      const loop = findRegistration(fd)?.epoll as number;
      socket.close();
      const before = epollDescriptorsIn(loop);
      const notified = await NotifiedPoller.open("loop");
      expect(notified.poller.arm(pair.right, POLLIN, 1, LEVEL_TRIGGERED)).toBe(0);
      const added = epollDescriptorsIn(loop).filter((number) => !before.includes(number));
      expect(added.length).toBe(1);
      sendOne(pair.left);
      await notified.until(() => notified.notifications >= 3);
      // Closes the notifier only. The poller stays open, with a ready descriptor registered.
      notified.end();
      const { notifications } = notified;
      const times = notified.times.get(1) as number;
      for (let tick = 0; tick < 20; tick++) await nextTick();
      expect(epollEntries()).not.toContainEqual({ epoll: loop, fd: added[0] as number });
      expect(notified.notifications).toBe(notifications);
      notified.collect();
      expect(notified.times.get(1)).toBe(times + 1);
    },
  );

  testInLoopMode("leaves no registration and no descriptor after 200 pollers", async () => {
    using pair = openPair(native, SOCK_DGRAM);
    await settled(openDescriptors());
    const before = openDescriptors();
    const entries = epollEntries().length;
    for (let cycle = 1; cycle <= 200; cycle++) await openAndClose(pair, cycle);
    await settled(before);
    expect(openDescriptors()).toBeLessThanOrEqual(before + HELD_MAX);
    expect(epollEntries().length).toBeLessThanOrEqual(entries + HELD_MAX);
  });
});

/** The pollers that may remain: the collector may find stale references in its scan of the stack. */
const HELD_MAX = 3;

/** Opens a poller, arms the right end of the pair, and closes the notifier. */
async function openAndClose(pair: ReturnType<typeof openPair>, cycle: number): Promise<void> {
  const notified = await NotifiedPoller.open("loop");
  expect(notified.poller.arm(pair.right, POLLIN, cycle, LEVEL_TRIGGERED)).toBe(0);
  // A third is closed while idle, a third with an unreported event, a third with a reported one.
  if (cycle % 3 > 0) sendOne(pair.left);
  if (cycle % 3 === 1) await notified.until(() => notified.reported.has(cycle));
  notified.end();
  drain(pair.right);
  // Collects earlier pollers now and then, not only at the end.
  if (cycle % 20 === 0) Bun.gc(true);
}

/** A descriptor, and the descriptor of the epoll instance that it is registered with. */
interface EpollEntry {
  readonly epoll: number;
  readonly fd: number;
}

/** Returns the registrations of all epoll instances of this process (proc(5), fdinfo). */
function epollEntries(): EpollEntry[] {
  const instances = readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => linkOf(fd) === "anon_inode:[eventpoll]");
  return instances.flatMap((epoll) =>
    fdInfo(epoll)
      .split("\n")
      .filter((line) => line.startsWith("tfd:"))
      .map((line) => ({ epoll, fd: Number(line.split(/\s+/)[1]) })),
  );
}

/** Returns what /proc says of a descriptor: nothing if the collector has closed it meanwhile. */
function fdInfo(fd: number): string {
  try {
    return readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
  } catch {
    return "";
  }
}

/** Returns the descriptors registered with `loop` that are epoll instances themselves. */
function epollDescriptorsIn(loop: number): number[] {
  return epollEntries()
    .filter(({ epoll, fd }) => epoll === loop && linkOf(fd) === "anon_inode:[eventpoll]")
    .map(({ fd }) => fd);
}

/** Returns the target of a descriptor's link in /proc; `undefined` if it is not open. */
function linkOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

/** Opens a socket that is registered with Bun's event loop. */
async function openRegistered(): Promise<{ fd: number; socket: { close(): void } }> {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  const socket = await Bun.udpSocket({ fd, socket: { data() {} } } as object);
  return { fd, socket };
}
