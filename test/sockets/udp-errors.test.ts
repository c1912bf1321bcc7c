/** System errors of UDP sockets: each is reported once, and the socket stays usable. */

import { describe, expect, test } from "bun:test";
import { type Backend, SocketError, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { SO_ERROR, SOL_SOCKET } from "../../lib/linux/constants.ts";
import {
  BACKENDS,
  closedPort,
  connectedPair,
  nextTick,
  numbered,
  receiveNumbers,
  rejection,
  sequence,
  targets,
  thrown,
  until,
} from "../tools/sockets.ts";

const ECONNREFUSED = 111;
const REFUSED = { name: "SocketError", code: "ECONNREFUSED" };

/** Each is longer than the previous one, so that no two are segments of one GSO message. */
const GROWING = sequence(20, 1).map((length) => new Uint8Array(length));

/** Opens a socket that is connected to a closed port. */
async function openRefused(backend: Backend): Promise<UdpSocket> {
  return UdpSocket.connect({ hostname: "127.0.0.1", port: await closedPort() }, { backend });
}

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test.each(["throw", "drop"] as const)(
    "sendErrors %p: a missing destination is an error of the caller",
    async (sendErrors) => {
      await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend, sendErrors });
      const error = await rejection(socket.send(new Uint8Array(3)));
      expect(error).toMatchObject({ name: "SocketError", code: "EDESTADDRREQ" });
      expect((error as Error).message).toEndWith(
        "EDESTADDRREQ: an unconnected socket needs a destination",
      );
      const { sendErrors: errors, sendDrops } = socket.counters;
      expect([errors, sendDrops]).toEqual([1, 0]);
    },
  );

  test("a datagram that sendMany refuses in the middle is one error", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const datagrams = [new Uint8Array(1), new Uint8Array(65_508), new Uint8Array(2)];
    const error = await rejection(socket.sendMany(datagrams, { to: socket.localAddr }));
    expect(error).toMatchObject({ code: "EMSGSIZE", sent: 1, index: 1 });
    expect((error as Error).message.match(/EMSGSIZE/g)).toHaveLength(1);
    const { sendErrors, datagramsSent } = socket.counters;
    expect([sendErrors, datagramsSent]).toEqual([1, 1]);
  });

  test("a batch ends at a refusal, and the next send throws ECONNREFUSED", async () => {
    await using socket = await openRefused(backend);
    // On loopback the ICMP error about the first datagram arrives before the second is sent.
    for (let round = 0; round < 3; round++) {
      const sent = socket.trySendMany(GROWING);
      expect(sent).toBe(1);
      const error = thrown(() => socket.trySendMany(GROWING, { start: 1 }));
      expect(error).toBeInstanceOf(SocketError);
      expect(error).toMatchObject(REFUSED);
    }
    const { datagramsSent, sendErrors } = socket.counters;
    expect([datagramsSent, sendErrors]).toEqual([3, 3]);
  });

  test("the ICMP error after a partial batch is thrown by the next send of any kind, once", async () => {
    const one = new Uint8Array(1);
    const sends: ((socket: UdpSocket) => Promise<unknown>)[] = [
      (socket) => socket.send(one),
      (socket) => socket.sendMany([one]),
      (socket) => socket.sendTo(one, socket.peerAddr as never),
      async (socket) => socket.trySend(one),
      async (socket) => socket.trySendTo(one, socket.peerAddr as never),
      async (socket) => socket.trySendMany([one]),
    ];
    for (const send of sends) {
      await using socket = await openRefused(backend);
      expect(socket.trySendMany(GROWING)).toBe(1);
      expect(await rejection(send(socket))).toMatchObject(REFUSED);
      // The next send works again, and provokes the next refusal.
      expect(socket.trySend(one)).toBe(1);
    }
  });

  test("of six concurrent sends to a closed port every second one rejects", async () => {
    await using socket = await openRefused(backend);
    const results = await Promise.allSettled(sequence(6).map(() => socket.send(new Uint8Array(1))));
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
    ]);
  });

  test("a pending receive rejects with ECONNREFUSED, and later receives work", async () => {
    const port = await closedPort();
    await using socket = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { backend });
    const refused = rejection(socket.recv(new Uint8Array(4)));
    await nextTick();
    await socket.send(new Uint8Array(1));
    expect(await refused).toMatchObject({ ...REFUSED, syscall: expect.any(String) });
    expect(socket.counters.receiveErrors).toBe(1);
    // Now a socket is bound to the port.
    await using peer = await UdpSocket.bind({ hostname: "127.0.0.1", port, backend });
    await peer.sendMany(numbered(3), { to: socket.localAddr });
    expect(await receiveNumbers(socket, 3)).toEqual([0, 1, 2]);
    await socket.send(new Uint8Array(2));
    expect(await peer.recv(new Uint8Array(9))).toBe(2);
  });

  test("a refusal rejects only the first of two pending receives", async () => {
    const port = await closedPort();
    await using socket = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { backend });
    const first = rejection(socket.recv(new Uint8Array(4)));
    const second = socket.recv(new Uint8Array(4));
    await nextTick();
    await socket.send(new Uint8Array(1));
    expect(await first).toMatchObject(REFUSED);
    await using peer = await UdpSocket.bind({ hostname: "127.0.0.1", port, backend });
    await peer.sendTo(new Uint8Array(3), socket.localAddr);
    expect(await second).toBe(3);
  });

  test("datagrams that are queued before a refusal are received", async () => {
    const { receiver, sender } = await connectedPair(backend);
    await sender.send(new Uint8Array(1));
    await receiver.recv(new Uint8Array(1));
    const to = sender.localAddr;
    await receiver.sendMany(numbered(5), { to });
    receiver.close();
    // Refused, as the port was just closed. The five datagrams are still queued.
    sender.trySend(new Uint8Array(1));
    const numbers: unknown[] = [];
    let errors = 0;
    while (numbers.length < 5) {
      try {
        const buf = new Uint8Array(4);
        await sender.recv(buf);
        numbers.push(buf[3]);
      } catch (error) {
        expect(error).toMatchObject(REFUSED);
        errors++;
      }
    }
    expect(numbers).toEqual([0, 1, 2, 3, 4]);
    expect(errors).toBeLessThanOrEqual(1);
    sender.close();
  });

  test("a pending receive does not busy-poll after an error", async () => {
    await using socket = await openRefused(backend);
    const waiting = [rejection(socket.recv(new Uint8Array(1)))];
    await nextTick();
    await socket.send(new Uint8Array(1));
    await Promise.all(waiting);
    const pending = rejection(socket.recv(new Uint8Array(1)));
    // A socket that spins would make at least one call in each of these ticks.
    for (let tick = 0; tick < 1000; tick++) await nextTick();
    expect(socket.counters.receiveCalls).toBeLessThan(50);
    expect(socket.counters.receiveErrors).toBe(1);
    socket.close();
    expect(await pending).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });

  test("every second of 100 sends to a closed port throws ECONNREFUSED", async () => {
    await using socket = await openRefused(backend);
    let refusals = 0;
    for (let i = 0; i < 100; i++) {
      try {
        socket.trySend(new Uint8Array(1));
      } catch (error) {
        expect(error).toMatchObject(REFUSED);
        refusals++;
      }
    }
    expect(refusals).toBe(50);
    expect(socket.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
  });

  test("an unconnected socket gets no error when a destination refuses", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const closed = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    closed.close();
    const to = closed.localAddr;
    expect(await socket.sendMany(GROWING, { to })).toBe(20);
    expect(await socket.sendTo(new Uint8Array(1), to)).toBe(1);
    expect(socket.tryRecvMany(targets(4))).toBe(WouldBlock);
  });

  test("sendMany rejects at a datagram that is too long, and sends the ones before it", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const bufs = [...numbered(3), new Uint8Array(65_508), ...numbered(2, 3)];
    const refused = await rejection(sender.sendMany(bufs));
    expect(refused).toMatchObject({ code: "EMSGSIZE", sent: 3 });
    const error = await rejection(sender.sendMany(bufs, { start: 3 }));
    expect(error).toMatchObject({ code: "EMSGSIZE", sent: 0 });
    expect(await sender.sendMany(bufs, { start: 4 })).toBe(2);
    expect(await receiveNumbers(receiver, 5)).toEqual([0, 1, 2, 3, 4]);
    sender.close();
    receiver.close();
  });
});

