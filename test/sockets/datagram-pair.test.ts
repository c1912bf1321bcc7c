/** `DatagramPair`: order of datagrams, wakers, backpressure, and the effects of close. */

import { describe, expect, spyOn, test } from "bun:test";
import fc from "fast-check";
import {
  DatagramPair,
  DgramBuffer,
  isClosedError,
  Pending,
  RecvMeta,
  SocketAddress,
  WouldBlock,
} from "../../lib/index.ts";
import { counting } from "../tools/buffer-samples.ts";
import { numberErrorOf } from "../tools/errors.ts";
import { nextTick } from "../tools/sockets.ts";
import { datagrams, Settled } from "../traits/scripted-socket.ts";

const ONE = Uint8Array.of(1);

describe("DatagramPair", () => {
  test("transfers datagrams in order in both directions", async () => {
    const [a, b] = DatagramPair.create();
    expect(await a.sendMany(datagrams(1, 3))).toBe(3);
    expect(await b.sendMany(datagrams(7, 2))).toBe(2);
    const bufs = Array.from({ length: 5 }, () => new Uint8Array(1));
    expect(await b.recvMany(bufs)).toBe(3);
    expect(bufs.map((buf) => buf[0])).toEqual([1, 2, 3, 0, 0]);
    expect(await a.recvMany(bufs)).toBe(2);
    expect(bufs.map((buf) => buf[0])).toEqual([7, 8, 3, 0, 0]);
  });

  test("has no peer address, descriptor or pooled I/O, and rejects sendTo", async () => {
    const [a] = DatagramPair.create();
    expect([a.peerAddr, a.asUdpSocket(), a.asRawIo(), a.intoFd(), a.asBufIo()]).toEqual(
      Array(5).fill(undefined),
    );
    await expect(a.sendTo(ONE, SocketAddress.ip("192.0.2.1", 1))).rejects.toThrow("EDESTADDRREQ");
  });

  test("copies the payload at send, also of a Buffer and of a DgramBuffer", async () => {
    const makers = [() => counting(3), () => Buffer.from([0, 1, 2])];
    for (const make of makers) {
      const [a, b] = DatagramPair.create();
      const bytes = make();
      await a.send(bytes);
      bytes.fill(0xff);
      const buf = new Uint8Array(9);
      expect(await b.recv(buf)).toBe(3);
      expect(buf.toHex()).toBe("000102000000000000");
    }
    const [a, b] = DatagramPair.create();
    const buffer = DgramBuffer.fromSlice(counting(3));
    a.trySend(buffer);
    buffer.asMutSlice().fill(0xff);
    const received = DgramBuffer.withCapacity(3);
    expect(b.tryRecv(received)).toBe(3);
    expect(received.asSlice().toHex()).toBe("000102");
  });

  test("returns the length sent even if the reader that it wakes changes the buffer", () => {
    const [a, b] = DatagramPair.create();
    const buffer = DgramBuffer.fromSlice(counting(3));
    b.pollRecv(() => buffer.clear(), new Uint8Array(9));
    expect(a.trySend(buffer)).toBe(3);
  });

  test("calls only the latest waker, once; a poll without waker keeps it", () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    const woken: string[] = [];
    const buf = new Uint8Array(1);
    for (const name of ["first", "second"]) {
      expect(b.pollRecv(() => void woken.push(`${name} reader`), buf)).toBe(Pending);
    }
    expect(b.pollRecv(null, buf)).toBe(Pending);
    a.trySend(ONE);
    expect(woken).toEqual(["second reader"]);
    for (const name of ["first", "second"]) {
      expect(a.pollSend(() => void woken.push(`${name} sender`), ONE)).toBe(Pending);
    }
    expect(a.pollSend(null, ONE)).toBe(Pending);
    b.tryRecv(buf);
    expect(woken).toEqual(["second reader", "second sender"]);
    a.trySend(ONE);
    b.tryRecv(buf);
    expect(woken.length).toBe(2);
  });

  test("passes an error thrown by a waker to reportError, and completes the operation", () => {
    const reported = spyOn(globalThis, "reportError").mockImplementation(() => {});
    try {
      const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
      const throwing = () => {
        throw new Error("of a waker");
      };
      const buf = new Uint8Array(1);
      expect(b.pollRecv(throwing, buf)).toBe(Pending);
      expect(a.trySend(ONE)).toBe(1);
      expect(a.pollSend(throwing, ONE)).toBe(Pending);
      expect(b.tryRecv(buf)).toBe(1);
      expect(b.tryRecv(buf)).toBe(WouldBlock);
      const woken: string[] = [];
      b.pollRecv(throwing, buf);
      b.trySend(ONE);
      b.pollSend(() => woken.push("sender"), ONE);
      b.close();
      expect(woken).toEqual(["sender"]);
      expect(reported).toHaveBeenCalledTimes(3);
    } finally {
      reported.mockRestore();
    }
  });

  test("stores 0 bytes in, or refuses, a target whose memory was transferred", () => {
    const [a, b] = DatagramPair.create();
    a.trySendMany(datagrams(1, 3));
    const detached = new Uint8Array(new ArrayBuffer(9));
    const withHeadroom = DgramBuffer.fromVecWithHeadroom(new Uint8Array(detached.buffer), 9);
    const empty = DgramBuffer.from(new Uint8Array(detached.buffer));
    empty.clear();
    detached.buffer.transfer();
    const meta = new RecvMeta();
    expect(b.pollRecvFrom(null, detached, meta)).toBe(0);
    expect(meta).toMatchObject({ length: 0, datagramLength: 1, truncated: true });
    // The headroom no longer fits into the memory. The datagram remains queued.
    expect(() => b.tryRecv(withHeadroom)).toThrow(RangeError);
    expect(b.tryRecv(empty)).toBe(0);
    const buf = new Uint8Array(1);
    expect([b.tryRecv(buf), buf[0]]).toEqual([1, 3]);
  });

  test("reports the datagram's length, and clears the peer of reused metadata", async () => {
    const [a, b] = DatagramPair.create();
    a.trySendMany([counting(5), new Uint8Array(0)]);
    const meta = new RecvMeta();
    meta.peer = SocketAddress.ip("192.0.2.1", 1);
    expect(b.pollRecvFrom(null, new Uint8Array(2), meta)).toBe(2);
    expect(meta).toMatchObject({ length: 2, datagramLength: 5, peer: undefined });
    expect(b.pollRecvFrom(null, new Uint8Array(2), meta)).toBe(0);
    expect([meta.length, meta.datagramLength, meta.truncated]).toEqual([0, 0, false]);
  });
});

