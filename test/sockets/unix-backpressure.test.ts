/**
 * Backpressure on Unix datagram sockets. Linux queues only a few datagrams at a Unix socket
 * (net.unix.max_dgram_qlen), and a send to a full one fails with EAGAIN. Sends must then wait for
 * room without losing datagrams, missing the wakeup or busy-polling.
 */

import { describe, expect, test } from "bun:test";
import {
  isClosedError,
  Pending,
  SocketAddress,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import {
  nextTick,
  numbered,
  numberOf,
  receiveNumbers,
  rejection,
  sequence,
  stateOf,
  targets,
} from "../tools/sockets.ts";

let names = 0;

function boundReceiver(): Promise<UnixDatagram> {
  return UnixDatagram.bind(SocketAddress.abstract(`datagram-flow-${process.pid}-${names++}`));
}

/** Open a receiver. Its senders are connected to it, or pass its address with each send. */
const KINDS = {
  connected: async () => {
    const receiver = await boundReceiver();
    const open = () => UnixDatagram.unbound({ connect: receiver.localAddr });
    return { receiver, open, to: undefined };
  },
  unconnected: async () => {
    const receiver = await boundReceiver();
    return { receiver, open: () => UnixDatagram.unbound(), to: receiver.localAddr };
  },
};

/** Sends without waiting until the peer is full. Returns the number of datagrams sent. */
function fill(sender: UnixDatagram, to: SocketAddress | undefined): number {
  let count = 0;
  while (sender.trySendMany(numbered(1, count), { to }) !== WouldBlock) count++;
  return count;
}

describe.each(Object.keys(KINDS) as (keyof typeof KINDS)[])("Unix socket, %s sender", (kind) => {
  test("trySendMany returns the count that the peer has room for, then WouldBlock", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const sent = sender.trySendMany(numbered(2000), { to }) as number;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(2000);
    expect(sender.trySendMany(numbered(2), { to })).toBe(WouldBlock);
    expect(sender.pollSendMany(null, numbered(2), { to })).toBe(Pending);
    expect(sender.counters.sendWouldBlocks).toBe(2);
    expect(sender.counters.sendErrors).toBe(0);
    expect(await receiveNumbers(receiver, sent)).toEqual(sequence(sent));
    expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
    sender.close();
    receiver.close();
  });

  test("sendMany waits for room at a full peer, and all datagrams arrive in order", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const sending = sender.sendMany(numbered(3000), { to });
    await nextTick();
    expect(await stateOf(sending)).toBe("pending");
    expect(await receiveNumbers(receiver, 3000)).toEqual(sequence(3000));
    expect(await sending).toBe(3000);
    expect(sender.counters.sendWouldBlocks).toBeGreaterThan(0);
    sender.close();
    receiver.close();
  });

  test("the datagrams of five senders to one peer all arrive, in order per sender", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const senders = await Promise.all(sequence(5).map(open));
    const sending = senders.map((sender, i) => sender.sendMany(numbered(300, 1000 * i), { to }));
    const numbers = await receiveNumbers(receiver, 1500);
    expect(await Promise.all(sending)).toEqual(sequence(5).map(() => 300));
    for (let i = 0; i < 5; i++) {
      const own = numbers.filter((number) => Math.floor(number / 1000) === i);
      expect(own).toEqual(sequence(300, 1000 * i));
    }
    for (const sender of senders) sender.close();
    receiver.close();
  });

  test("pending sends are served in call order, and not overtaken by trySendMany", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const filled = fill(sender, to);
    const one = sender.sendMany(numbered(1, filled), { to });
    const many = sender.sendMany(numbered(30, filled + 1), { to });
    const last = sender.sendMany(numbered(1, filled + 31), { to });
    // Neither sends before the pending sends nor replaces their waker.
    expect(sender.trySendMany(numbered(1, 9999), { to })).toBe(WouldBlock);
    expect(await receiveNumbers(receiver, filled + 32)).toEqual(sequence(filled + 32));
    expect(await Promise.all([one, many, last])).toEqual([1, 30, 1]);
    sender.close();
    receiver.close();
  });

  test("a pending send does not busy-poll", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    fill(sender, to);
    const { sendCalls } = sender.counters;
    const sending = sender.sendMany(numbered(1), { to });
    // A socket that spins would make at least one call in each of these ticks.
    for (let tick = 0; tick < 1000; tick++) await nextTick();
    expect(sender.counters.sendCalls - sendCalls).toBeLessThan(100);
    expect(await stateOf(sending)).toBe("pending");
    sender.close();
    expect(isClosedError(await rejection(sending))).toBe(true);
    receiver.close();
  });

  test("an aborted sendMany resolves with the number sent, or rejects if it is 0", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const filled = fill(sender, to);
    const abort = new AbortController();
    const rejected = rejection(sender.sendMany(numbered(1), { to, signal: abort.signal }));
    abort.abort(new Error("aborted"));
    expect(await rejected).toBe(abort.signal.reason);
    await receiveNumbers(receiver, filled);
    const second = new AbortController();
    const partial = sender.sendMany(numbered(2000), { to, signal: second.signal });
    await nextTick();
    second.abort();
    const sent = await partial;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(2000);
    expect(await receiveNumbers(receiver, sent)).toEqual(sequence(sent));
    expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
    // The sender is still usable.
    expect(await sender.sendMany(numbered(1, 7), { to })).toBe(1);
    expect(await receiveNumbers(receiver, 1)).toEqual([7]);
    sender.close();
    receiver.close();
  });

  test("a pending send rejects with ECONNREFUSED when the peer closes", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    fill(sender, to);
    const waiting = rejection(sender.sendMany(numbered(1), { to }));
    await nextTick();
    receiver.close();
    expect(await waiting).toMatchObject({ name: "SocketError", code: "ECONNREFUSED" });
    sender.close();
  });

  test("closing the sender rejects its pending sends, and keeps what was sent", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const filled = fill(sender, to);
    const waiting = sequence(3).map(() => rejection(sender.sendMany(numbered(1), { to })));
    await nextTick();
    sender.close();
    for (const rejected of waiting) expect(isClosedError(await rejected)).toBe(true);
    expect(await receiveNumbers(receiver, filled)).toEqual(sequence(filled));
    receiver.close();
  });
});

