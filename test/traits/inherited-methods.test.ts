/**
 * The methods that every socket type inherits, tested on subclasses that implement only the
 * abstract ones. Includes a test for each defect of these methods in the Rust crate
 * `datagram-socket`.
 */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  DatagramSocketRecv,
  DatagramSocketSend,
  type Payload,
  Pending,
  type Poll,
  type RecvMeta,
  SocketAddress,
  type SocketError,
  type Target,
  type Waker,
  WouldBlock,
} from "../../lib/index.ts";
import { nextTick } from "../tools/sockets.ts";
import { ConnectedScriptedSocket, datagrams, ScriptedSocket } from "./scripted-socket.ts";

const ONE = Uint8Array.of(1);
const EMPTY = new Uint8Array(0);

/** A send half that implements only `pollSend`. */
class Sink extends DatagramSocketSend {
  override pollSend(_waker: Waker | null, buf: Payload): Poll<number> {
    return buf.length;
  }
}

/** A receive half that implements only `pollRecvFrom`, with datagrams of one byte: 1, 2, ... */
class Source extends DatagramSocketRecv {
  #next = 0;

  override pollRecvFrom(_waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    (buf as Uint8Array)[0] = ++this.#next;
    meta.length = meta.datagramLength = 1;
    return 1;
  }
}

describe("a subclass that implements only the abstract method", () => {
  test("inherits every kind of send", async () => {
    const sink = new Sink();
    const bufs = datagrams(1, 3);
    expect(await sink.send(ONE)).toBe(1);
    expect(await sink.sendMany(bufs)).toBe(3);
    expect([sink.trySend(ONE), sink.trySendMany(bufs), sink.pollSendMany(null, bufs)]).toEqual([
      1, 3, 3,
    ]);
    expect([sink.peerAddr, sink.asUdpSocket()]).toEqual([undefined, undefined]);
  });

  test("inherits every kind of receive", async () => {
    const source = new Source();
    const buf = new Uint8Array(1);
    const bufs = [buf, buf, buf];
    expect(await source.recv(buf)).toBe(1);
    expect(await source.recvFrom(buf)).toMatchObject({ length: 1, peer: undefined });
    expect(await source.recvMany(bufs)).toBe(3);
    expect([source.tryRecv(buf), source.tryRecvMany(bufs)]).toEqual([1, 3]);
    expect([source.pollRecv(null, buf), source.pollRecvMany(null, bufs)]).toEqual([1, 3]);
    expect(buf[0]).toBe(13);
    expect(source.asUdpSocket()).toBeUndefined();
  });
});

describe("a try call on a new socket", () => {
  test("sends or receives without an earlier poll", () => {
    for (const make of [() => new ScriptedSocket(), () => DatagramPair.create()[0]]) {
      expect(make().trySend(ONE)).toBe(1);
      expect(make().trySendMany([ONE, ONE])).toBe(2);
      expect(make().tryRecv(new Uint8Array(1))).toBe(WouldBlock);
    }
    const socket = new ScriptedSocket();
    socket.arrived.push(ONE);
    expect(socket.tryRecv(new Uint8Array(1))).toBe(1);
  });
});

