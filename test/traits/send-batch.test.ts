/**
 * `sendBatch`, `trySendBatch` and `pollSendBatch` on sockets without a descriptor: a subclass that
 * implements only the abstract methods, wrappers of it, and an in-process pair.
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
  ConnectedScriptedSocket,
  datagrams,
  listenerCount,
  ScriptedSocket,
  SendWrapper,
} from "./scripted-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const OTHER = SocketAddress.ip("192.0.2.2", 53);

/** The senders to test: the scripted socket itself, or a wrapper of it. */
const SENDERS: readonly [string, (socket: ScriptedSocket) => DatagramSocketSend][] = [
  ["a minimal subclass", (socket) => socket],
  ["AsDatagramSocketSend", (socket) => new SendWrapper(socket)],
  ["MaybeConnectedSocket", (socket) => new MaybeConnectedSocket(socket)],
];

/** The calls that send a batch. */
const CALLS: Record<string, (sender: DatagramSocketSend, batch: SendBatch) => unknown> = {
  pollSendBatch: (sender, batch) => sender.pollSendBatch(null, batch),
  trySendBatch: (sender, batch) => sender.trySendBatch(batch),
  sendBatch: (sender, batch) => sender.sendBatch(batch),
};

/** Returns a batch of `count` datagrams of one byte each: `from`, `from + 1`, ... */
function batchOf(from: number, count: number): SendBatch {
  const batch = new SendBatch();
  for (const datagram of datagrams(from, count)) batch.push(datagram);
  return batch;
}

