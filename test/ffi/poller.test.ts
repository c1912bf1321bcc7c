/** The poller with each notifier: Bun's event loop, and the helper thread. */

import { describe, expect } from "bun:test";
import { SocketAddress } from "../../lib/index.ts";
import type { ReadinessMode } from "../../lib/readiness/notifier.ts";
import { nextTick, openDescriptors } from "../tools/sockets.ts";
import { MODES, modeMissing, NotifiedPoller, settled } from "./notifier.ts";
import { bindUdp, boundUdp, drain, sendOne, trySend } from "./raw-sockets.ts";
import { loadedNative, openPair, testIf } from "./tools.ts";

const ENOENT = 2;
const EBADF = 9;
const AF_INET = 2;
const SOCK_DGRAM = 2;
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
/** `isOnce` of `arm`: whether an event disarms the descriptor. */
const ONCE = true;
const LEVEL_TRIGGERED = false;

const native = loadedNative();

for (const mode of MODES) {
  const reason = await modeMissing(mode);
  describe(`poller in ${mode} mode`, () => {
    const testInMode = testIf(reason && `${mode}: ${reason}`);

    testInMode("reports an armed socket when a datagram arrives, and not before", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const notified = await NotifiedPoller.open(mode);
      expect(notified.poller.arm(pair.right, POLLIN, 7, ONCE)).toBe(0);
      for (let tick = 0; tick < 10; tick++) await nextTick();
      notified.collect();
      expect([notified.notifications, notified.reported.size]).toEqual([0, 0]);
      sendOne(pair.left);
      await notified.until(() => notified.reported.has(7));
      expect((notified.reported.get(7) as number) & POLLIN).toBe(POLLIN);
      notified.end();
    });

    testInMode("reports a socket that is already ready when it is armed", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const notified = await NotifiedPoller.open(mode);
      sendOne(pair.left);
      expect(notified.poller.arm(pair.right, POLLIN, 8, ONCE)).toBe(0);
      await notified.until(() => notified.reported.has(8));
      expect(notified.times.get(8)).toBe(1);
      notified.end();
    });

    testInMode(
      "reports a one-shot socket once, and again only after it is armed again",
      async () => {
        using pair = openPair(native, SOCK_DGRAM);
        using other = openPair(native, SOCK_DGRAM);
        const notified = await NotifiedPoller.open(mode);
        for (let round = 1; round <= 50; round++) {
          expect(notified.poller.arm(pair.right, POLLIN, 9, ONCE)).toBe(0);
          sendOne(pair.left);
          await notified.until(() => notified.times.get(9) === round);
          // Another datagram for the same socket. Only the other socket may be reported.
          sendOne(pair.left);
          expect(notified.poller.arm(other.right, POLLIN, 10, ONCE)).toBe(0);
          sendOne(other.left);
          await notified.until(() => notified.times.get(10) === round);
          expect(notified.times.get(9)).toBe(round);
          drain(pair.right);
          drain(other.right);
        }
        notified.end();
      },
    );

    testInMode("reports a level-triggered socket in every wait until it is drained", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const notified = await NotifiedPoller.open(mode);
      expect(notified.poller.arm(pair.right, POLLIN, 20, LEVEL_TRIGGERED)).toBe(0);
      for (let round = 0; round < 50; round++) {
        const before = notified.times.get(20) ?? 0;
        notified.collect();
        expect(notified.times.get(20) ?? 0).toBe(before);
        sendOne(pair.left);
        await notified.until(() => (notified.times.get(20) ?? 0) > before);
        const first = notified.times.get(20) as number;
        for (let again = 1; again <= 3; again++) {
          notified.collect();
          expect(notified.times.get(20)).toBe(first + again);
        }
        drain(pair.right);
      }
      notified.end();
    });

    testInMode(
      "reports errors, but not datagrams, after a socket is armed again with no events",
      async () => {
        const [peer, port] = boundUdp();
        const fd = native.open(AF_INET, SOCK_DGRAM, 0);
        native.connect(fd, SocketAddress.ip("127.0.0.1", port)._encoded);
        native.connect(peer, SocketAddress._decode(native.scratch, 0, native.name(fd))._encoded);
        const notified = await NotifiedPoller.open(mode);
        expect(notified.poller.arm(fd, POLLIN, 21, LEVEL_TRIGGERED)).toBe(0);
        sendOne(peer);
        await notified.until(() => notified.reported.has(21));
        expect(notified.poller.arm(fd, 0, 22, ONCE)).toBe(0);
        const times = notified.times.get(21);
        // One datagram is still queued, and another one arrives.
        sendOne(peer);
        for (let tick = 0; tick < 10; tick++) await nextTick();
        notified.collect();
        expect([notified.times.get(21), notified.times.get(22)]).toEqual([times, undefined]);
        // The peer is closed, so ICMP reports that its port is unreachable.
        native.close(peer);
        sendOne(fd);
        await notified.until(() => notified.reported.has(22));
        expect((notified.reported.get(22) as number) & (POLLIN | POLLERR)).toBe(POLLERR);
        notified.collect();
        expect([notified.times.get(21), notified.times.get(22)]).toEqual([times, 1]);
        native.close(fd);
        notified.end();
      },
    );

    testInMode(
      "reports a socket as writable when its peer empties its full receive queue",
      async () => {
        using pair = openPair(native, SOCK_DGRAM);
        const notified = await NotifiedPoller.open(mode);
        while (trySend(pair.left) === 1);
        expect(notified.poller.arm(pair.left, POLLOUT, 11, ONCE)).toBe(0);
        notified.collect();
        expect(notified.reported.size).toBe(0);
        drain(pair.right);
        await notified.until(() => notified.reported.has(11));
        expect((notified.reported.get(11) as number) & POLLOUT).toBe(POLLOUT);
        notified.end();
      },
    );

    testInMode("reports POLLERR when ICMP reports an unreachable port", async () => {
      const [fd, port] = boundUdp();
      native.close(fd);
      const sender = native.open(AF_INET, SOCK_DGRAM, 0);
      native.connect(sender, SocketAddress.ip("127.0.0.1", port)._encoded);
      const notified = await NotifiedPoller.open(mode);
      expect(notified.poller.arm(sender, POLLIN, 12, ONCE)).toBe(0);
      sendOne(sender);
      await notified.until(() => notified.reported.has(12));
      expect((notified.reported.get(12) as number) & POLLERR).toBe(POLLERR);
      native.close(sender);
      notified.end();
    });

    testInMode("returns tokens up to 2^53 - 1 unchanged", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const notified = await NotifiedPoller.open(mode);
      sendOne(pair.left);
      const tokens = [1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 51 + 2 ** 31 + 5, 2 ** 53 - 1];
      for (const token of tokens) {
        expect(notified.poller.arm(pair.right, POLLIN, token, ONCE)).toBe(0);
        await notified.until(() => notified.reported.has(token));
      }
      expect([...notified.reported.keys()]).toEqual(tokens);
      notified.end();
    });

    testInMode("does not report a socket that becomes ready after it was removed", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      using other = openPair(native, SOCK_DGRAM);
      const notified = await NotifiedPoller.open(mode);
      expect(notified.poller.arm(pair.right, POLLIN, 13, ONCE)).toBe(0);
      expect(notified.poller.arm(other.right, POLLIN, 14, ONCE)).toBe(0);
      expect(notified.poller.remove(pair.right)).toBe(0);
      sendOne(pair.left);
      sendOne(other.left);
      await notified.until(() => notified.reported.has(14));
      expect(notified.reported.has(13)).toBe(false);
      expect(notified.notifications).toBe(1);
      notified.end();
    });

    testInMode(
      "returns EBADF or ENOENT for a descriptor that it cannot arm or remove",
      async () => {
        using pair = openPair(native, SOCK_DGRAM);
        const notified = await NotifiedPoller.open(mode);
        expect(notified.poller.arm(2 ** 30, POLLIN, 15, ONCE)).toBe(-EBADF);
        expect(notified.poller.remove(pair.right)).toBe(-ENOENT);
        sendOne(pair.left);
        expect(notified.poller.arm(pair.right, POLLIN, 16, ONCE)).toBe(0);
        await notified.until(() => notified.reported.has(16));
        expect(notified.reported.has(15)).toBe(false);
        notified.end();
      },
    );

    // More than one wait reports (64), and few enough for small limits of open descriptors.
    testInMode("reports 90 sockets that become ready at the same time, each once", async () => {
      using pairs = openPairs(90);
      const notified = await NotifiedPoller.open(mode);
      for (const [i, { right }] of pairs.list.entries()) {
        expect(notified.poller.arm(right, POLLIN, i + 1, ONCE)).toBe(0);
      }
      for (const { left } of pairs.list) sendOne(left);
      await notified.until(() => notified.reported.size === 90);
      expect([...notified.times.values()].every((times) => times === 1)).toBe(true);
      notified.end();
    });

    testInMode("reports 5000 ready sockets over several waits, each once", async () => {
      using sockets = openSockets(5000);
      const { list } = sockets;
      const notified = await NotifiedPoller.open(mode);
      for (const [i, fd] of list.entries()) {
        expect(notified.poller.arm(fd, POLLOUT, i + 1, ONCE)).toBe(0);
      }
      await notified.until(() => notified.reported.size === list.length);
      expect([...notified.times.values()].every((times) => times === 1)).toBe(true);
      notified.end();
    });

    testInMode("leaves a port free once its socket is removed and closed", async () => {
      const notified = await NotifiedPoller.open(mode);
      const [first, port] = boundUdp();
      native.close(first);
      const address = SocketAddress.ip("127.0.0.1", port);
      for (let i = 1; i <= 300; i++) {
        const fd = native.open(AF_INET, SOCK_DGRAM, 0);
        expect([i, native.bind(fd, address._encoded)]).toEqual([i, 0]);
        expect(notified.poller.arm(fd, POLLIN, i, ONCE)).toBe(0);
        expect(notified.poller.remove(fd)).toBe(0);
        native.close(fd);
      }
      notified.end();
    });

    testInMode("closes all its descriptors when it is garbage-collected", async () => {
      await settled(openDescriptors());
      const before = openDescriptors();
      await openAndForget(mode);
      expect(openDescriptors()).toBeGreaterThan(before);
      await settled(before);
      expect(openDescriptors()).toBeLessThanOrEqual(before);
    });

    testInMode(
      "leaves no descriptor and no port in use after its Worker is terminated",
      async () => {
        await settled(openDescriptors());
        const before = openDescriptors();
        const url = new URL("children/worker-sockets.ts", import.meta.url);
        const worker = new Worker(url, {
          env: { ...process.env, DATAGRAM_SOCKET_READINESS: mode },
        });
        const ports = await new Promise<number[]>((resolve, reject) => {
          worker.onmessage = (event) => resolve(event.data);
          worker.onerror = (event) => reject(new Error(event.message));
        });
        expect(ports.length).toBe(20);
        expect(openDescriptors()).toBeGreaterThan(before + 20);
        worker.terminate();
        await settled(before);
        expect(openDescriptors()).toBeLessThanOrEqual(before);
        for (const port of ports) expect([port, bindUdp(port)]).toEqual([port, 0]);
      },
    );
  });
}

