/** Readiness as the kernel tells it, by io_uring and by the helper thread. */

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ReadinessMode } from "../../ffi/native.ts";
import { SocketAddress } from "../../lib/index.ts";
import { nextTurn, openDescriptors } from "../sockets.ts";
import { Bell, MODES, modeMissing } from "./bell.ts";
import { loadedNative, openPair, ROOT, run, testIf } from "./tools.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
const EADDRINUSE = 98;

const native = loadedNative();
const LOOPBACK = SocketAddress.ip("127.0.0.1", 0);

for (const mode of MODES) {
  const reason = await modeMissing(mode);
  describe(mode, () => {
    const testWhere = testIf(reason && `${mode}: ${reason}`);

    testWhere("armed before it is ready, a socket is reported when a datagram comes", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const bell = await Bell.open(mode);
      expect(bell.kernel.arm(pair.right, POLLIN, 7)).toBe(0);
      for (let turn = 0; turn < 10; turn++) await nextTurn();
      bell.reap();
      expect([bell.rings, bell.reported.size]).toEqual([0, 0]);
      sendOne(pair.left);
      await bell.until(() => bell.reported.has(7));
      expect((bell.reported.get(7) as number) & POLLIN).toBe(POLLIN);
      bell.end();
    });

    testWhere("armed when it is ready already, it is reported at once", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const bell = await Bell.open(mode);
      sendOne(pair.left);
      expect(bell.kernel.arm(pair.right, POLLIN, 8)).toBe(0);
      await bell.until(() => bell.reported.has(8));
      expect(bell.times.get(8)).toBe(1);
      bell.end();
    });

    testWhere("it is reported once, and again only when armed again", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      using other = openPair(native, SOCK_DGRAM);
      const bell = await Bell.open(mode);
      for (let round = 1; round <= 50; round++) {
        expect(bell.kernel.arm(pair.right, POLLIN, 9)).toBe(0);
        sendOne(pair.left);
        await bell.until(() => bell.times.get(9) === round);
        // One that comes now rings for the other socket only.
        sendOne(pair.left);
        expect(bell.kernel.arm(other.right, POLLIN, 10)).toBe(0);
        sendOne(other.left);
        await bell.until(() => bell.times.get(10) === round);
        expect(bell.times.get(9)).toBe(round);
        drain(pair.right);
        drain(other.right);
      }
      bell.end();
    });

    testWhere("a full socket is reported when its peer takes a datagram", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const bell = await Bell.open(mode);
      while (trySend(pair.left) === 1);
      expect(bell.kernel.arm(pair.left, POLLOUT, 11)).toBe(0);
      bell.reap();
      expect(bell.reported.size).toBe(0);
      drain(pair.right);
      await bell.until(() => bell.reported.has(11));
      expect((bell.reported.get(11) as number) & POLLOUT).toBe(POLLOUT);
      bell.end();
    });

    testWhere("an error that ICMP brings is reported as one", async () => {
      const [fd, port] = boundUdp();
      native.close(fd);
      const sender = native.open(AF_INET, SOCK_DGRAM, 0);
      native.connect(sender, SocketAddress.ip("127.0.0.1", port)._encoded);
      const bell = await Bell.open(mode);
      expect(bell.kernel.arm(sender, POLLIN, 12)).toBe(0);
      sendOne(sender);
      await bell.until(() => bell.reported.has(12));
      expect((bell.reported.get(12) as number) & POLLERR).toBe(POLLERR);
      native.close(sender);
      bell.end();
    });

    testWhere("tokens up to 2^53 - 1 come back as they went", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      const bell = await Bell.open(mode);
      sendOne(pair.left);
      const tokens = [1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 51 + 2 ** 31 + 5, 2 ** 53 - 1];
      for (const token of tokens) {
        expect(bell.kernel.arm(pair.right, POLLIN, token)).toBe(0);
        await bell.until(() => bell.reported.has(token));
      }
      expect([...bell.reported.keys()]).toEqual(tokens);
      bell.end();
    });

    testWhere("disarmed, a socket that becomes ready is not reported as ready", async () => {
      using pair = openPair(native, SOCK_DGRAM);
      using other = openPair(native, SOCK_DGRAM);
      const bell = await Bell.open(mode);
      expect(bell.kernel.arm(pair.right, POLLIN, 13)).toBe(0);
      expect(bell.kernel.arm(other.right, POLLIN, 14)).toBe(0);
      expect(bell.kernel.disarm(pair.right, 13)).toBe(0);
      sendOne(pair.left);
      sendOne(other.left);
      await bell.until(() => bell.reported.has(14));
      // io_uring reports the cancelled request, with no events.
      expect(bell.reported.get(13) ?? 0).toBe(0);
      expect(bell.rings).toBe(1);
      bell.end();
    });

    testWhere("a descriptor that is none is refused, or reported without events", async () => {
      const bell = await Bell.open(mode);
      const result = bell.kernel.arm(2 ** 30, POLLIN, 15);
      bell.reap();
      if (result === 0) expect(bell.reported.get(15)).toBe(0);
      else expect(result).toBeLessThan(0);
      // And others go on.
      using pair = openPair(native, SOCK_DGRAM);
      sendOne(pair.left);
      expect(bell.kernel.arm(pair.right, POLLIN, 16)).toBe(0);
      await bell.until(() => bell.reported.has(16));
      bell.end();
    });

    testWhere("300 sockets that become ready at once are all reported", async () => {
      using pairs = openPairs(300);
      const bell = await Bell.open(mode);
      for (const [i, { right }] of pairs.list.entries()) {
        expect(bell.kernel.arm(right, POLLIN, i + 1)).toBe(0);
      }
      for (const { left } of pairs.list) sendOne(left);
      await bell.until(() => bell.reported.size === 300);
      expect([...bell.times.values()].every((times) => times === 1)).toBe(true);
      bell.end();
    });

    testWhere("5000 that are ready, more than a completion queue holds, lose none", async () => {
      using sockets = openSockets(mode === "thread" ? 5000 : 1);
      const { list } = sockets;
      const bell = await Bell.open(mode);
      // epoll knows a descriptor once; io_uring takes any number of requests for one.
      const count = mode === "thread" ? list.length : 5000;
      for (let i = 0; i < count; i++) {
        const fd = list[i % list.length] as number;
        expect(bell.kernel.arm(fd, POLLOUT, i + 1)).toBe(0);
      }
      await bell.until(() => bell.reported.size === count);
      expect([...bell.times.values()].every((times) => times === 1)).toBe(true);
      bell.end();
    });

    testWhere("a port is free as soon as its socket is disarmed and closed", async () => {
      const bell = await Bell.open(mode);
      const [first, port] = boundUdp();
      native.close(first);
      const address = SocketAddress.ip("127.0.0.1", port);
      for (let i = 1; i <= 300; i++) {
        const fd = native.open(AF_INET, SOCK_DGRAM, 0);
        expect([i, native.bind(fd, address._encoded)]).toEqual([i, 0]);
        expect(bell.kernel.arm(fd, POLLIN, i)).toBe(0);
        expect(bell.kernel.disarm(fd, i)).toBe(0);
        native.close(fd);
      }
      bell.end();
    });

    testWhere("a reactor that is collected closes all its descriptors", async () => {
      await settled(openDescriptors());
      const before = openDescriptors();
      await openAndForget(mode);
      expect(openDescriptors()).toBeGreaterThan(before);
      await settled(before);
      expect(openDescriptors()).toBeLessThanOrEqual(before);
    });

    testWhere("a Worker that is terminated leaves no descriptor and no port", async () => {
      await settled(openDescriptors());
      const before = openDescriptors();
      const url = new URL("children/worker-sockets.ts", import.meta.url);
      const worker = new Worker(url, { env: { ...process.env, DATAGRAM_SOCKET_READINESS: mode } });
      const ports = await new Promise<number[]>((resolve, reject) => {
        worker.onmessage = (event) => resolve(event.data);
        worker.onerror = (event) => reject(new Error(event.message));
      });
      expect(ports.length).toBe(20);
      expect(openDescriptors()).toBeGreaterThan(before + 20);
      worker.terminate();
      await settled(before);
      expect(openDescriptors()).toBeLessThanOrEqual(before);
      // The kernel tears a ring down by a work queue, so its requests end a little later.
      const deadlineMs = performance.now() + 2000;
      for (const port of ports) {
        while (bindUdp(port) === -EADDRINUSE && performance.now() < deadlineMs) await nextTurn();
        expect([port, bindUdp(port)]).toEqual([port, 0]);
      }
    });
  });
}

