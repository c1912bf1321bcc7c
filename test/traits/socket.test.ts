/**
 * `DatagramSocket`, which has both halves, and buffered I/O: the default methods of
 * `RawPoolBufDatagramIo`, and `PoolBufIo`, which works over any socket.
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
import { numberErrorOf } from "../tools/errors.ts";
import { datagrams, ScriptedSocket } from "./scripted-socket.ts";

describe("DatagramSocket", () => {
  test("has every method of DatagramSocketRecv, including internal and symbol-named ones", () => {
    const own = (type: { prototype: object }, name: string | symbol) =>
      Object.getOwnPropertyDescriptor(type.prototype, name);
    const names = Reflect.ownKeys(DatagramSocketRecv.prototype).filter(
      (name) => name !== "constructor",
    );
    expect(names).toContain(Symbol.asyncIterator);
    expect(names).toContain("recvMany");
    for (const name of names) {
      const isInherited = String(name).includes("inspect");
      const copied = own(isInherited ? DatagramSocketSend : DatagramSocket, name);
      expect([name, copied !== undefined, copied?.enumerable]).toEqual([name, true, false]);
      // Declared by both halves: either may be inherited.
      if (name === "asUdpSocket" || String(name).includes("inspect")) continue;
      expect(copied?.value).toBe(own(DatagramSocketRecv, name)?.value);
    }
  });

  test("is a DatagramSocketSend, whose methods the receive half does not hide", () => {
    const socket = new ScriptedSocket();
    expect(socket).toBeInstanceOf(DatagramSocketSend);
    for (const name of Reflect.ownKeys(DatagramSocketSend.prototype)) {
      if (name === "constructor" || name === "asUdpSocket") continue;
      expect([name, Object.hasOwn(DatagramSocket.prototype, name)]).toEqual([name, false]);
    }
  });

  test("has no descriptor, buffered I/O, UDP socket or peer address by default", () => {
    const socket = new ScriptedSocket();
    expect([
      socket.asRawIo(),
      socket.intoFd(),
      socket.asBufIo(),
      socket.asUdpSocket(),
      socket.peerAddr,
    ]).toEqual([undefined, undefined, undefined, undefined, undefined]);
  });

  test("does not throw the deferred error of a receive from a send", async () => {
    const socket = new ScriptedSocket();
    const bufs = [new Uint8Array(1), new Uint8Array(1)];
    socket.arrived.push(Uint8Array.of(1), new Error("unreachable"));
    expect(socket.tryRecvMany(bufs)).toBe(1);
    expect(await socket.send(Uint8Array.of(1))).toBe(1);
    await expect(socket.recv(new Uint8Array(1))).rejects.toThrow("unreachable");
  });
});

/** Buffered I/O that implements only the two abstract methods. */
class ScriptedBufIo extends RawPoolBufDatagramIo {
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

describe("pollRecvDatagrams of RawPoolBufDatagramIo", () => {
  test("appends the available datagrams to the array, up to the limit", () => {
    const io = new ScriptedBufIo();
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

  test("returns Pending if there is none, and passes its waker to one poll only", () => {
    const io = new ScriptedBufIo();
    const waker = () => {};
    expect(io.pollRecvDatagrams(waker, [], 5)).toBe(Pending);
    io.arrived.push(...buffers(1));
    expect(io.pollRecvDatagrams(waker, [], 5)).toBe(1);
    expect(io.wakers).toEqual([waker, waker, null]);
  });

  test("returns the count before an error, which the next call throws once", () => {
    const io = new ScriptedBufIo();
    const [first, second] = buffers(2) as [DgramBuffer, DgramBuffer];
    io.arrived.push(first, new Error("refused"), second);
    const out: DgramBuffer[] = [];
    expect(io.pollRecvDatagrams(null, out, 5)).toBe(1);
    expect(() => io.pollRecvDatagrams(null, out, 5)).toThrow("refused");
    expect(io.pollRecvDatagrams(null, out, 5)).toBe(1);
    expect(out).toEqual([first, second]);
  });

  test("throws an error that precedes the first datagram", () => {
    const io = new ScriptedBufIo();
    io.arrived.push(new Error("refused"), ...buffers(1));
    expect(() => io.pollRecvDatagrams(null, [], 5)).toThrow("refused");
    expect(io.pollRecvDatagrams(null, [], 5)).toBe(1);
  });

  test("refuses a limit that is negative, fractional, too large or not a number", () => {
    for (const limit of [-1, 0.5, Number.NaN, 2 ** 53, "1" as unknown as number]) {
      expect(() => new ScriptedBufIo().pollRecvDatagrams(null, [], limit)).toThrow(
        numberErrorOf(limit),
      );
    }
  });
});

describe("PoolBufIo", () => {
  test("receives each datagram in a new buffer with headroom", () => {
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

  test("sends the payloads through the socket, without headroom", () => {
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

  test("does not allocate buffers again for polls that received nothing", () => {
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

  test("uses the buffers of a custom factory, whatever their size", () => {
    const [sender, receiver] = DatagramPair.create();
    const io = new PoolBufIo(receiver, {
      getMaxDgramBuf: () => DgramBuffer.withCapacityAndHeadroom(64, 4),
    });
    sender.trySend(counting(60));
    sender.trySend(counting(61));
    const out: DgramBuffer[] = [];
    expect(io.pollRecvDatagrams(null, out, 2)).toBe(2);
    // The second datagram was truncated to the capacity of its buffer.
    expect(out.map((buffer) => [buffer.headroom, buffer.length])).toEqual([
      [4, 60],
      [4, 60],
    ]);
  });

  test("calls the waker of a pending poll, which later polls without a waker keep", () => {
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

  test("returns the count before an error, which either method then throws once", () => {
    for (const isSingle of [false, true]) {
      const socket = new ScriptedSocket();
      const io = new PoolBufIo(socket);
      socket.arrived.push(Uint8Array.of(1), new Error("refused"), Uint8Array.of(2));
      const out: DgramBuffer[] = [];
      expect(io.pollRecvDatagrams(null, out, 9)).toBe(1);
      const next = () => (isSingle ? io.pollRecvDgram(null) : io.pollRecvDatagrams(null, out, 9));
      expect(next).toThrow("refused");
      expect((io.pollRecvDgram(null) as DgramBuffer).asSlice()[0]).toBe(2);
    }
  });

  test("reuses the buffer of a receive that failed", () => {
    const socket = new ScriptedSocket();
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

  test("refuses an invalid limit by name, and accepts 0 and the largest integer", () => {
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
