/**
 * `DatagramSocket`, which has both halves, and the buffered way into a socket: its default loops
 * and the one over any socket (`PoolBufIo`).
 */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  DatagramSocket,
  DatagramSocketRecv,
  DatagramSocketSend,
  DgramBuffer,
  Pending,
  type Poll,
  RawPoolBufDatagramIo,
  type Waker,
} from "../../lib/index.ts";
import { PoolBufIo } from "../../lib/traits/pool-io.ts";
import { counting } from "../tools/buffer-samples.ts";
import { BaseSocket, datagrams } from "./base-socket.ts";

describe("DatagramSocket", () => {
  test("has every method of DatagramSocketRecv, internal and symbol-named ones too", () => {
    const own = (type: { prototype: object }, name: string | symbol) =>
      Object.getOwnPropertyDescriptor(type.prototype, name);
    const names = Reflect.ownKeys(DatagramSocketRecv.prototype).filter(
      (name) => name !== "constructor",
    );
    expect(names).toContain(Symbol.asyncIterator);
    expect(names).toContain("recvMany");
    for (const name of names) {
      const copied = own(DatagramSocket, name);
      expect([name, copied !== undefined, copied?.enumerable]).toEqual([name, true, false]);
      // Both halves have asUdpSocket: the socket's own decides.
      if (name === "asUdpSocket") continue;
      expect(copied?.value).toBe(own(DatagramSocketRecv, name)?.value);
    }
  });

  test("is a DatagramSocketSend, which no name of the receive half hides", () => {
    const socket = new BaseSocket();
    expect(socket).toBeInstanceOf(DatagramSocketSend);
    for (const name of Reflect.ownKeys(DatagramSocketSend.prototype)) {
      if (name === "constructor" || name === "asUdpSocket") continue;
      expect([name, Object.hasOwn(DatagramSocket.prototype, name)]).toEqual([name, false]);
    }
  });

  test("has no descriptor, buffered way, UDP socket or peer of itself", () => {
    const socket = new BaseSocket();
    expect([
      socket.asRawIo(),
      socket.intoFd(),
      socket.asBufIo(),
      socket.asUdpSocket(),
      socket.peerAddr,
    ]).toEqual([undefined, undefined, undefined, undefined, undefined]);
  });

  test("keeps the errors of its two directions apart", async () => {
    const socket = new BaseSocket();
    socket.sendPlan.push("sent", new Error("refused"));
    expect(socket.trySendMany(datagrams(1, 3))).toBe(1);
    socket.arrived.push(Uint8Array.of(1));
    expect(await socket.recv(new Uint8Array(1))).toBe(1);
    await expect(socket.send(Uint8Array.of(1))).rejects.toThrow("refused");
  });
});

/** A buffered way with its two base methods alone. */
class BaseBufIo extends RawPoolBufDatagramIo {
  readonly arrived: (DgramBuffer | Error)[] = [];
  readonly wakers: (Waker | null)[] = [];

  override pollSendDatagrams(_waker: Waker | null, bufs: DgramBuffer[]): Poll<number> {
    return bufs.length;
  }

  override pollRecvDgram(waker: Waker | null): Poll<DgramBuffer> {
    const next = this.arrived.shift();
    this.wakers.push(waker);
    if (next === undefined) return Pending;
    if (next instanceof Error) throw next;
    return next;
  }
}

const buffers = (count: number) => datagrams(1, count).map((bytes) => DgramBuffer.fromSlice(bytes));

