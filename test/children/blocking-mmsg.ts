/**
 * Run with descriptor 3 a blocking UDP socket: receives with twenty buffers while one datagram is
 * queued, then while none is, and prints what came. A call that blocked would print nothing.
 */

import { isNonblocking, recvmmsg, sendmmsg, WouldBlock } from "../../lib/index.ts";

const FD = 3;
const bufs = Array.from({ length: 20 }, () => new Uint8Array(100));

/** Until the answer has come; it is on its way over loopback. */
let received = recvmmsg(FD, bufs);
const sent = sendmmsg(FD, [new Uint8Array([1]), new Uint8Array([2])]);
while (received === WouldBlock) {
  await new Promise((resolve) => setImmediate(resolve));
  received = recvmmsg(FD, bufs);
}
const again = recvmmsg(FD, bufs);
console.log(
  JSON.stringify({
    isNonblocking: isNonblocking(FD),
    sent: String(sent),
    received: String(received),
    again: String(again),
    first: bufs[0]?.[0],
  }),
);
