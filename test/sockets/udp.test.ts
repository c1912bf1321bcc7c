/** UDP sockets on loopback: bind, connect, destinations, and argument checks. */

import { describe, expect, test } from "bun:test";
import { SocketAddress, SocketError, UdpSocket } from "../../lib/index.ts";
import {
  BACKENDS,
  connectedPair,
  HAS_IPV6,
  NO_HOST,
  numbered,
  numberOf,
  openDescriptors,
  receiveNumbers,
  rejection,
  thrown,
} from "../tools/sockets.ts";

/** Local addresses, and the address at which a client on this host reaches a socket bound there. */
const LOOPBACK: Record<string, string> = {
  "127.0.0.1": "127.0.0.1",
  "0.0.0.0": "127.0.0.1",
  "::1": "::1",
  "::": "::1",
};

/** Sends a datagram to `socket` and one back, and checks lengths and peers on both sides. */
async function echo(socket: UdpSocket, client: UdpSocket, to: SocketAddress): Promise<void> {
  const buf = new Uint8Array(100);
  expect(await client.sendTo(new Uint8Array([1, 2, 3]), to)).toBe(3);
  const { length, datagramLength, peer } = await socket.recvFrom(buf);
  expect([length, datagramLength]).toEqual([3, 3]);
  expect(buf.subarray(0, 3)).toEqual(new Uint8Array([1, 2, 3]));
  expect(peer?.port).toBe(client.localAddr.port);
  expect(await socket.sendTo(new Uint8Array([4]), peer as SocketAddress)).toBe(1);
  const reply = await client.recvFrom(buf);
  expect(reply.length).toBe(1);
  expect(buf[0]).toBe(4);
  expect(reply.peer?.port).toBe(socket.localAddr.port);
}

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test("bind without options uses 0.0.0.0 and a port that the system chooses", async () => {
    await using socket = await UdpSocket.bind({ backend });
    expect(socket.backend).toBe(backend);
    expect(socket.localAddr.address).toBe("0.0.0.0");
    expect(socket.localAddr.port).toBeGreaterThan(0);
    expect(socket.peerAddr).toBeUndefined();
    await using client = await UdpSocket.bind({ backend });
    await echo(socket, client, SocketAddress.ip("127.0.0.1", socket.localAddr.port));
  });

  test.each(Object.keys(LOOPBACK))(
    "a socket bound to %s receives and replies",
    async (hostname) => {
      if (hostname.includes(":") && !HAS_IPV6) return;
      await using socket = await UdpSocket.bind({ hostname, backend });
      expect(socket.localAddr.address).toBe(hostname);
      const address = LOOPBACK[hostname] as string;
      await using client = await UdpSocket.bind({ hostname: address, backend });
      await echo(socket, client, SocketAddress.ip(address, socket.localAddr.port));
    },
  );

  test("bind to the host name localhost uses a loopback address", async () => {
    await using socket = await UdpSocket.bind({ hostname: "localhost", backend });
    expect(["127.0.0.1", "::1"]).toContain(socket.localAddr.address);
    const { port } = socket.localAddr;
    await using client = await UdpSocket.connect({ hostname: "localhost", port }, { backend });
    await client.send(new Uint8Array(7));
    expect(await socket.recv(new Uint8Array(10))).toBe(7);
  });

  test("bind to a host name that does not exist fails", async () => {
    const error = await rejection(UdpSocket.bind({ hostname: NO_HOST, backend }));
    expect(error).toBeInstanceOf(Error);
  });

  test.skipIf(!HAS_IPV6)(
    "a dual-stack socket reports IPv4 peers as IPv4-mapped addresses",
    async () => {
      await using socket = await UdpSocket.bind({ hostname: "::", backend });
      await using client = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
      await echo(socket, client, SocketAddress.ip("127.0.0.1", socket.localAddr.port));
      await client.sendTo(new Uint8Array(1), SocketAddress.ip("127.0.0.1", socket.localAddr.port));
      const { peer } = await socket.recvFrom(new Uint8Array(1));
      expect(peer?.address).toBe("::ffff:127.0.0.1");
      expect(peer?.family).toBe("IPv6");
      // It can also send to the plain IPv4 address.
      await socket.sendTo(new Uint8Array(2), client.localAddr);
      expect(await client.recv(new Uint8Array(10))).toBe(2);
    },
  );

  test("bind to a port that is in use fails with EADDRINUSE, and works after close", async () => {
    await using first = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const { port } = first.localAddr;
    const before = openDescriptors();
    const error = await rejection(UdpSocket.bind({ hostname: "127.0.0.1", port, backend }));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EADDRINUSE", syscall: "bind" });
    expect(openDescriptors()).toBeLessThanOrEqual(before);
    first.close();
    await using second = await UdpSocket.bind({ hostname: "127.0.0.1", port, backend });
    expect(second.localAddr.port).toBe(port);
  });

  test("bind to an address of another host fails with EADDRNOTAVAIL", async () => {
    const error = await rejection(UdpSocket.bind({ hostname: "192.0.2.77", backend }));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EADDRNOTAVAIL" });
  });

  test.skipIf(!HAS_IPV6)(
    "a dual-stack socket connected to IPv4 accepts the plain and the mapped peer address",
    async () => {
      await using peer = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
      const { address, port } = peer.localAddr;
      const to = { hostname: address, port };
      await using socket = await UdpSocket.connect(to, { hostname: "::", backend });
      expect(socket.peerAddr?.address).toBe("::ffff:127.0.0.1");
      await socket.sendTo(new Uint8Array(1), peer.localAddr);
      await socket.sendTo(new Uint8Array(1), socket.peerAddr as SocketAddress);
      expect(await peer.recv(new Uint8Array(1))).toBe(1);
      expect(await peer.recv(new Uint8Array(1))).toBe(1);
    },
  );

  test("a connected socket sends to its peer and receives only from its peer", async () => {
    const { receiver, sender } = await connectedPair(backend);
    await using other = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    expect(sender.peerAddr?.equals(receiver.localAddr)).toBe(true);
    await sender.send(new Uint8Array([1]));
    const { peer } = await receiver.recvFrom(new Uint8Array(1));
    const { port } = sender.localAddr;
    await other.sendTo(new Uint8Array([2]), SocketAddress.ip("127.0.0.1", port));
    await receiver.sendTo(new Uint8Array([3]), peer as SocketAddress);
    const buf = new Uint8Array(1);
    await sender.recv(buf);
    expect(buf[0]).toBe(3);
    sender.close();
    receiver.close();
  });

  test("a connected socket sends nothing to another destination (EISCONN)", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const peer = receiver.localAddr;
    const other = SocketAddress.ip("127.0.0.1", peer.port === 9 ? 10 : 9);
    const isConnected = { code: "EISCONN" };
    expect(await rejection(sender.sendTo(new Uint8Array(1), other))).toMatchObject(isConnected);
    expect(thrown(() => sender.trySendTo(new Uint8Array(1), other))).toMatchObject(isConnected);
    const bufs = numbered(3);
    const rejected = await rejection(sender.sendMany(bufs, { to: [peer, peer, other] }));
    expect(rejected).toMatchObject(isConnected);
    expect(thrown(() => sender.trySendMany(bufs, { to: other }))).toMatchObject(isConnected);
    expect(sender.counters.datagramsSent).toBe(0);
    expect(await sender.sendTo(bufs[0] as Uint8Array, peer)).toBe(4);
    expect(await sender.sendMany(bufs, { to: peer })).toBe(3);
    expect(await sender.sendMany(bufs, { to: [other, peer, peer], start: 1 })).toBe(2);
    sender.close();
    receiver.close();
  });

  test("an unconnected socket rejects a send without destination with EDESTADDRREQ", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const noDestination = { code: "EDESTADDRREQ" };
    expect(await rejection(socket.send(new Uint8Array(1)))).toMatchObject(noDestination);
    expect(thrown(() => socket.trySendMany(numbered(2)))).toMatchObject(noDestination);
    // The error is not repeated.
    expect(await socket.sendTo(new Uint8Array(1), socket.localAddr)).toBe(1);
    expect(await socket.recv(new Uint8Array(1))).toBe(1);
  });

  test("sendMany sends to one destination for all, or to one destination each", async () => {
    await using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    await using left = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    await using right = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const bufs = numbered(6);
    expect(await sender.sendMany(bufs, { to: left.localAddr, start: 4 })).toBe(2);
    const to = [left, right, left, right, left, right].map(({ localAddr }) => localAddr);
    expect(await sender.sendMany(bufs, { to, start: 1, count: 4 })).toBe(4);
    const numbers = async (socket: UdpSocket, count: number) => {
      const buf = new Uint8Array(4);
      const got: number[] = [];
      while (got.length < count) {
        await socket.recv(buf);
        got.push(numberOf(buf));
      }
      return got;
    };
    expect(await numbers(left, 4)).toEqual([4, 5, 2, 4]);
    expect(await numbers(right, 2)).toEqual([1, 3]);
  });

  test("a Unix destination is refused, and does not affect later destinations", async () => {
    const sockets = await Promise.all(
      [0, 0, 0, 0].map((port) => UdpSocket.bind({ hostname: "127.0.0.1", port, backend })),
    );
    const [sender, ...receivers] = sockets as [UdpSocket, ...UdpSocket[]];
    const to = receivers.map(({ localAddr }) => localAddr);
    expect(await sender.sendMany(numbered(3), { to })).toBe(3);
    const longest = SocketAddress.abstract("x".repeat(107));
    expect(thrown(() => sender.trySendTo(new Uint8Array(1), longest))).toBeInstanceOf(SocketError);
    expect(sender.trySendMany(numbered(3, 3), { to })).toBe(3);
    for (const [i, receiver] of receivers.entries()) {
      expect(await receiveNumbers(receiver, 2)).toEqual([i, 3 + i]);
    }
    for (const socket of sockets) socket.close();
  });

  test("bind rejects invalid options and opens no descriptor", async () => {
    const before = openDescriptors();
    const invalid: [object, typeof TypeError | typeof RangeError][] = [
      [{ port: -1 }, RangeError],
      [{ port: 65_536 }, RangeError],
      [{ port: 1.5 }, RangeError],
      [{ port: "1" }, TypeError],
      [{ hostname: 5 }, TypeError],
      [{ backend: "other" }, TypeError],
      [{ connect: { hostname: 1, port: 1 } }, TypeError],
      [{ connect: { hostname: "127.0.0.1", port: 0 } }, RangeError],
      [{ receiveQueueDatagrams: 0 }, RangeError],
      [{ receiveBufferBytes: 0 }, RangeError],
      [{ sendBufferBytes: 2 ** 31 }, RangeError],
    ];
    for (const [options, type] of invalid) {
      expect(await rejection(UdpSocket.bind({ backend, ...options }))).toBeInstanceOf(type);
    }
    expect(openDescriptors()).toBeLessThanOrEqual(before);
  });

  test("invalid destinations, buffers and counts throw, and leave the socket usable", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const to = socket.localAddr;
    const bytes = new Uint8Array(1);
    const misuse: (() => unknown)[] = [
      () => socket.trySendTo(bytes, "127.0.0.1:1" as never),
      () => socket.trySendTo(5 as never, to),
      () => socket.trySendMany([bytes, null as never], { to }),
      () => socket.trySendMany(bytes as never, { to }),
      () => socket.tryRecv(new Uint16Array(4) as never),
      () => socket.tryRecvMany([bytes, undefined as never]),
    ];
    for (const call of misuse) expect(thrown(call)).toBeInstanceOf(TypeError);
    expect(thrown(() => socket.trySendMany([bytes, bytes], { to: [to] }))).toBeInstanceOf(
      RangeError,
    );
    expect(thrown(() => socket.trySendMany([bytes], { to, count: 2 }))).toBeInstanceOf(RangeError);
    expect(thrown(() => socket.tryRecvMany([bytes], { count: 2 }))).toBeInstanceOf(RangeError);
    expect(socket.counters.datagramsSent).toBe(0);
    await socket.sendTo(bytes, to);
    expect(await socket.recv(bytes)).toBe(1);
  });
});