describe("DatagramPair queueDatagrams", () => {
  test("limits each direction separately, to 256 datagrams by default", () => {
    for (const [options, count] of [
      [undefined, 256],
      [{}, 256],
      [{ queueDatagrams: 1 }, 1],
      [{ queueDatagrams: 7 }, 7],
    ] as const) {
      const [a, b] = DatagramPair.create(options);
      expect(a.trySendMany(Array<Uint8Array>(300).fill(ONE))).toBe(count);
      expect(a.trySend(ONE)).toBe(WouldBlock);
      expect(b.trySend(ONE)).toBe(1);
    }
  });

  test("must be an integer from 1 to 2^31-1", () => {
    for (const queueDatagrams of [0, -1, 1.5, 2 ** 31, Number.NaN, "1" as unknown as number]) {
      expect(() => DatagramPair.create({ queueDatagrams })).toThrow(numberErrorOf(queueDatagrams));
    }
    expect(() => DatagramPair.create({ queueDatagrams: 2 ** 31 - 1 })).not.toThrow();
  });
});

describe("DatagramPair with a full queue", () => {
  test("makes sends wait for room, in order, and loses no datagram", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 2 });
    const settled = new Settled();
    settled.watch("many", a.sendMany(datagrams(1, 5)));
    settled.watch("one", a.send(Uint8Array.of(6)));
    await nextTick();
    expect(settled.order).toEqual([]);
    const received: number[] = [];
    const buf = new Uint8Array(1);
    for (let i = 0; i < 6; i++) {
      await b.recv(buf);
      received.push(buf[0] as number);
    }
    await nextTick();
    expect(received).toEqual([1, 2, 3, 4, 5, 6]);
    expect(settled.order).toEqual(["many 5", "one 1"]);
    expect(b.tryRecv(buf)).toBe(WouldBlock);
  });

  test("does not send for an aborted caller, and serves the next one", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    const controller = new AbortController();
    a.trySend(Uint8Array.of(1));
    const aborted = a.send(Uint8Array.of(2), { signal: controller.signal });
    const next = a.send(Uint8Array.of(3));
    controller.abort(new Error("aborted"));
    await expect(aborted).rejects.toThrow("aborted");
    const buf = new Uint8Array(1);
    await b.recv(buf);
    expect(await next).toBe(1);
    await b.recv(buf);
    expect(buf[0]).toBe(3);
  });
});

