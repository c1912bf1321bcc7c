/**
 * Datagrams that lie one behind the other in memory, which go to the kernel as one piece; and
 * buffers that are received into again, which are not looked at again: what comes is the same.
 */

import { describe, expect, test } from "bun:test";
import {
  DgramBuffer,
  type Payload,
  RecvBatch,
  SendBatch,
  SocketAddress,
  UdpSocket,
} from "../../lib/index.ts";
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

for (const offload of [true, false]) {
  describe(`buffers that are received into again, offload ${offload ? "on" : "off"}`, () => {
    /** Has a socket send itself three datagrams, and receives them into `buffers`. */
    async function round(socket: UdpSocket, buffers: unknown[], first: number): Promise<number> {
      const payloads = datagramsOf([50, 50, 50], first);
      await socket.sendMany(payloads, { to: socket.localAddr });
      let got = 0;
      while (got < 3) got += await socket.recvMany(buffers as Uint8Array[], { start: got });
      return got;
    }

    async function open(): Promise<UdpSocket> {
      return UdpSocket.bind({ hostname: "127.0.0.1", offload, backend: "native" });
    }

    test("are filled each time, also where one was replaced", async () => {
      await using socket = await open();
      const buffers = [new Uint8Array(60), new Uint8Array(60), new Uint8Array(60)];
      for (let first = 0; first < 12; first += 3) {
        buffers[(first / 3) % 3] = new Uint8Array(60);
        await round(socket, buffers, first);
        expectSame(
          buffers.map((bytes) => ({ bytes: bytes.subarray(0, 50), peer: undefined })),
          datagramsOf([50, 50, 50], first),
        );
      }
    });

    test("may become a DgramBuffer, and one of the same memory", async () => {
      await using socket = await open();
      const memory = new Uint8Array(new ArrayBuffer(60));
      const buffers: unknown[] = [new Uint8Array(60), memory, new Uint8Array(60)];
      await round(socket, buffers, 0);
      const headed = DgramBuffer.fromVecWithHeadroom(memory, 4);
      headed.truncate(0);
      buffers[1] = headed;
      await round(socket, buffers, 3);
      expect<Uint8Array>(headed.asSlice()).toEqual(datagram(4, 50));
      buffers[1] = memory;
      await round(socket, buffers, 6);
      expect<Uint8Array>(memory.subarray(0, 50)).toEqual(datagram(7, 50));
    });

    test("may have been transferred: nothing is written there, and it is told", async () => {
      await using socket = await open();
      const gone = new Uint8Array(new ArrayBuffer(60));
      const buffers = [new Uint8Array(60), gone, new Uint8Array(60)];
      await round(socket, buffers, 0);
      gone.buffer.transfer();
      await round(socket, buffers, 3);
      expect(gone.length).toBe(0);
      expect(socket.counters.datagramsTruncated).toBe(1);
      expect<Uint8Array | undefined>(buffers[2]?.subarray(0, 50)).toEqual(datagram(5, 50));
    });

    test("that are none are refused, and cost no datagram", async () => {
      await using socket = await open();
      const room = new Uint8Array(60);
      const to = socket.localAddr;
      await socket.sendMany(datagramsOf([50, 50]), { to });
      const bad = [undefined, room] as unknown as Uint8Array[];
      expect(thrown(() => socket.tryRecvMany(bad))).toBeInstanceOf(TypeError);
      expect(await socket.recv(room)).toBe(50);
      expect<Uint8Array>(room.subarray(0, 50)).toEqual(datagram(0, 50));
      expect(await socket.recv(room)).toBe(50);
      expect<Uint8Array>(room.subarray(0, 50)).toEqual(datagram(1, 50));
    });
  });
}

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
