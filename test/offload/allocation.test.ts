/**
 * Steady-state sending with GSO and receiving with GRO allocate no memory per datagram. A call may
 * allocate, which 64 datagrams share.
 */

import { expect, test } from "bun:test";
import { DgramBuffer, RecvBatch, RecvMeta, SendBatch } from "../../lib/index.ts";
import { allocates } from "../tools/allocation.ts";
import { datagramsOf, NO_OFFLOAD_REASON, openEnds, times } from "../tools/offload.ts";
import { targets } from "../tools/sockets.ts";

const BOTH = { sender: true, receiver: true };
const COUNT = 64;
/** The calls of one measurement: 2,560,000 datagrams. */
const CALLS = 40_000;
const TIMEOUT_MS = 60_000;

test.skipIf(NO_OFFLOAD_REASON !== undefined)(
  "sendMany with GSO and recvMany with GRO allocate nothing per datagram",
  async () => {
    using pair = await openEnds(BOTH);
    const { sender, receiver } = pair;
    const payloads = datagramsOf(times(COUNT, 100));
    const to = receiver.localAddr;
    const destinations = times(COUNT, to);
    const buffers = targets(COUNT, 100);
    const meta = buffers.map(() => new RecvMeta());
    const [toOne, toEach, withMeta] = [{ to }, { to: destinations }, { meta }];
    const op = (index: number) => {
      sender.trySendMany(payloads, index % 2 === 0 ? toOne : toEach);
      let got = 0;
      while (got < COUNT) got += receiver.tryRecvMany(buffers, withMeta) as number;
    };
    expect(await allocates(op, CALLS)).toBe(false);
    expect(meta[COUNT - 1]?.peer?.equals(sender.localAddr)).toBe(true);
  },
  TIMEOUT_MS,
);

test.skipIf(NO_OFFLOAD_REASON !== undefined)(
  "recvMany into fewer DgramBuffers than there are GRO segments allocates nothing per datagram",
  async () => {
    using pair = await openEnds(BOTH);
    const payloads = datagramsOf(times(COUNT, 100));
    const to = { to: pair.receiver.localAddr };
    const buffers = Array.from({ length: 24 }, () => DgramBuffer.withCapacityAndHeadroom(116, 16));
    const op = () => {
      pair.sender.trySendMany(payloads, to);
      let got = 0;
      while (got < COUNT) {
        got += pair.receiver.tryRecvMany(buffers) as number;
        for (const buffer of buffers) buffer.truncate(0);
      }
    };
    expect(await allocates(op, CALLS)).toBe(false);
  },
  TIMEOUT_MS,
);

test.skipIf(NO_OFFLOAD_REASON !== undefined)(
  "a RecvBatch read by offset and a SendBatch with prefixes allocate nothing per datagram",
  async () => {
    using pair = await openEnds(BOTH);
    const { sender, receiver } = pair;
    const payload = datagramsOf([100])[0] as Uint8Array;
    const to = receiver.localAddr;
    const [received, out] = [new RecvBatch(), new SendBatch({ datagrams: COUNT })];
    const meta = new RecvMeta();
    let bytes = 0;
    const op = () => {
      for (let i = 0; i < COUNT; i++) out.prefixVarint(7).push(payload, to);
      sender.trySendBatch(out);
      let got = 0;
      while (got < COUNT) {
        got += receiver.tryRecvBatch(received) as number;
        for (let i = 0; i < received.length; i++) {
          bytes += (received.bytes[received.offsetAt(i)] as number) + received.lengthAt(i);
          if (received.peerAt(i)?.port !== received.metaAt(i, meta).peer?.port) throw received;
        }
      }
    };
    expect(await allocates(op, CALLS)).toBe(false);
    expect(bytes % COUNT).toBe(0);
  },
  TIMEOUT_MS,
);