describe("closing an end of a DatagramPair", () => {
  test("rejects pending and later calls on it with ERR_SOCKET_CLOSED", async () => {
    const [a] = DatagramPair.create({ queueDatagrams: 1 });
    const settled = new Settled();
    const buf = new Uint8Array(1);
    a.trySend(ONE);
    settled.watch("recv", a.recv(buf));
    settled.watch("recvMany", a.recvMany([buf]));
    settled.watch(
      "iterator",
      a
        .batches()
        .next()
        .then(({ done }) => done),
    );
    settled.watch("send", a.send(ONE));
    settled.watch("sendMany", a.sendMany([ONE]));
    await nextTick();
    a.close();
    await nextTick();
    const closed = (call: string) => `failed ${call} ERR_SOCKET_CLOSED: the socket is closed`;
    expect(settled.order.toSorted()).toEqual([
      "iterator true",
      `recv ${closed("recv")}`,
      `recvMany ${closed("recv")}`,
      `send ${closed("send")}`,
      `sendMany ${closed("send")}`,
    ]);
    expect(settled.order.indexOf(`recv ${closed("recv")}`)).toBeLessThan(
      settled.order.indexOf(`recvMany ${closed("recv")}`),
    );
    for (const call of [() => a.trySend(ONE), () => a.tryRecv(buf), () => a.trySendMany([ONE])]) {
      expect(call).toThrow("ERR_SOCKET_CLOSED");
    }
    await expect(a.send(ONE)).rejects.toThrow("ERR_SOCKET_CLOSED");
    expect(isClosedError(await a.recvFrom(buf).catch((error: unknown) => error))).toBe(true);
    await expect(a.recvMany([buf])).rejects.toThrow("ERR_SOCKET_CLOSED");
  });

  test("rejects a partly completed sendMany with the number of datagrams sent", async () => {
    const [a] = DatagramPair.create({ queueDatagrams: 2 });
    const sent = a.sendMany(datagrams(1, 5));
    a.close();
    await expect(sent).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED", sent: 2 });
    await expect(a.send(ONE)).rejects.toThrow("ERR_SOCKET_CLOSED");
  });

  test("fails pending and later sends of the other end with ECONNREFUSED", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    a.trySend(ONE);
    const waiting = a.send(ONE);
    b.close();
    await expect(waiting).rejects.toThrow("send ECONNREFUSED: the other end is closed");
    expect(() => a.trySend(ONE)).toThrow("ECONNREFUSED");
  });

  test("keeps the datagrams that it sent before, so that the other end receives them", async () => {
    const [a, b] = DatagramPair.create();
    a.trySendMany(datagrams(1, 2));
    a.close();
    const bufs = [new Uint8Array(1), new Uint8Array(1), new Uint8Array(1)];
    expect(await b.recvMany(bufs)).toBe(2);
    expect(b.tryRecvMany(bufs)).toBe(WouldBlock);
  });

  test("has no further effect when repeated, also from a waker that close calls", () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    const woken: string[] = [];
    const closing = (name: string) => () => {
      woken.push(name);
      a.close();
    };
    a.trySend(ONE);
    a.pollSend(closing("sender"), ONE);
    a.pollRecv(closing("reader"), new Uint8Array(1));
    a.close();
    a.close();
    expect(woken.toSorted()).toEqual(["reader", "sender"]);
    b.close();
  });

  test("happens at the end of a using or await using block", async () => {
    const [a, b] = DatagramPair.create();
    {
      using first = a;
      first.trySend(ONE);
      await using second = b;
      second.trySend(ONE);
    }
    expect(() => a.tryRecv(new Uint8Array(1))).toThrow("ERR_SOCKET_CLOSED");
    expect(() => b.tryRecv(new Uint8Array(1))).toThrow("ERR_SOCKET_CLOSED");
  });
});

