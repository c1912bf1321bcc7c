/**
 * Datagrams that lie one behind the other in memory, which go to the kernel as one piece; and
 * buffers that are received into again, which are not looked at again: what comes is the same.
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

/** Datagrams of one length, in one piece of memory, and that piece. */
function slices(
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

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("datagrams one behind the other", () => {
  for (const count of [1, 2, 63, 64, 65]) {
    test(`${count} of them arrive as they are, in as few messages as others`, async () => {
      using pair = await openEnds(BOTH);
      const { views } = slices(count, 300);
      await pair.sender.sendMany(views, { to: pair.receiver.localAddr });
      expectSame(await receiveAll(pair.receiver, count), views);
      expect(pair.sender.counters.messagesSent).toBe(Math.ceil(count / 64));
    });
  }

  test("to different peers they stay apart", async () => {
    using pair = await openEnds(BOTH);
    using other = await openEnds(BOTH);
    const { views } = slices(6, 100);
    const [a, b] = [pair.receiver.localAddr, other.receiver.localAddr];
    await pair.sender.sendMany(views, { to: [a, a, b, b, a, b] });
    const [v0, v1, v2, v3, v4, v5] = views as [Uint8Array, ...Uint8Array[]];
    expectSame(await receiveAll(pair.receiver, 3), [v0, v1, v4] as Uint8Array[]);
    expectSame(await receiveAll(other.receiver, 3), [v2, v3, v5] as Uint8Array[]);
  });

  test("of different lengths, empty ones among them, they are the same datagrams", async () => {
    using pair = await openEnds(BOTH);
    const { memory } = slices(1, 1000);
    const lengths = [100, 100, 40, 100, 0, 0, 100, 100, 100, 7, 1];
    let end = 0;
    const views = lengths.map((length) => {
      end += length;
      return memory.subarray(end - length, end);
    });
    await pair.sender.sendMany(views, { to: pair.receiver.localAddr });
    expectSame(await receiveAll(pair.receiver, views.length), views);
  });

  test("with others between them, and as DgramBuffers, they are in order", async () => {
    using pair = await openEnds(BOTH);
    const { views } = slices(8, 200);
    const payloads: Payload[] = views.flatMap((view, i) =>
      i % 3 === 2 ? [DgramBuffer.from(view), datagram(50 + i, 200)] : [view],
    );
    const expected = payloads.map((p) => (p instanceof DgramBuffer ? p.asSlice() : p));
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    expectSame(await receiveAll(pair.receiver, payloads.length), expected);
    expect(pair.sender.counters.messagesSent).toBe(1);
  });

  test("a batch without prefixes goes on as it was received", async () => {
    using pair = await openEnds(BOTH);
    using next = await openEnds(BOTH);
    const sent = datagramsOf(times(40, 500));
    await pair.sender.sendMany(sent, { to: pair.receiver.localAddr });
    const batch = new RecvBatch();
    const line = new SendBatch();
    await pair.receiver.recvBatch(batch);
    for (let i = 0; i < batch.length; i++) {
      line.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i), next.receiver.localAddr);
    }
    await next.sender.sendBatch(line);
    expectSame(await receiveAll(next.receiver, 40), sent);
  });

  test("one whose memory was transferred is refused before any is sent", async () => {
    using pair = await openEnds(BOTH);
    const { views } = slices(4, 100);
    const gone = new Uint8Array(100);
    const payloads = [views[0], views[1], gone, views[2], views[3]] as Uint8Array[];
    const to = pair.receiver.localAddr;
    await pair.sender.sendMany(payloads, { to });
    expectSame(await receiveAll(pair.receiver, 5), payloads);
    gone.buffer.transfer();
    expect(thrown(() => pair.sender.trySendMany(payloads, { to }))).toBeInstanceOf(RangeError);
    expect(pair.sender.counters.datagramsSent).toBe(5);
  });

  test("one that is no payload is refused before any is sent", async () => {
    using pair = await openEnds(BOTH);
    const { views } = slices(4, 100);
    const bad = [views[0], views[1], "text", views[2]] as unknown as Uint8Array[];
    const send = () => pair.sender.trySendMany(bad, { to: pair.receiver.localAddr });
    expect(thrown(send)).toBeInstanceOf(TypeError);
    expect(pair.sender.counters.datagramsSent).toBe(0);
    await pair.sender.sendMany(views, { to: pair.receiver.localAddr });
    expectSame(await receiveAll(pair.receiver, 4), views);
  });
});
