/**
 * Sending payloads that are adjacent in memory. They share an iovec, which must not change the
 * datagrams that arrive.
 */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, type Payload, RecvBatch, SendBatch } from "../../lib/index.ts";
import {
  datagram,
  datagramsOf,
  expectSame,
  NO_OFFLOAD_REASON,
  openEnds,
  receiveAll,
  times,
} from "../tools/offload.ts";
import { thrown } from "../tools/sockets.ts";

const BOTH = { sender: true, receiver: true };

/** Returns `count` datagrams of one length that are adjacent in memory, and that memory. */
function adjacentDatagrams(
  count: number,
  bytes: number,
): { memory: Uint8Array<ArrayBuffer>; views: Uint8Array<ArrayBuffer>[] } {
  const memory = new Uint8Array(new ArrayBuffer(count * bytes + 32), 16);
  const views = Array.from({ length: count }, (_, i) => {
    const view = memory.subarray(i * bytes, (i + 1) * bytes);
    view.set(datagram(i, bytes));
    return view;
  });
  return { memory, views };
}

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("payloads that are adjacent in memory", () => {
  for (const count of [1, 2, 63, 64, 65]) {
    test(`${count} of one length arrive intact, in GSO messages of up to 64`, async () => {
      using pair = await openEnds(BOTH);
      const { views } = adjacentDatagrams(count, 300);
      await pair.sender.sendMany(views, { to: pair.receiver.localAddr });
      expectSame(await receiveAll(pair.receiver, count), views);
      expect(pair.sender.counters.messagesSent).toBe(Math.ceil(count / 64));
    });
  }

  test("payloads to different peers arrive at their own peers", async () => {
    using pair = await openEnds(BOTH);
    using other = await openEnds(BOTH);
    const { views } = adjacentDatagrams(6, 100);
    const [a, b] = [pair.receiver.localAddr, other.receiver.localAddr];
    await pair.sender.sendMany(views, { to: [a, a, b, b, a, b] });
    const [v0, v1, v2, v3, v4, v5] = views as [Uint8Array, ...Uint8Array[]];
    expectSame(await receiveAll(pair.receiver, 3), [v0, v1, v4] as Uint8Array[]);
    expectSame(await receiveAll(other.receiver, 3), [v2, v3, v5] as Uint8Array[]);
  });

  test("payloads of different lengths, also empty ones, arrive as separate datagrams", async () => {
    using pair = await openEnds(BOTH);
    const { memory } = adjacentDatagrams(1, 1000);
    const lengths = [100, 100, 40, 100, 0, 0, 100, 100, 100, 7, 1];
    let end = 0;
    const views = lengths.map((length) => {
      end += length;
      return memory.subarray(end - length, end);
    });
    await pair.sender.sendMany(views, { to: pair.receiver.localAddr });
    expectSame(await receiveAll(pair.receiver, views.length), views);
  });

  test("adjacent and separate payloads, arrays and DgramBuffers arrive in order", async () => {
    using pair = await openEnds(BOTH);
    const { views } = adjacentDatagrams(8, 200);
    const payloads: Payload[] = views.flatMap((view, i) =>
      i % 3 === 2 ? [DgramBuffer.from(view), datagram(50 + i, 200)] : [view],
    );
    const expected = payloads.map((p) => (p instanceof DgramBuffer ? p.asSlice() : p));
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    expectSame(await receiveAll(pair.receiver, payloads.length), expected);
    expect(pair.sender.counters.messagesSent).toBe(1);
  });

  test("a received batch can be forwarded with pushSlice", async () => {
    using pair = await openEnds(BOTH);
    using next = await openEnds(BOTH);
    const sent = datagramsOf(times(40, 500));
    await pair.sender.sendMany(sent, { to: pair.receiver.localAddr });
    const batch = new RecvBatch();
    const out = new SendBatch();
    await pair.receiver.recvBatch(batch);
    for (let i = 0; i < batch.length; i++) {
      out.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i), next.receiver.localAddr);
    }
    await next.sender.sendBatch(out);
    expectSame(await receiveAll(next.receiver, 40), sent);
  });

  test("a payload whose memory was transferred is a RangeError, and nothing is sent", async () => {
    using pair = await openEnds(BOTH);
    const { views } = adjacentDatagrams(4, 100);
    const detached = new Uint8Array(100);
    const payloads = [views[0], views[1], detached, views[2], views[3]] as Uint8Array[];
    const to = pair.receiver.localAddr;
    await pair.sender.sendMany(payloads, { to });
    expectSame(await receiveAll(pair.receiver, 5), payloads);
    detached.buffer.transfer();
    expect(thrown(() => pair.sender.trySendMany(payloads, { to }))).toBeInstanceOf(RangeError);
    expect(pair.sender.counters.datagramsSent).toBe(5);
  });

  test("a payload of a wrong type is a TypeError, and nothing is sent", async () => {
    using pair = await openEnds(BOTH);
    const { views } = adjacentDatagrams(4, 100);
    const invalid = [views[0], views[1], 5, views[2]] as unknown as Uint8Array[];
    const send = () => pair.sender.trySendMany(invalid, { to: pair.receiver.localAddr });
    expect(thrown(send)).toBeInstanceOf(TypeError);
    expect(pair.sender.counters.datagramsSent).toBe(0);
    await pair.sender.sendMany(views, { to: pair.receiver.localAddr });
    expectSame(await receiveAll(pair.receiver, 4), views);
  });
});
