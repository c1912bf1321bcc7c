/**
 * `recvBatch` and its kin on sockets that are not the system's: on a type with the base methods
 * alone, on a wrapper of one, and on an in-process pair.
 */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  type DatagramSocketRecv,
  isClosedError,
  Pending,
  type Poll,
  RecvBatch,
  RecvMeta,
  SendBatch,
  type Target,
  UdpSocket,
  type Waker,
  WouldBlock,
} from "../../lib/index.ts";
import { counting } from "../tools/buffer-samples.ts";
import { nextTurn } from "../tools/sockets.ts";
import { BaseSocket, datagrams, listenerCount, RecvWrapper, Settled } from "./base-socket.ts";

const ONE = Uint8Array.of(1);
const EMPTY = new Uint8Array(0);
/** Bytes of room that a batch has for each datagram. */
const ROOM_BYTES = 65_536;

type Receiver = Pick<
  DatagramSocketRecv,
  "pollRecvBatch" | "tryRecvBatch" | "recvBatch" | "recv" | "tryRecv" | "recvMany" | "batches"
>;

/** Who receives the batch: the socket that the test plans for, or what wraps it. */
const RECEIVERS: readonly [string, (socket: BaseSocket) => Receiver][] = [
  ["a type with the base methods alone", (socket) => socket],
  ["AsDatagramSocketRecv", (socket) => new RecvWrapper(socket)],
];

/** The three ways to receive a batch. */
const WAYS: Record<string, (receiver: Receiver, batch: RecvBatch) => unknown> = {
  pollRecvBatch: (receiver, batch) => receiver.pollRecvBatch(null, batch),
  tryRecvBatch: (receiver, batch) => receiver.tryRecvBatch(batch),
  recvBatch: (receiver, batch) => receiver.recvBatch(batch),
};

/** The bytes of each datagram of a batch. */
function bytesIn(batch: RecvBatch): number[][] {
  return Array.from({ length: batch.length }, (_, i) => [...batch.payload(i)]);
}

describe.each(RECEIVERS)("a batch received by %s", (_, wrap) => {
  test.each(Object.keys(WAYS))("has what is there, in order: %s", async (way) => {
    const socket = new BaseSocket();
    socket.arrived.push(Uint8Array.of(1, 2), EMPTY, Uint8Array.of(3));
    const batch = new RecvBatch();
    expect(await WAYS[way]?.(wrap(socket), batch)).toBe(3);
    expect([batch.length, batch.messages, bytesIn(batch)]).toEqual([3, 3, [[1, 2], [], [3]]]);
    for (const [i, length] of [2, 0, 1].entries()) {
      expect([batch.offsetAt(i), batch.messageAt(i)]).toEqual([i * ROOM_BYTES, i]);
      expect([batch.lengthAt(i), batch.strideAt(i)]).toEqual([length, length]);
      expect(batch.metaAt(i)).toMatchObject({ length, datagramLength: length, peer: undefined });
    }
  });

  test("takes no more than it has room for, and the next what is left", async () => {
    const socket = new BaseSocket();
    const receiver = wrap(socket);
    socket.arrived.push(...datagrams(1, 5));
    const batch = new RecvBatch({ messages: 2 });
    const seen: number[][][] = [];
    for (let i = 0; i < 3; i++) {
      await receiver.recvBatch(batch);
      seen.push(bytesIn(batch));
    }
    expect(seen).toEqual([[[1], [2]], [[3], [4]], [[5]]]);
  });

  test("does not wait for more, and keeps the waker only when nothing came", () => {
    const socket = new BaseSocket();
    const receiver = wrap(socket);
    const batch = new RecvBatch();
    socket.arrived.push(...datagrams(1, 2));
    expect(receiver.pollRecvBatch(() => {}, batch)).toBe(2);
    expect(socket.recvWaker).toBeNull();
    const waker = () => {};
    expect(receiver.pollRecvBatch(waker, batch)).toBe(Pending);
    expect(receiver.tryRecvBatch(batch)).toBe(WouldBlock);
    expect([batch.length, batch.messages, socket.recvWaker]).toEqual([0, 0, waker]);
  });

  test("waits in line with other receives, which a try does not overtake", async () => {
    const socket = new BaseSocket();
    const receiver = wrap(socket);
    const settled = new Settled();
    const [first, second] = [new RecvBatch({ messages: 2 }), new RecvBatch()];
    const buf = new Uint8Array(1);
    settled.watch("batch", receiver.recvBatch(first));
    settled.watch("one", socket.recv(buf));
    settled.watch("second batch", receiver.recvBatch(second));
    socket.arrived.push(...datagrams(1, 5));
    expect(receiver.tryRecvBatch(new RecvBatch())).toBe(WouldBlock);
    socket.arrive();
    await nextTurn();
    expect(settled.order).toEqual(["batch 2", "one 1", "second batch 2"]);
    expect([bytesIn(first), buf[0], bytesIn(second)]).toEqual([[[1], [2]], 3, [[4], [5]]]);
  });

  test("loses nothing when the signal aborts", async () => {
    const socket = new BaseSocket();
    const controller = new AbortController();
    const { signal } = controller;
    const batch = new RecvBatch();
    const received = wrap(socket).recvBatch(batch, { signal });
    expect(listenerCount(signal)).toBe(1);
    controller.abort(new Error("gone"));
    await expect(received).rejects.toThrow("gone");
    expect(listenerCount(signal)).toBe(0);
    socket.arrive(ONE);
    await expect(wrap(socket).recvBatch(batch, { signal })).rejects.toThrow("gone");
    expect(await wrap(socket).recvBatch(batch)).toBe(1);
  });

  test("is empty after an error, which is thrown at once and not again", async () => {
    const socket = new BaseSocket();
    const receiver = wrap(socket);
    const batch = new RecvBatch();
    socket.arrived.push(ONE, new Error("unreachable"), ONE);
    expect([receiver.tryRecvBatch(batch), batch.length]).toEqual([1, 1]);
    await expect(receiver.recvBatch(batch)).rejects.toThrow("unreachable");
    expect(batch.length).toBe(0);
    expect(() => batch.lengthAt(0)).toThrow(RangeError);
    socket.arrived.unshift(new Error("unreachable too"));
    expect(() => receiver.tryRecvBatch(batch)).toThrow("unreachable too");
    expect(await receiver.recvBatch(batch)).toBe(1);
  });

  test("that is no batch is a TypeError, and no datagram is lost", async () => {
    const socket = new BaseSocket();
    const receiver = wrap(socket);
    socket.arrived.push(ONE);
    for (const wrong of [undefined, null, [], {}, new Uint8Array(9), new SendBatch()]) {
      await expect(receiver.recvBatch(wrong as never)).rejects.toThrow(TypeError);
      expect(() => receiver.tryRecvBatch(wrong as never)).toThrow(TypeError);
      expect(() => receiver.pollRecvBatch(null, wrong as never)).toThrow(TypeError);
    }
    expect(receiver.tryRecvBatch(new RecvBatch())).toBe(1);
  });
});

