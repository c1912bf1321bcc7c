/** `DatagramPair`: order, backpressure, and what closing an end means for whoever waits. */

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
import { nextTurn } from "../tools/sockets.ts";
import { datagrams, Settled } from "../traits/scripted-socket.ts";

const ONE = Uint8Array.of(1);

describe("an end", () => {
  test("sends to the other and receives from it, both ways, in order", async () => {
    const [a, b] = DatagramPair.create();
    expect(await a.sendMany(datagrams(1, 3))).toBe(3);
    expect(await b.sendMany(datagrams(7, 2))).toBe(2);
    const bufs = Array.from({ length: 5 }, () => new Uint8Array(1));
    expect(await b.recvMany(bufs)).toBe(3);
    expect(bufs.map((buf) => buf[0])).toEqual([1, 2, 3, 0, 0]);
    expect(await a.recvMany(bufs)).toBe(2);
    expect(bufs.map((buf) => buf[0])).toEqual([7, 8, 3, 0, 0]);
  });

  test("is no socket of the system: no peer address, descriptor or buffered way", async () => {
    const [a] = DatagramPair.create();
    expect([a.peerAddr, a.asUdpSocket(), a.asRawIo(), a.intoFd(), a.asBufIo()]).toEqual(
      Array(5).fill(undefined),
    );
    await expect(a.sendTo(ONE, SocketAddress.ip("192.0.2.1", 1))).rejects.toThrow("EDESTADDRREQ");
  });

  test("copies what it is given, a Buffer and a part of a larger array too", async () => {
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

  test("answers the length sent even if the woken reader changes the buffer", () => {
    const [a, b] = DatagramPair.create();
    const buffer = DgramBuffer.fromSlice(counting(3));
    b.pollRecv(() => buffer.clear(), new Uint8Array(9));
    expect(a.trySend(buffer)).toBe(3);
  });

  test("wakes the waker given last, once, and not one that only tried", () => {
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

  test("reports what a waker throws, and goes on as if it had not", () => {
    const reported = spyOn(globalThis, "reportError").mockImplementation(() => {});
    try {
      const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
      const failing = () => {
        throw new Error("of a waker");
      };
      const buf = new Uint8Array(1);
      expect(b.pollRecv(failing, buf)).toBe(Pending);
      expect(a.trySend(ONE)).toBe(1);
      expect(a.pollSend(failing, ONE)).toBe(Pending);
      expect(b.tryRecv(buf)).toBe(1);
      expect(b.tryRecv(buf)).toBe(WouldBlock);
      const woken: string[] = [];
      b.pollRecv(failing, buf);
      b.trySend(ONE);
      b.pollSend(() => woken.push("sender"), ONE);
      b.close();
      expect(woken).toEqual(["sender"]);
      expect(reported).toHaveBeenCalledTimes(3);
    } finally {
      reported.mockRestore();
    }
  });

  test("loses no datagram to a target whose memory was transferred: it is told, or refused", () => {
    const [a, b] = DatagramPair.create();
    a.trySendMany(datagrams(1, 3));
    const gone = new Uint8Array(new ArrayBuffer(9));
    const headed = DgramBuffer.fromVecWithHeadroom(new Uint8Array(gone.buffer), 9);
    const empty = DgramBuffer.from(new Uint8Array(gone.buffer));
    empty.clear();
    gone.buffer.transfer();
    const meta = new RecvMeta();
    expect(b.pollRecvFrom(null, gone, meta)).toBe(0);
    expect(meta).toMatchObject({ length: 0, datagramLength: 1, truncated: true });
    expect(() => b.tryRecv(headed)).toThrow(RangeError);
    expect(b.tryRecv(empty)).toBe(0);
    const buf = new Uint8Array(1);
    expect([b.tryRecv(buf), buf[0]]).toEqual([1, 3]);
  });

  test("tells of the datagram, and that nobody known sent it", async () => {
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

describe("queueDatagrams", () => {
  test("is 256 unless told otherwise, from 1 on", () => {
    for (const [options, count] of [
      [undefined, 256],
      [{}, 256],
      [{ queueDatagrams: 1 }, 1],
      [{ queueDatagrams: 7 }, 7],
    ] as const) {
      const [a, b] = DatagramPair.create(options);
      expect(a.trySendMany(Array<Uint8Array>(300).fill(ONE))).toBe(count);
      expect(a.trySend(ONE)).toBe(WouldBlock);
      // The other direction has its own.
      expect(b.trySend(ONE)).toBe(1);
    }
  });

  test("refuses what is no integer from 1 to 2^31-1", () => {
    for (const queueDatagrams of [0, -1, 1.5, 2 ** 31, Number.NaN, "1" as unknown as number]) {
      expect(() => DatagramPair.create({ queueDatagrams })).toThrow(RangeError);
    }
    expect(() => DatagramPair.create({ queueDatagrams: 2 ** 31 - 1 })).not.toThrow();
  });
});

describe("a full end", () => {
  test("makes sends wait, each goes on when there is room, and nothing is lost", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 2 });
    const settled = new Settled();
    settled.watch("many", a.sendMany(datagrams(1, 5)));
    settled.watch("one", a.send(Uint8Array.of(6)));
    await nextTurn();
    expect(settled.order).toEqual([]);
    const seen: number[] = [];
    const buf = new Uint8Array(1);
    for (let i = 0; i < 6; i++) {
      await b.recv(buf);
      seen.push(buf[0] as number);
    }
    await nextTurn();
    expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
    expect(settled.order).toEqual(["many 5", "one 1"]);
    expect(b.tryRecv(buf)).toBe(WouldBlock);
  });

  test("lets an aborted send go, and the next one has its place", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    const controller = new AbortController();
    a.trySend(Uint8Array.of(1));
    const aborted = a.send(Uint8Array.of(2), { signal: controller.signal });
    const next = a.send(Uint8Array.of(3));
    controller.abort(new Error("gone"));
    await expect(aborted).rejects.toThrow("gone");
    const buf = new Uint8Array(1);
    await b.recv(buf);
    expect(await next).toBe(1);
    await b.recv(buf);
    expect(buf[0]).toBe(3);
  });
});

describe("closing an end", () => {
  test("rejects all that wait at it, in order, and all calls after it", async () => {
    const [a] = DatagramPair.create({ queueDatagrams: 1 });
    const settled = new Settled();
    const buf = new Uint8Array(1);
    a.trySend(ONE);
    settled.watch("recv", a.recv(buf));
    settled.watch("recvMany", a.recvMany([buf]));
    settled.watch("iterator", a.batches().next());
    settled.watch("send", a.send(ONE));
    settled.watch("sendMany", a.sendMany([ONE]));
    await nextTurn();
    a.close();
    await nextTurn();
    const closed = (call: string) => `failed ${call} ERR_SOCKET_CLOSED: the socket is closed`;
    expect(settled.order.toSorted()).toEqual([
      `iterator ${closed("recv")}`,
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

  test("after part of a sendMany went: that resolves with its count", async () => {
    const [a] = DatagramPair.create({ queueDatagrams: 2 });
    const sent = a.sendMany(datagrams(1, 5));
    a.close();
    expect(await sent).toBe(2);
    await expect(a.send(ONE)).rejects.toThrow("ERR_SOCKET_CLOSED");
  });

  test("refuses the other end's sends, those that wait too, as the kernel does", async () => {
    const [a, b] = DatagramPair.create({ queueDatagrams: 1 });
    a.trySend(ONE);
    const waiting = a.send(ONE);
    b.close();
    await expect(waiting).rejects.toThrow("send ECONNREFUSED: the other end is closed");
    expect(() => a.trySend(ONE)).toThrow("ECONNREFUSED");
  });

  test("leaves what it sent to be received by the other", async () => {
    const [a, b] = DatagramPair.create();
    a.trySendMany(datagrams(1, 2));
    a.close();
    const bufs = [new Uint8Array(1), new Uint8Array(1), new Uint8Array(1)];
    expect(await b.recvMany(bufs)).toBe(2);
    expect(b.tryRecvMany(bufs)).toBe(WouldBlock);
  });

  test("twice, or from the wake of closing, does nothing more", () => {
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

  test("is what using and await using do", async () => {
    const [a, b] = DatagramPair.create();
    {
      using closing = a;
      closing.trySend(ONE);
      await using closingToo = b;
      closingToo.trySend(ONE);
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

/** One direction: the numbers that were sent and those that were received, each in its order. */
class Ledger {
  readonly given: number[] = [];
  readonly got: number[] = [];
  readonly pending: Promise<unknown>[] = [];
  readonly #from: DatagramPair;
  readonly #to: DatagramPair;

  constructor(from: DatagramPair, to: DatagramPair) {
    this.#from = from;
    this.#to = to;
  }

  call(what: (typeof CALLS)[number], count: number): void {
    const words = Array.from({ length: count }, () => Uint16Array.of(0));
    const bufs = words.map((word) => new Uint8Array(word.buffer));
    const [first = new Uint8Array(2)] = bufs;
    const take = (received: number) => {
      for (const word of words.slice(0, received)) this.got.push(word[0] as number);
    };
    const give = (sent: number) => {
      for (const word of words.slice(0, sent)) this.given.push(word[0] as number);
    };
    const isSend = what.toLowerCase().includes("send");
    if (isSend) for (const [i, word] of words.entries()) word[0] = this.given.length + i;
    if (what === "send" || what === "sendMany") give(count);
    if (what === "send") this.pending.push(this.#from.send(first));
    else if (what === "sendMany") this.pending.push(this.#from.sendMany(bufs));
    else if (what === "trySend") give(this.#from.trySend(first) === WouldBlock ? 0 : 1);
    else if (what === "trySendMany") give(orZero(this.#from.trySendMany(bufs)));
    else if (what === "recv") this.pending.push(this.#to.recv(first).then(() => take(1)));
    else if (what === "recvMany") this.pending.push(this.#to.recvMany(bufs).then(take));
    else take(this.#to.tryRecv(first) === WouldBlock ? 0 : 1);
  }
}

function orZero(result: number | WouldBlock): number {
  return result === WouldBlock ? 0 : result;
}

test("any mix of sends and receives arrives whole and in order, in both directions", async () => {
  const step = fc.record({
    direction: fc.nat(1),
    what: fc.constantFrom(...CALLS),
    count: fc.nat(4),
  });
  const steps = fc.array(step, { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 5 }), async (sequence, queueDatagrams) => {
      const [a, b] = DatagramPair.create({ queueDatagrams });
      const ledgers = [new Ledger(a, b), new Ledger(b, a)];
      for (const { direction, what, count } of sequence) {
        ledgers[direction]?.call(what, what.endsWith("Many") ? count : 1);
        // Whoever received notes it before the next call.
        await nextTurn();
      }
      for (const ledger of ledgers) {
        for (let last = -1; ledger.got.length > last; ) {
          last = ledger.got.length;
          ledger.call("tryRecv", 1);
          await nextTurn();
        }
      }
      a.close();
      b.close();
      await Promise.allSettled(ledgers.flatMap((ledger) => ledger.pending));
      for (const ledger of ledgers) expect(ledger.got).toEqual(ledger.given);
    }),
    { numRuns: 300 },
  );
});
