/**
 * Sending, receiving and relaying batch after batch over loopback: mostly the kernel's time, but
 * what a datagram allocates is seen here. A small and a large batch, so that what is allocated once
 * a batch can be told from what is for every datagram. Offload is as it is by default.
 */

import { DgramBuffer, RecvBatch, RecvMeta, SendBatch } from "../../lib/index.ts";
import type { Comparison, Way } from "./comparison.ts";
import { connectedPair, DATAGRAM_BYTES, done, drain, makePayloads } from "./loopback.ts";

/** What this measures; figures are a datagram's. */
const STEADY_STATE = "steady state";

/** Each goes in one message, so that they differ by datagrams alone. */
const BATCHES = [8, 48];
const PREFIX = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

async function manyWays(payloads: readonly Uint8Array[]): Promise<Way[]> {
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
        done(sender.trySendMany(payloads));
        return done(receiver.tryRecvMany(targets, options));
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

async function batchWay(payloads: readonly Uint8Array[]): Promise<Way> {
  const { receiver, sender } = await connectedPair();
  const [out, into] = [new SendBatch({ datagrams: payloads.length }), new RecvBatch()];
  return {
    name: "trySendBatch, tryRecvBatch",
    run() {
      for (const payload of payloads) out.push(payload);
      done(sender.trySendBatch(out));
      return drain(receiver, into, payloads.length);
    },
  };
}

/** Each datagram is sent, received, sent on with a prefix, and received again. */
async function relayWay(payloads: readonly Uint8Array[]): Promise<Way> {
  const [first, second] = [await connectedPair(), await connectedPair()];
  const [into, last] = [new RecvBatch(), new RecvBatch()];
  const out = new SendBatch({ datagrams: payloads.length, prefixBytes: PREFIX.length });
  const forward = (batch: RecvBatch) => {
    for (let i = 0; i < batch.length; i++) {
      out.prefix(PREFIX).pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
    }
    done(second.sender.trySendBatch(out));
  };
  return {
    name: "relay by batches, 8 bytes of prefix",
    run() {
      done(first.sender.trySendMany(payloads));
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
    ways: [...(await manyWays(payloads)), await batchWay(payloads), await relayWay(payloads)],
    expected: datagrams,
  };
}

export const comparisons: readonly Comparison[] = await Promise.all(BATCHES.map(comparisonOf));
