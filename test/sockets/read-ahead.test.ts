/**
 * Read-ahead: receives of one datagram read several messages from the kernel when datagrams queue
 * up. The datagrams arrive from separate sends, so that GRO has nothing to merge.
 */

import { describe, expect, test } from "bun:test";
import { UdpSocket, UnixDatagram, WouldBlock } from "../../lib/index.ts";
import {
  connectedPair,
  nextTick,
  numbered,
  numberOf,
  receiveNumbers,
  rejection,
  sequence,
  until,
} from "../tools/sockets.ts";

/** The largest number of messages that one receive reads. */
const READ_AHEAD_MAX = 32;
/** Fits in Linux's default buffer, which has room for 277 short datagrams. */
const COUNT = 200;

const isNative = await (async () => {
  using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  return socket.backend === "native";
})();
const testNative = isNative ? test : test.skip;

interface Pair extends Disposable {
  readonly receiver: UdpSocket;
  readonly sender: UdpSocket;
}

async function openPair(readAhead?: boolean): Promise<Pair> {
  const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", readAhead });
  const sender = await UdpSocket.bind({ hostname: "127.0.0.1", offload: false });
  return {
    receiver,
    sender,
    [Symbol.dispose]() {
      receiver.close();
      sender.close();
    },
  };
}

/** Sends datagrams `first` to `first + count - 1`, and returns when they are queued. */
async function queue({ receiver, sender }: Pair, count: number, first = 0): Promise<void> {
  const payloads = numbered(count, first);
  const to = receiver.localAddr;
  let sent = 0;
  while (sent < count) sent += await sender.sendMany(payloads, { start: sent, to });
}

/** Receives one by one, and returns the numbers. */
async function receiveSingly(socket: UdpSocket, count: number): Promise<number[]> {
  const numbers: number[] = [];
  const buf = new Uint8Array(64);
  while (numbers.length < count) {
    numbers.push(numberOf(buf.subarray(0, await socket.recv(buf))));
  }
  return numbers;
}

