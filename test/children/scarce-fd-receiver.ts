/**
 * Receives more descriptors than the process may open, and passes them as a user without privileges.
 * Prints what it received, and the code of the error.
 */

import { openSync, readdirSync } from "node:fs";
import { UnixDatagram, WouldBlock } from "../../lib/index.ts";

const COUNT = 40;
/** The number of descriptors that are left for those that are passed. */
const LEFT = 5;
const limit = Number(process.argv[2]);

const self = openSync(import.meta.path, "r");
const [a, b] = await UnixDatagram.pair();
const buffer = new Uint8Array(1);
await a.sendFds(buffer, [self]);
(await b.recvFds(buffer)).close();
await a.sendFds(buffer, Array(COUNT).fill(self));
// The listing counts its own descriptor.
const open = readdirSync("/proc/self/fd").length - 1;
for (let i = open; i < limit - LEFT; i++) openSync("/dev/null", "r");
const received = await b.recvFds(buffer);
const { fds, fdsTruncated } = received;
const accepted = fds.length;
received.close();
let code: unknown;
try {
  while (a.trySendFds(buffer, Array(COUNT).fill(self)) !== WouldBlock);
} catch (error) {
  code = (error as { code: unknown }).code;
}
const { controlTruncated } = b.counters;
a.close();
b.close();
console.log(JSON.stringify({ accepted, fdsTruncated, controlTruncated, code }));
