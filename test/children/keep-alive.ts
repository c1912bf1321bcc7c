/**
 * Opens a socket, does with it what a scenario says, and ends: with exit code 7 when the process
 * was still alive after a while, with 0 when nothing kept it.
 *
 * Arguments: which socket (`bun`: Bun's own, `shim`, `portable`, `unix`), the scenario, and how
 * long a while is in milliseconds.
 */

import { SocketAddress, UdpSocket, UnixDatagram, WouldBlock } from "../../lib/index.ts";

interface KeptAlive {
  ref(): unknown;
  unref(): unknown;
  close(): void;
}

const [kind, scenario, whileMs] = process.argv.slice(2) as [string, string, string];

async function open(): Promise<KeptAlive> {
  if (kind === "bun") {
    return Bun.udpSocket({ hostname: "127.0.0.1", socket: { data() {} } });
  }
  if (kind === "unix") return UnixDatagram.unbound();
  return UdpSocket.bind({ hostname: "127.0.0.1", backend: kind as "native" | "portable" });
}

/** Starts a receive or a send that waits; Bun's own socket receives by itself. */
function receive(socket: KeptAlive): void {
  if (socket instanceof UdpSocket || socket instanceof UnixDatagram) {
    socket.recv(new Uint8Array(1)).catch(() => {});
  }
}

const SCENARIOS: Record<string, (socket: KeptAlive) => unknown> = {
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
  forgotten: () => Bun.gc(true),
};

SCENARIOS[scenario]?.(await open());
setTimeout(() => process.exit(7), Number(whileMs)).unref();
