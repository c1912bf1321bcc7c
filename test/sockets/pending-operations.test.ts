/** Pending operations of UDP sockets: order of callers, wakers, aborts, close, and iteration. */

import { describe, expect, test } from "bun:test";
import { isClosedError, Pending, SocketError, UdpSocket, WouldBlock } from "../../lib/index.ts";
import {
  BACKENDS,
  connectedPair,
  nextTick,
  numbered,
  numberOf,
  receiveNumbers,
  rejection,
  sequence,
  stateOf,
  targets,
  thrown,
  until,
} from "../tools/sockets.ts";

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test("the first trySend on a new socket sends, the first tryRecv finds nothing", async () => {
    const { receiver, sender } = await connectedPair(backend);
    expect(receiver.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
    expect(sender.trySend(new Uint8Array(1))).toBe(1);
    const { receiver: other, sender: another } = await connectedPair(backend);
    expect(another.trySendMany(numbered(3))).toBe(3);
    for (const socket of [receiver, sender, other, another]) socket.close();
  });

  test("pending receives are served in call order", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const order: number[] = [];
    const bufs = targets(50);
    const waiting = bufs.map(async (buf, i) => {
      if (i % 3 === 0) await receiver.recvFrom(buf);
      else if (i % 3 === 1) await receiver.recvMany([buf]);
      else await receiver.recv(buf);
      order.push(i);
    });
    for (const payload of numbered(50)) {
      await sender.send(payload);
      if (numberOf(payload) % 7 === 0) await nextTick();
    }
    await Promise.all(waiting);
    expect(bufs.map(numberOf)).toEqual(sequence(50));
    expect(order).toEqual(sequence(50));
    sender.close();
    receiver.close();
  });

  test("tryRecv takes no datagram from a pending receive", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const buf = new Uint8Array(4);
    const waiting = receiver.recv(buf);
    expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
    expect(receiver.tryRecvMany(targets(4))).toBe(WouldBlock);
    await sender.send(new Uint8Array([0, 0, 0, 5]));
    expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
    expect(await waiting).toBe(4);
    expect(numberOf(buf)).toBe(5);
    sender.close();
    receiver.close();
  });

  test("a poll without waker keeps the waker of an earlier poll", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const { promise, resolve } = Promise.withResolvers<void>();
    expect(receiver.pollRecv(resolve, new Uint8Array(4))).toBe(Pending);
    expect(receiver.pollRecv(null, new Uint8Array(4))).toBe(Pending);
    expect(receiver.pollRecvMany(null, targets(2))).toBe(Pending);
    await sender.send(new Uint8Array(4));
    await promise;
    expect(await receiver.recv(new Uint8Array(4))).toBe(4);
    sender.close();
    receiver.close();
  });

  test("only the waker of the latest poll is called", async () => {
    const { receiver, sender } = await connectedPair(backend);
    let earlierCalls = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    expect(receiver.pollRecv(() => earlierCalls++, new Uint8Array(4))).toBe(Pending);
    expect(receiver.pollRecv(resolve, new Uint8Array(4))).toBe(Pending);
    await sender.send(new Uint8Array(4));
    await promise;
    expect(earlierCalls).toBe(0);
    sender.close();
    receiver.close();
  });

  test("an aborted receive takes no datagram: the next receive gets it", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const reason = new Error("aborted");
    for (const when of ["before", "during", "after the datagram"]) {
      const abort = new AbortController();
      if (when === "before") abort.abort(reason);
      const { signal } = abort;
      const waits = [
        receiver.recv(new Uint8Array(4), { signal }),
        receiver.recvFrom(new Uint8Array(4), { signal }),
        receiver.recvMany(targets(4), { signal }),
      ];
      const rejections = waits.map(rejection);
      if (when === "during") await nextTick();
      if (when === "after the datagram") await sender.send(new Uint8Array([0, 0, 0, 1]));
      abort.abort(reason);
      for (const rejected of rejections) expect(await rejected).toBe(reason);
      if (when !== "after the datagram") await sender.send(new Uint8Array([0, 0, 0, 1]));
      expect(await receiveNumbers(receiver, 1)).toEqual([1]);
    }
    sender.close();
    receiver.close();
  });

  test("aborting some of several pending receives keeps the order of the others", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const aborts = sequence(9).map(() => new AbortController());
    const bufs = targets(9);
    const waiting = bufs.map((buf, i) => receiver.recv(buf, { signal: aborts[i]?.signal }));
    const settled = Promise.allSettled(waiting);
    for (const i of [0, 4, 8]) aborts[i]?.abort();
    await sender.sendMany(numbered(6));
    const results = await settled;
    const isAborted = (i: number) => i % 4 === 0;
    for (const [i, { status }] of results.entries()) {
      expect(status).toBe(isAborted(i) ? "rejected" : "fulfilled");
    }
    expect(bufs.filter((_, i) => !isAborted(i)).map(numberOf)).toEqual(sequence(6));
    expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
    sender.close();
    receiver.close();
  });

  test("an aborted send sends nothing, unless it was sent before the abort", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const signal = AbortSignal.abort(new Error("aborted"));
    const to = receiver.localAddr;
    const sends = [
      sender.send(new Uint8Array(1), { signal }),
      sender.sendTo(new Uint8Array(1), to, { signal }),
      sender.sendMany(numbered(2), { signal }),
    ];
    for (const send of sends) expect(await rejection(send)).toBe(signal.reason);
    expect(sender.counters.sendCalls).toBe(0);
    const abort = new AbortController();
    const sent = sender.sendMany(numbered(3), { signal: abort.signal });
    // Sends all datagrams at once, or none if the time budget of this tick is used up.
    const isSent = sender.counters.datagramsSent === 3;
    abort.abort();
    if (isSent) expect(await sent).toBe(3);
    else expect(await rejection(sent)).toBe(abort.signal.reason);
    if (!isSent) await sender.sendMany(numbered(3));
    expect(await receiveNumbers(receiver, 3)).toEqual([0, 1, 2]);
    sender.close();
    receiver.close();
  });

  test("close rejects pending receives, and later calls throw ERR_SOCKET_CLOSED", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const buf = new Uint8Array(4);
    const waiting = [receiver.recv(buf), receiver.recvFrom(buf), receiver.recvMany([buf])].map(
      rejection,
    );
    const iterating = receiver.batches().next();
    await nextTick();
    expect(receiver.isClosed).toBe(false);
    receiver.close();
    receiver.close();
    for (const rejected of waiting) {
      const error = await rejected;
      expect(error).toBeInstanceOf(SocketError);
      expect(isClosedError(error)).toBe(true);
    }
    expect((await iterating).done).toBe(true);
    expect(receiver.isClosed).toBe(true);
    const to = sender.localAddr;
    const calls = [
      () => receiver.tryRecv(buf),
      () => receiver.tryRecvMany([buf]),
      () => receiver.trySendTo(buf, to),
      () => receiver.trySendMany([buf], { to }),
      () => receiver.pollRecv(() => {}, buf),
      () => receiver.pollSendTo(() => {}, buf, to),
    ];
    for (const call of calls) expect(isClosedError(thrown(call))).toBe(true);
    const promises = [
      receiver.recv(buf),
      receiver.recvFrom(buf),
      receiver.recvMany([buf]),
      receiver.sendTo(buf, to),
      receiver.sendMany([buf], { to }),
    ];
    for (const promise of promises) expect(isClosedError(await rejection(promise))).toBe(true);
    // The local address stays available. `ref` and `unref` have no effect.
    expect(receiver.localAddr.port).toBeGreaterThan(0);
    expect(receiver.ref()).toBe(receiver);
    expect(receiver.unref()).toBe(receiver);
    sender.close();
  });

  test("a pending receive rejects if the caller before it closes the socket", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const first = receiver.recv(new Uint8Array(4)).then((length) => {
      receiver.close();
      return length;
    });
    const second = rejection(receiver.recv(new Uint8Array(4)));
    await sender.send(new Uint8Array(4));
    expect(await first).toBe(4);
    expect(isClosedError(await second)).toBe(true);
    sender.close();
  });

  test("a waker may close the socket that calls it", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waker = () => {
      receiver.close();
      resolve();
    };
    expect(receiver.pollRecv(waker, new Uint8Array(4))).toBe(Pending);
    await sender.send(new Uint8Array(4));
    await promise;
    expect(isClosedError(thrown(() => receiver.tryRecv(new Uint8Array(4))))).toBe(true);
    sender.close();
  });

  test("using and await using close the socket at the end of the block", async () => {
    let closed: UdpSocket;
    {
      using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
      closed = socket;
    }
    expect(closed.isClosed).toBe(true);
    {
      await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
      closed = socket;
    }
    expect(closed.isClosed).toBe(true);
  });

  test("batches() yields datagrams in order, ends on abort, and can be restarted", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const abort = new AbortController();
    const numbers: number[] = [];
    const sending = (async () => {
      for (let i = 0; i < 20; i++) {
        await sender.sendMany(numbered(10, 10 * i));
        await until(() => numbers.length === 10 * (i + 1));
      }
    })();
    for await (const batch of receiver.batches({ signal: abort.signal, count: 7 })) {
      expect(batch.length).toBeGreaterThan(0);
      expect(batch.length).toBeLessThanOrEqual(7);
      for (let i = 0; i < batch.length; i++) {
        numbers.push(numberOf(batch.buffers[i]?.asSlice() as Uint8Array));
        expect(batch.meta[i]?.peer?.port).toBe(sender.localAddr.port);
      }
      if (numbers.length === 200) abort.abort();
    }
    await sending;
    expect(numbers).toEqual(sequence(200));
    await sender.sendMany(numbered(2));
    for await (const batch of receiver.batches()) {
      expect(batch.buffers[0]?.headroom).toBe(16);
      break;
    }
    sender.close();
    receiver.close();
  });

  test("a receive stays pending without busy-polling until a datagram arrives", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const waiting = receiver.recv(new Uint8Array(4));
    for (let tick = 0; tick < 100; tick++) await nextTick();
    expect(await stateOf(waiting)).toBe("pending");
    expect(receiver.counters.receiveCalls).toBeLessThan(50);
    await sender.send(new Uint8Array(3));
    expect(await waiting).toBe(3);
    sender.close();
    receiver.close();
  });
});