describe("read-ahead", () => {
  testNative("reads up to 32 messages with a system call, and keeps their order", async () => {
    using pair = await openPair();
    await queue(pair, COUNT);
    expect(await receiveSingly(pair.receiver, COUNT)).toEqual(sequence(COUNT));
    const { receiveCalls, messagesReceived, datagramsReceived } = pair.receiver.counters;
    // 1, 2, 4, 8, 16, and then 32 messages.
    expect(receiveCalls).toBeLessThanOrEqual(5 + Math.ceil((COUNT - 31) / READ_AHEAD_MAX));
    expect([messagesReceived, datagramsReceived]).toEqual([COUNT, COUNT]);
  });

  testNative("is off with readAhead: false", async () => {
    using pair = await openPair(false);
    await queue(pair, COUNT);
    expect(await receiveSingly(pair.receiver, COUNT)).toEqual(sequence(COUNT));
    expect(pair.receiver.counters.receiveCalls).toBeGreaterThanOrEqual(COUNT);
  });

  testNative("makes no more system calls for lone datagrams", async () => {
    const calls: number[] = [];
    for (const readAhead of [false, true]) {
      using pair = await openPair(readAhead);
      const buf = new Uint8Array(64);
      for (let i = 0; i < 50; i++) {
        const receiving = pair.receiver.recv(buf);
        await queue(pair, 1, i);
        expect(numberOf(buf.subarray(0, await receiving))).toBe(i);
      }
      calls.push(pair.receiver.counters.receiveCalls);
    }
    expect(calls[1]).toBeLessThanOrEqual(calls[0] as number);
  });

  testNative("keeps the order when single receives and batches take turns", async () => {
    using pair = await openPair();
    await queue(pair, COUNT);
    const numbers: number[] = [];
    while (numbers.length < COUNT) {
      numbers.push(...(await receiveSingly(pair.receiver, Math.min(7, COUNT - numbers.length))));
      const several = Math.min(3, COUNT - numbers.length);
      if (several > 0) numbers.push(...(await receiveNumbers(pair.receiver, several)));
    }
    expect(numbers).toEqual(sequence(COUNT));
  });

  testNative("returns the length, truncation and source of each datagram", async () => {
    using pair = await openPair();
    const other = await UdpSocket.bind({ hostname: "127.0.0.1" });
    for (let i = 0; i < 20; i++) {
      const from = i % 2 === 0 ? pair.sender : other;
      await from.sendTo(new Uint8Array(1 + i).fill(i), pair.receiver.localAddr);
    }
    const buf = new Uint8Array(10);
    for (let i = 0; i < 20; i++) {
      const { length, datagramLength, truncated, peer } = await pair.receiver.recvFrom(buf);
      const from = i % 2 === 0 ? pair.sender : other;
      expect([length, datagramLength, truncated, peer?.port]).toEqual([
        Math.min(1 + i, 10),
        1 + i,
        i >= 10,
        from.localAddr.port,
      ]);
      expect(buf[0]).toBe(i);
    }
    expect(pair.receiver.counters.datagramsTruncated).toBe(10);
    other.close();
  });

  testNative("counts the datagrams that were read and not returned, at close", async () => {
    const pair = await openPair();
    await queue(pair, COUNT);
    await receiveSingly(pair.receiver, 20);
    pair[Symbol.dispose]();
    const { messagesReceived, datagramsReceived, datagramsDropped } = pair.receiver.counters;
    expect(datagramsReceived).toBe(20);
    expect(datagramsDropped).toBe(messagesReceived - 20);
    expect(datagramsDropped).toBeGreaterThan(0);
    expect(datagramsDropped).toBeLessThan(READ_AHEAD_MAX);
  });

  testNative("counts them at intoFd, and leaves the others to the next owner", async () => {
    using pair = await openPair();
    await queue(pair, COUNT);
    await receiveSingly(pair.receiver, 20);
    const next = await UdpSocket.fromFd(pair.receiver.intoFd() as number);
    const { counters } = pair.receiver;
    const first = counters.datagramsReceived + counters.datagramsDropped;
    expect(await receiveSingly(next, COUNT - first)).toEqual(sequence(COUNT - first, first));
    expect(next.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
    next.close();
  });

  testNative("asRawIo stops it: what is not read stays in the kernel", async () => {
    using pair = await openPair();
    await queue(pair, COUNT);
    const { receiver } = pair;
    await receiveSingly(receiver, 10);
    expect(receiver.asRawIo()).toBeNumber();
    const { messagesReceived } = receiver.counters;
    expect(receiver.unreadDatagrams).toBe(messagesReceived - 10);
    expect(receiver.unreadDatagrams).toBeGreaterThan(0);
    await receiveSingly(receiver, messagesReceived - 10);
    expect(receiver.unreadDatagrams).toBe(0);
    expect(receiver.counters.messagesReceived).toBe(messagesReceived);
    expect(await receiveSingly(receiver, 5)).toEqual(sequence(5, messagesReceived));
    expect(receiver.counters.messagesReceived).toBe(messagesReceived + 5);
  });

  testNative("a socket that is closed while datagrams are unread ends a receive", async () => {
    const pair = await openPair();
    await queue(pair, 10);
    await receiveSingly(pair.receiver, 3);
    pair[Symbol.dispose]();
    const error = await rejection(pair.receiver.recv(new Uint8Array(4)));
    expect(error).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });

  testNative("Unix sockets do not read ahead, so that their peers wait", async () => {
    const [left, right] = await UnixDatagram.pair();
    let sent = 0;
    while (left.trySend(Uint8Array.of(sent)) !== WouldBlock) sent++;
    const buf = new Uint8Array(1);
    for (let i = 0; i < 5; i++) expect(await right.recv(buf)).toBe(1);
    await nextTick();
    let more = 0;
    while (left.trySend(Uint8Array.of(more)) !== WouldBlock) more++;
    expect(more).toBe(5);
    expect(right.counters.messagesReceived).toBe(5);
    left.close();
    right.close();
  });

  test("the queue of the portable backend counts as unread", async () => {
    const { receiver, sender } = await connectedPair("portable");
    await sender.sendMany(numbered(3));
    await until(() => receiver.unreadDatagrams === 3);
    expect(await receiver.recv(new Uint8Array(4))).toBe(4);
    expect(receiver.unreadDatagrams).toBe(2);
    for (const socket of [receiver, sender]) socket.close();
    expect([receiver.unreadDatagrams, receiver.counters.datagramsDropped]).toEqual([0, 2]);
  });

  test("the option must be a boolean", async () => {
    const options = { hostname: "127.0.0.1", readAhead: "yes" as unknown as boolean };
    const error = await rejection(UdpSocket.bind(options));
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toContain("readAhead");
  });
});
