/**
 * Calls `process.exit` in a waker, while other sockets wait and have datagrams in flight. Argument:
 * the backend.
 */

import { Pending, RecvMeta, UdpSocket } from "../../lib/index.ts";

const backend = process.argv[2] as "native" | "portable";
const SOCKETS = 20;
const DATAGRAMS = 200;

const options = { hostname: "127.0.0.1", backend };
const sender = await UdpSocket.bind(options);
const sockets: UdpSocket[] = [];
for (let i = 0; i < SOCKETS; i++) sockets.push(await UdpSocket.bind(options));

const buffer = new Uint8Array(8);
const meta = new RecvMeta();
let received = 0;
for (const socket of sockets) {
  const receive = () => {
    while (socket.pollRecvFrom(receive, buffer, meta) !== Pending) {
      if (++received === DATAGRAMS) process.exit(42);
    }
  };
  receive();
}
setInterval(() => {
  for (const { localAddr } of sockets) sender.trySendTo(buffer, localAddr);
}, 1);