describe("an error behind a part of a batch", () => {
  const nextWays: Record<string, (receiver: Receiver, batch: RecvBatch) => unknown> = {
    ...WAYS,
    recv: (receiver) => receiver.recv(new Uint8Array(1)),
    tryRecv: (receiver) => receiver.tryRecv(new Uint8Array(1)),
    recvMany: (receiver) => receiver.recvMany([new Uint8Array(1)]),
    batches: (receiver) => receiver.batches().next(),
  };
  const cases = RECEIVERS.flatMap(([name, wrap]) =>
    Object.keys(WAYS).flatMap((first) =>
      Object.keys(nextWays).map((next) => [first, next, name, wrap] as const),
    ),
  );

  test.each(cases)("%s answers the count; %s throws it, once: %s", async (first, next, _, wrap) => {
    const socket = new BaseSocket();
    const batch = new RecvBatch();
    socket.arrived.push(...datagrams(1, 2), new Error("refused"), ...datagrams(3, 1));
    expect(await WAYS[first]?.(wrap(socket), batch)).toBe(2);
    const call = async () => nextWays[next]?.(wrap(socket), batch);
    await expect(call()).rejects.toThrow("refused");
    expect(await wrap(socket).recvBatch(batch)).toBe(1);
    expect(bytesIn(batch)).toEqual([[3]]);
  });
});

/** Notes where it is told to receive, tells of the first datagram alone, and says any length. */
class Noting extends BaseSocket {
  readonly targets: Target[] = [];
  answer: number | undefined;

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    const result = super.pollRecvFrom(waker, buf, meta);
    if (result === Pending) return Pending;
    if (this.targets.length === 0) Object.assign(meta, { ecn: 3, mark: 7, timestampSeconds: 1 });
    this.targets.push(buf);
    return this.answer ?? result;
  }
}