describe("RawPoolBufDatagramIo, whose receive of many is a loop", () => {
  test("appends what is there, up to the limit, behind what the array has", () => {
    const io = new BaseBufIo();
    const [first, second, third] = buffers(3) as [DgramBuffer, DgramBuffer, DgramBuffer];
    io.arrived.push(first, second, third);
    const earlier = new DgramBuffer();
    const out = [earlier];
    expect(io.pollRecvDatagrams(null, out, 0)).toBe(0);
    expect(io.pollRecvDatagrams(null, out, 2)).toBe(2);
    expect(io.pollRecvDatagrams(null, out, Number.MAX_SAFE_INTEGER)).toBe(1);
    expect(out).toEqual([earlier, first, second, third]);
    expect(out[3]).toBe(third);
  });

  test("answers Pending when there is none, and gives the waker to the first poll alone", () => {
    const io = new BaseBufIo();
    const waker = () => {};
    expect(io.pollRecvDatagrams(waker, [], 5)).toBe(Pending);
    io.arrived.push(...buffers(1));
    expect(io.pollRecvDatagrams(waker, [], 5)).toBe(1);
    expect(io.wakers).toEqual([waker, waker, null]);
  });

  test("answers a partial count rather than an error, which the next call throws, once", () => {
    const io = new BaseBufIo();
    const [first, second] = buffers(2) as [DgramBuffer, DgramBuffer];
    io.arrived.push(first, new Error("refused"), second);
    const out: DgramBuffer[] = [];
    expect(io.pollRecvDatagrams(null, out, 5)).toBe(1);
    expect(() => io.pollRecvDatagrams(null, out, 5)).toThrow("refused");
    expect(io.pollRecvDatagrams(null, out, 5)).toBe(1);
    expect(out).toEqual([first, second]);
  });

  test("throws an error that comes before the first", () => {
    const io = new BaseBufIo();
    io.arrived.push(new Error("refused"), ...buffers(1));
    expect(() => io.pollRecvDatagrams(null, [], 5)).toThrow("refused");
    expect(io.pollRecvDatagrams(null, [], 5)).toBe(1);
  });

  test("refuses a limit that is no count", () => {
    for (const limit of [-1, 0.5, Number.NaN, 2 ** 53, "1" as unknown as number]) {
      expect(() => new BaseBufIo().pollRecvDatagrams(null, [], limit)).toThrow(RangeError);
    }
  });
});

