/**
 * Sends, receives and relays batches over loopback, to measure allocations: most of the time is
 * spent in the kernel. Uses two batch sizes, so that slope.ts can separate allocations per batch
 * from those per datagram. Offloads are at their defaults.
 */

import { DgramBuffer, RecvBatch, RecvMeta, SendBatch } from "../../lib/index.ts";
import type { Comparison, Variant } from "./comparison.ts";
import { checkDone, connectedPair, DATAGRAM_BYTES, drain, makePayloads } from "./loopback.ts";

const STEADY_STATE = "steady state";

/** The batch sizes. Both fit in one GSO message, so that only the number of datagrams differs. */
const BATCH_SIZES = [8, 48];
const PREFIX = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

async function manyVariants(payloads: readonly Uint8Array[]): Promise<Variant[]> {
  const { receiver, sender } = await connectedPair();
  const targets = payloads.map(() => DgramBuffer.withCapacity(DATAGRAM_BYTES));
  const options = { meta: payloads.map(() => new RecvMeta()) };
  const clear = () => {
    for (const target of targets) target.clear();
  };
  return [
    {
      name: "trySendMany, tryRecvMany",
      run() {
        clear();
        checkDone(sender.trySendMany(payloads));
        return checkDone(receiver.tryRecvMany(targets, options));
      },
    },
    {
      name: "sendMany, recvMany: one promise each a batch",
      async run() {
        clear();
        await sender.sendMany(payloads);
        return await receiver.recvMany(targets, options);
      },
    },
  ];
}

async function batchVariant(payloads: readonly Uint8Array[]): Promise<Variant> {
  const { receiver, sender } = await connectedPair();
  const [out, into] = [new SendBatch({ datagrams: payloads.length }), new RecvBatch()];
  return {
    name: "trySendBatch, tryRecvBatch",
    run() {
      for (const payload of payloads) out.push(payload);
      checkDone(sender.trySendBatch(out));
      return drain(receiver, into, payloads.length);
    },
  };
}

/** Sends each datagram, receives it, sends it again with a prefix, and receives it again. */
async function relayVariant(payloads: readonly Uint8Array[]): Promise<Variant> {
  const [first, second] = [await connectedPair(), await connectedPair()];
  const [into, last] = [new RecvBatch(), new RecvBatch()];
  const out = new SendBatch({ datagrams: payloads.length, prefixBytes: PREFIX.length });
  const forward = (batch: RecvBatch) => {
    for (let i = 0; i < batch.length; i++) {
      out.prefix(PREFIX).pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
    }
    checkDone(second.sender.trySendBatch(out));
  };
  return {
    name: "relay by batches, 8 bytes of prefix",
    run() {
      checkDone(first.sender.trySendMany(payloads));
      drain(first.receiver, into, payloads.length, forward);
      return drain(second.receiver, last, payloads.length);
    },
  };
}

async function comparisonOf(datagrams: number): Promise<Comparison> {
  const payloads = makePayloads(datagrams);
  return {
    scenario: STEADY_STATE,
    parameters: { batch: datagrams, bytes: DATAGRAM_BYTES },
    operations: datagrams,
    variants: [
      ...(await manyVariants(payloads)),
      await batchVariant(payloads),
      await relayVariant(payloads),
    ],
    expected: datagrams,
  };
}

export const comparisons: readonly Comparison[] = await Promise.all(BATCH_SIZES.map(comparisonOf));
