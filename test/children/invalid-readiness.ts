/** Opens sockets of every kind with an invalid readiness mode, and one after it is corrected. */

import { AsyncFd, UdpSocket, UnixDatagram } from "../../lib/index.ts";

const OPEN: readonly (() => Promise<unknown>)[] = [
  () => UdpSocket.bind({ hostname: "127.0.0.1" }),
  () => UnixDatagram.pair(),
  () => UnixDatagram.unbound(),
  () => AsyncFd.open(0),
];

const errors: string[] = [];
for (const open of OPEN) {
  try {
    await open();
  } catch (error) {
    errors.push(String(error));
  }
}
process.env.DATAGRAM_SOCKET_READINESS = "loop";
using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
console.log(JSON.stringify({ errors, backend: socket.backend }));
