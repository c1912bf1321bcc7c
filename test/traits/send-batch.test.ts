/**
 * `sendBatch` and its kin on sockets that are not the system's: on a type with the base methods
 * alone, on wrappers of one, and on an in-process pair.
 */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  type DatagramSocketSend,
  DgramBuffer,
  isClosedError,
  MaybeConnectedSocket,
  type Payload,
  Pending,
  type Poll,
  RecvBatch,
  SendBatch,
  SocketAddress,
  type Waker,
  WouldBlock,
} from "../../lib/index.ts";
import { counting } from "../tools/buffer-samples.ts";
import {
  BaseSocket,
  ConnectedBaseSocket,
  datagrams,
  listenerCount,
  SendWrapper,
} from "./base-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const OTHER = SocketAddress.ip("192.0.2.2", 53);

/** Who sends the batch: the socket that the test plans for, or what wraps it. */
const SENDERS: readonly [string, (socket: BaseSocket) => DatagramSocketSend][] = [
  ["a type with the base methods alone", (socket) => socket],
  ["AsDatagramSocketSend", (socket) => new SendWrapper(socket)],
  ["MaybeConnectedSocket", (socket) => new MaybeConnectedSocket(socket)],
];

/** The three ways to send a batch. */
const WAYS: Record<string, (sender: DatagramSocketSend, batch: SendBatch) => unknown> = {
  pollSendBatch: (sender, batch) => sender.pollSendBatch(null, batch),
  trySendBatch: (sender, batch) => sender.trySendBatch(batch),
  sendBatch: (sender, batch) => sender.sendBatch(batch),
};

/** A batch of `count` datagrams of one byte each: `from`, `from + 1`, ... */
function batchOf(from: number, count: number): SendBatch {
  const batch = new SendBatch();
  for (const datagram of datagrams(from, count)) batch.push(datagram);
  return batch;
}

