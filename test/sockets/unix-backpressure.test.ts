/**
 * Full peers: Linux lets few datagrams wait at a Unix socket and says EAGAIN beyond that, so this
 * is where a full socket is real. Nothing may be lost, nobody may sleep for ever, none may spin.
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
  nextTurn,
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

/** A receiver, and how to get a sender to it: connected to it, or told of it with each send. */
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

/** Sends without waiting until the peer is full: how many went. */
function fill(sender: UnixDatagram, to: SocketAddress | undefined): number {
  let count = 0;
  while (sender.trySendMany(numbered(1, count), { to }) !== WouldBlock) count++;
  return count;
}

describe.each(Object.keys(KINDS) as (keyof typeof KINDS)[])("%s senders", (kind) => {
  test("a full peer is would-block for try, and a partial count for a batch", async () => {
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

  test("sendMany to a full peer waits for room and loses nothing, in order", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const sending = sender.sendMany(numbered(3000), { to });
    await nextTurn();
    expect(await stateOf(sending)).toBe("pending");
    expect(await receiveNumbers(receiver, 3000)).toEqual(sequence(3000));
    expect(await sending).toBe(3000);
    expect(sender.counters.sendWouldBlocks).toBeGreaterThan(0);
    sender.close();
    receiver.close();
  });

  test("several senders to one peer all get through, each in its order", async () => {
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

  test("sends that wait go in the order in which they came; try takes no one's turn", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const filled = fill(sender, to);
    const one = sender.sendMany(numbered(1, filled), { to });
    const many = sender.sendMany(numbered(30, filled + 1), { to });
    const last = sender.sendMany(numbered(1, filled + 31), { to });
    // A try in between neither goes first nor takes the waker of the one that waits.
    expect(sender.trySendMany(numbered(1, 9999), { to })).toBe(WouldBlock);
    expect(await receiveNumbers(receiver, filled + 32)).toEqual(sequence(filled + 32));
    expect(await Promise.all([one, many, last])).toEqual([1, 30, 1]);
    sender.close();
    receiver.close();
  });

  test("a wait for room makes few system calls", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    fill(sender, to);
    const { sendCalls } = sender.counters;
    const sending = sender.sendMany(numbered(1), { to });
    // A loop that spins would make one call at least in each of these turns.
    for (let turn = 0; turn < 1000; turn++) await nextTurn();
    expect(sender.counters.sendCalls - sendCalls).toBeLessThan(100);
    expect(await stateOf(sending)).toBe("pending");
    sender.close();
    expect(isClosedError(await rejection(sending))).toBe(true);
    receiver.close();
  });

  test("an abort of a send that waits sends nothing more, and tells how many went", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const filled = fill(sender, to);
    const abort = new AbortController();
    const nothing = rejection(sender.sendMany(numbered(1), { to, signal: abort.signal }));
    abort.abort(new Error("enough"));
    expect(await nothing).toBe(abort.signal.reason);
    await receiveNumbers(receiver, filled);
    const second = new AbortController();
    const some = sender.sendMany(numbered(2000), { to, signal: second.signal });
    await nextTurn();
    second.abort();
    const sent = await some;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(2000);
    expect(await receiveNumbers(receiver, sent)).toEqual(sequence(sent));
    expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
    // The sender goes on.
    expect(await sender.sendMany(numbered(1, 7), { to })).toBe(1);
    expect(await receiveNumbers(receiver, 1)).toEqual([7]);
    sender.close();
    receiver.close();
  });

  test("a peer that closes while somebody waits for room is an error, not a sleep", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    fill(sender, to);
    const waiting = rejection(sender.sendMany(numbered(1), { to }));
    await nextTurn();
    receiver.close();
    expect(await waiting).toMatchObject({ name: "SocketError", code: "ECONNREFUSED" });
    sender.close();
  });

  test("close of the sender settles all who wait for room", async () => {
    const { receiver, open, to } = await KINDS[kind]();
    const sender = await open();
    const filled = fill(sender, to);
    const waiting = sequence(3).map(() => rejection(sender.sendMany(numbered(1), { to })));
    await nextTurn();
    sender.close();
    for (const rejected of waiting) expect(isClosedError(await rejected)).toBe(true);
    expect(await receiveNumbers(receiver, filled)).toEqual(sequence(filled));
    receiver.close();
  });
});

test("both directions of a pair wait at the same time, and neither keeps the other waiting", async () => {
  const [left, right] = await UnixDatagram.pair();
  const filled = fill(left, undefined);
  const received = left.recv(new Uint8Array(4));
  const sending = left.sendMany(numbered(500, filled));
  await nextTurn();
  await right.send(new Uint8Array(3));
  expect(await received).toBe(3);
  expect(await stateOf(sending)).toBe("pending");
  expect(await receiveNumbers(right, filled + 500)).toEqual(sequence(filled + 500));
  expect(await sending).toBe(500);
  left.close();
  right.close();
});

test("datagrams go both ways through full sockets at once, all in order", async () => {
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

test("a closed pair's datagrams that were sent before can still be received", async () => {
  const [left, right] = await UnixDatagram.pair();
  const bufs = targets(4);
  await left.sendMany(numbered(4));
  left.close();
  expect(await right.recvMany(bufs)).toBe(4);
  expect(bufs.map(numberOf)).toEqual([0, 1, 2, 3]);
  right.close();
});