describe("what a type of one's own receives into", () => {
  test("is the batch's memory, in the same view each time", () => {
    const socket = new Noting();
    const batch = new RecvBatch({ messages: 3 });
    for (let i = 0; i < 2; i++) {
      socket.arrived.push(...datagrams(1, 3));
      expect(socket.tryRecvBatch(batch)).toBe(3);
    }
    const views = socket.targets as Uint8Array[];
    expect(views.map((view) => [view.buffer === batch.bytes.buffer, view.length])).toEqual(
      Array(6).fill([true, ROOM_BYTES]),
    );
    expect(views.slice(0, 3).map((view) => view.byteOffset - batch.bytes.byteOffset)).toEqual([
      0,
      ROOM_BYTES,
      2 * ROOM_BYTES,
    ]);
    for (let i = 0; i < 3; i++) expect(views[i + 3]).toBe(views[i] as Uint8Array);
  });

  test("is told of with nothing left of an earlier datagram", () => {
    const socket = new Noting();
    const batch = new RecvBatch();
    const meta = new RecvMeta();
    socket.arrived.push(ONE);
    socket.tryRecvBatch(batch);
    expect(batch.metaAt(0, meta)).toMatchObject({ ecn: 3, mark: 7, timestampSeconds: 1 });
    socket.arrived.push(ONE);
    socket.tryRecvBatch(batch);
    expect(batch.metaAt(0, meta)).toBe(meta);
    expect(meta).toMatchObject({ length: 1, ecn: undefined, mark: undefined, timestampSeconds: 0 });
  });

  test("has no more bytes than there is room for, whatever the type says", () => {
    for (const answer of [-1, ROOM_BYTES + 1, 0.5, Number.NaN, "1" as unknown as number]) {
      const socket = new Noting();
      const batch = new RecvBatch();
      socket.answer = answer;
      socket.arrived.push(ONE);
      expect(() => socket.tryRecvBatch(batch)).toThrow(
        `"bytes received" expected integer 0..65536`,
      );
      expect(batch.length).toBe(0);
    }
    const socket = new Noting();
    socket.answer = ROOM_BYTES;
    socket.arrived.push(ONE);
    const batch = new RecvBatch({ messages: 1 });
    expect([socket.tryRecvBatch(batch), batch.lengthAt(0)]).toEqual([1, ROOM_BYTES]);
  });
});

describe("a pair", () => {
  test("has datagrams of up to 64 KiB whole; longer ones are truncated, and it is told", async () => {
    const [a, b] = DatagramPair.create();
    const payload = counting(ROOM_BYTES + 1);
    for (const length of [ROOM_BYTES, ROOM_BYTES + 1, 1]) await a.send(payload.subarray(0, length));
    const batch = new RecvBatch({ messages: 3 });
    expect(await b.recvBatch(batch)).toBe(3);
    const told = [0, 1, 2].map((i) => batch.metaAt(i));
    expect(told.map((meta) => [meta.length, meta.datagramLength, meta.truncated])).toEqual([
      [ROOM_BYTES, ROOM_BYTES, false],
      [ROOM_BYTES, ROOM_BYTES + 1, true],
      [1, 1, false],
    ]);
    for (const [i, length] of [ROOM_BYTES, ROOM_BYTES, 1].entries()) {
      expect(Buffer.compare(batch.payload(i), payload.subarray(0, length))).toBe(0);
    }
  });

  test("that closes rejects who waits for a batch, and refuses from then on", async () => {
    const [, b] = DatagramPair.create();
    const batch = new RecvBatch();
    const waiting = b.recvBatch(batch).catch((error) => error);
    b.close();
    expect(isClosedError(await waiting)).toBe(true);
    expect(() => b.tryRecvBatch(batch)).toThrow("ERR_SOCKET_CLOSED");
  });

  test("lets go on whoever waits for room, as the batch is filled", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    const sent = a.sendMany(datagrams(1, 4));
    const batch = new RecvBatch();
    // Every datagram taken makes room for the next, which is there at once.
    expect(b.tryRecvBatch(batch)).toBe(4);
    expect([await sent, bytesIn(batch)]).toEqual([4, [[1], [2], [3], [4]]]);
  });
});

test("a batch goes from a type of one's own to a UDP socket and back, each with its peers", async () => {
  using udp = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const [a, b] = DatagramPair.create();
  const batch = new RecvBatch();
  for (let i = 0; i < 3; i++) {
    await a.sendMany(datagrams(10, 2));
    expect([await b.recvBatch(batch), bytesIn(batch)]).toEqual([2, [[10], [11]]]);
    expect([batch.peerAt(1), batch.metaAt(1).peer]).toEqual([undefined, undefined]);
    await udp.sendTo(Uint8Array.of(20), udp.localAddr);
    expect([await udp.recvBatch(batch), bytesIn(batch)]).toEqual([1, [[20]]]);
    expect([batch.peerAt(0), batch.metaAt(0).peer]).toEqual([udp.localAddr, udp.localAddr]);
  }
});

test("of a datagram that a batch does not have, nothing is told: it is a RangeError", () => {
  const socket = new BaseSocket();
  const batch = new RecvBatch();
  socket.arrived.push(ONE, ONE);
  socket.tryRecvBatch(batch);
  socket.arrived.push(ONE);
  socket.tryRecvBatch(batch);
  for (const i of [1, -1, Number.NaN]) {
    for (const ask of [
      () => batch.payload(i),
      () => batch.peerAt(i),
      () => batch.metaAt(i),
      () => batch.messageAt(i),
    ]) {
      expect(ask).toThrow(RangeError);
    }
  }
});