describe("where io_uring is forbidden", () => {
  const child = join(ROOT, "test/ffi/children/load.ts");
  const forbid = join(ROOT, "test/ffi/forbid-io-uring.ts");

  for (const [name, errno] of [
    ["EPERM", 1],
    ["ENOSYS", 38],
  ] as const) {
    test(`by a seccomp filter with ${name}: the helper thread, and one warning`, () => {
      const result = run([process.execPath, "--preload", forbid, child], {
        env: { FORBID_ERRNO: `${errno}` },
      });
      expectThread(result, name);
    });
  }

  const sysctl = "/proc/sys/kernel/io_uring_disabled";
  testIf(sysctlReason())("by the sysctl: the helper thread, and one warning", () => {
    const before = readFileSync(sysctl, "utf8");
    try {
      writeFileSync(sysctl, "2");
      expectThread(run([process.execPath, child]), "EPERM");
    } finally {
      writeFileSync(sysctl, before);
    }
  });

  /** It is the whole machine's, so only on machines that are there for tests. */
  function sysctlReason(): string | undefined {
    if (process.env.CI !== "true") return "io_uring_disabled is set where CI=true only";
    if (process.getuid?.() !== 0) return "io_uring_disabled needs root";
    try {
      writeFileSync(sysctl, readFileSync(sysctl, "utf8"));
      return undefined;
    } catch (error) {
      return String(error);
    }
  }

  function expectThread({ code, out, err }: ReturnType<typeof run>, errno: string): void {
    expect([code, err.match(/DATAGRAM_SOCKET_FALLBACK/g)?.length]).toEqual([0, 1]);
    expect(err).toContain(errno);
    const loaded = JSON.parse(out.trim());
    expect(loaded).toMatchObject({ reason: null, mode: "thread", backend: "shim", echoed: 5 });
  }
});

