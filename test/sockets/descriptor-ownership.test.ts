/**
 * Descriptor ownership: `fromFd` and `intoFd`, and that failed opens and closed sockets leak no
 * descriptor.
 */

import { describe, expect, spyOn, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { AF_INET, AF_UNIX } from "../../lib/address/sockaddr.ts";
import {
  isNonblocking,
  type SocketAddress,
  SocketError,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import {
  IP_RECVERR,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_RECVERR,
  SOCK_DGRAM,
} from "../../lib/linux/constants.ts";
import { loadedNative } from "../ffi/tools.ts";
import { numberErrorOf } from "../tools/errors.ts";
import { openBlocking } from "../tools/libc.ts";
import {
  BACKENDS,
  closedPort,
  HAS_IPV6,
  NO_HOST,
  openDescriptors,
  rejection,
  thrown,
  until,
} from "../tools/sockets.ts";

const LOOPBACK = { hostname: "127.0.0.1" };

/** Returns the descriptor of a bound UDP socket that no socket object owns. */
async function unownedUdp(): Promise<{ fd: number; address: SocketAddress }> {
  const socket = await UdpSocket.bind(LOOPBACK);
  return { fd: socket.intoFd() as number, address: socket.localAddr };
}

test("intoFd returns the descriptor, and rejects pending receives as close does", async () => {
  const socket = await UdpSocket.bind(LOOPBACK);
  const waiting = rejection(socket.recv(new Uint8Array(1)));
  const before = openDescriptors();
  const fd = socket.intoFd() as number;
  expect(openDescriptors()).toBe(before);
  expect(socket.isClosed).toBe(true);
  const closed = { code: "ERR_SOCKET_CLOSED" };
  expect(await waiting).toMatchObject(closed);
  expect(thrown(() => socket.trySend(new Uint8Array(1)))).toMatchObject(closed);
  expect(socket.asRawIo()).toBeUndefined();
  expect(socket.intoFd()).toBeUndefined();
  socket.close();
  expect(isNonblocking(fd)).toBe(true);
  closeSync(fd);
  expect(openDescriptors()).toBe(before - 1);
});

test.each([
  { hostname: "127.0.0.1", level: IPPROTO_IP, name: IP_RECVERR },
  { hostname: "::1", level: IPPROTO_IPV6, name: IPV6_RECVERR },
])("intoFd of a connected socket ($hostname) leaves the error queue disabled", async (options) => {
  const { hostname, level, name } = options;
  if (hostname === "::1" && !HAS_IPV6) return;
  const socket = await UdpSocket.connect({ hostname, port: 9 });
  expect(socket.getOption(level, name)).toBe(1);
  const fd = socket.intoFd() as number;
  const native = loadedNative();
  expect(native.getIntOption(fd, level, name)).toBeGreaterThan(0);
  expect(native.scratch[0]).toBe(0);
  closeSync(fd);
});

test("bind leaves no descriptor open if getsockname fails", async () => {
  const before = openDescriptors();
  const ENOBUFS = 105;
  const naming = spyOn(loadedNative(), "name").mockReturnValue(-ENOBUFS);
  try {
    const error = await rejection(UdpSocket.bind({ ...LOOPBACK, backend: "native" }));
    expect(error).toMatchObject({ code: "ENOBUFS", syscall: "getsockname" });
    expect(openDescriptors()).toBe(before);
  } finally {
    naming.mockRestore();
  }
});

test("fromFd makes a blocking descriptor non-blocking", async () => {
  for (const [type, family] of [
    [UdpSocket, AF_INET],
    [UnixDatagram, AF_UNIX],
  ] as const) {
    const fd = openBlocking(family, SOCK_DGRAM);
    expect(isNonblocking(fd)).toBe(false);
    await using socket = await type.fromFd(fd);
    expect(isNonblocking(fd)).toBe(true);
    expect(socket.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
  }
});

test("a Worker's end closes the descriptors that it has adopted, not those that it has given away", async () => {
  const { fd, address } = await unownedUdp();
  const worker = new Worker(new URL("../children/handing-worker.ts", import.meta.url).href);
  const { given, port } = await new Promise<{ given: number; port: number }>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = reject;
    worker.postMessage(fd);
  });
  const ended = new Promise((resolve) => worker.addEventListener("close", resolve));
  worker.terminate();
  await ended;
  /** Returns whether no socket is bound to a port. */
  const isFree = (port: number) =>
    UdpSocket.bind({ ...LOOPBACK, port }).then(
      (socket) => socket.close() ?? true,
      () => false,
    );
  // The heap of the Worker, which owns the descriptors, is destroyed shortly after its end.
  while (!(await isFree(address.port))) {
    Bun.gc(true);
    await Bun.sleep(5);
  }
  expect(await isFree(port)).toBe(false);
  (await UdpSocket.fromFd(given)).close();
  expect(await isFree(port)).toBe(true);
}, 10_000);

test("fromFd of a bound descriptor keeps its address, and close closes it", async () => {
  const { fd, address } = await unownedUdp();
  const socket = await UdpSocket.fromFd(fd);
  expect(socket.asRawIo()).toBe(fd);
  expect(socket.localAddr.equals(address)).toBe(true);
  await socket.sendTo(new Uint8Array(3), address);
  expect((await socket.recvFrom(new Uint8Array(9))).peer?.equals(address)).toBe(true);
  socket.close();
  expect(thrown(() => isNonblocking(fd))).toMatchObject({ code: "EBADF" });
});

test("fromFd of a connected descriptor reports its peer and sends to it", async () => {
  using peer = await UdpSocket.bind(LOOPBACK);
  const { address, port } = peer.localAddr;
  const connected = await UdpSocket.connect({ hostname: address, port });
  using socket = await UdpSocket.fromFd(connected.intoFd() as number);
  expect(socket.peerAddr?.equals(peer.localAddr)).toBe(true);
  await socket.send(new Uint8Array(2));
  expect(await peer.recv(new Uint8Array(9))).toBe(2);
});

test.skipIf(!HAS_IPV6)("fromFd of a dual-stack descriptor can send to IPv4", async () => {
  using peer = await UdpSocket.bind(LOOPBACK);
  const dual = await UdpSocket.bind({ hostname: "::" });
  using socket = await UdpSocket.fromFd(dual.intoFd() as number);
  await socket.sendTo(new Uint8Array(2), peer.localAddr);
  expect(await peer.recv(new Uint8Array(9))).toBe(2);
});

test("fromFd fails with EEXIST while a socket owns the descriptor", async () => {
  const { fd, address } = await unownedUdp();
  using socket = await UdpSocket.fromFd(fd);
  const waiting = socket.recv(new Uint8Array(9));
  const error = await rejection(UdpSocket.fromFd(fd));
  expect(error).toBeInstanceOf(SocketError);
  expect(error).toMatchObject({ code: "EEXIST", address: `fd ${fd}` });
  expect(await rejection(UnixDatagram.fromFd(fd))).toMatchObject({ code: "EEXIST" });
  await socket.sendTo(new Uint8Array(4), address);
  expect(await waiting).toBe(4);
  // Possible again after the socket has given it up.
  using next = await UdpSocket.fromFd(socket.intoFd() as number);
  await next.sendTo(new Uint8Array(5), address);
  expect(await next.recv(new Uint8Array(9))).toBe(5);
});

test("fromFd refuses other kinds of descriptors, and leaves them open", async () => {
  const file = openSync("/proc/self/status", "r");
  const udp = await unownedUdp();
  const unix = (await UnixDatagram.unbound()).intoFd() as number;
  const refusals: [typeof UdpSocket | typeof UnixDatagram, number, string][] = [
    [UdpSocket, file, "ENOTSOCK"],
    [UnixDatagram, file, "ENOTSOCK"],
    [UdpSocket, unix, "EINVAL"],
    [UnixDatagram, udp.fd, "EINVAL"],
    [UdpSocket, 100_000, "EBADF"],
  ];
  for (const [type, fd, code] of refusals) {
    const error = await rejection(type.fromFd(fd));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code });
    expect((error as Error).message).toContain(`fd ${fd}`);
  }
  for (const fd of [file, udp.fd, unix]) {
    isNonblocking(fd);
    closeSync(fd);
  }
  for (const fd of [-1, 1.5, 2 ** 31, "3" as never]) {
    expect(await rejection(UdpSocket.fromFd(fd))).toBeInstanceOf(numberErrorOf(fd));
    expect(await rejection(UnixDatagram.fromFd(fd))).toBeInstanceOf(numberErrorOf(fd));
  }
});