describe.each(SENDERS)("a batch sent by %s", (_, wrap) => {
  test.each(Object.keys(WAYS))("goes in order and is empty then: %s", async (way) => {
    const socket = new BaseSocket();
    const batch = batchOf(1, 3);
    expect(await WAYS[way]?.(wrap(socket), batch)).toBe(3);
    expect([socket.sent, batch.length, batch.isFull]).toEqual([[1, 2, 3], 0, false]);
  });

  test.each(Object.keys(WAYS))("without datagrams is 0, on a full socket too: %s", async (way) => {
    const socket = new BaseSocket();
    socket.sendPlan.push("full");
    expect(await WAYS[way]?.(wrap(socket), new SendBatch())).toBe(0);
    expect(socket.sendPolls).toBe(0);
  });

  test("that went in part answers how many rather than Pending, and keeps the rest", () => {
    const socket = new BaseSocket();
    const sender = wrap(socket);
    const batch = batchOf(1, 5);
    socket.sendPlan.push("sent", "sent", "full");
    expect(sender.pollSendBatch(() => {}, batch)).toBe(2);
    // The waker is for a poll that answers Pending.
    expect([batch.length, socket.sendWaker]).toEqual([3, null]);
    expect(sender.trySendBatch(batch)).toBe(WouldBlock);
    const waker = () => {};
    expect(sender.pollSendBatch(waker, batch)).toBe(Pending);
    expect(sender.trySendBatch(batch)).toBe(WouldBlock);
    expect([batch.length, socket.sendWaker]).toEqual([3, waker]);
    socket.makeRoom();
    expect(sender.trySendBatch(batch)).toBe(3);
    expect(socket.sent).toEqual([1, 2, 3, 4, 5]);
  });

  test("waits for room until all of it went, in line with other sends", async () => {
    const socket = new BaseSocket();
    const sender = wrap(socket);
    socket.sendPlan.push("sent", "full", "sent", "full");
    const sends = [
      sender.sendBatch(batchOf(1, 3)),
      socket.send(Uint8Array.of(4)),
      sender.sendBatch(batchOf(5, 2)),
    ];
    expect(sender.trySendBatch(batchOf(7, 1))).toBe(WouldBlock);
    socket.makeRoom();
    socket.makeRoom();
    expect(await Promise.all(sends)).toEqual([3, 1, 2]);
    expect(socket.sent).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("is given up when the signal aborts, with what went before told", async () => {
    const socket = new BaseSocket();
    const controller = new AbortController();
    const { signal } = controller;
    socket.sendPlan.push("sent", "full");
    const [first, second] = [batchOf(1, 3), batchOf(4, 2)];
    const sent = wrap(socket).sendBatch(first, { signal });
    const waiting = wrap(socket).sendBatch(second, { signal });
    controller.abort(new Error("gone"));
    expect(await sent).toBe(1);
    await expect(waiting).rejects.toThrow("gone");
    await expect(wrap(socket).sendBatch(second, { signal })).rejects.toThrow("gone");
    expect([first.length, second.length, listenerCount(signal)]).toEqual([2, 2, 0]);
    expect(socket.sent).toEqual([1]);
  });

  test("with a first datagram that is refused throws at once, not again, and keeps it", async () => {
    const socket = new BaseSocket();
    const sender = wrap(socket);
    const batch = batchOf(1, 2);
    socket.sendPlan.push(new Error("refused"), new Error("refused too"));
    await expect(sender.sendBatch(batch)).rejects.toThrow("refused");
    expect(() => sender.trySendBatch(batch)).toThrow("refused too");
    expect(batch.length).toBe(2);
    expect(await sender.sendBatch(batch)).toBe(2);
  });

  test("that is no batch is a TypeError", async () => {
    const sender = wrap(new BaseSocket());
    for (const wrong of [undefined, null, [], {}, new RecvBatch({ messages: 1 })]) {
      await expect(sender.sendBatch(wrong as never)).rejects.toThrow(TypeError);
      expect(() => sender.trySendBatch(wrong as never)).toThrow(TypeError);
      expect(() => sender.pollSendBatch(null, wrong as never)).toThrow(TypeError);
    }
  });

  test("with metadata is refused before any goes, and says why", async () => {
    const socket = new BaseSocket();
    const batch = batchOf(1, 1).meta({ ecn: 1 }).push(Uint8Array.of(2));
    const error = await wrap(socket)
      .sendBatch(batch)
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: "ERR_NOT_SUPPORTED", syscall: "sendBatch" });
    expect(error.message).toContain("metadata: this type of socket has none");
    expect([batch.length, socket.sendPolls]).toEqual([2, 0]);
    batch.clear();
    expect(await wrap(socket).sendBatch(batch.push(Uint8Array.of(3)))).toBe(1);
  });
});

describe("an error behind a part of a batch", () => {
  const nextWays: Record<string, (socket: DatagramSocketSend, batch: SendBatch) => unknown> = {
    ...WAYS,
    send: (socket) => socket.send(Uint8Array.of(9)),
    trySend: (socket) => socket.trySend(Uint8Array.of(9)),
    sendMany: (socket) => socket.sendMany([Uint8Array.of(9)]),
  };
  const cases = SENDERS.flatMap(([name, wrap]) =>
    Object.keys(WAYS).flatMap((first) =>
      Object.keys(nextWays).map((next) => [first, next, name, wrap] as const),
    ),
  );

  test.each(cases)("%s answers the count; %s throws it, once: %s", async (first, next, _, wrap) => {
    const socket = new BaseSocket();
    const batch = batchOf(1, 3);
    socket.sendPlan.push("sent", new Error("refused"));
    expect(await WAYS[first]?.(wrap(socket), batch)).toBe(1);
    expect([socket.sent, batch.length]).toEqual([[1], 2]);
    const call = async () => nextWays[next]?.(wrap(socket), batch);
    await expect(call()).rejects.toThrow("refused");
    expect([socket.sent, batch.length]).toEqual([[1], 2]);
    // Without the one that was refused, what is behind it goes.
    expect(await wrap(socket).sendBatch(batch.drop(1))).toBe(1);
    expect(socket.sent).toEqual([1, 3]);
  });
});

test("what has no prefix is sent from where it lies, and what has one as a copy", () => {
  class Noting extends BaseSocket {
    readonly memory: ArrayBufferLike[] = [];
    override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
      this.memory.push((buf as Uint8Array).buffer);
      return super.pollSend(waker, buf);
    }
  }
  const socket = new Noting();
  const payload = counting(8);
  const batch = new SendBatch().pushSlice(payload, 2, 3).prefix(Uint8Array.of(9)).push(payload);
  expect(socket.trySendBatch(batch)).toBe(2);
  expect(socket.sent).toEqual([2, 9]);
  expect(socket.memory.map((memory) => memory === payload.buffer)).toEqual([true, false]);
});