describe.each(SENDERS)("SendBatch on %s", (_, wrap) => {
  test.each(Object.keys(CALLS))(
    "%s sends the datagrams in order and empties the batch",
    async (call) => {
      const socket = new ScriptedSocket();
      const batch = batchOf(1, 3);
      expect(await CALLS[call]?.(wrap(socket), batch)).toBe(3);
      expect([socket.sent, batch.length, batch.isFull]).toEqual([[1, 2, 3], 0, false]);
    },
  );

  test.each(Object.keys(CALLS))(
    "%s returns 0 for an empty batch, even on a full socket",
    async (call) => {
      const socket = new ScriptedSocket();
      socket.sendPlan.push("full");
      expect(await CALLS[call]?.(wrap(socket), new SendBatch())).toBe(0);
      expect(socket.sendPolls).toBe(0);
    },
  );

  test("a partial send returns its count, and keeps the remaining datagrams", () => {
    const socket = new ScriptedSocket();
    const sender = wrap(socket);
    const batch = batchOf(1, 5);
    socket.sendPlan.push("sent", "sent", "full");
    expect(sender.pollSendBatch(() => {}, batch)).toBe(2);
    // The waker is stored only if the poll returns Pending.
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

  test("sendBatch waits in the queue of senders, until all of its datagrams are sent", async () => {
    const socket = new ScriptedSocket();
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

  test("an aborted sendBatch resolves with its count, or rejects if it is 0", async () => {
    const socket = new ScriptedSocket();
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

  test("an error of the first datagram is thrown once, and removes nothing", async () => {
    const socket = new ScriptedSocket();
    const sender = wrap(socket);
    const batch = batchOf(1, 2);
    socket.sendPlan.push(new Error("refused"), new Error("refused too"));
    await expect(sender.sendBatch(batch)).rejects.toThrow("refused");
    expect(() => sender.trySendBatch(batch)).toThrow("refused too");
    expect(batch.length).toBe(2);
    expect(await sender.sendBatch(batch)).toBe(2);
  });

  test("throws a TypeError for other types", async () => {
    const sender = wrap(new ScriptedSocket());
    for (const wrong of [undefined, null, [], {}, new RecvBatch({ messages: 1 })]) {
      await expect(sender.sendBatch(wrong as never)).rejects.toThrow(TypeError);
      expect(() => sender.trySendBatch(wrong as never)).toThrow(TypeError);
      expect(() => sender.pollSendBatch(null, wrong as never)).toThrow(TypeError);
    }
  });

  test("metadata is refused with a reason before a datagram is sent", async () => {
    const socket = new ScriptedSocket();
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

describe("a datagram that is refused after others of its SendBatch were sent", () => {
  const nextCalls: Record<string, (socket: DatagramSocketSend, batch: SendBatch) => unknown> = {
    pollSendBatch: (socket) => socket.pollSendBatch(null, batchOf(9, 1)),
    trySendBatch: (socket) => socket.trySendBatch(batchOf(9, 1)),
    sendBatch: (socket) => socket.sendBatch(batchOf(9, 1)),
    send: (socket) => socket.send(Uint8Array.of(9)),
    trySend: (socket) => socket.trySend(Uint8Array.of(9)),
    sendMany: (socket) => socket.sendMany([Uint8Array.of(9)]),
  };
  const cases = SENDERS.flatMap(([name, wrap]) =>
    Object.keys(CALLS).flatMap((first) =>
      Object.keys(nextCalls).map((next) => [first, next, name, wrap] as const),
    ),
  );

  test.each(cases)(
    "%s reports the count, and %s of another caller succeeds: %s",
    async (first, next, _, wrap) => {
      const socket = new ScriptedSocket();
      const batch = batchOf(1, 3);
      socket.refuses = 2;
      // A promise rejects: `error.sent` is the count.
      const call = async () => CALLS[first]?.(wrap(socket), batch);
      expect(await call().catch((error) => error.sent)).toBe(1);
      expect([socket.sent, batch.length]).toEqual([[1], 2]);
      expect(await nextCalls[next]?.(wrap(socket), batch)).toBe(1);
      // The refused datagram is still the first of its batch.
      expect(() => wrap(socket).trySendBatch(batch)).toThrow("EPERM");
      expect([socket.sent, batch.length]).toEqual([[1, 9], 2]);
      // Once it is dropped, the next one is sent.
      expect(await wrap(socket).sendBatch(batch.drop(1))).toBe(1);
      expect(socket.sent).toEqual([1, 9, 3]);
    },
  );
});

test("a SendBatch sends payloads without a prefix in place, and copies those with one", () => {
  class RecordingSocket extends ScriptedSocket {
    readonly memory: ArrayBufferLike[] = [];
    override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
      this.memory.push((buf as Uint8Array).buffer);
      return super.pollSend(waker, buf);
    }
  }
  const socket = new RecordingSocket();
  const payload = counting(8);
  const batch = new SendBatch().pushSlice(payload, 2, 3).prefix(Uint8Array.of(9)).push(payload);
  expect(socket.trySendBatch(batch)).toBe(2);
  expect(socket.sent).toEqual([2, 9]);
  expect(socket.memory.map((memory) => memory === payload.buffer)).toEqual([true, false]);
});

test("a SendBatch is sent up to the first destination that is not the peer", async () => {
  const socket = new ConnectedScriptedSocket(PEER);
  const [one, two, three] = datagrams(1, 3) as [Uint8Array, Uint8Array, Uint8Array];
  const batch = new SendBatch().push(one, PEER).push(two).push(three, OTHER);
  const refused = { code: "EISCONN", sent: 2 };
  await expect(socket.sendBatch(batch)).rejects.toMatchObject(refused);
  expect([socket.sent, batch.length]).toEqual([[1, 2], 1]);
  for (let i = 0; i < 2; i++) await expect(socket.sendBatch(batch)).rejects.toThrow("EISCONN");
  const peerless = new ScriptedSocket();
  expect(() => peerless.trySendBatch(new SendBatch().push(one, PEER))).toThrow("EDESTADDRREQ");
});

test("sendBatch ends if the pollSendBatch of a subclass keeps returning 0", async () => {
  class Stuck extends ScriptedSocket {
    override pollSendBatch(): number {
      return 0;
    }
  }
  const batch = batchOf(1, 2);
  expect(await new Stuck().sendBatch(batch)).toBe(0);
  expect(batch.length).toBe(2);
});

describe("SendBatch on a DatagramPair", () => {
  test("sends each prefix and payload as one datagram, also empty ones", async () => {
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

  test("copies the payloads, which may be modified as soon as they are sent", async () => {
    const [a, b] = DatagramPair.create();
    const payload = counting(3);
    a.trySendBatch(new SendBatch().push(payload));
    payload.fill(0xff);
    const buf = new Uint8Array(3);
    await b.recv(buf);
    expect(buf.toHex()).toBe("000102");
  });

  test("sends datagrams of more than 64 KiB", async () => {
    const [a, b] = DatagramPair.create();
    const payload = counting(100_000);
    expect(await a.sendBatch(new SendBatch().prefix(Uint8Array.of(1)).push(payload))).toBe(1);
    const buf = new Uint8Array(200_000);
    expect(await b.recv(buf)).toBe(100_001);
    expect(Buffer.compare(buf.subarray(1, 100_001), payload)).toBe(0);
  });

  test("sendBatch waits while the queue is full, and then continues", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 2 });
    const batch = batchOf(1, 5);
    expect(a.trySendBatch(batch)).toBe(2);
    const sent = a.sendBatch(batch);
    const received = new RecvBatch({ messages: 2 });
    const payloads: number[] = [];
    while (payloads.length < 5) {
      const count = await b.recvBatch(received);
      for (let i = 0; i < count; i++) payloads.push(received.payload(i)[0] as number);
    }
    expect([await sent, batch.length, payloads]).toEqual([3, 0, [1, 2, 3, 4, 5]]);
  });

  test("fails after either end is closed, also if sendBatch already waits", async () => {
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