/** Opens pairs of Unix sockets, which are closed at the end of the scope. */
function openPairs(count: number): { list: ReturnType<typeof openPair>[] } & Disposable {
  const list = Array.from({ length: count }, () => openPair(native, SOCK_DGRAM));
  const close = () => {
    for (const pair of list) pair[Symbol.dispose]();
  };
  return { list, [Symbol.dispose]: close };
}

/** Opens writable UDP sockets; fewer than `count` if the process reaches its descriptor limit. */
function openSockets(count: number): { list: number[] } & Disposable {
  const opened = Array.from({ length: count }, () => native.open(AF_INET, SOCK_DGRAM, 0));
  const list = opened.filter((fd) => fd >= 0);
  if (list.length < count) console.warn(`${list.length} descriptors instead of ${count}`);
  // Leaves descriptors for the poller.
  const spare = list.length < count ? 20 : 0;
  for (const fd of list.splice(list.length - spare)) native.close(fd);
  const close = () => {
    for (const fd of list) native.close(fd);
  };
  return { list, [Symbol.dispose]: close };
}

/** Opens a poller, arms sockets, closes the notifier, and keeps no reference. */
async function openAndForget(mode: ReadinessMode): Promise<void> {
  const notified = await NotifiedPoller.open(mode);
  for (let slot = 0; slot < 10; slot++) {
    const [fd] = boundUdp();
    expect(notified.poller.arm(fd, POLLIN, slot + 1, ONCE)).toBe(0);
    native.close(fd);
  }
  notified.end();
}
