/** UDP socket options, tested by their effect. */

import { describe, expect, test } from "bun:test";
import {
  SocketAddress,
  SocketError,
  type UdpBindOptions,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_UNICAST_HOPS } from "../../lib/linux/constants.ts";
import { numberErrorOf } from "../tools/errors.ts";
import {
  BACKENDS,
  HAS_IPV6,
  openDescriptors,
  rejection,
  sequence,
  thrown,
} from "../tools/sockets.ts";

const ADDRESS = { hostname: "127.0.0.1" };

test("the kernel distributes peers over sockets that share a port (reusePort)", async () => {
  const first = await UdpSocket.bind({ ...ADDRESS, reusePort: true });
  const { port } = first.localAddr;
  const others = await Promise.all(
    sequence(3).map(() => UdpSocket.bind({ ...ADDRESS, port, reusePort: true })),
  );
  const sockets = [first, ...others];
  const error = await rejection(UdpSocket.bind({ ...ADDRESS, port }));
  expect(error).toMatchObject({ code: "EADDRINUSE" });
  // The probability that one of four sockets gets none of 200 sources is 4 * 0.75^200.
  for (let i = 0; i < 200; i++) {
    using sender = await UdpSocket.connect({ ...ADDRESS, port });
    await sender.send(new Uint8Array([i]));
  }
  const counts = sockets.map((socket) => {
    let count = 0;
    while (socket.tryRecv(new Uint8Array(1)) !== WouldBlock) count++;
    return count;
  });
  expect(counts.reduce((sum, count) => sum + count)).toBe(200);
  expect(Math.min(...counts)).toBeGreaterThan(0);
  for (const socket of sockets) socket.close();
});

test("sockets with reuseAddress share a port; one without it fails with EADDRINUSE", async () => {
  using first = await UdpSocket.bind({ ...ADDRESS, reuseAddress: true });
  const { port } = first.localAddr;
  using second = await UdpSocket.bind({ ...ADDRESS, port, reuseAddress: true });
  expect(second.localAddr.equals(first.localAddr)).toBe(true);
  const error = await rejection(UdpSocket.bind({ ...ADDRESS, port }));
  expect(error).toMatchObject({ code: "EADDRINUSE", address: "127.0.0.1", port });
});

test.skipIf(!HAS_IPV6)(
  "ipv6Only leaves the port free for IPv4; a dual-stack socket occupies it",
  async () => {
    using only = await UdpSocket.bind({ hostname: "::", ipv6Only: true });
    using ipv4 = await UdpSocket.bind({ hostname: "0.0.0.0", port: only.localAddr.port });
    expect(ipv4.localAddr.port).toBe(only.localAddr.port);
    using dual = await UdpSocket.bind({ hostname: "::", ipv6Only: false });
    const error = await rejection(
      UdpSocket.bind({ hostname: "0.0.0.0", port: dual.localAddr.port }),
    );
    expect(error).toMatchObject({ code: "EADDRINUSE" });
    // A socket with ipv6Only cannot send to IPv4 either.
    const to = SocketAddress.ip("127.0.0.1", ipv4.localAddr.port);
    expect(thrown(() => only.trySendTo(new Uint8Array(1), to))).toBeInstanceOf(SocketError);
  },
);

