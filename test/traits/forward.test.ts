/** Wrappers: everything reaches the inner socket, and both are one line to wait in. */

import { describe, expect, test } from "bun:test";
import {
  AsDatagramSocketRecv,
  AsDatagramSocketSend,
  DatagramSocketRecv,
  DatagramSocketSend,
  Pending,
  RecvBatch,
  RecvMeta,
  SendBatch,
  SocketAddress,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { nextTurn } from "../tools/sockets.ts";
import {
  BaseSocket,
  ConnectedBaseSocket,
  datagrams,
  listenerCount,
  RecvWrapper,
  SendWrapper,
  Settled,
} from "./base-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const ONE = Uint8Array.of(1);

/** What a class has for its users: methods and getters, without those that are internal. */
function surfaceOf(type: { prototype: object }): string[] {
  return Object.getOwnPropertyNames(type.prototype).filter(
    (name) => name !== "constructor" && !name.startsWith("_"),
  );
}

describe("AsDatagramSocketSend", () => {
  test("forwards every method of DatagramSocketSend", () => {
    const forwarded = new Set(surfaceOf(AsDatagramSocketSend));
    expect(surfaceOf(DatagramSocketSend).filter((name) => !forwarded.has(name))).toEqual([]);
  });

  test("sends in every way by the inner socket", async () => {
    const socket = new ConnectedBaseSocket(PEER);
    const wrapper = new SendWrapper(socket);
    const [one, two, three] = datagrams(1, 3) as [Uint8Array, Uint8Array, Uint8Array];
    expect(wrapper.pollSend(null, one)).toBe(1);
    expect(wrapper.pollSendTo(null, two, PEER)).toBe(1);
    expect(wrapper.pollSendMany(null, [one, two, three], { start: 2 })).toBe(1);
    expect(await wrapper.send(one)).toBe(1);
    expect(await wrapper.sendTo(two, PEER)).toBe(1);
    expect(await wrapper.sendMany([one, two, three], { start: 2, to: PEER })).toBe(1);
    expect(wrapper.trySend(one)).toBe(1);
    expect(wrapper.trySendTo(two, PEER)).toBe(1);
    expect(wrapper.trySendMany([one, two, three], { start: 2, count: 1 })).toBe(1);
    const batch = new SendBatch();
    expect(wrapper.pollSendBatch(null, batch.push(one))).toBe(1);
    expect(await wrapper.sendBatch(batch.push(two, PEER))).toBe(1);
    expect(wrapper.trySendBatch(batch.push(three))).toBe(1);
    expect(socket.sent).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
  });

  test("answers what the inner socket is: its peer, and the UDP socket below", async () => {
    const socket = new ConnectedBaseSocket(PEER);
    const wrapper = new SendWrapper(socket);
    expect([wrapper.peerAddr, wrapper.asUdpSocket()]).toEqual([PEER, undefined]);
    socket.peer = undefined;
    expect(wrapper.peerAddr).toBeUndefined();
    using udp = await UdpSocket.bind({ hostname: "127.0.0.1" });
    expect(new SendWrapper(new SendWrapper(udp)).asUdpSocket()).toBe(udp);
  });

  test("hands the waker on, and leaves it in place when there is none", () => {
    const socket = new BaseSocket();
    socket.sendPlan.push("full");
    const wrapper = new SendWrapper(socket);
    const waker = () => {};
    expect(wrapper.pollSend(waker, ONE)).toBe(Pending);
    expect([wrapper.trySend(ONE), wrapper.pollSendMany(null, [ONE])]).toEqual([
      WouldBlock,
      Pending,
    ]);
    expect(socket.sendWaker).toBe(waker);
  });

  test("serves callers on both, and on two wrappers, in the order in which they came", async () => {
    const socket = new BaseSocket();
    const settled = new Settled();
    const [left, right] = [new SendWrapper(socket), new SendWrapper(new SendWrapper(socket))];
    socket.sendPlan.push("full", "sent", "full");
    settled.watch("left", left.send(Uint8Array.of(1)));
    settled.watch("inner", socket.sendMany(datagrams(2, 2)));
    settled.watch("right", right.sendMany(datagrams(4, 2)));
    settled.watch("left again", left.send(Uint8Array.of(6)));
    expect([left.trySend(ONE), right.trySendMany([ONE])]).toEqual([WouldBlock, WouldBlock]);
    socket.makeRoom();
    socket.makeRoom();
    await nextTurn();
    expect(settled.order).toEqual(["left 1", "inner 2", "right 2", "left again 1"]);
    expect(socket.sent).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("does not overtake who waits at the inner socket by a try", async () => {
    const socket = new ConnectedBaseSocket(PEER);
    const wrapper = new SendWrapper(socket);
    socket.sendPlan.push("full");
    const sent = socket.send(ONE);
    // There is room, and whoever waits is not told yet.
    socket.sendPlan.length = 0;
    expect(wrapper.trySend(ONE)).toBe(WouldBlock);
    expect(wrapper.trySendTo(ONE, PEER)).toBe(WouldBlock);
    expect(wrapper.trySendMany([ONE])).toBe(WouldBlock);
    socket.makeRoom();
    expect(await sent).toBe(1);
  });

  test("throws the inner socket's kept error, once for both", async () => {
    const socket = new BaseSocket();
    const wrapper = new SendWrapper(socket);
    socket.sendPlan.push("sent", new Error("refused"), "sent", new Error("refused too"));
    expect(wrapper.trySendMany(datagrams(1, 3))).toBe(1);
    await expect(socket.send(ONE)).rejects.toThrow("refused");
    expect(await socket.sendMany(datagrams(1, 3))).toBe(1);
    expect(() => wrapper.trySend(ONE)).toThrow("refused too");
    expect([wrapper.trySend(ONE), socket.trySend(ONE)]).toEqual([1, 1]);
  });

  test("aborts in the inner socket's line", async () => {
    const socket = new BaseSocket();
    socket.sendPlan.push("full");
    const { signal, ...controller } = abortable();
    const sent = new SendWrapper(socket).send(ONE, { signal });
    expect(listenerCount(signal)).toBe(1);
    controller.abort(new Error("gone"));
    await expect(sent).rejects.toThrow("gone");
    expect(listenerCount(signal)).toBe(0);
  });
});

describe("AsDatagramSocketRecv", () => {
  test("forwards every method of DatagramSocketRecv but batches, which is made of them", () => {
    const forwarded = new Set(surfaceOf(AsDatagramSocketRecv));
    expect(surfaceOf(DatagramSocketRecv).filter((name) => !forwarded.has(name))).toEqual([
      "batches",
    ]);
  });

  test("receives in every way by the inner socket", async () => {
    const socket = new BaseSocket();
    const wrapper = new RecvWrapper(socket);
    socket.arrived.push(...datagrams(1, 12));
    const bufs = [new Uint8Array(1), new Uint8Array(1)];
    const [first, second] = bufs as [Uint8Array, Uint8Array];
    const meta = new RecvMeta();
    const seen: unknown[] = [];
    const see = (result: unknown) => seen.push([result, first[0], second[0]]);
    see(wrapper.pollRecv(null, first));
    see(wrapper.pollRecvFrom(null, first, meta));
    see(wrapper.pollRecvMany(null, bufs, { start: 1 }));
    see(await wrapper.recv(first));
    see((await wrapper.recvFrom(first)).length);
    see(await wrapper.recvMany(bufs, { start: 1, meta: [meta, meta] }));
    see(wrapper.tryRecv(first));
    see(wrapper.tryRecvMany(bufs, { count: 1 }));
    const one = new RecvBatch({ messages: 1 });
    see([wrapper.pollRecvBatch(null, one), one.payload(0)[0]]);
    see([await wrapper.recvBatch(one), one.payload(0)[0]]);
    see([wrapper.tryRecvBatch(one), one.payload(0)[0]]);
    for await (const batch of wrapper) {
      see(batch.buffers[0]?.asSlice()[0]);
      break;
    }
    expect(seen).toEqual([
      [1, 1, 0],
      [1, 2, 0],
      [1, 2, 3],
      [1, 4, 3],
      [1, 5, 3],
      [1, 5, 6],
      [1, 7, 6],
      [1, 8, 6],
      [[1, 9], 8, 6],
      [[1, 10], 8, 6],
      [[1, 11], 8, 6],
      [12, 8, 6],
    ]);
  });

  test("answers the UDP socket below, by the inner socket's shared view", async () => {
    using udp = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const wrapper = new RecvWrapper(udp);
    expect(wrapper.asUdpSocket()).toBe(udp);
    expect(wrapper.asSharedDatagramSocketRecv()).toBe(wrapper.asDatagramSocketRecv());
    expect(new RecvWrapper(new BaseSocket()).asUdpSocket()).toBeUndefined();
  });

  test("serves callers on both, iterators too, in the order in which they came", async () => {
    const socket = new BaseSocket();
    const settled = new Settled();
    const wrapper = new RecvWrapper(socket);
    const bufs = Array.from({ length: 4 }, () => new Uint8Array(1));
    const [first, second, third, fourth] = bufs as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    settled.watch("wrapper", wrapper.recv(first));
    settled.watch("inner", socket.recv(second));
    const batch = wrapper.batches({ count: 1 }).next();
    settled.watch("inner again", socket.recv(third));
    settled.watch("wrapper again", wrapper.recvMany([fourth]));
    expect([wrapper.tryRecv(first), wrapper.tryRecvMany([first])]).toEqual([
      WouldBlock,
      WouldBlock,
    ]);
    socket.arrive(...datagrams(1, 5));
    expect((await batch).value?.buffers[0]?.asSlice()[0]).toBe(3);
    expect(settled.order).toEqual(["wrapper 1", "inner 1", "inner again 1", "wrapper again 1"]);
    expect(bufs.map((buf) => buf[0])).toEqual([1, 2, 4, 5]);
  });

  test("takes nothing from who waits at the inner socket by a try", async () => {
    const socket = new BaseSocket();
    const wrapper = new RecvWrapper(socket);
    const received = socket.recv(new Uint8Array(1));
    socket.arrived.push(ONE);
    expect(wrapper.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
    expect(wrapper.tryRecvMany([new Uint8Array(1)])).toBe(WouldBlock);
    socket.arrive();
    expect(await received).toBe(1);
  });

  test("leaves the waker in place when there is none, and throws a kept error once", async () => {
    const socket = new BaseSocket();
    const wrapper = new RecvWrapper(socket);
    const waker = () => {};
    expect(wrapper.pollRecv(waker, new Uint8Array(1))).toBe(Pending);
    expect(wrapper.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
    expect(socket.recvWaker).toBe(waker);
    socket.arrive(ONE, new Error("refused"), ONE);
    expect(wrapper.tryRecvMany([new Uint8Array(1), new Uint8Array(1)])).toBe(1);
    await expect(socket.recv(new Uint8Array(1))).rejects.toThrow("refused");
    expect(await wrapper.recv(new Uint8Array(1))).toBe(1);
  });
});

function abortable(): { signal: AbortSignal; abort: (reason: Error) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}
