/**
 * Calls `recvmmsg` and `sendmmsg` on descriptor 3, a blocking UDP socket whose peer replies with
 * one datagram: receives with 20 buffers while it is queued, and while none is. Prints the results;
 * a call that blocks would prevent that.
 */

import { isNonblocking, recvmmsg, sendmmsg, WouldBlock } from "../../lib/index.ts";

const FD = 3;
const bufs = Array.from({ length: 20 }, () => new Uint8Array(100));

// Repeated until the reply has arrived.
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