test("fromFd of a listening TCP socket fails with EINVAL", async () => {
  const server = createServer((connection) => connection.end("still here"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const fd = (server as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (typeof fd === "number" && fd >= 0) {
    expect(await rejection(UdpSocket.fromFd(fd))).toMatchObject({ code: "EINVAL" });
  } else {
    console.warn("skipped: Bun does not expose the descriptor of a server");
  }
  server.close();
});

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test("failed calls of bind and connect leave no descriptor open", async () => {
    using taken = await UdpSocket.bind({ ...LOOPBACK, backend });
    const { port } = taken.localAddr;
    const failing: (() => Promise<unknown>)[] = [
      () => UdpSocket.bind({ ...LOOPBACK, port, backend }),
      () => UdpSocket.bind({ hostname: "192.0.2.77", backend }),
      () => UdpSocket.bind({ hostname: NO_HOST, backend }),
      () => UdpSocket.bind({ ...LOOPBACK, port: 70_000, backend }),
      () => UdpSocket.connect({ hostname: NO_HOST, port: 1 }, { backend }),
      () => UdpSocket.connect({ hostname: "255.255.255.255", port: 1 }, { backend }),
      () => UdpSocket.connect({ hostname: "::1", port: 1 }, { ...LOOPBACK, backend }),
    ];
    // The first round opens descriptors that stay open: those of Bun and of the resolver.
    for (const open of failing) await rejection(open());
    const before = openDescriptors();
    for (let round = 0; round < 10; round++) {
      for (const open of failing) await rejection(open());
    }
    await until(() => openDescriptors() <= before);
  });

  test("1000 sockets that are opened, used and closed leave no descriptor open", async () => {
    using peer = await UdpSocket.bind({ ...LOOPBACK, backend });
    const open = async () => {
      using socket = await UdpSocket.bind({ ...LOOPBACK, backend });
      const waiting = rejection(socket.recv(new Uint8Array(1)));
      await socket.sendTo(new Uint8Array(1), peer.localAddr);
      await peer.recv(new Uint8Array(1));
      socket.close();
      expect(await waiting).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    };
    await open();
    const before = openDescriptors();
    for (let i = 0; i < 1000; i++) await open();
    // Bun closes its own sockets at the end of the tick.
    await until(() => openDescriptors() <= before);
  });

  test("the port of a socket with a pending receive is free right after close", async () => {
    const port = await closedPort();
    for (let i = 0; i < 500; i++) {
      const socket = await UdpSocket.bind({ ...LOOPBACK, port, backend });
      const waiting = rejection(socket.recvMany([new Uint8Array(1)]));
      // Every second socket is closed in the next tick, when it may be registered with epoll.
      if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      socket.close();
      expect(await waiting).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    }
  });
});