test("destinations go one by one: the peer is taken, another ends the batch", async () => {
  const socket = new ConnectedBaseSocket(PEER);
  const [one, two, three] = datagrams(1, 3) as [Uint8Array, Uint8Array, Uint8Array];
  const batch = new SendBatch().push(one, PEER).push(two).push(three, OTHER);
  expect(await socket.sendBatch(batch)).toBe(2);
  expect([socket.sent, batch.length]).toEqual([[1, 2], 1]);
  for (let i = 0; i < 2; i++) await expect(socket.sendBatch(batch)).rejects.toThrow("EISCONN");
  const peerless = new BaseSocket();
  expect(() => peerless.trySendBatch(new SendBatch().push(one, PEER))).toThrow("EDESTADDRREQ");
});

test("a type whose own pollSendBatch answers 0 for ever is not asked for ever", async () => {
  class Stuck extends BaseSocket {
    override pollSendBatch(): number {
      return 0;
    }
  }
  const batch = batchOf(1, 2);
  expect(await new Stuck().sendBatch(batch)).toBe(0);
  expect(batch.length).toBe(2);
});

describe("a pair", () => {
  test("gets each datagram in one piece, with its prefix, one of no bytes too", async () => {
    const [a, b] = DatagramPair.create();
    const memory = counting(100);
    const buffer = DgramBuffer.withCapacityAndHeadroom(32, 16);
    buffer.putSlice(counting(4));
    const batch = new SendBatch()
      .prefixVarint(64)
      .pushSlice(memory, 90, 3)
      .push(new Uint8Array(0))
      .prefix(Uint8Array.of(7))
      .push(new Uint8Array(0))
      .push(buffer)
      .push(memory.subarray(1, 2));
    expect(await a.sendBatch(batch)).toBe(5);
    const received = new RecvBatch();
    expect(await b.recvBatch(received)).toBe(5);
    const hex = Array.from({ length: 5 }, (_, i) => received.payload(i).toHex());
    expect(hex).toEqual(["40405a5b5c", "", "07", "00010203", "01"]);
  });

  test("takes a copy: what is borrowed may change as soon as it went", async () => {
    const [a, b] = DatagramPair.create();
    const payload = counting(3);
    a.trySendBatch(new SendBatch().push(payload));
    payload.fill(0xff);
    const buf = new Uint8Array(3);
    await b.recv(buf);
    expect(buf.toHex()).toBe("000102");
  });

  test("takes datagrams of more than 64 KiB", async () => {
    const [a, b] = DatagramPair.create();
    const payload = counting(100_000);
    expect(await a.sendBatch(new SendBatch().prefix(Uint8Array.of(1)).push(payload))).toBe(1);
    const buf = new Uint8Array(200_000);
    expect(await b.recv(buf)).toBe(100_001);
    expect(Buffer.compare(buf.subarray(1, 100_001), payload)).toBe(0);
  });

  test("that is full makes the batch wait, and goes on as datagrams are received", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 2 });
    const batch = batchOf(1, 5);
    expect(a.trySendBatch(batch)).toBe(2);
    const sent = a.sendBatch(batch);
    const received = new RecvBatch({ messages: 2 });
    const seen: number[] = [];
    while (seen.length < 5) {
      const count = await b.recvBatch(received);
      for (let i = 0; i < count; i++) seen.push(received.payload(i)[0] as number);
    }
    expect([await sent, batch.length, seen]).toEqual([3, 0, [1, 2, 3, 4, 5]]);
  });

  test("whose other end is closed refuses, and whose own end is closed rejects who waits", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    const batch = batchOf(1, 3);
    expect(a.trySendBatch(batch)).toBe(1);
    const waiting = a.sendBatch(batch).catch((error) => error);
    b.close();
    expect(await waiting).toMatchObject({ code: "ECONNREFUSED" });
    a.close();
    expect(isClosedError(await a.sendBatch(batch).catch((error) => error))).toBe(true);
    expect(batch.length).toBe(2);
  });
});
