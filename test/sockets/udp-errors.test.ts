/** Errors of the system: each told once, none swallowed, and the socket goes on afterwards. */

import { describe, expect, test } from "bun:test";
import { type Backend, SocketError, UdpSocket, WouldBlock } from "../../lib/index.ts";
import {
  BACKENDS,
  closedPort,
  connectedPair,
  nextTurn,
  numbered,
  receiveNumbers,
  rejection,
  sequence,
  targets,
  thrown,
  until,
} from "../tools/sockets.ts";

const REFUSED = { name: "SocketError", code: "ECONNREFUSED" };

/** Each longer than the one before, so that no two can be segments of one message. */
const GROWING = sequence(20, 1).map((length) => new Uint8Array(length));

/** A socket that is connected to a port where nobody listens. */
async function refusedSocket(backend: Backend): Promise<UdpSocket> {
  return UdpSocket.connect({ hostname: "127.0.0.1", port: await closedPort() }, { backend });
}

describe.each(BACKENDS)("%s backend", (backend) => {
  test("a refusal behind the first of a batch: the count now, the error next, once", async () => {
    await using socket = await refusedSocket(backend);
    // Loopback refuses the first datagram before the second one goes.
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

  test("the error behind a batch comes with whichever send is next", async () => {
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
      await using socket = await refusedSocket(backend);
      expect(await socket.sendMany(GROWING)).toBe(1);
      expect(await rejection(send(socket))).toMatchObject(REFUSED);
      // What follows is sent again, as far as the next refusal.
      expect(socket.trySend(one)).toBe(1);
    }
  });

  test("callers behind the one that was refused are served", async () => {
    await using socket = await refusedSocket(backend);
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

  test("a receive that waits is told of a refusal, and the next one receives", async () => {
    const port = await closedPort();
    await using socket = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { backend });
    const refused = rejection(socket.recv(new Uint8Array(4)));
    await nextTurn();
    await socket.send(new Uint8Array(1));
    expect(await refused).toMatchObject({ ...REFUSED, syscall: expect.any(String) });
    expect(socket.counters.receiveErrors).toBe(1);
    // Somebody listens now.
    await using peer = await UdpSocket.bind({ hostname: "127.0.0.1", port, backend });
    await peer.sendMany(numbered(3), { to: socket.localAddr });
    expect(await receiveNumbers(socket, 3)).toEqual([0, 1, 2]);
    await socket.send(new Uint8Array(2));
    expect(await peer.recv(new Uint8Array(9))).toBe(2);
  });

  test("of two receives that wait, the first is told and the second goes on waiting", async () => {
    const port = await closedPort();
    await using socket = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { backend });
    const first = rejection(socket.recv(new Uint8Array(4)));
    const second = socket.recv(new Uint8Array(4));
    await nextTurn();
    await socket.send(new Uint8Array(1));
    expect(await first).toMatchObject(REFUSED);
    await using peer = await UdpSocket.bind({ hostname: "127.0.0.1", port, backend });
    await peer.sendTo(new Uint8Array(3), socket.localAddr);
    expect(await second).toBe(3);
  });

  test("a refusal costs no datagram that came before it", async () => {
    const { receiver, sender } = await connectedPair(backend);
    await sender.send(new Uint8Array(1));
    await receiver.recv(new Uint8Array(1));
    const to = sender.localAddr;
    await receiver.sendMany(numbered(5), { to });
    receiver.close();
    // Refused by the port that was just closed; nobody reads until then.
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

  test("after an error nothing is tried again and again: calls stay few", async () => {
    await using socket = await refusedSocket(backend);
    const waiting = [rejection(socket.recv(new Uint8Array(1)))];
    await nextTurn();
    await socket.send(new Uint8Array(1));
    await Promise.all(waiting);
    const pending = rejection(socket.recv(new Uint8Array(1)));
    // A loop that spins would make one call at least in each of these turns.
    for (let turn = 0; turn < 1000; turn++) await nextTurn();
    expect(socket.counters.receiveCalls).toBeLessThan(50);
    expect(socket.counters.receiveErrors).toBe(1);
    socket.close();
    expect(await pending).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });

  test("a sender that is refused all the time is told of every second datagram", async () => {
    await using socket = await refusedSocket(backend);
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

  test("an unconnected socket hears of no refusals", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const gone = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    gone.close();
    const to = gone.localAddr;
    expect(await socket.sendMany(GROWING, { to })).toBe(20);
    expect(await socket.sendTo(new Uint8Array(1), to)).toBe(1);
    expect(socket.tryRecvMany(targets(4))).toBe(WouldBlock);
  });

  test("a datagram too long in the middle of a batch: those before it go, then EMSGSIZE", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const bufs = [...numbered(3), new Uint8Array(65_508), ...numbered(2, 3)];
    expect(await sender.sendMany(bufs)).toBe(3);
    const error = await rejection(sender.sendMany(bufs, { start: 3 }));
    expect(error).toMatchObject({ code: "EMSGSIZE" });
    expect(await sender.sendMany(bufs, { start: 4 })).toBe(2);
    expect(await receiveNumbers(receiver, 5)).toEqual([0, 1, 2, 3, 4]);
    sender.close();
    receiver.close();
  });
});

test("an error in the queue of a socket that nobody polls is found when somebody does", async () => {
  await using socket = await refusedSocket("native");
  await socket.send(new Uint8Array(1));
  // No receive and no send for a while: the refusal waits in the kernel.
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  expect(socket.counters.receiveCalls).toBe(0);
  expect(thrown(() => socket.tryRecv(new Uint8Array(1)))).toMatchObject(REFUSED);
  expect(socket.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
  await until(() => socket.counters.receiveErrors === 1);
});
