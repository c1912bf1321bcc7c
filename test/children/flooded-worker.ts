/**
 * A Worker that posts the addresses of its sockets, receives continuously, and collects garbage
 * every few milliseconds.
 */

import { UdpSocket } from "../../lib/index.ts";

declare const self: Worker;

const SOCKETS = 4;
const GC_INTERVAL_MS = 3;

const sockets: UdpSocket[] = [];
for (let i = 0; i < SOCKETS; i++) sockets.push(await UdpSocket.bind({ hostname: "127.0.0.1" }));
for (const socket of sockets) {
  const bufs = Array.from({ length: 8 }, () => new Uint8Array(200));
  (async () => {
    for (;;) await socket.recvMany(bufs);
  })().catch(() => {});
}
setInterval(() => Bun.gc(true), GC_INTERVAL_MS);
self.postMessage(sockets.map(({ localAddr }) => localAddr.toString()));
