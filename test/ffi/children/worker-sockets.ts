/** Opens sockets of every kind in a Worker, waits on all of them, and posts the UDP ports. */

import { UdpSocket, UnixDatagram } from "../../../lib/index.ts";

const buffer = new Uint8Array(16);
const sockets = await Promise.all(
  Array.from({ length: 20 }, () => UdpSocket.bind({ hostname: "127.0.0.1" })),
);
const [left, right] = await UnixDatagram.pair();
for (const socket of [...sockets, left, right]) void socket.recv(buffer).catch(() => {});
// A full one, so that writability is waited for as well.
while (typeof left.trySend(buffer) === "number");
void left.send(buffer).catch(() => {});
// Two turns: everybody is parked in the kernel by then.
setTimeout(() => postMessage(sockets.map((socket) => socket.localAddr.port)), 5);
