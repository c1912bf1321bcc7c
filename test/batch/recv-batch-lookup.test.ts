/**
 * Lookups in a received batch by datagram index, in any order. The batch may have been filled by
 * the kernel, or by copies of datagrams that `recvMany` left unread.
 */

import { describe, expect, test } from "bun:test";
import { RecvBatch, SocketAddress } from "../../lib/index.ts";
import {
  datagramsOf,
  expectSame,
  NO_OFFLOAD_REASON,
  openEnds,
  receiveBatch,
  receiveSome,
  times,
} from "../tools/offload.ts";
import { thrown } from "../tools/sockets.ts";

const BOTH = { sender: true, receiver: true };
const LOOKUPS = ["offsetAt", "lengthAt", "messageAt", "payload", "peerAt", "metaAt"] as const;

/** `before`: the number of datagrams that `recvMany` takes before the batch is received. */
describe.skipIf(NO_OFFLOAD_REASON !== undefined).each([
  { name: "filled by the kernel", before: 0 },
  { name: "filled after recvMany", before: 2 },
])("RecvBatch $name", ({ before }) => {
  const sent = datagramsOf([...times(6, 100), 40, ...times(3, 70), 0]);

  test("returns the peer of each datagram, backwards and across messages", async () => {
    using a = await openEnds(BOTH);
    using b = await openEnds(BOTH);
    const to = a.receiver.localAddr;
    // Four messages of three datagrams each.
    const pairs = [a, b, a, b];
    for (const { sender } of pairs) await sender.sendMany(sent.slice(0, 3), { to });
    const peers = pairs.flatMap(({ sender }) => times(3, sender.localAddr)).slice(before);
    if (before > 0) await receiveSome(a.receiver, before);
    const batch = new RecvBatch({ messages: 4 });
    for (let got = 0; got < peers.length; got += batch.length) {
      await a.receiver.recvBatch(batch);
      const last = batch.length - 1;
      const order = Array.from({ length: batch.length }, (_, i) => last - i);
      for (const i of [...order, 0, last, last >> 1, 0, last]) {
        const peer = peers[got + i];
        expect(`${i} by ${batch.peerAt(i)}`).toBe(`${i} by ${peer}`);
        expect(`${i} by ${batch.metaAt(i).peer}`).toBe(`${i} by ${peer}`);
      }
    }
  });

  test.each(LOOKUPS)("%s throws RangeError for an index out of range", async (lookup) => {
    using pair = await openEnds(BOTH);
    await pair.sender.sendMany(sent, { to: pair.receiver.localAddr });
    if (before > 0) await receiveSome(pair.receiver, before);
    const batch = new RecvBatch();
    expect(thrown(() => batch[lookup](0))).toBeInstanceOf(RangeError);
    const received = await receiveBatch(pair.receiver, batch);
    for (const i of [-1, batch.length, batch.length + 1000, Number.NaN]) {
      expect(thrown(() => batch[lookup](i))).toBeInstanceOf(RangeError);
    }
    // The failed lookups have not changed the batch.
    expectSame(
      received.map(({ peer }, i) => ({ bytes: batch.payload(i).slice(), peer })),
      sent.slice(before, before + received.length),
    );
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("RecvBatch with GRO messages", () => {
  test("returns the same datagrams for lookups in any order", async () => {
    using pair = await openEnds(BOTH);
    const sent = datagramsOf([...times(5, 100), ...times(4, 70), 30, ...times(6, 200), 0, 9]);
    await pair.sender.sendMany(sent, { to: pair.receiver.localAddr });
    const batch = new RecvBatch();
    let got = 0;
    const check = (i: number) => {
      const bytes = batch.bytes.subarray(batch.offsetAt(i), batch.offsetAt(i) + batch.lengthAt(i));
      expect<Uint8Array>(bytes).toEqual(sent[got + i] as Uint8Array);
      expect<Uint8Array>(batch.payload(i)).toEqual(sent[got + i] as Uint8Array);
      const from = SocketAddress.ip("127.0.0.1", pair.sender.localAddr.port);
      expect(batch.peerAt(i)?.equals(from)).toBe(true);
    };
    while (got < sent.length) {
      await pair.receiver.recvBatch(batch);
      const last = batch.length - 1;
      for (let i = last; i >= 0; i--) check(i);
      for (let i = 0; i <= last; i += 3) check(i);
      for (const i of [last, 0, last >> 1, last, 0]) check(i);
      for (const i of [-1, batch.length, 0.5, Number.NaN]) {
        expect(thrown(() => batch.offsetAt(i))).toBeInstanceOf(RangeError);
        expect(thrown(() => batch.lengthAt(i))).toBeInstanceOf(RangeError);
      }
      expect(thrown(() => batch.strideAt(batch.messages))).toBeInstanceOf(RangeError);
      got += batch.length;
    }
    expect(got).toBe(sent.length);
  });
});
