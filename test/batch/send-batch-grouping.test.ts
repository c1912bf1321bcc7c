/** Grouping by peer in a `SendBatch`: what is sent to each peer, and in which order. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RecvMeta, SendBatch, type SendMeta, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";

const PEERS = Array.from({ length: 5 }, (_, i) => SocketAddress.ip("192.0.2.1", 1000 + i));
const METAS: (SendMeta | undefined)[] = [undefined, { ecn: 1 }, { ecn: 2 }];

interface Item {
  readonly peer: number;
  readonly bytes: number[];
  readonly prefix: number[];
  readonly meta: number;
}

const item = fc.record({
  peer: fc.nat(4),
  bytes: fc.array(fc.nat(255), { minLength: 1, maxLength: 4 }),
  prefix: fc.array(fc.nat(255), { maxLength: 3 }),
  meta: fc.nat(2),
});

/** One step of a batch's life: push some, group, remove some from the front. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.array(item, { maxLength: 20 }).map((push) => ({ push })) },
  { weight: 3, arbitrary: fc.constant({ group: true }) },
  { weight: 3, arbitrary: fc.nat(30).map((remove) => ({ remove })) },
);

function push(batch: SendBatch, { peer, bytes, prefix, meta }: Item): void {
  if (prefix.length > 0) batch.prefix(Uint8Array.from(prefix));
  batch.meta(METAS[meta]).push(Uint8Array.from(bytes), PEERS[peer] as SocketAddress);
}

describe("a SendBatch that is grouped by peer", () => {
  test("has each peer's datagrams with prefix in their order, after any pushes and removals", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const batch = new SendBatch({ datagrams: 64, prefixBytes: 3 });
        /** By peer, the datagrams that are queued. */
        const queued: string[][] = PEERS.map(() => []);
        for (const action of steps) {
          if ("push" in action) {
            for (const datagram of action.push) {
              if (batch.isFull) break;
              push(batch, datagram);
              queued[datagram.peer]?.push(`${[...datagram.prefix, ...datagram.bytes]}`);
            }
          } else if ("group" in action) {
            batch._groupByPeer();
          } else {
            for (let i = 0; i < action.remove && batch.length > 0; i++) {
              const peer = PEERS.indexOf(batch._firstAddress as SocketAddress);
              expect(`${[...batch._firstBytes()]}`).toBe(queued[peer]?.shift() as string);
              batch.drop(1);
            }
          }
          expect(batch.length).toBe(queued.flat().length);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("is grouped again after further pushes", () => {
    const batch = new SendBatch();
    const pushEach = (...peers: number[]) => {
      for (const peer of peers) batch.push(Uint8Array.of(peer), PEERS[peer] as SocketAddress);
    };
    pushEach(0, 1, 0, 1);
    batch._groupByPeer();
    pushEach(0, 1, 0, 1);
    batch._groupByPeer();
    const order: number[] = [];
    for (; batch.length > 0; batch.drop(1)) order.push(...batch._firstBytes());
    expect(order).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  });

  test("keeps the order of pushes with groupByPeer: false", () => {
    const batch = new SendBatch({ groupByPeer: false });
    for (let i = 0; i < 12; i++) batch.push(Uint8Array.of(i), PEERS[i % 3] as SocketAddress);
    batch._groupByPeer();
    for (let i = 0; i < 12; i++) {
      expect([...batch._firstBytes()]).toEqual([i]);
      batch.drop(1);
    }
  });

  test("refuses a groupByPeer that is not a boolean", () => {
    const create = () => new SendBatch({ groupByPeer: 0 as never });
    expect(create).toThrow(new TypeError('"groupByPeer" expected boolean, got 0'));
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("sendBatch to interleaved peers", () => {
  const receivers: UdpSocket[] = [];
  let sender: UdpSocket;
  beforeAll(async () => {
    const hostname = "127.0.0.1";
    for (let i = 0; i < 6; i++) {
      receivers.push(await UdpSocket.bind({ hostname, receiveBufferBytes: 2 ** 21 }));
    }
    sender = await UdpSocket.bind({ hostname, sendErrors: "drop" });
  });
  afterAll(() => {
    for (const socket of [...receivers, sender]) socket.close();
  });

  test("sends one message per peer instead of one per datagram", async () => {
    const before = sender.counters.messagesSent;
    const batch = new SendBatch({ datagrams: 60 });
    for (let i = 0; i < 60; i++) batch.push(new Uint8Array(100), receivers[i % 6]?.localAddr);
    expect(await sender.sendBatch(batch)).toBe(60);
    expect(sender.counters.messagesSent - before).toBe(6);
    for (const receiver of receivers) await receive(receiver, 10);
  });

  test("keeps the metadata of each datagram", async () => {
    const hostname = "127.0.0.1";
    const [first, second] = await Promise.all([1, 2].map(() => UdpSocket.bind({ hostname })));
    if (first === undefined || second === undefined) throw new Error("two sockets expected");
    for (const socket of [first, second]) socket.enableMetadata({ ecn: true });
    const batch = new SendBatch();
    const ecns = [1, 2, 3, 1, 2, 0, 3, 2] as const;
    for (const [i, ecn] of ecns.entries()) {
      batch.meta({ ecn }).push(Uint8Array.of(i), (i % 2 === 0 ? first : second).localAddr);
    }
    expect(await sender.sendBatch(batch)).toBe(8);
    for (const [offset, receiver] of [first, second].entries()) {
      const bufs = Array.from({ length: 4 }, () => new Uint8Array(1));
      const meta = bufs.map(() => new RecvMeta());
      let count = 0;
      while (count < 4) count += await receiver.recvMany(bufs, { meta, start: count });
      const expected = [0, 2, 4, 6].map((i) => [i + offset, ecns[i + offset]]);
      expect(meta.map(({ ecn }, i) => [bufs[i]?.[0], ecn])).toEqual(expected);
      receiver.close();
    }
  });

  test("delivers to each peer what was pushed for it, in order, for random batches", async () => {
    const datagram = fc.record({
      peer: fc.nat(5),
      length: fc.oneof(fc.constantFrom(4, 100, 1200, 1200), fc.integer({ min: 4, max: 3000 })),
      prefix: fc.boolean(),
    });
    let sequence = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(datagram, { minLength: 1, maxLength: 200 }), async (datagrams) => {
        const expected: string[][] = receivers.map(() => []);
        const batch = new SendBatch({ datagrams: 200 });
        for (const { peer, length, prefix } of datagrams) {
          const payload = new Uint8Array(length);
          new DataView(payload.buffer).setUint32(0, sequence++);
          if (prefix) batch.prefixVarint(sequence & 63);
          batch.push(payload, receivers[peer]?.localAddr);
          const bytes = prefix ? Uint8Array.of(sequence & 63, ...payload) : payload;
          expected[peer]?.push(`${bytes.length} ${bytes.subarray(0, 5)}`);
        }
        expect(await sender.sendBatch(batch)).toBe(datagrams.length);
        for (const [i, receiver] of receivers.entries()) {
          expect(await receive(receiver, expected[i]?.length ?? 0)).toEqual(
            expected[i] as string[],
          );
        }
      }),
      { numRuns: 100 },
    );
  });

  async function receive(receiver: UdpSocket, count: number): Promise<string[]> {
    const received: string[] = [];
    const bufs = Array.from({ length: 64 }, () => new Uint8Array(4000));
    const meta = bufs.map(() => new RecvMeta());
    while (received.length < count) {
      const got = await receiver.recvMany(bufs, { meta });
      for (let i = 0; i < got; i++) {
        received.push(
          `${meta[i]?.length} ${bufs[i]?.subarray(0, Math.min(5, meta[i]?.length ?? 0))}`,
        );
      }
    }
    return received;
  }
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("sendMany to interleaved peers", () => {
  const OPTIONS = { hostname: "127.0.0.1", receiveBufferBytes: 2 ** 21 };

  test.each([
    { groupByPeer: undefined, messages: 4 },
    { groupByPeer: false, messages: 40 },
  ])("sends $messages messages with groupByPeer: $groupByPeer", async (options) => {
    const { messages, ...rest } = options;
    const receivers = await Promise.all([1, 2, 3, 4].map(() => UdpSocket.bind(OPTIONS)));
    await using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const bufs = Array.from({ length: 42 }, (_, i) => new Uint8Array(100).fill(i));
    const to = bufs.map((_, i) => receivers[i % 4]?.localAddr as SocketAddress);
    expect(await sender.sendMany(bufs, { to, start: 2, ...rest })).toBe(40);
    expect(sender.counters.messagesSent).toBe(messages);
    for (const [i, receiver] of receivers.entries()) {
      const received = Array.from({ length: 10 }, () => new Uint8Array(100));
      for (let count = 0; count < 10; ) {
        count += await receiver.recvMany(received, { start: count });
      }
      const expected = bufs.filter((_, k) => k >= 2 && k % 4 === i);
      expect(received.map((buf) => buf[0])).toEqual(expected.map((buf) => buf[0]));
      receiver.close();
    }
  });

  test("names the index of a refused datagram, and sends all of the peers before it", async () => {
    const receivers = await Promise.all([1, 2].map(() => UdpSocket.bind(OPTIONS)));
    await using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const bufs = Array.from({ length: 10 }, () => new Uint8Array(100));
    bufs[3] = new Uint8Array(70_000);
    const to = bufs.map((_, i) => receivers[i % 2]?.localAddr as SocketAddress);
    const error = await sender.sendMany(bufs, { to }).catch((reason) => reason);
    // All five of the first peer, and one of the second.
    expect(error).toMatchObject({ code: "EMSGSIZE", sent: 6, index: 3 });
    for (const receiver of receivers) receiver.close();
  });

  test("invalid arguments reject before a datagram is sent", async () => {
    await using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const bufs = Array.from({ length: 4 }, () => new Uint8Array(1));
    const to = bufs.map(() => sender.localAddr);
    const invalid: [unknown, unknown][] = [
      [bufs, { to: to.slice(1) }],
      [[...bufs.slice(1), 5], { to }],
      [bufs, { to: [...to.slice(1), "192.0.2.1"] }],
      [bufs, { to, groupByPeer: "no" }],
    ];
    for (const [payloads, options] of invalid) {
      const sending = sender.sendMany(payloads as Uint8Array[], options as { to: SocketAddress[] });
      await expect(sending).rejects.toThrow(/expected/);
    }
    expect(sender.counters.sendCalls).toBe(0);
  });
});