const sending = native.sendVector(0);
const received = native.receiveVector(0);
const datagram = new Uint8Array(100);
sending.reserve(1);
received.reserve(1);

function trySend(fd: number): number {
  sending.setBuffer(0, datagram, 0, datagram.length);
  return sending.send(fd, 0, 1);
}

function sendOne(fd: number): void {
  expect(trySend(fd)).toBe(1);
}

function drain(fd: number): void {
  received.setBuffer(0, datagram, 0, datagram.length);
  while (received.receive(fd, 0, 1) === 1);
}

/** 0 when a UDP socket can have this port now, else -errno. */
function bindUdp(port: number): number {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  const result = native.bind(fd, SocketAddress.ip("127.0.0.1", port)._encoded);
  native.close(fd);
  return result;
}

/** A UDP socket on loopback, and its port. */
function boundUdp(): [fd: number, port: number] {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  expect(native.bind(fd, LOOPBACK._encoded)).toBe(0);
  return [fd, SocketAddress._decode(native.scratch, 0, native.name(fd)).port];
}

function openPairs(count: number): { list: ReturnType<typeof openPair>[] } & Disposable {
  const list = Array.from({ length: count }, () => openPair(native, SOCK_DGRAM));
  const close = () => {
    for (const pair of list) pair[Symbol.dispose]();
  };
  return { list, [Symbol.dispose]: close };
}

/** Sockets that can be written to; fewer where the process may not have as many. */
function openSockets(count: number): { list: number[] } & Disposable {
  const opened = Array.from({ length: count }, () => native.open(AF_INET, SOCK_DGRAM, 0));
  const list = opened.filter((fd) => fd >= 0);
  if (list.length < count) console.warn(`${list.length} descriptors instead of ${count}`);
  // Some are left for the reactor.
  const spare = list.length < count ? 20 : 0;
  for (const fd of list.splice(list.length - spare)) native.close(fd);
  const close = () => {
    for (const fd of list) native.close(fd);
  };
  return { list, [Symbol.dispose]: close };
}

/** Makes a reactor that waits for sockets it was told of, and keeps nothing of it. */
async function openAndForget(mode: ReadinessMode): Promise<void> {
  const bell = await Bell.open(mode);
  for (let slot = 0; slot < 10; slot++) {
    const [fd] = boundUdp();
    bell.kernel.track(slot, fd);
    expect(bell.kernel.arm(fd, POLLIN, slot + 1)).toBe(0);
  }
  bell.end();
}

/** Collects until no more than `count` descriptors are open, for two seconds at most. */
async function settled(count: number): Promise<void> {
  const deadlineMs = performance.now() + 2000;
  do {
    Bun.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 5));
  } while (openDescriptors() > count && performance.now() < deadlineMs);
}
