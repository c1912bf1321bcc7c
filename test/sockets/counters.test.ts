/** `socket.counters`: datagrams, bytes, system calls, errors, and snapshots. */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, type SocketCounters, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import {
  BACKENDS,
  closedPort,
  connectedPair,
  numbered,
  receiveNumbers,
  sequence,
  targets,
  thrown,
  until,
} from "../tools/sockets.ts";

/** Returns the counters that are not zero. */
function nonZero(counters: SocketCounters): Partial<SocketCounters> {
  return Object.fromEntries(Object.entries(counters).filter(([, value]) => value !== 0));
}

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test("all counters of a new socket are zero", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    expect(nonZero(socket.counters)).toEqual({});
  });

  test("both sides count datagrams, including empty ones, and their bytes", async () => {
    const { receiver, sender } = await connectedPair(backend);
    await sender.send(new Uint8Array(10));
    sender.trySend(DgramBuffer.fromSlice(new Uint8Array(5)));
    await sender.sendMany([new Uint8Array(0), new Uint8Array(7), new Uint8Array(8)]);
    const bufs = targets(5, 100);
    let got = 0;
    while (got < 5) got += await receiver.recvMany(bufs, { start: got });
    const sent = sender.counters;
    expect([sent.datagramsSent, sent.bytesSent]).toEqual([5, 30]);
    expect([sent.datagramsReceived, sent.bytesReceived]).toEqual([0, 0]);
    expect([sent.sendErrors, sent.sendWouldBlocks]).toEqual([0, 0]);
    const received = receiver.counters;
    expect([received.datagramsReceived, received.bytesReceived]).toEqual([5, 30]);
    expect([received.datagramsSent, received.bytesSent]).toEqual([0, 0]);
    expect(received.datagramsTruncated + received.receiveErrors + received.datagramsDropped).toBe(
      0,
    );
    // The same numbers in the form of transport statistics.
    expect(sender.asSocketStats()).toMatchObject({ packetsSent: 5, bytesSent: 30 });
    expect(receiver.asSocketStats()).toMatchObject({ packetsRecvd: 5, bytesRecvd: 30 });
    expect(receiver.asQuicStats()).toBeUndefined();
    sender.close();
    receiver.close();
  });

  test("a truncated datagram is counted once, with only the bytes that were stored", async () => {
    const { receiver, sender } = await connectedPair(backend);
    await sender.sendMany([new Uint8Array(10), new Uint8Array(4), new Uint8Array(5)]);
    const bufs = targets(3, 4);
    let got = 0;
    while (got < 3) got += await receiver.recvMany(bufs, { start: got });
    const { datagramsTruncated, datagramsReceived, bytesReceived } = receiver.counters;
    expect([datagramsTruncated, datagramsReceived, bytesReceived]).toEqual([2, 3, 12]);
    sender.close();
    receiver.close();
  });

  test("would-block results and errors have separate counters", async () => {
    const to = { hostname: "127.0.0.1", port: await closedPort() };
    await using socket = await UdpSocket.connect(to, { backend });
    for (let i = 0; i < 3; i++) socket.tryRecv(new Uint8Array(1));
    expect(socket.counters).toMatchObject({ receiveWouldBlocks: 3, receiveErrors: 0 });
    socket.trySend(new Uint8Array(1));
    thrown(() => socket.trySend(new Uint8Array(1)));
    expect(socket.counters).toMatchObject({ sendErrors: 1, sendWouldBlocks: 0, datagramsSent: 1 });
    const sent = socket.counters.sendCalls;
    expect(thrown(() => socket.trySend(new Uint8Array(70_000)))).toMatchObject({
      code: "EMSGSIZE",
    });
    expect(socket.counters).toMatchObject({ sendErrors: 2, sendCalls: sent + 1 });
  });

  test("a call that throws because of invalid arguments changes no counter", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    thrown(() => socket.trySendTo(5 as never, socket.localAddr));
    thrown(() => socket.tryRecv(DgramBuffer.fromSlice(new Uint8Array(1))));
    thrown(() => socket.tryRecvMany([], { count: 1 }));
    expect(nonZero(socket.counters)).toEqual({});
  });

  test("counters are a copy, and can be read after close", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const before = sender.counters;
    await sender.send(new Uint8Array(3));
    expect(before.datagramsSent).toBe(0);
    before.datagramsSent = 77;
    expect(sender.counters.datagramsSent).toBe(1);
    sender.close();
    expect(sender.counters).toMatchObject({ datagramsSent: 1, bytesSent: 3 });
    receiver.close();
  });
});

test("100 datagrams without offload take one send call and up to two receive calls", async () => {
  const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", offload: false });
  const { address, port } = receiver.localAddr;
  const to = { hostname: address, port };
  const sender = await UdpSocket.connect(to, { offload: false });
  await sender.sendMany(numbered(100));
  expect(sender.counters).toMatchObject({ sendCalls: 1, messagesSent: 100, datagramsSent: 100 });
  expect(receiver.tryRecvMany(targets(100))).toBe(100);
  // The first call fills the number of buffers that is expected, the second the remaining ones.
  expect(receiver.counters.receiveCalls).toBeLessThanOrEqual(2);
  expect(receiver.counters).toMatchObject({ messagesReceived: 100, datagramsReceived: 100 });
  sender.close();
  receiver.close();
});

test("a send to a full peer is counted as would-block, not as error", async () => {
  const [left, right] = await UnixDatagram.pair();
  const sent = left.trySendMany(numbered(2000)) as number;
  left.trySend(new Uint8Array(1));
  expect(left.counters).toMatchObject({
    datagramsSent: sent,
    bytesSent: 4 * sent,
    sendErrors: 0,
    sendWouldBlocks: 1,
  });
  left.close();
  right.close();
});

test("the portable backend counts the datagrams that its full queue drops", async () => {
  await using receiver = await UdpSocket.bind({
    hostname: "127.0.0.1",
    backend: "portable",
    receiveQueueDatagrams: 10,
  });
  await using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
  await sender.sendMany(numbered(50), { to: receiver.localAddr });
  await until(() => receiver.counters.receiveCalls === 50);
  expect(receiver.counters.datagramsDropped).toBe(40);
  expect(await receiveNumbers(receiver, 10)).toEqual(sequence(10));
  expect(receiver.counters).toMatchObject({ datagramsReceived: 10, datagramsDropped: 40 });
  // The queue has room again. Datagrams still queued at close are counted as dropped, too.
  await sender.sendMany(numbered(4), { to: receiver.localAddr });
  await until(() => receiver.counters.receiveCalls === 54);
  expect(await receiver.recv(new Uint8Array(4))).toBe(4);
  receiver.close();
  expect(receiver.counters).toMatchObject({ datagramsReceived: 11, datagramsDropped: 43 });
});
