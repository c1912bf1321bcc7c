/** Opens UDP and Unix sockets in a Worker, waits on all of them, and posts the UDP ports. */

import { UdpSocket, UnixDatagram } from "../../../lib/index.ts";

const buffer = new Uint8Array(16);
const sockets = await Promise.all(
  Array.from({ length: 20 }, () => UdpSocket.bind({ hostname: "127.0.0.1" })),
);
const [left, right] = await UnixDatagram.pair();
for (const socket of [...sockets, left, right]) void socket.recv(buffer).catch(() => {});
// Fills the peer's receive queue, so that the next send waits for writability.
while (typeof left.trySend(buffer) === "number");
void left.send(buffer).catch(() => {});
// After a few ticks all sockets are armed, that is, registered with epoll.
setTimeout(() => postMessage(sockets.map((socket) => socket.localAddr.port)), 5);