describe("PoolBufIo", () => {
  test("gives each datagram in a buffer of its own with headroom, which the caller keeps", () => {
    const [sender, receiver] = DatagramPair.create();
    const io = new PoolBufIo(receiver);
    sender.trySendMany([counting(1), counting(2), counting(3), counting(4)]);
    const out: DgramBuffer[] = [];
    expect(io.pollRecvDatagrams(null, out, 3)).toBe(3);
    const last = io.pollRecvDgram(null) as DgramBuffer;
    out.push(last);
    expect(out.map((buffer) => buffer.asSlice().toHex())).toEqual([
      "00",
      "0001",
      "000102",
      "00010203",
    ]);
    expect(out.map((buffer) => [buffer.headroom, buffer.capacity])).toEqual(
      Array(4).fill([16, 1516]),
    );
    expect(new Set(out.map((buffer) => buffer.asSlice().buffer)).size).toBe(4);
    expect(io.pollRecvDgram(null)).toBe(Pending);
  });

  test("sends by the socket, the payloads alone", () => {
    const [sender, receiver] = DatagramPair.create({ queueDatagrams: 2 });
    const io = new PoolBufIo(sender);
    const bufs = [counting(3), counting(2), counting(1)].map((bytes) => {
      const buffer = DgramBuffer.withCapacityAndHeadroom(20, 8);
      buffer.putSlice(bytes);
      return buffer;
    });
    expect(io.pollSendDatagrams(null, [])).toBe(0);
    expect(io.pollSendDatagrams(null, bufs)).toBe(2);
    expect(io.pollSendDatagrams(null, bufs.slice(2))).toBe(Pending);
    const received = new Uint8Array(9);
    expect([receiver.tryRecv(received), received[2]]).toEqual([3, 2]);
  });

  test("makes no buffer anew for a poll that got nothing", () => {
    let made = 0;
    const factory = {
      getMaxDgramBuf: () => {
        made++;
        return DgramBuffer.withCapacity(100);
      },
    };
    const [sender, receiver] = DatagramPair.create();
    const io = new PoolBufIo(receiver, factory);
    for (let i = 0; i < 10; i++) expect(io.pollRecvDgram(null)).toBe(Pending);
    expect(made).toBe(1);
    for (let i = 0; i < 10; i++) expect(io.pollRecvDatagrams(null, [], 4)).toBe(Pending);
    expect(made).toBe(4);
    sender.trySendMany(datagrams(1, 3));
    const out: DgramBuffer[] = [];
    expect(io.pollRecvDatagrams(null, out, 4)).toBe(3);
    expect(out.map((buffer) => buffer.asSlice()[0])).toEqual([1, 2, 3]);
    expect(made).toBe(4);
  });

  test("takes the buffers of another factory, of whatever size", () => {
    const [sender, receiver] = DatagramPair.create();
    const io = new PoolBufIo(receiver, {
      getMaxDgramBuf: () => DgramBuffer.withCapacityAndHeadroom(64, 4),
    });
    sender.trySend(counting(60));
    sender.trySend(counting(61));
    const out: DgramBuffer[] = [];
    expect(io.pollRecvDatagrams(null, out, 2)).toBe(2);
    // The second was cut off at the buffer's capacity.
    expect(out.map((buffer) => [buffer.headroom, buffer.length])).toEqual([
      [4, 60],
      [4, 60],
    ]);
  });

  test("wakes whoever polls it, and leaves the waker when it has none", () => {
    const [sender, receiver] = DatagramPair.create();
    const io = new PoolBufIo(receiver);
    let wakes = 0;
    const waker = () => {
      wakes++;
    };
    expect(io.pollRecvDatagrams(waker, [], 4)).toBe(Pending);
    expect([io.pollRecvDgram(null), io.pollRecvDatagrams(null, [], 4)]).toEqual([Pending, Pending]);
    sender.trySend(counting(1));
    expect(wakes).toBe(1);
  });

  test("answers a partial count rather than an error; either call throws it next, once", () => {
    for (const isSingle of [false, true]) {
      const socket = new BaseSocket();
      const io = new PoolBufIo(socket);
      socket.arrived.push(Uint8Array.of(1), new Error("refused"), Uint8Array.of(2));
      const out: DgramBuffer[] = [];
      expect(io.pollRecvDatagrams(null, out, 9)).toBe(1);
      const next = () => (isSingle ? io.pollRecvDgram(null) : io.pollRecvDatagrams(null, out, 9));
      expect(next).toThrow("refused");
      expect((io.pollRecvDgram(null) as DgramBuffer).asSlice()[0]).toBe(2);
    }
  });

  test("keeps its buffer when a receive fails", () => {
    const socket = new BaseSocket();
    let made = 0;
    const io = new PoolBufIo(socket, {
      getMaxDgramBuf: () => {
        made++;
        return DgramBuffer.withCapacity(10);
      },
    });
    for (let i = 0; i < 3; i++) {
      socket.arrived.push(new Error("refused"));
      expect(() => io.pollRecvDgram(null)).toThrow("refused");
    }
    socket.arrived.push(Uint8Array.of(1));
    expect((io.pollRecvDgram(null) as DgramBuffer).length).toBe(1);
    expect(made).toBe(1);
  });

  test("refuses a limit that is no count, by that name; takes 0 and the largest", () => {
    const [sender, receiver] = DatagramPair.create();
    const io = new PoolBufIo(receiver);
    for (const limit of [-1, 0.5, Number.NaN, 2 ** 53, "1" as unknown as number]) {
      expect(() => io.pollRecvDatagrams(null, [], limit)).toThrow('"limit" expected integer');
    }
    sender.trySendMany(Array<Uint8Array>(100).fill(counting(1)));
    expect(io.pollRecvDatagrams(null, [], 0)).toBe(0);
    const out: DgramBuffer[] = [];
    for (let taken = 0; taken < 100; ) {
      taken += io.pollRecvDatagrams(null, out, Number.MAX_SAFE_INTEGER) as number;
    }
    expect(out.length).toBe(100);
  });
});
