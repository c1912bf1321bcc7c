/**
 * `recvBatch`, `tryRecvBatch` and `pollRecvBatch` on sockets without a descriptor: a subclass that
 * implements only the abstract methods, a wrapper of it, and an in-process pair.
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
import { nextTick } from "../tools/sockets.ts";
import {
  datagrams,
  listenerCount,
  RecvWrapper,
  ScriptedSocket,
  Settled,
} from "./scripted-socket.ts";

const ONE = Uint8Array.of(1);
const EMPTY = new Uint8Array(0);
/** The space in bytes that a batch has for each datagram. */
const CAPACITY_BYTES = 65_536;

type Receiver = Pick<
  DatagramSocketRecv,
  "pollRecvBatch" | "tryRecvBatch" | "recvBatch" | "recv" | "tryRecv" | "recvMany" | "batches"
>;

/** The receivers to test: the scripted socket itself, or a wrapper of it. */
const RECEIVERS: readonly [string, (socket: ScriptedSocket) => Receiver][] = [
  ["a minimal subclass", (socket) => socket],
  ["AsDatagramSocketRecv", (socket) => new RecvWrapper(socket)],
];

/** The calls that receive a batch. */
const CALLS: Record<string, (receiver: Receiver, batch: RecvBatch) => unknown> = {
  pollRecvBatch: (receiver, batch) => receiver.pollRecvBatch(null, batch),
  tryRecvBatch: (receiver, batch) => receiver.tryRecvBatch(batch),
  recvBatch: (receiver, batch) => receiver.recvBatch(batch),
};

/** Returns the bytes of each datagram of a batch. */
function bytesIn(batch: RecvBatch): number[][] {
  return Array.from({ length: batch.length }, (_, i) => [...batch.payload(i)]);
}