const CALLS = [
  "send",
  "sendMany",
  "trySend",
  "trySendMany",
  "recv",
  "recvMany",
  "tryRecv",
] as const;

/** One direction of a pair: the numbers sent and received, in order. */
class Direction {
  readonly sent: number[] = [];
  readonly received: number[] = [];
  readonly pending: Promise<unknown>[] = [];
  readonly #from: DatagramPair;
  readonly #to: DatagramPair;

  constructor(from: DatagramPair, to: DatagramPair) {
    this.#from = from;
    this.#to = to;
  }

  call(name: (typeof CALLS)[number], count: number): void {
    const words = Array.from({ length: count }, () => Uint16Array.of(0));
    const bufs = words.map((word) => new Uint8Array(word.buffer));
    const [first = new Uint8Array(2)] = bufs;
    const recordReceived = (datagrams: number) => {
      for (const word of words.slice(0, datagrams)) this.received.push(word[0] as number);
    };
    const recordSent = (datagrams: number) => {
      for (const word of words.slice(0, datagrams)) this.sent.push(word[0] as number);
    };
    const isSend = name.toLowerCase().includes("send");
    if (isSend) for (const [i, word] of words.entries()) word[0] = this.sent.length + i;
    if (name === "send" || name === "sendMany") recordSent(count);
    if (name === "send") this.pending.push(this.#from.send(first));
    else if (name === "sendMany") this.pending.push(this.#from.sendMany(bufs));
    else if (name === "trySend") recordSent(this.#from.trySend(first) === WouldBlock ? 0 : 1);
    else if (name === "trySendMany") recordSent(orZero(this.#from.trySendMany(bufs)));
    else if (name === "recv") this.pending.push(this.#to.recv(first).then(() => recordReceived(1)));
    else if (name === "recvMany") this.pending.push(this.#to.recvMany(bufs).then(recordReceived));
    else recordReceived(this.#to.tryRecv(first) === WouldBlock ? 0 : 1);
  }
}

function orZero(result: number | WouldBlock): number {
  return result === WouldBlock ? 0 : result;
}

test("random calls on a DatagramPair lose, repeat and reorder no datagram", async () => {
  const step = fc.record({
    direction: fc.nat(1),
    name: fc.constantFrom(...CALLS),
    count: fc.nat(4),
  });
  const steps = fc.array(step, { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 5 }), async (sequence, queueDatagrams) => {
      const [a, b] = DatagramPair.create({ queueDatagrams });
      const directions = [new Direction(a, b), new Direction(b, a)];
      for (const { direction, name, count } of sequence) {
        directions[direction]?.call(name, name.endsWith("Many") ? count : 1);
        // Receives that have resolved record their datagrams before the next call.
        await nextTick();
      }
      for (const direction of directions) {
        for (let last = -1; direction.received.length > last; ) {
          last = direction.received.length;
          direction.call("tryRecv", 1);
          await nextTick();
        }
      }
      a.close();
      b.close();
      await Promise.allSettled(directions.flatMap(({ pending }) => pending));
      for (const { received, sent } of directions) expect(received).toEqual(sent);
    }),
    { numRuns: 300 },
  );
});