test("bufferBytes returns the requested buffer sizes, doubled by the kernel", async () => {
  using socket = await UdpSocket.bind({
    ...ADDRESS,
    receiveBufferBytes: 50_000,
    sendBufferBytes: 60_000,
  });
  expect(socket.bufferBytes).toEqual({ receive: 100_000, send: 120_000 });
  socket.close();
  expect(thrown(() => socket.bufferBytes)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
});

test.skipIf(!HAS_IPV6)("setTTL of a dual-stack socket applies to IPv4 as well", async () => {
  using socket = await UdpSocket.bind({ hostname: "::" });
  socket.setTTL(5);
  expect(socket.getOption(IPPROTO_IPV6, IPV6_UNICAST_HOPS)).toBe(5);
  expect(socket.getOption(IPPROTO_IP, IP_TTL)).toBe(5);
});

test("the kernel drops datagrams that exceed a small receive buffer", async () => {
  using small = await UdpSocket.bind({ ...ADDRESS, receiveBufferBytes: 1 });
  using sender = await UdpSocket.bind(ADDRESS);
  for (let i = 0; i < 50; i++) await sender.sendTo(new Uint8Array(1000), small.localAddr);
  let count = 0;
  while (small.tryRecv(new Uint8Array(1000)) !== WouldBlock) count++;
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThan(50);
});

test("the portable backend refuses unsupported options, and opens no socket", async () => {
  const before = openDescriptors();
  const options: UdpBindOptions[] = [
    { reusePort: true },
    { pathMtuDiscovery: "probe" },
    { reuseAddress: true },
    { ipv6Only: true },
    { receiveBufferBytes: 1 },
    { sendBufferBytes: 1 },
  ];
  for (const option of options) {
    const error = await rejection(UdpSocket.bind({ backend: "portable", ...option }));
    expect(error).toMatchObject({ code: "ERR_NOT_SUPPORTED" });
    expect((error as SocketError).message).toContain(Object.keys(option)[0] as string);
  }
  expect(openDescriptors()).toBeLessThanOrEqual(before);
  using socket = await UdpSocket.bind({ backend: "portable" });
  expect(thrown(() => socket.bufferBytes)).toMatchObject({ code: "ERR_NOT_SUPPORTED" });
  expect(socket.asRawIo()).toBeUndefined();
  expect(socket.intoFd()).toBeUndefined();
  expect(socket.isClosed).toBe(false);
});

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test("a send to a broadcast address fails with EACCES without setBroadcast(true)", async () => {
    using socket = await UdpSocket.bind({ backend });
    const broadcast = SocketAddress.ip("127.255.255.255", socket.localAddr.port);
    const bytes = new Uint8Array(3);
    expect(thrown(() => socket.trySendTo(bytes, broadcast))).toMatchObject({ code: "EACCES" });
    socket.setBroadcast(true);
    expect(await socket.sendTo(bytes, broadcast)).toBe(3);
    // The socket is bound to 0.0.0.0, so it also receives the datagram.
    expect(await socket.recv(new Uint8Array(10))).toBe(3);
    socket.setBroadcast(false);
    expect(thrown(() => socket.trySendTo(bytes, broadcast))).toMatchObject({ code: "EACCES" });
  });

  test("setTTL and setMulticastTTL throw RangeError for values out of range", async () => {
    const hostnames = HAS_IPV6 ? ["127.0.0.1", "::1", "::"] : ["127.0.0.1"];
    for (const hostname of hostnames) {
      using socket = await UdpSocket.bind({ hostname, backend });
      for (const ttl of [1, 64, 255]) socket.setTTL(ttl);
      for (const ttl of [1, 255]) socket.setMulticastTTL(ttl);
      // The kernel accepts 0, but Bun refuses it.
      if (backend === "native") socket.setMulticastTTL(0);
      else expect(thrown(() => socket.setMulticastTTL(0))).toBeInstanceOf(SocketError);
      for (const ttl of [0, -1, 256, 1.5, Number.NaN, "1" as never]) {
        expect(thrown(() => socket.setTTL(ttl))).toBeInstanceOf(numberErrorOf(ttl));
      }
      for (const ttl of [-1, 256, 0.5]) {
        expect(thrown(() => socket.setMulticastTTL(ttl))).toBeInstanceOf(RangeError);
      }
      socket.setMulticastLoopback(false);
      socket.setMulticastLoopback(true);
    }
  });

  test("setting an option after close throws ERR_SOCKET_CLOSED", async () => {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    socket.close();
    const group = { group: "239.1.2.3" };
    const calls = [
      () => socket.setBroadcast(true),
      () => socket.setTTL(1),
      () => socket.setMulticastTTL(1),
      () => socket.setMulticastLoopback(true),
      () => socket.setMulticastInterface("127.0.0.1"),
      () => socket.addMembership(group),
      () => socket.dropMembership(group),
    ];
    for (const call of calls) expect(thrown(call)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });
});