test("a refusal that arrives at an idle socket is thrown by its next receive", async () => {
  await using socket = await openRefused("native");
  await socket.send(new Uint8Array(1));
  // No receive and no send: the error stays pending in the kernel.
  for (let tick = 0; tick < 100; tick++) await nextTick();
  expect(socket.counters.receiveCalls).toBe(0);
  expect(thrown(() => socket.tryRecv(new Uint8Array(1)))).toMatchObject(REFUSED);
  expect(socket.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
  await until(() => socket.counters.receiveErrors === 1);
});

/**
 * Sends to a closed port, and returns the error of a receive that waits meanwhile. Absent if nothing
 * was refused: another program may have opened the port.
 */
async function refusalWithoutErrorCode(): Promise<unknown> {
  await using socket = await openRefused("native");
  const refused = rejection(socket.recv(new Uint8Array(1)));
  await nextTick();
  expect(socket.trySend(new Uint8Array(1))).toBe(1);
  // SO_ERROR clears the error of the socket, as a call of another process that shares it would do.
  // The receive finds nothing then, and the error queue still has the entry.
  let errno = 0;
  for (let i = 0; errno === 0 && i < 1e5; i++) errno = socket.getOption(SOL_SOCKET, SO_ERROR);
  if (errno === 0) return undefined;
  expect(errno).toBe(ECONNREFUSED);
  const error = await refused;
  expect(socket.counters).toMatchObject({ receiveErrors: 1, transportErrors: 1 });
  return error;
}

test("a refusal whose error code was read meanwhile is thrown by the pending receive", async () => {
  // Once the code is compiled, the event arrives so early that the receive is polled in each turn.
  let refusals = 0;
  for (let i = 0; i < 300; i++) {
    const error = await refusalWithoutErrorCode();
    if (error === undefined) continue;
    expect(error).toMatchObject(REFUSED);
    refusals++;
  }
  expect(refusals).toBeGreaterThan(200);
}, 20_000);
