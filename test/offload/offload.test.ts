/**
 * GSO and GRO on real sockets: datagrams arrive unchanged and in order however they are grouped
 * into messages, and the counters report the number of messages.
 */

import { describe, expect, test } from "bun:test";
import {
  DgramBuffer,
  type Payload,
  RecvMeta,
  SocketAddress,
  SocketError,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import {
  datagram,
  datagramsOf,
  ENDS,
  expectSame,
  fitsRecvBuffer,
  NO_OFFLOAD_REASON,
  openEnds,
  type Received,
  receiveAll,
  receiveSome,
  STEPS,
  times,
} from "../tools/offload.ts";
import { HAS_IPV6, rejection, targets } from "../tools/sockets.ts";

const MESSAGE_SEGMENTS_MAX = 64;
const MESSAGE_BYTES_MAX = 65_473;
const BOTH = { sender: true, receiver: true };

/** Returns the number of GSO messages that `count` datagrams of `bytes` bytes need. */
function messagesFor(count: number, bytes: number): number {
  const each = Math.min(MESSAGE_SEGMENTS_MAX, Math.floor(MESSAGE_BYTES_MAX / bytes) || 1);
  return Math.ceil(count / each);
}

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("offload", () => {
  describe.each([...ENDS])("with $name", (ends) => {
    test.each([1, 1200, 1472, 9000, 65_507])(
      "batches of datagrams of %d bytes arrive unchanged, in the expected number of messages",
      async (bytes) => {
        for (const count of [1, 2, 63, 64, 65, 128, 129]) {
          // No two of the longest fit in a message, and not all of them in the receive buffer.
          const atOnce = bytes === 65_507 ? 1 : count;
          if (!fitsRecvBuffer(atOnce, atOnce * bytes)) continue;
          using pair = await openEnds(ends);
          const { sender, receiver } = pair;
          const payloads = datagramsOf(times(count, bytes));
          const received: Received[] = [];
          for (let start = 0; start < count; start += atOnce) {
            const slice = { start, count: Math.min(atOnce, count - start) };
            const sent = await sender.sendMany(payloads, { ...slice, to: receiver.localAddr });
            expect(sent).toBe(slice.count);
            received.push(...(await receiveAll(receiver, sent)));
          }
          expectSame(received, payloads);
          expect(received.every(({ peer }) => peer?.port === sender.localAddr.port)).toBe(true);
          const messages = ends.sender ? messagesFor(count, bytes) : count;
          expect(sender.counters).toMatchObject({
            datagramsSent: count,
            bytesSent: count * bytes,
            messagesSent: messages,
            gsoRefusals: 0,
          });
          expect(receiver.counters).toMatchObject({
            datagramsReceived: count,
            bytesReceived: count * bytes,
            messagesReceived: ends.receiver ? messages : count,
            datagramsTruncated: 0,
            datagramsDropped: 0,
          });
        }
      },
    );

    test.each([
      { lengths: [1200, 1200, 700], messages: 1 },
      { lengths: [1200, 700, 1200], messages: 2 },
      { lengths: [1200, 700, 700], messages: 2 },
      { lengths: [700, 1200], messages: 2 },
      { lengths: [2, 1, 1], messages: 2 },
      { lengths: [1200, 0, 1200], messages: 3 },
      { lengths: [0, 0, 0], messages: 3 },
      { lengths: [0], messages: 1 },
      { lengths: [0, 5, 5, 0, 5, 5, 5, 0], messages: 5 },
      { lengths: [40_000, 25_473], messages: 1 },
      { lengths: [40_000, 25_474], messages: 2 },
      { lengths: [32_736, 32_736, 1], messages: 1 },
      { lengths: [32_737, 32_737], messages: 2 },
      { lengths: times(50, 1310), messages: 2 },
      { lengths: [65_507, 1], messages: 2 },
      { lengths: times(8, 9000), messages: 2 },
      { lengths: [...times(64, 10), 9], messages: 2 },
      { lengths: [...times(63, 10), 9, 10], messages: 2 },
      { lengths: [...times(64, 10), ...times(64, 11)], messages: 2 },
      { lengths: [9000, 1472, 1200, 1, 0, 1, 1200, 1472, 9000], messages: 7 },
    ])("datagrams of mixed lengths arrive unchanged (case %#)", async (mix) => {
      using pair = await openEnds(ends);
      const { sender, receiver } = pair;
      const payloads = datagramsOf(mix.lengths);
      await sender.sendMany(payloads, { to: receiver.localAddr });
      expectSame(await receiveAll(receiver, payloads.length), payloads);
      const messages = ends.sender ? mix.messages : payloads.length;
      expect(sender.counters.messagesSent).toBe(messages);
      expect(receiver.counters.messagesReceived).toBe(ends.receiver ? messages : payloads.length);
    });
  });

  describe("with several peers", () => {
    const hosts = ["127.0.0.1", "::1"].filter((host) => HAS_IPV6 || host !== "::1");

    test.each(hosts)("adjacent datagrams to equal addresses share a message (%s)", async (host) => {
      for (const [order, messages] of [
        ["ABABAB", 6],
        ["AAABBB", 2],
        ["AABBAA", 3],
        ["AAAAAB", 2],
      ] as const) {
        using a = await openEnds(BOTH, host);
        using b = await openEnds(BOTH, host);
        const payloads = datagramsOf(times(order.length, 500));
        // A new object for each datagram: addresses are compared by value.
        const to = Array.from(order, (letter) => {
          const { address, port } = (letter === "A" ? a : b).receiver.localAddr;
          return SocketAddress.ip(address, port);
        });
        const options = { to, groupByPeer: false };
        expect(await a.sender.sendMany(payloads, options)).toBe(order.length);
        for (const [letter, { receiver }] of [
          ["A", a],
          ["B", b],
        ] as const) {
          const own = payloads.filter((_, i) => order[i] === letter);
          expectSame(await receiveAll(receiver, own.length), own);
        }
        expect(a.sender.counters.messagesSent).toBe(messages);
      }
    });

    test("a range of a batch is sent to the addresses at the same indices", async () => {
      using a = await openEnds(BOTH);
      using b = await openEnds(BOTH);
      const payloads = datagramsOf(times(6, 500));
      const to = [..."AABBBA"].map((letter) => (letter === "A" ? a : b).receiver.localAddr);
      await a.sender.sendMany(payloads, { to, start: 1, count: 3 });
      expectSame(await receiveAll(a.receiver, 1), payloads.slice(1, 2));
      expectSame(await receiveAll(b.receiver, 2), payloads.slice(2, 4));
      expect(a.sender.counters.messagesSent).toBe(2);
    });

    test("datagrams of alternating senders have the right peer", async () => {
      using a = await openEnds(BOTH);
      using b = await openEnds(BOTH);
      const payloads = datagramsOf(times(12, 300));
      for (let start = 0; start < 12; start += 3) {
        const { sender } = start % 2 === 0 ? a : b;
        await sender.sendMany(payloads, { to: a.receiver.localAddr, start, count: 3 });
      }
      const received = await receiveAll(a.receiver, 12);
      expectSame(received, payloads);
      const [portA, portB] = [a.sender.localAddr.port, b.sender.localAddr.port];
      expect(received.map(({ peer }) => peer?.port)).toEqual(
        [portA, portB, portA, portB].flatMap((port) => times(3, port)),
      );
      expect(a.receiver.counters.messagesReceived).toBe(4);
    });
  });

  test.skipIf(!HAS_IPV6)(
    "a dual-stack socket uses GSO and GRO with IPv4 and IPv6 peers",
    async () => {
      using v4 = await openEnds(BOTH, "127.0.0.1");
      using v6 = await openEnds(BOTH, "::1");
      await using dual = await UdpSocket.bind({ hostname: "::" });
      const mapped = SocketAddress.ip("::ffff:127.0.0.1", v4.receiver.localAddr.port);
      const payloads = datagramsOf(times(9, 1200));
      const to = [v4.receiver.localAddr, v6.receiver.localAddr, mapped].flatMap((a) => times(3, a));
      await dual.sendMany(payloads, { to });
      expectSame(await receiveAll(v6.receiver, 3), payloads.slice(3, 6));
      const received = await receiveAll(v4.receiver, 6);
      expectSame(received, [...payloads.slice(0, 3), ...payloads.slice(6)]);
      expect(dual.counters.messagesSent).toBe(3);
      // In the other direction: the dual-stack socket receives from an IPv4-mapped peer, and can
      // send to that address.
      for (const { peer } of received) expect(peer?.toString()).toStartWith("127.0.0.1:");
      const [back] = [SocketAddress.ip("127.0.0.1", dual.localAddr.port)];
      await v4.receiver.sendMany(payloads, { to: back });
      const replies = await receiveAll(dual, payloads.length);
      expectSame(replies, payloads);
      expect([
        dual.counters.messagesReceived,
        new Set(replies.map(({ peer }) => peer)).size,
      ]).toEqual([1, 1]);
      await dual.sendMany(payloads, { to: replies[0]?.peer });
      expectSame(await receiveAll(v4.receiver, payloads.length), payloads);
    },
  );

  test("a connected socket uses GSO and GRO", async () => {
    using pair = await openEnds(BOTH);
    const { address, port } = pair.receiver.localAddr;
    await using connected = await UdpSocket.connect({ hostname: address, port });
    const payloads = datagramsOf(times(100, 1200));
    await connected.sendMany(payloads);
    const received = await receiveAll(pair.receiver, 100);
    expectSame(received, payloads);
    await pair.receiver.sendMany(payloads, { to: received[0]?.peer });
    expectSame(await receiveAll(connected, 100), payloads);
    expect(connected.counters).toMatchObject({ messagesSent: 2, messagesReceived: 2 });
  });

  test("an oversized datagram fails with EMSGSIZE after those before it are sent", async () => {
    using pair = await openEnds(BOTH);
    const payloads = [...datagramsOf(times(3, 1200)), new Uint8Array(65_508)];
    const to = pair.receiver.localAddr;
    const error = await rejection(pair.sender.sendMany(payloads, { to }));
    expect(error).toMatchObject({ code: "EMSGSIZE", sent: 3, index: 3 });
    expect(await pair.sender.sendMany([], { to })).toBe(0);
    expectSame(await receiveAll(pair.receiver, 3), payloads.slice(0, 3));
    expect(pair.sender.counters.gsoRefusals).toBe(0);
  });

  test("an invalid destination is not counted as a refusal of GSO", async () => {
    using pair = await openEnds(BOTH);
    const invalid = SocketAddress.ip("127.0.0.1", 0);
    const payloads = datagramsOf(times(3, 1200));
    const error = await rejection(pair.sender.sendMany(payloads, { to: invalid }));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EINVAL", address: "127.0.0.1", port: 0 });
    expect(pair.sender.counters).toMatchObject({ gsoRefusals: 0, sendErrors: 1 });
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("with offload", () => {
  test("payloads can be of any type and at any offset in their memory", async () => {
    using pair = await openEnds(BOTH);
    const plain = datagramsOf(times(6, 100));
    const memory = new Uint8Array(1000);
    memory.set(plain[1] as Uint8Array, 333);
    const headed = DgramBuffer.withCapacityAndHeadroom(200, 50);
    headed.putSlice(plain[2] as Uint8Array);
    const stripped = DgramBuffer.fromSlice(datagram(99, 7));
    stripped.putSlice(plain[3] as Uint8Array);
    stripped.advance(7);
    const small = Buffer.from(plain[5] as Uint8Array);
    const payloads: Payload[] = [
      plain[0] as Uint8Array,
      memory.subarray(333, 433),
      headed,
      stripped,
      DgramBuffer.from(plain[4] as Uint8Array),
      small,
    ];
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    expectSame(await receiveAll(pair.receiver, 6), plain);
    expect(pair.sender.counters.messagesSent).toBe(1);
    expect([headed.headroom, headed.length, stripped.length]).toEqual([50, 100, 100]);
  });

  test("payloads can repeat within a batch, and have other lengths in the next batch", async () => {
    using pair = await openEnds(BOTH);
    const [a, b] = datagramsOf([64, 64]) as [Uint8Array, Uint8Array];
    const to = pair.receiver.localAddr;
    for (const payloads of [[a, b, a, a], [b, b], [b.subarray(1), a, a.subarray(2)], [a]]) {
      await pair.sender.sendMany(payloads, { to });
      expectSame(await receiveAll(pair.receiver, payloads.length), payloads);
    }
    expect(pair.sender.counters.messagesSent).toBe(1 + 1 + 2 + 1);
  });

  test("the next call returns the segments that exceeded the buffers of a call", async () => {
    for (const [name, step] of Object.entries(STEPS)) {
      using pair = await openEnds(BOTH);
      const payloads = datagramsOf([...times(64, 300), ...times(10, 200), 7]);
      await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
      const received: Received[] = await receiveSome(pair.receiver, 3);
      expect([name, received.length]).toEqual([name, 3]);
      received.push(...(await receiveAll(pair.receiver, payloads.length - 3, step)));
      expectSame(received, payloads);
      expect(pair.receiver.counters.messagesReceived).toBe(2);
    }
  });

  test("both waiting and non-waiting calls return the remaining segments", async () => {
    using pair = await openEnds(BOTH);
    const payloads = datagramsOf(times(5, 300));
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    const bufs = targets(1, 300);
    const buf = bufs[0] as Uint8Array;
    const received: Received[] = [];
    const copy = () => received.push({ bytes: buf.slice(), peer: undefined });
    await pair.receiver.recvMany(bufs);
    copy();
    expect(pair.receiver.tryRecvMany(bufs)).toBe(1);
    copy();
    expect(pair.receiver.tryRecv(buf)).toBe(300);
    copy();
    await pair.receiver.recv(buf);
    copy();
    expect(pair.receiver.tryRecvMany(bufs)).toBe(1);
    copy();
    expect(pair.receiver.tryRecvMany(bufs)).toBe(WouldBlock);
    expectSame(received, payloads);
    expect(pair.receiver.counters.messagesReceived).toBe(1);
  });

  test("a short buffer receives the start of a segment of datagramLength bytes", async () => {
    for (const ends of ENDS) {
      using pair = await openEnds(ends);
      const payloads = datagramsOf([300, 300, 300, 300, 300, 100]);
      await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
      const capacities = [100, 300, 0, 299, 301, 50];
      const bufs = capacities.map((bytes, i) =>
        i % 2 === 0 ? new Uint8Array(bytes) : DgramBuffer.withCapacityAndHeadroom(bytes + 8, 8),
      );
      const meta = capacities.map(() => new RecvMeta());
      let got = 0;
      while (got < capacities.length) {
        got += await pair.receiver.recvMany(bufs, { start: got, meta });
      }
      for (const [i, payload] of payloads.entries()) {
        const fitting = Math.min(capacities[i] as number, payload.length);
        expect(meta[i]).toMatchObject({ length: fitting, datagramLength: payload.length });
        const buf = bufs[i] as Uint8Array | DgramBuffer;
        const bytes = buf instanceof DgramBuffer ? buf.asSlice() : buf.subarray(0, fitting);
        expect(Buffer.compare(bytes, payload.subarray(0, fitting))).toBe(0);
      }
      expect(pair.receiver.counters).toMatchObject({
        datagramsReceived: 6,
        datagramsTruncated: 4,
        bytesReceived: 100 + 300 + 0 + 299 + 300 + 50,
      });
    }
  });
});