describe("a try call", () => {
  test("keeps the waker of an earlier poll", () => {
    const socket = new ScriptedSocket();
    let wakes = 0;
    const waker = () => {
      wakes++;
    };
    socket.sendPlan.push("full");
    expect(socket.pollSend(waker, ONE)).toBe(Pending);
    expect(socket.pollRecv(waker, new Uint8Array(1))).toBe(Pending);
    expect([socket.trySend(ONE), socket.trySendMany([ONE])]).toEqual([WouldBlock, WouldBlock]);
    expect(socket.pollSendMany(null, [ONE])).toBe(Pending);
    expect(socket.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
    expect(socket.tryRecvMany([new Uint8Array(1)])).toBe(WouldBlock);
    expect(socket.pollRecv(null, new Uint8Array(1))).toBe(Pending);
    expect([socket.sendWaker, socket.recvWaker]).toEqual([waker, waker]);
    socket.makeRoom();
    socket.arrive(ONE);
    expect(wakes).toBe(2);
  });

  test("does not prevent the wake of a waiting sendMany", async () => {
    const socket = new ScriptedSocket();
    socket.sendPlan.push("sent", "full");
    const sent = socket.sendMany(datagrams(1, 3));
    expect(socket.trySend(ONE)).toBe(WouldBlock);
    expect(socket.trySendMany([ONE])).toBe(WouldBlock);
    socket.makeRoom();
    expect(await sent).toBe(3);
    expect(socket.sent).toEqual([1, 2, 3]);
  });

  test("returns WouldBlock while a caller waits, even if there is room", async () => {
    const socket = new ScriptedSocket();
    socket.sendPlan.push("full");
    const sent = socket.send(Uint8Array.of(1));
    // There is room now, but the waiting caller has not been woken.
    socket.sendPlan.length = 0;
    expect(socket.trySend(Uint8Array.of(2))).toBe(WouldBlock);
    expect(socket.trySendTo(Uint8Array.of(2), SocketAddress.abstract("x"))).toBe(WouldBlock);
    expect(socket.trySendMany([Uint8Array.of(2)])).toBe(WouldBlock);
    socket.makeRoom();
    expect(await sent).toBe(1);
    expect(socket.sent).toEqual([1]);
  });

  test("does not prevent the wake of a waiting recv, nor take its datagram", async () => {
    const socket = new ScriptedSocket();
    const received = socket.recv(new Uint8Array(1));
    socket.arrived.push(ONE);
    expect(socket.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
    expect(socket.tryRecvMany([new Uint8Array(1)])).toBe(WouldBlock);
    socket.arrive();
    expect(await received).toBe(1);
  });

  test("succeeds again as soon as no caller waits", async () => {
    const socket = new ScriptedSocket();
    socket.sendPlan.push("full");
    const sent = socket.send(ONE);
    const received = socket.recv(new Uint8Array(1));
    socket.makeRoom();
    socket.arrive(ONE, ONE);
    expect([socket.trySend(ONE), socket.tryRecv(new Uint8Array(1))]).toEqual([1, 1]);
    await Promise.all([sent, received]);
  });
});

describe("an empty datagram", () => {
  test("is sent and received as a datagram, and is not mistaken for WouldBlock", async () => {
    const socket = new ScriptedSocket();
    expect([socket.trySend(EMPTY), await socket.send(EMPTY)]).toEqual([0, 0]);
    expect([socket.trySendMany([EMPTY, EMPTY]), await socket.sendMany([EMPTY])]).toEqual([2, 1]);
    expect(socket.sent.length).toBe(5);
    for (let i = 0; i < 5; i++) socket.arrived.push(EMPTY);
    const buf = new Uint8Array(4);
    expect([socket.tryRecv(buf), await socket.recv(buf)]).toEqual([0, 0]);
    expect(await socket.recvFrom(buf)).toMatchObject({ length: 0, datagramLength: 0 });
    expect(await socket.recvMany([buf, buf, buf])).toBe(2);
    expect(socket.tryRecv(buf)).toBe(WouldBlock);
  });

  test("wakes a waiting receive", async () => {
    const socket = new ScriptedSocket();
    const received = socket.recv(new Uint8Array(4));
    socket.arrive(EMPTY);
    expect(await received).toBe(0);
  });
});

describe("an empty batch", () => {
  test("returns 0 at once without a poll, even on a full or idle socket", async () => {
    const socket = new ScriptedSocket();
    socket.sendPlan.push("full");
    expect([socket.trySendMany([]), await socket.sendMany([])]).toEqual([0, 0]);
    expect(await socket.sendMany([ONE], { count: 0 })).toBe(0);
    expect(await socket.sendMany([ONE], { start: 1 })).toBe(0);
    expect([socket.tryRecvMany([]), await socket.recvMany([])]).toEqual([0, 0]);
    expect(await socket.recvMany([new Uint8Array(1)], { count: 0 })).toBe(0);
    expect([socket.pollSendMany(null, []), socket.pollRecvMany(null, [])]).toEqual([0, 0]);
    expect([socket.sendPolls, socket.recvPolls]).toEqual([0, 0]);
  });
});

describe("a partial batch", () => {
  test("returns its count rather than Pending", () => {
    const socket = new ScriptedSocket();
    socket.sendPlan.push("sent", "sent", "full");
    expect(socket.pollSendMany(() => {}, datagrams(1, 5))).toBe(2);
    expect(socket.trySendMany(datagrams(3, 3))).toBe(WouldBlock);
    socket.makeRoom();
    expect(socket.trySendMany(datagrams(3, 3))).toBe(3);
    expect(socket.sent).toEqual([1, 2, 3, 4, 5]);
    socket.arrived.push(...datagrams(1, 2));
    const bufs = Array.from({ length: 20 }, () => new Uint8Array(1));
    expect(socket.pollRecvMany(() => {}, bufs)).toBe(2);
    // The waker is stored only if the poll returns Pending.
    expect(socket.recvWaker).toBeNull();
    expect(socket.pollRecvMany(() => {}, bufs)).toBe(Pending);
    expect(socket.recvWaker).not.toBeNull();
  });

  test("resolves recvMany, which does not wait to fill its remaining buffers", async () => {
    const socket = new ScriptedSocket();
    const bufs = Array.from({ length: 20 }, () => new Uint8Array(1));
    const received = socket.recvMany(bufs);
    socket.arrive(...datagrams(1, 2));
    expect(await received).toBe(2);
    await nextTick();
    expect(bufs.slice(0, 3).map((buf) => buf[0])).toEqual([1, 2, 0]);
  });
});

const PEER = SocketAddress.ip("192.0.2.1", 53);

describe("a datagram that is refused after others of its batch were sent", () => {
  const sentOf = (error: SocketError) => error.sent;
  const firstCalls: Record<string, (socket: ScriptedSocket) => unknown> = {
    pollSendMany: (socket) => socket.pollSendMany(null, datagrams(1, 3)),
    trySendMany: (socket) => socket.trySendMany(datagrams(1, 3)),
    // Rejects: `error.sent` is the count.
    sendMany: (socket) => socket.sendMany(datagrams(1, 3)).catch(sentOf),
  };
  const nextCalls: Record<string, (socket: ScriptedSocket) => unknown> = {
    send: (socket) => socket.send(Uint8Array.of(9)),
    sendTo: (socket) => socket.sendTo(Uint8Array.of(9), PEER),
    sendMany: (socket) => socket.sendMany([Uint8Array.of(9)]),
    trySend: (socket) => socket.trySend(Uint8Array.of(9)),
    trySendTo: (socket) => socket.trySendTo(Uint8Array.of(9), PEER),
    trySendMany: (socket) => socket.trySendMany([Uint8Array.of(9)]),
    pollSendMany: (socket) => socket.pollSendMany(null, [Uint8Array.of(9)]),
  };
  const pairs = Object.keys(firstCalls).flatMap((first) =>
    Object.keys(nextCalls).map((next) => [first, next] as const),
  );

  test.each(pairs)(
    "%s reports the count, and %s of another caller succeeds",
    async (first, next) => {
      const socket = new ConnectedScriptedSocket(PEER);
      socket.refuses = 2;
      expect(await firstCalls[first]?.(socket)).toBe(1);
      expect(socket.sent).toEqual([1]);
      expect(await nextCalls[next]?.(socket)).toBe(1);
      expect(socket.sent).toEqual([1, 9]);
      // A caller that sends the remaining datagrams gets the error.
      expect(() => socket.trySendMany(datagrams(2, 2))).toThrow("EPERM");
    },
  );
});

describe("an error after a partial batch of receives", () => {
  const buf = new Uint8Array(1);
  const nextCalls: Record<string, (socket: ScriptedSocket) => unknown> = {
    recv: (socket) => socket.recv(buf),
    recvFrom: (socket) => socket.recvFrom(buf),
    recvMany: (socket) => socket.recvMany([buf]),
    tryRecv: (socket) => socket.tryRecv(buf),
    tryRecvMany: (socket) => socket.tryRecvMany([buf]),
    pollRecvMany: (socket) => socket.pollRecvMany(null, [buf]),
    batches: (socket) => socket.batches().next(),
  };
  const firstCalls: Record<string, (socket: ScriptedSocket) => unknown> = {
    pollRecvMany: (socket) => socket.pollRecvMany(null, [buf, buf, buf]),
    tryRecvMany: (socket) => socket.tryRecvMany([buf, buf, buf]),
    recvMany: (socket) => socket.recvMany([buf, buf, buf]),
  };
  const pairs = Object.keys(firstCalls).flatMap((first) =>
    Object.keys(nextCalls).map((next) => [first, next] as const),
  );

  test.each(pairs)("%s returns the count, then %s throws the error once", async (first, next) => {
    const socket = new ScriptedSocket();
    socket.arrived.push(Uint8Array.of(1), new Error("refused"), Uint8Array.of(3));
    expect(await firstCalls[first]?.(socket)).toBe(1);
    const call = async () => nextCalls[next]?.(socket);
    await expect(call()).rejects.toThrow("refused");
    expect(await socket.recv(buf)).toBe(1);
    expect(buf[0]).toBe(3);
  });
});

test("an error of the first datagram of a batch is thrown by that call, once", async () => {
  const socket = new ScriptedSocket();
  socket.sendPlan.push(new Error("refused"), new Error("refused too"));
  await expect(socket.sendMany(datagrams(1, 2))).rejects.toThrow("refused");
  expect(() => socket.trySendMany(datagrams(1, 2))).toThrow("refused too");
  expect(await socket.sendMany(datagrams(1, 2))).toBe(2);
  socket.arrived.push(new Error("unreachable"), ONE);
  const bufs = [new Uint8Array(1), new Uint8Array(1)];
  expect(() => socket.tryRecvMany(bufs)).toThrow("unreachable");
  expect(await socket.recvMany(bufs)).toBe(1);
});
