/** The native engine: waiters at the end of the socket, errors of the second system call. */

import { afterEach, describe, expect, test } from "bun:test";
import { AF_INET } from "../../lib/address/sockaddr.ts";
import { NativeEngine } from "../../lib/engine/native/native-engine.ts";
import { isClosedError, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { Pending } from "../../lib/poll/poll.ts";
import { loadNativeThread, type NativeThread } from "../../lib/readiness/thread-reactor.ts";
import { loadedNative, openPair } from "../ffi/tools.ts";
import { withMembers } from "../tools/members.ts";
import { nextTick, numbered, numberOf, targets, thrown } from "../tools/sockets.ts";

const ECONNREFUSED = 111;

const native = loadedNative();
const engines: NativeEngine[] = [];
afterEach(() => {
  for (const engine of engines.splice(0)) engine.close();
});

async function thread(): Promise<NativeThread> {
  const loaded = await loadNativeThread();
  if ("reason" in loaded) throw new Error(loaded.reason);
  return loaded;
}

async function openEngine(fd: number, functions = native): Promise<NativeEngine> {
  const { reactor } = await thread();
  const engine = new NativeEngine({ native: functions, reactor, fd });
  engines.push(engine);
  return engine;
}

/** Opens a UDP descriptor that is bound to a port of 127.0.0.1. */
function openBound(): number {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  expect(native.bind(fd, SocketAddress.ip("127.0.0.1", 0)._encoded)).toBe(0);
  return fd;
}

describe.each(["close", "release"] as const)("%s", (end) => {
  test("wakes the waiting receive, whose next poll throws ERR_SOCKET_CLOSED", async () => {
    const engine = await openEngine(openBound());
    let wakes = 0;
    expect(engine.receive(() => wakes++, targets(1), 0, 1, undefined)).toBe(Pending);
    const fd = engine[end]();
    expect(wakes).toBe(1);
    if (typeof fd === "number") native.close(fd);
    const error = thrown(() => engine.receive(null, targets(1), 0, 1, undefined));
    expect(isClosedError(error)).toBe(true);
  });

  test("wakes the waiting send, whose next poll throws ERR_SOCKET_CLOSED", async () => {
    using pair = openPair(native, SOCK_DGRAM);
    const engine = await openEngine(native.duplicate(pair.left));
    let wakes = 0;
    const send = () => engine.send(() => wakes++, numbered(1), 0, 1, undefined);
    while (send() !== Pending);
    const fd = engine[end]();
    expect(wakes).toBe(1);
    if (typeof fd === "number") native.close(fd);
    expect(isClosedError(thrown(send))).toBe(true);
  });
});

test("an error of the second system call of a receive is thrown by the next one, once", async () => {
  const fd = openBound();
  let calls = 0;
  /** As the real vector, except that the second receive fails. */
  const failing = withMembers(native, {
    receiveVector: (...capacities) => {
      const vector = native.receiveVector(...capacities);
      const receive: typeof vector.receive = (...args) =>
        ++calls === 2 ? -ECONNREFUSED : vector.receive(...args);
      return withMembers(vector, { receive });
    },
  });
  const engine = await openEngine(fd, failing);
  await using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  await sender.sendMany(numbered(6), { to: engine.localAddr });
  const received = targets(8);
  const receive = () => engine.receive(null, received, 0, 8, undefined);
  // The first call has as many buffers as a receive usually needs, the second one the others.
  const first = receive() as number;
  expect(calls).toBe(2);
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(6);
  expect(received.slice(0, first).map(numberOf)).toEqual([0, 1, 2, 3].slice(0, first));
  expect(thrown(receive)).toMatchObject({ code: "ECONNREFUSED", syscall: "recvmmsg" });
  expect(engine.counters.receiveErrors).toBe(1);
  expect(receive()).toBe(6 - first);
  expect(numberOf(received[5 - first] as Uint8Array)).toBe(5);
});

test("a receive that filled all of its buffers is followed by one that makes a system call", async () => {
  const engine = await openEngine(openBound());
  await using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  const waker = () => {};
  const bufs = targets(3);
  const receive = () => engine.receive(waker, bufs, 0, 3, undefined);
  // So few that no receive is deferred to the next tick.
  await sender.sendMany(numbered(6), { to: engine.localAddr });
  expect(receive()).toBe(3);
  expect(receive()).toBe(3);
  expect(bufs.map(numberOf)).toEqual([3, 4, 5]);
  await nextTick();
  // A receive that left a buffer empty is followed by a wait, without a system call.
  await sender.sendMany(numbered(2), { to: engine.localAddr });
  expect(receive()).toBe(2);
  const { receiveCalls } = engine.counters;
  expect(receive()).toBe(Pending);
  expect(engine.counters.receiveCalls).toBe(receiveCalls);
});