test("a pending send to a full peer is retried by a timer, as the kernel reports no event", async () => {
  const receiver = await boundReceiver();
  const sender = await UnixDatagram.unbound();
  const to = receiver.localAddr;
  fill(sender, to);
  const { sendCalls } = sender.counters;
  const startMs = performance.now();
  const sending = rejection(sender.sendMany(numbered(1), { to }));
  for (let tick = 0; tick < 300; tick++) await nextTick();
  const elapsedMs = performance.now() - startMs;
  sender.close();
  await sending;
  // The first call, and retries after 1, 2, 4, 8 and then every 16 ms.
  expect(sender.counters.sendCalls - sendCalls).toBeLessThanOrEqual(7 + elapsedMs / 16);
  receiver.close();
});

test("a pending send and a pending receive of a socket do not block each other", async () => {
  const [left, right] = await UnixDatagram.pair();
  const filled = fill(left, undefined);
  const received = left.recv(new Uint8Array(4));
  const sending = left.sendMany(numbered(500, filled));
  await nextTick();
  await right.send(new Uint8Array(3));
  expect(await received).toBe(3);
  expect(await stateOf(sending)).toBe("pending");
  expect(await receiveNumbers(right, filled + 500)).toEqual(sequence(filled + 500));
  expect(await sending).toBe(500);
  left.close();
  right.close();
});

test("a Unix pair transfers 2000 datagrams in each direction at once, in order", async () => {
  const [left, right] = await UnixDatagram.pair();
  const results = await Promise.all([
    left.sendMany(numbered(2000)),
    right.sendMany(numbered(2000)),
    receiveNumbers(left, 2000),
    receiveNumbers(right, 2000),
  ]);
  expect(results).toEqual([2000, 2000, sequence(2000), sequence(2000)]);
  left.close();
  right.close();
});

test("datagrams that an end of a Unix pair sent before its close can be received", async () => {
  const [left, right] = await UnixDatagram.pair();
  const bufs = targets(4);
  await left.sendMany(numbered(4));
  left.close();
  expect(await right.recvMany(bufs)).toBe(4);
  expect(bufs.map(numberOf)).toEqual([0, 1, 2, 3]);
  right.close();
});
