/**
 * Places in a received batch: whichever way it came by its datagrams and in whatever order they
 * are asked for, each has its own peer, and one that is not there is a RangeError.
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
const QUESTIONS = ["offsetAt", "lengthAt", "messageAt", "payload", "peerAt", "metaAt"] as const;

describe.skipIf(NO_OFFLOAD_REASON !== undefined).each([
  { name: "received", before: 0 },
  { name: "taken over from recvMany", before: 2 },
])("a batch, $name", ({ before }) => {
  const sent = datagramsOf([...times(6, 100), 40, ...times(3, 70), 0]);

  test("names each datagram's own peer, backwards and across messages", async () => {
    using a = await openEnds(BOTH);
    using b = await openEnds(BOTH);
    const to = a.receiver.localAddr;
    // Runs of different lengths, so that batches end within messages and between them.
    const turns = [a, b, a, b];
    for (const { sender } of turns) await sender.sendMany(sent.slice(0, 3), { to });
    const peers = turns.flatMap(({ sender }) => times(3, sender.localAddr)).slice(before);
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

  test.each(QUESTIONS)("%s of a place that is not there is a RangeError", async (question) => {
    using pair = await openEnds(BOTH);
    await pair.sender.sendMany(sent, { to: pair.receiver.localAddr });
    if (before > 0) await receiveSome(pair.receiver, before);
    const batch = new RecvBatch();
    expect(thrown(() => batch[question](0))).toBeInstanceOf(RangeError);
    const received = await receiveBatch(pair.receiver, batch);
    for (const i of [-1, batch.length, batch.length + 1000, Number.NaN]) {
      expect(thrown(() => batch[question](i))).toBeInstanceOf(RangeError);
    }
    // And those that are there are as they were.
    expectSame(
      received.map(({ peer }, i) => ({ bytes: batch.payload(i).slice(), peer })),
      sent.slice(before, before + received.length),
    );
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("places in a batch", () => {
  test("are the same in whichever order they are asked for", async () => {
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
