/** Promises and polls of one socket that wait at the same time: each gets its wake-up. */

import { describe, expect, test } from "bun:test";
import { Pending, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { BACKENDS, connectedPair } from "../tools/sockets.ts";

describe.each(BACKENDS)("%s backend", (backend) => {
  test("a poll does not take the wake-up of a pending recv", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const pending = receiver.recv(new Uint8Array(10));
    expect(receiver.pollRecv(() => {}, new Uint8Array(10))).toBe(Pending);
    await sender.send(new Uint8Array(3));
    expect(await pending).toBe(3);
    receiver.close();
    sender.close();
  });

  test("a pending recv does not take the wake-up of an earlier poll", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    expect(receiver.pollRecv(resolve, new Uint8Array(10))).toBe(Pending);
    const pending = receiver.recv(new Uint8Array(10));
    await sender.send(new Uint8Array(3));
    expect(await pending).toBe(3);
    await woken;
    receiver.close();
    sender.close();
  });

  test("polls with different wakers between two datagrams wake the latest, and the promise", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const pending = receiver.recvFrom(new Uint8Array(10));
    const woken: number[] = [];
    for (let i = 0; i < 3; i++) receiver.pollRecv(() => woken.push(i), new Uint8Array(10));
    await sender.send(new Uint8Array(4));
    expect((await pending).length).toBe(4);
    await sender.send(new Uint8Array(5));
    expect(await receiver.recv(new Uint8Array(10))).toBe(5);
    expect(woken).toEqual([2]);
    receiver.close();
    sender.close();
  });

  test("close rejects a recv whose waker a poll has replaced", async () => {
    const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const pending = receiver.recv(new Uint8Array(10));
    receiver.pollRecv(() => {}, new Uint8Array(10));
    receiver.close();
    await expect(pending).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });
});

describe.skipIf(process.platform !== "linux")("native backend", () => {
  test("intoFd rejects a recv whose waker a poll has replaced", async () => {
    const receiver = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const pending = receiver.recv(new Uint8Array(10));
    receiver.pollRecv(() => {}, new Uint8Array(10));
    const fd = receiver.intoFd() as number;
    await expect(pending).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    (await UdpSocket.fromFd(fd)).close();
  });

  test("a poll does not take the wake-up of a pending send", async () => {
    const [left, right] = await UnixDatagram.pair();
    const payload = new Uint8Array(1000);
    while (typeof left.trySend(payload) === "number");
    const pending = left.send(payload);
    expect(left.pollSend(() => {}, payload)).toBe(Pending);
    for (let i = 0; i < 1000 && typeof right.tryRecv(new Uint8Array(1000)) === "number"; i++);
    expect(await pending).toBe(1000);
    left.close();
    right.close();
  });

  test("close with 100,000 waiters rejects each of them", async () => {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const buf = new Uint8Array(1);
    let rejected = 0;
    const count = () => {
      rejected++;
    };
    const waiting = Array.from({ length: 100_000 }, () => socket.recv(buf).catch(count));
    socket.close();
    await Promise.all(waiting);
    expect(rejected).toBe(100_000);
  });
});
