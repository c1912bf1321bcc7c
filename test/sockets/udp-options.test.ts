/** UDP socket options, each shown by what it does rather than by reading it back. */

import { describe, expect, test } from "bun:test";
import {
  SocketAddress,
  SocketError,
  type UdpBindOptions,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import {
  BACKENDS,
  HAS_IPV6,
  openDescriptors,
  rejection,
  sequence,
  thrown,
} from "../tools/sockets.ts";

const ADDRESS = { hostname: "127.0.0.1" };

test("sockets with reusePort share a port, and the kernel spreads peers over them", async () => {
  const first = await UdpSocket.bind({ ...ADDRESS, reusePort: true });
  const { port } = first.localAddr;
  const others = await Promise.all(
    sequence(3).map(() => UdpSocket.bind({ ...ADDRESS, port, reusePort: true })),
  );
  const sockets = [first, ...others];
  const error = await rejection(UdpSocket.bind({ ...ADDRESS, port }));
  expect(error).toMatchObject({ code: "EADDRINUSE" });
  // 200 sources: that one of four sockets gets none has a chance of 4 * 0.75^200.
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

test("sockets with reuseAddress share a port; without it the second is refused", async () => {
  using first = await UdpSocket.bind({ ...ADDRESS, reuseAddress: true });
  const { port } = first.localAddr;
  using second = await UdpSocket.bind({ ...ADDRESS, port, reuseAddress: true });
  expect(second.localAddr.equals(first.localAddr)).toBe(true);
  const error = await rejection(UdpSocket.bind({ ...ADDRESS, port }));
  expect(error).toMatchObject({ code: "EADDRINUSE", address: `127.0.0.1:${port}` });
});

test.skipIf(!HAS_IPV6)(
  "with ipv6Only the port stays free for IPv4, without it it does not",
  async () => {
    using only = await UdpSocket.bind({ hostname: "::", ipv6Only: true });
    using beside = await UdpSocket.bind({ hostname: "0.0.0.0", port: only.localAddr.port });
    expect(beside.localAddr.port).toBe(only.localAddr.port);
    using dual = await UdpSocket.bind({ hostname: "::", ipv6Only: false });
    const error = await rejection(
      UdpSocket.bind({ hostname: "0.0.0.0", port: dual.localAddr.port }),
    );
    expect(error).toMatchObject({ code: "EADDRINUSE" });
    // It cannot send to IPv4 either.
    const to = SocketAddress.ip("127.0.0.1", beside.localAddr.port);
    expect(thrown(() => only.trySendTo(new Uint8Array(1), to))).toBeInstanceOf(SocketError);
  },
);

test("buffer sizes that were asked for are there, doubled by the kernel", async () => {
  using socket = await UdpSocket.bind({
    ...ADDRESS,
    receiveBufferBytes: 50_000,
    sendBufferBytes: 60_000,
  });
  expect(socket.bufferBytes).toEqual({ receive: 100_000, send: 120_000 });
  socket.close();
  expect(thrown(() => socket.bufferBytes)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
});

test("a small receive buffer holds little: what is beyond it is dropped by the kernel", async () => {
  using small = await UdpSocket.bind({ ...ADDRESS, receiveBufferBytes: 1 });
  using sender = await UdpSocket.bind(ADDRESS);
  for (let i = 0; i < 50; i++) await sender.sendTo(new Uint8Array(1000), small.localAddr);
  let count = 0;
  while (small.tryRecv(new Uint8Array(1000)) !== WouldBlock) count++;
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThan(50);
});

test("the portable backend refuses by name what it cannot do, and opens nothing", async () => {
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

describe.each(BACKENDS)("%s backend", (backend) => {
  test("a broadcast is refused until it is allowed", async () => {
    using socket = await UdpSocket.bind({ backend });
    const everybody = SocketAddress.ip("127.255.255.255", socket.localAddr.port);
    const bytes = new Uint8Array(3);
    expect(thrown(() => socket.trySendTo(bytes, everybody))).toMatchObject({ code: "EACCES" });
    socket.setBroadcast(true);
    expect(await socket.sendTo(bytes, everybody)).toBe(3);
    // Bound to 0.0.0.0 it is among those who get it.
    expect(await socket.recv(new Uint8Array(10))).toBe(3);
    socket.setBroadcast(false);
    expect(thrown(() => socket.trySendTo(bytes, everybody))).toMatchObject({ code: "EACCES" });
  });

  test("TTLs are taken in their range and refused beyond", async () => {
    const hostnames = HAS_IPV6 ? ["127.0.0.1", "::1", "::"] : ["127.0.0.1"];
    for (const hostname of hostnames) {
      using socket = await UdpSocket.bind({ hostname, backend });
      for (const ttl of [1, 64, 255]) socket.setTTL(ttl);
      for (const ttl of [1, 255]) socket.setMulticastTTL(ttl);
      // Bun refuses 0, which the kernel takes.
      if (backend === "native") socket.setMulticastTTL(0);
      else expect(thrown(() => socket.setMulticastTTL(0))).toBeInstanceOf(SocketError);
      for (const ttl of [0, -1, 256, 1.5, Number.NaN, "1" as never]) {
        expect(thrown(() => socket.setTTL(ttl))).toBeInstanceOf(RangeError);
      }
      for (const ttl of [-1, 256, 0.5]) {
        expect(thrown(() => socket.setMulticastTTL(ttl))).toBeInstanceOf(RangeError);
      }
      socket.setMulticastLoopback(false);
      socket.setMulticastLoopback(true);
    }
  });

  test("after close every option is refused", async () => {
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
