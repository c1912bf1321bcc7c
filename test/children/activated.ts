/** A service that adopts the first socket of its service manager, and answers one datagram. */

import { UdpSocket } from "../../lib/index.ts";

const { LISTEN_PID, LISTEN_FDS } = process.env;
if (Number(LISTEN_PID) !== process.pid || Number(LISTEN_FDS) < 1) {
  throw new Error(
    `LISTEN_PID=${process.pid} expected, got ${LISTEN_PID} and ${LISTEN_FDS} sockets`,
  );
}
await using socket = await UdpSocket.fromFd(3);
const buffer = new Uint8Array(100);
const { length, peer } = await socket.recvFrom(buffer);
if (peer) await socket.sendTo(buffer.subarray(0, length), peer);
