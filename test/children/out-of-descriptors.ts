/** A socket whose sender comes to wait while the process has no descriptor left for that. */

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

const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch {
  // None is left.
}
const sending = socket.send(payload);
await Bun.sleep(20);
peer.trySend(payload);
await Bun.sleep(100);
const without = received;
while (peer.tryRecv(new Uint8Array(1)) !== WouldBlock);
const sent = await sending;
for (const fd of taken) closeSync(fd);
peer.trySend(payload);
await Bun.sleep(100);
console.log(JSON.stringify({ without, sent, received }));
socket.close();
peer.close();
await receiving;
