/** Forwarding wrappers: all calls reach the inner socket, whose queue also holds their callers. */

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
import { nextTick } from "../tools/sockets.ts";
import {
  ConnectedScriptedSocket,
  datagrams,
  listenerCount,
  RecvWrapper,
  ScriptedSocket,
  SendWrapper,
  Settled,
} from "./scripted-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const ONE = Uint8Array.of(1);

/** Returns the names of the public methods and getters of a class. */
function publicNames(type: { prototype: object }): string[] {
  return Object.getOwnPropertyNames(type.prototype).filter(
    (name) => name !== "constructor" && !name.startsWith("_"),
  );
}

describe("AsDatagramSocketSend", () => {
  test("forwards every method of DatagramSocketSend", () => {
    const forwarded = new Set(publicNames(AsDatagramSocketSend));
    expect(publicNames(DatagramSocketSend).filter((name) => !forwarded.has(name))).toEqual([]);
  });

  test("forwards every kind of send to the inner socket", async () => {
    const socket = new ConnectedScriptedSocket(PEER);
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

  test("returns the peer address and the UDP socket of the inner socket", async () => {
    const socket = new ConnectedScriptedSocket(PEER);
    const wrapper = new SendWrapper(socket);
    expect([wrapper.peerAddr, wrapper.asUdpSocket()]).toEqual([PEER, undefined]);
    socket.peer = undefined;
    expect(wrapper.peerAddr).toBeUndefined();
    using udp = await UdpSocket.bind({ hostname: "127.0.0.1" });
    expect(new SendWrapper(new SendWrapper(udp)).asUdpSocket()).toBe(udp);
  });

  test("passes its waker to the inner socket, which keeps it during polls without a waker", () => {
    const socket = new ScriptedSocket();
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

  test("serves callers of the inner socket and two wrappers in call order", async () => {
    const socket = new ScriptedSocket();
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
    await nextTick();
    expect(settled.order).toEqual(["left 1", "inner 2", "right 2", "left again 1"]);
    expect(socket.sent).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("try calls return WouldBlock while a caller of the inner socket waits", async () => {
    const socket = new ConnectedScriptedSocket(PEER);
    const wrapper = new SendWrapper(socket);
    socket.sendPlan.push("full");
    const sent = socket.send(ONE);
    // There is room now, but the waiting caller has not been woken.
    socket.sendPlan.length = 0;
    expect(wrapper.trySend(ONE)).toBe(WouldBlock);
    expect(wrapper.trySendTo(ONE, PEER)).toBe(WouldBlock);
    expect(wrapper.trySendMany([ONE])).toBe(WouldBlock);
    socket.makeRoom();
    expect(await sent).toBe(1);
  });

  test("a refused datagram fails neither the wrapper's nor the socket's next send", async () => {
    const socket = new ScriptedSocket();
    const wrapper = new SendWrapper(socket);
    socket.refuses = 2;
    expect(wrapper.trySendMany(datagrams(1, 3))).toBe(1);
    expect(await socket.send(ONE)).toBe(1);
    const refused = { code: "EPERM", sent: 1 };
    await expect(wrapper.sendMany(datagrams(1, 3))).rejects.toMatchObject(refused);
    expect([wrapper.trySend(ONE), socket.trySend(ONE)]).toEqual([1, 1]);
  });

  test("an abort removes a caller of the wrapper from the queue of the inner socket", async () => {
    const socket = new ScriptedSocket();
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
  test("forwards every method of DatagramSocketRecv except batches, which calls the others", () => {
    const forwarded = new Set(publicNames(AsDatagramSocketRecv));
    expect(publicNames(DatagramSocketRecv).filter((name) => !forwarded.has(name))).toEqual([
      "batches",
    ]);
  });

  test("forwards every kind of receive to the inner socket", async () => {
    const socket = new ScriptedSocket();
    const wrapper = new RecvWrapper(socket);
    socket.arrived.push(...datagrams(1, 12));
    const bufs = [new Uint8Array(1), new Uint8Array(1)];
    const [first, second] = bufs as [Uint8Array, Uint8Array];
    const meta = new RecvMeta();
    const results: unknown[] = [];
    const record = (result: unknown) => results.push([result, first[0], second[0]]);
    record(wrapper.pollRecv(null, first));
    record(wrapper.pollRecvFrom(null, first, meta));
    record(wrapper.pollRecvMany(null, bufs, { start: 1 }));
    record(await wrapper.recv(first));
    record((await wrapper.recvFrom(first)).length);
    record(await wrapper.recvMany(bufs, { start: 1, meta: [meta, meta] }));
    record(wrapper.tryRecv(first));
    record(wrapper.tryRecvMany(bufs, { count: 1 }));
    const one = new RecvBatch({ messages: 1 });
    record([wrapper.pollRecvBatch(null, one), one.payload(0)[0]]);
    record([await wrapper.recvBatch(one), one.payload(0)[0]]);
    record([wrapper.tryRecvBatch(one), one.payload(0)[0]]);
    for await (const batch of wrapper.batches()) {
      record(batch.buffers[0]?.asSlice()[0]);
      break;
    }
    expect(results).toEqual([
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

  test("asks asSharedDatagramSocketRecv for the UDP socket of the inner socket", async () => {
    using udp = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const wrapper = new RecvWrapper(udp);
    expect(wrapper.asUdpSocket()).toBe(udp);
    expect(wrapper.asSharedDatagramSocketRecv()).toBe(wrapper.asDatagramSocketRecv());
    expect(new RecvWrapper(new ScriptedSocket()).asUdpSocket()).toBeUndefined();
  });

  test("serves receivers and iterators of both sockets in call order", async () => {
    const socket = new ScriptedSocket();
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

  test("try calls take no datagram while a caller of the inner socket waits", async () => {
    const socket = new ScriptedSocket();
    const wrapper = new RecvWrapper(socket);
    const received = socket.recv(new Uint8Array(1));
    socket.arrived.push(ONE);
    expect(wrapper.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
    expect(wrapper.tryRecvMany([new Uint8Array(1)])).toBe(WouldBlock);
    socket.arrive();
    expect(await received).toBe(1);
  });

  test("keeps the waker during polls without one, and throws a deferred error once", async () => {
    const socket = new ScriptedSocket();
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
