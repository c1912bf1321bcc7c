/** Prints the results of the library, for a process in which the shim is unavailable. */

import {
  isNonblocking,
  recvmmsg,
  SocketAddress,
  type SocketError,
  UdpSocket,
  UnixDatagram,
} from "../../lib/index.ts";

const warnings: string[] = [];
process.on("warning", ({ name, message }) => warnings.push(`${name}: ${message}`));

async function errorOf(call: () => unknown): Promise<string> {
  try {
    const opened = await call();
    for (const socket of [opened].flat()) (socket as { close?(): void }).close?.();
    return "no error";
  } catch (error) {
    return `${(error as SocketError).code} ${(error as SocketError).message}`;
  }
}

const errors = {
  bind: await errorOf(() => UnixDatagram.bind("/nowhere/x.sock")),
  unbound: await errorOf(() => UnixDatagram.unbound()),
  pair: await errorOf(() => UnixDatagram.pair()),
  fromFd: await errorOf(() => UnixDatagram.fromFd(0)),
  udpFromFd: await errorOf(() => UdpSocket.fromFd(0)),
  shim: await errorOf(() => UdpSocket.bind({ backend: "native" })),
  reusePort: await errorOf(() => UdpSocket.bind({ reusePort: true })),
  recvmmsg: await errorOf(() => recvmmsg(0, [])),
  isNonblocking: await errorOf(() => isNonblocking(0)),
};

using receiver = await UdpSocket.bind({ hostname: "127.0.0.1" });
using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
await sender.sendMany([new Uint8Array(1), new Uint8Array(2)], { to: receiver.localAddr });
const buf = new Uint8Array(9);
const { length, peer } = await receiver.recvFrom(buf);
const lengths = [length, await receiver.recv(buf)];
const isPeer = peer?.equals(SocketAddress.ip("127.0.0.1", sender.localAddr.port));
await new Promise((resolve) => setImmediate(resolve));
console.log(JSON.stringify({ backend: receiver.backend, errors, lengths, isPeer, warnings }));
