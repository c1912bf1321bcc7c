/**
 * Sends and receives thousands of batches of 64 datagrams with metadata. Prints the bytes allocated
 * per batch, and, as a check of the method, those with one additional small object per datagram.
 */

import { RecvBatch, RecvMeta, SendBatch, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { bytesAllocated } from "../tools/allocation.ts";

const BATCH = 64;
/** A few small objects per batch, which the engine allocates. */
const ENOUGH_BYTES = 16 * 16;

const options = {
  hostname: "127.0.0.1",
  backend: "native",
  offload: process.argv[2] === "on",
} as const;
using receiver = await UdpSocket.bind(options);
using sender = await UdpSocket.bind(options);
const batch = new SendBatch({ datagrams: BATCH });
const received = new RecvBatch({ messages: 8 });
const payload = new Uint8Array(100);
const prefix = new Uint8Array(3);
const metadata = [{ ecn: 1 }, { ecn: 2 }] as const;
const to = receiver.localAddr;
const meta = new RecvMeta();
receiver.enableMetadata();

/**
 * Sends a batch with prefixes (varints for one half, bytes for the other), and receives it with all
 * metadata. Calls `each` for each datagram.
 */
function transfer(each: (i: number) => void): void {
  for (let i = 0; i < BATCH; i++) {
    each(i);
    batch.meta(metadata[(i >> 4) & 1]);
    if (i < BATCH / 2) batch.prefixVarint(i).pushSlice(payload, 10, 80, to);
    else batch.prefix(prefix).push(payload, to);
  }
  sender.trySendBatch(batch);
  let count = 0;
  while (count < BATCH) {
    const got = receiver.tryRecvBatch(received);
    if (got === WouldBlock) throw new Error(`${BATCH} datagrams expected, got ${count}`);
    for (let i = 0; i < got; i++) received.metaAt(i, meta);
    count += got;
  }
}

const kept: object[] = [];
const bytes = bytesAllocated(() => transfer(() => {}), ENOUGH_BYTES);
// One attempt suffices: an allocation per datagram adds to those of the engine.
const leakyBytes = bytesAllocated(
  () =>
    transfer((i) => {
      kept[0] = { i };
    }),
  Number.MAX_VALUE,
);
console.log(JSON.stringify({ bytes, leakyBytes }));
