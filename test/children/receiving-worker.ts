/** A Worker that has sockets of every kind open, with receives that wait and datagrams under way. */

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

/** Never idle: the Worker ends in the middle of sends, receives and system calls. */
(async () => {
  const payloads = Array.from({ length: 32 }, () => new Uint8Array(100));
  for (;;) {
    await own.sendMany(payloads, { to: own.localAddr });
    await new Promise((resolve) => setImmediate(resolve));
  }
})().catch(() => {});

self.postMessage("ready");
