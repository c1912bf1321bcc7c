/** A Worker with sockets of every kind that wait to receive, and with datagrams in flight. */

import { SocketAddress, UdpSocket, UnixDatagram } from "../../lib/index.ts";

declare const self: Worker;

const [pair] = await UnixDatagram.pair();
const own = await UdpSocket.bind({ hostname: "127.0.0.1" });
const sockets = [
  own,
  await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" }),
  await UnixDatagram.bind(SocketAddress.abstract(`worker-${process.pid}-${crypto.randomUUID()}`)),
  pair,
];

for (const socket of sockets) {
  const bufs = Array.from({ length: 64 }, () => new Uint8Array(100));
  (async () => {
    for (;;) await socket.recvMany(bufs);
  })().catch(() => {});
}

// Keeps the Worker busy, so that it is terminated during sends, receives and system calls.
(async () => {
  const payloads = Array.from({ length: 32 }, () => new Uint8Array(100));
  for (;;) {
    await own.sendMany(payloads, { to: own.localAddr });
    await new Promise((resolve) => setImmediate(resolve));
  }
})().catch(() => {});

self.postMessage("ready");
