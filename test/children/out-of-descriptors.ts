/**
 * Starts a send that waits while the process has no descriptor left to duplicate the socket for it.
 * Prints the datagrams received until then and in total, and the result of the send.
 */

import { closeSync, openSync } from "node:fs";
import { UnixDatagram, WouldBlock } from "../../lib/index.ts";

const [socket, peer] = await UnixDatagram.pair();
const payload = new Uint8Array(100);
while (socket.trySend(payload) !== WouldBlock);
let received = 0;
const receive = async () => {
  for (;;) {
    await socket.recv(new Uint8Array(1));
    received++;
  }
};
const receiving = receive().catch(() => {});
await Bun.sleep(20);

const unused: number[] = [];
try {
  for (;;) unused.push(openSync("/dev/null", "r"));
} catch {
  // EMFILE: no descriptor is left.
}
const sending = socket.send(payload);
await Bun.sleep(20);
peer.trySend(payload);
await Bun.sleep(100);
const receivedAtLimit = received;
while (peer.tryRecv(new Uint8Array(1)) !== WouldBlock);
const sent = await sending;
for (const fd of unused) closeSync(fd);
peer.trySend(payload);
await Bun.sleep(100);
console.log(JSON.stringify({ receivedAtLimit, sent, received }));
socket.close();
peer.close();
await receiving;