describe.each(RECEIVERS)("RecvBatch on %s", (_, wrap) => {
  test.each(Object.keys(CALLS))("%s receives the available datagrams in order", async (call) => {
    const socket = new ScriptedSocket();
    socket.arrived.push(Uint8Array.of(1, 2), EMPTY, Uint8Array.of(3));
    const batch = new RecvBatch();
    expect(await CALLS[call]?.(wrap(socket), batch)).toBe(3);
    expect([batch.length, batch.messages, bytesIn(batch)]).toEqual([3, 3, [[1, 2], [], [3]]]);
    for (const [i, length] of [2, 0, 1].entries()) {
      expect([batch.offsetAt(i), batch.messageAt(i)]).toEqual([i * CAPACITY_BYTES, i]);
      expect([batch.lengthAt(i), batch.strideAt(i)]).toEqual([length, length]);
      expect(batch.metaAt(i)).toMatchObject({ length, datagramLength: length, peer: undefined });
    }
  });

  test("leaves datagrams that do not fit into the batch to the next receive", async () => {
    const socket = new ScriptedSocket();
    const receiver = wrap(socket);
    socket.arrived.push(...datagrams(1, 5));
    const batch = new RecvBatch({ messages: 2 });
    const received: number[][][] = [];
    for (let i = 0; i < 3; i++) {
      await receiver.recvBatch(batch);
      received.push(bytesIn(batch));
    }
    expect(received).toEqual([[[1], [2]], [[3], [4]], [[5]]]);
  });

  test("returns what is available, and stores the waker only if nothing is", () => {
    const socket = new ScriptedSocket();
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

  test("recvBatch waits in the queue, and tryRecvBatch does not overtake it", async () => {
    const socket = new ScriptedSocket();
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
    await nextTick();
    expect(settled.order).toEqual(["batch 2", "one 1", "second batch 2"]);
    expect([bytesIn(first), buf[0], bytesIn(second)]).toEqual([[[1], [2]], 3, [[4], [5]]]);
  });

  test("an aborted recvBatch rejects with the reason, and takes no datagram", async () => {
    const socket = new ScriptedSocket();
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

  test("an immediate or deferred error is thrown once, and leaves the batch empty", async () => {
    const socket = new ScriptedSocket();
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

  test("throws a TypeError for other types, and loses no datagram", async () => {
    const socket = new ScriptedSocket();
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

describe("an error after the first datagrams of a RecvBatch", () => {
  const nextCalls: Record<string, (receiver: Receiver, batch: RecvBatch) => unknown> = {
    ...CALLS,
    recv: (receiver) => receiver.recv(new Uint8Array(1)),
    tryRecv: (receiver) => receiver.tryRecv(new Uint8Array(1)),
    recvMany: (receiver) => receiver.recvMany([new Uint8Array(1)]),
    batches: (receiver) => receiver.batches().next(),
  };
  const cases = RECEIVERS.flatMap(([name, wrap]) =>
    Object.keys(CALLS).flatMap((first) =>
      Object.keys(nextCalls).map((next) => [first, next, name, wrap] as const),
    ),
  );

  test.each(cases)(
    "%s returns the count, then %s throws the error once: %s",
    async (first, next, _, wrap) => {
      const socket = new ScriptedSocket();
      const batch = new RecvBatch();
      socket.arrived.push(...datagrams(1, 2), new Error("refused"), ...datagrams(3, 1));
      expect(await CALLS[first]?.(wrap(socket), batch)).toBe(2);
      const call = async () => nextCalls[next]?.(wrap(socket), batch);
      await expect(call()).rejects.toThrow("refused");
      expect(await wrap(socket).recvBatch(batch)).toBe(1);
      expect(bytesIn(batch)).toEqual([[3]]);
    },
  );
});

/** Records its targets, sets metadata for the first datagram only, and may return any length. */
class RecordingSocket extends ScriptedSocket {
  readonly targets: Target[] = [];
  returnedLength: number | undefined;

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    const result = super.pollRecvFrom(waker, buf, meta);
    if (result === Pending) return Pending;
    if (this.targets.length === 0) Object.assign(meta, { ecn: 3, mark: 7, timestampSeconds: 1 });
    this.targets.push(buf);
    return this.returnedLength ?? result;
  }
}

describe("a subclass that receives into a RecvBatch", () => {
  test("gets views of the memory of the batch, the same ones each time", () => {
    const socket = new RecordingSocket();
    const batch = new RecvBatch({ messages: 3 });
    for (let i = 0; i < 2; i++) {
      socket.arrived.push(...datagrams(1, 3));
      expect(socket.tryRecvBatch(batch)).toBe(3);
    }
    const views = socket.targets as Uint8Array[];
    expect(views.map((view) => [view.buffer === batch.bytes.buffer, view.length])).toEqual(
      Array(6).fill([true, CAPACITY_BYTES]),
    );
    expect(views.slice(0, 3).map((view) => view.byteOffset - batch.bytes.byteOffset)).toEqual([
      0,
      CAPACITY_BYTES,
      2 * CAPACITY_BYTES,
    ]);
    for (let i = 0; i < 3; i++) expect(views[i + 3]).toBe(views[i] as Uint8Array);
  });

  test("leaves no metadata of an earlier datagram in the batch", () => {
    const socket = new RecordingSocket();
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

  test("causes an error if it returns a length outside 0..65536", () => {
    for (const length of [-1, CAPACITY_BYTES + 1, 0.5, Number.NaN, "1" as unknown as number]) {
      const socket = new RecordingSocket();
      const batch = new RecvBatch();
      socket.returnedLength = length;
      socket.arrived.push(ONE);
      expect(() => socket.tryRecvBatch(batch)).toThrow(
        `"bytes received" expected integer 0..65536`,
      );
      expect(batch.length).toBe(0);
    }
    const socket = new RecordingSocket();
    socket.returnedLength = CAPACITY_BYTES;
    socket.arrived.push(ONE);
    const batch = new RecvBatch({ messages: 1 });
    expect([socket.tryRecvBatch(batch), batch.lengthAt(0)]).toEqual([1, CAPACITY_BYTES]);
  });
});

describe("RecvBatch on a DatagramPair", () => {
  test("truncates datagrams of more than 64 KiB, and reports it", async () => {
    const [a, b] = DatagramPair.create();
    const payload = counting(CAPACITY_BYTES + 1);
    for (const length of [CAPACITY_BYTES, CAPACITY_BYTES + 1, 1])
      await a.send(payload.subarray(0, length));
    const batch = new RecvBatch({ messages: 3 });
    expect(await b.recvBatch(batch)).toBe(3);
    const metas = [0, 1, 2].map((i) => batch.metaAt(i));
    expect(metas.map((meta) => [meta.length, meta.datagramLength, meta.truncated])).toEqual([
      [CAPACITY_BYTES, CAPACITY_BYTES, false],
      [CAPACITY_BYTES, CAPACITY_BYTES + 1, true],
      [1, 1, false],
    ]);
    for (const [i, length] of [CAPACITY_BYTES, CAPACITY_BYTES, 1].entries()) {
      expect(Buffer.compare(batch.payload(i), payload.subarray(0, length))).toBe(0);
    }
  });

  test("rejects a waiting recvBatch when its end is closed, and throws from then on", async () => {
    const [, b] = DatagramPair.create();
    const batch = new RecvBatch();
    const waiting = b.recvBatch(batch).catch((error) => error);
    b.close();
    expect(isClosedError(await waiting)).toBe(true);
    expect(() => b.tryRecvBatch(batch)).toThrow("ERR_SOCKET_CLOSED");
  });

  test("resumes a waiting sendMany while the batch is being filled", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    const sent = a.sendMany(datagrams(1, 4));
    const batch = new RecvBatch();
    // Each datagram that is taken makes room for the next, which is queued at once.
    expect(b.tryRecvBatch(batch)).toBe(4);
    expect([await sent, bytesIn(batch)]).toEqual([4, [[1], [2], [3], [4]]]);
  });
});

test("a RecvBatch used on a pair and then a UDP socket reports the peers of each", async () => {
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

test("RecvBatch accessors throw a RangeError for an index without a datagram", () => {
  const socket = new ScriptedSocket();
  const batch = new RecvBatch();
  socket.arrived.push(ONE, ONE);
  socket.tryRecvBatch(batch);
  socket.arrived.push(ONE);
  socket.tryRecvBatch(batch);
  for (const i of [1, -1, Number.NaN]) {
    for (const access of [
      () => batch.payload(i),
      () => batch.peerAt(i),
      () => batch.metaAt(i),
      () => batch.messageAt(i),
    ]) {
      expect(access).toThrow(RangeError);
    }
  }
});
