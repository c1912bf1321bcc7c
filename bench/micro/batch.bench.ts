/** The ways to access the datagrams of a received batch. */

import { DgramBuffer, RecvBatch, RecvMeta } from "../../lib/index.ts";
import type { Comparison, Variant } from "./comparison.ts";
import { checkDone, connectedPair, DATAGRAM_BYTES, makePayloads } from "./loopback.ts";

const BATCH = 64;

const { receiver, sender } = await connectedPair();
const payloads = makePayloads(BATCH);

async function receivedBatch(): Promise<RecvBatch> {
  const batch = new RecvBatch({ messages: BATCH });
  checkDone(sender.trySendMany(payloads));
  const count = checkDone(receiver.tryRecvBatch(batch));
  if (count !== BATCH) throw new Error(`expected ${BATCH} datagrams, got ${count}`);
  return batch;
}

const batch = await receivedBatch();
const buffers = payloads.map(() => DgramBuffer.withCapacity(DATAGRAM_BYTES));
const metas = payloads.map(() => new RecvMeta());
checkDone(sender.trySendMany(payloads));
const received = checkDone(receiver.tryRecvMany(buffers, { meta: metas }));
if (received !== BATCH) throw new Error(`expected ${BATCH} datagrams, got ${received}`);
const meta = new RecvMeta();

/** All return the sum of the lengths. */
const variants: readonly Variant[] = [
  {
    name: "RecvBatch: offsetAt, lengthAt",
    run() {
      let sum = 0;
      // Reads the first byte of each datagram, which is its index, to use the offset.
      for (let i = 0; i < batch.length; i++) {
        sum += batch.lengthAt(i) + (batch.bytes[batch.offsetAt(i)] as number) - i;
      }
      return sum;
    },
  },
  {
    name: "RecvBatch: peerAt, lengthAt",
    run() {
      let sum = 0;
      for (let i = 0; i < batch.length; i++) {
        if (batch.peerAt(i)?.port === sender.localAddr.port) sum += batch.lengthAt(i);
      }
      return sum;
    },
  },
  {
    name: "RecvBatch: metaAt into one RecvMeta",
    run() {
      let sum = 0;
      for (let i = 0; i < batch.length; i++) sum += batch.metaAt(i, meta).length;
      return sum;
    },
  },
  {
    name: "RecvBatch: payload",
    run() {
      let sum = 0;
      for (let i = 0; i < batch.length; i++) sum += batch.payload(i).length;
      return sum;
    },
  },
  {
    name: "recvMany: RecvMeta",
    run() {
      let sum = 0;
      for (const one of metas) sum += one.length;
      return sum;
    },
  },
  {
    name: "recvMany: DgramBuffer's asSlice",
    run() {
      let sum = 0;
      for (const buffer of buffers) sum += buffer.asSlice().length;
      return sum;
    },
  },
];

export const comparisons: readonly Comparison[] = [
  {
    scenario: "going through a batch",
    parameters: { batch: BATCH },
    operations: BATCH,
    variants,
    expected: BATCH * DATAGRAM_BYTES,
  },
];
