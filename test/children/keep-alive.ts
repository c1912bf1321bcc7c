/**
 * Opens a socket and runs a scenario that may keep the process alive. The exit code is 0 if the
 * process ends by itself, and 7 if it is still alive after some time.
 *
 * Arguments: the socket (`bun` for Bun's own, `native`, `portable`, `unix`, or `AsyncFd`), the scenario, and
 * the time in milliseconds.
 */

import { AsyncFd, SocketAddress, UdpSocket, UnixDatagram, WouldBlock } from "../../lib/index.ts";

/** The methods that all kinds of sockets have. */
interface KeepAliveSocket {
  ref(): unknown;
  unref(): unknown;
  close(): void;
}

const [kind, scenario, timeMs] = process.argv.slice(2) as [string, string, string];

async function open(): Promise<KeepAliveSocket> {
  if (kind === "bun") {
    return Bun.udpSocket({ hostname: "127.0.0.1", socket: { data() {} } });
  }
  if (kind === "unix") return UnixDatagram.unbound();
  if (kind === "AsyncFd") {
    const fd = (await UnixDatagram.unbound()).intoFd() as number;
    const ready = await AsyncFd.open(fd);
    // It has neither.
    return { ref() {}, unref() {}, close: () => ready.close() };
  }
  return UdpSocket.bind({ hostname: "127.0.0.1", backend: kind as "native" | "portable" });
}

/** Starts a receive that waits. Bun's own socket needs no call for that. */
function receive(socket: KeepAliveSocket): void {
  if (socket instanceof UdpSocket || socket instanceof UnixDatagram) {
    socket.recv(new Uint8Array(1)).catch(() => {});
  }
}

/** Sends to itself, and receives, more datagrams than the reactor transfers without a tick. */
async function transferAllTheTime(socket: UdpSocket): Promise<never> {
  const bufs = Array.from({ length: 20 }, () => new Uint8Array(1));
  for (;;) {
    await socket.sendMany(bufs, { to: socket.localAddr });
    for (let count = 0; count < bufs.length; ) count += await socket.recvMany(bufs);
  }
}

const SCENARIOS: Record<string, (socket: KeepAliveSocket) => unknown> = {
  open: () => {},
  close: (socket) => socket.close(),
  unref: (socket) => socket.unref(),
  "unref twice, ref once": (socket) => {
    socket.unref();
    socket.unref();
    socket.ref();
  },
  "ref twice, unref once": (socket) => {
    socket.ref();
    socket.ref();
    socket.unref();
  },
  "unref, close": (socket) => {
    socket.unref();
    socket.close();
  },
  "close, ref": (socket) => {
    socket.close();
    socket.ref();
  },
  "receive, unref": (socket) => {
    receive(socket);
    socket.unref();
  },
  "unref, receive": (socket) => {
    socket.unref();
    receive(socket);
  },
  "receive, close": (socket) => {
    receive(socket);
    socket.close();
  },
  "two, one closed": async (socket) => {
    await open();
    socket.close();
  },
  "two, both unref": async (socket) => {
    (await open()).unref();
    socket.unref();
  },
  "sends to a full peer, unref": async (socket) => {
    if (!(socket instanceof UnixDatagram)) return socket.unref();
    const address = SocketAddress.abstract(`keep-alive-${process.pid}`);
    const full = await UnixDatagram.bind(address);
    while (socket.trySendTo(new Uint8Array(1), address) !== WouldBlock);
    socket.sendTo(new Uint8Array(1), address).catch(() => {});
    full.unref();
    return socket.unref();
  },
  "transfers all the time, unref": (socket) => {
    socket.unref();
    if (socket instanceof UdpSocket) void transferAllTheTime(socket);
  },
  forgotten: () => Bun.gc(true),
};

SCENARIOS[scenario]?.(await open());
setTimeout(() => process.exit(7), Number(timeMs)).unref();
