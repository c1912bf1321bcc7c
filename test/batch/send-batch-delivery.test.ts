/** `sendBatch` on sockets: backpressure, aborts, GSO, random batches, and allocations. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  DgramBuffer,
  isClosedError,
  Pending,
  SendBatch,
  SocketAddress,
  type SocketError,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import {
  datagram,
  ENDS,
  expectSame,
  NO_OFFLOAD_REASON,
  openEnds,
  receiveAll,
  STEPS,
} from "../tools/offload.ts";
import {
  BACKENDS,
  CHILD_TIMEOUT_MS,
  nextTick,
  numbered,
  receiveNumbers,
  rejection,
  runScript,
  sequence,
  stateOf,
} from "../tools/sockets.ts";

let names = 0;

/** Opens a Unix receiver and a sender. `to` is absent if the sender is connected. */
async function openUnixEnds(isConnected: boolean) {
  const name = `datagram-send-batch-${process.pid}-${names++}`;
  const receiver = await UnixDatagram.bind(SocketAddress.abstract(name));
  const to = receiver.localAddr;
  const sender = await UnixDatagram.unbound(isConnected ? { connect: to } : {});
  return { receiver, sender, to: isConnected ? undefined : to };
}

/** Returns a batch of 1024 numbered datagrams: more than a Unix socket queues. */
function fullBatch(to: SocketAddress | undefined, first = 0): SendBatch {
  const batch = new SendBatch({ datagrams: 1024 });
  for (const payload of numbered(1024, first)) {
    batch.prefix(payload.subarray(0, 2)).push(payload.subarray(2), to);
  }
  return batch;
}

describe.each([
  ["connected", true],
  ["unconnected", false],
])("sendBatch to a full Unix peer, %s sender", (_, isConnected) => {
  test("sends a part of the batch, and keeps the remaining datagrams in it", async () => {
    const { receiver, sender, to } = await openUnixEnds(isConnected);
    const batch = fullBatch(to);
    const sent = sender.trySendBatch(batch) as number;
    expect(sent).toBeWithin(1, 1024);
    expect([batch.length, batch.isFull]).toEqual([1024 - sent, true]);
    expect(sender.trySendBatch(batch)).toBe(WouldBlock);
    expect(sender.pollSendBatch(null, batch)).toBe(Pending);
    expect(batch.length).toBe(1024 - sent);
    expect(await receiveNumbers(receiver, sent)).toEqual(sequence(sent));
    const more = sender.trySendBatch(batch) as number;
    expect(await receiveNumbers(receiver, more)).toEqual(sequence(more, sent));
    expect(sender.counters.datagramsSent).toBe(sent + more);
    sender.close();
    receiver.close();
  });

  test("waits for room, and sends all datagrams in order", async () => {
    const { receiver, sender, to } = await openUnixEnds(isConnected);
    const batch = fullBatch(to);
    const sending = sender.sendBatch(batch);
    await nextTick();
    expect(await stateOf(sending)).toBe("pending");
    // A later sendBatch is sent later, and trySendBatch does not overtake them.
    const later = sender.sendBatch(fullBatch(to, 1024));
    expect(sender.trySendBatch(new SendBatch().push(new Uint8Array(4), to))).toBe(WouldBlock);
    expect(await receiveNumbers(receiver, 2048)).toEqual(sequence(2048));
    expect([await sending, await later]).toEqual([1024, 1024]);
    expect(batch.length).toBe(0);
    expect(sender.counters.datagramsSent).toBe(2048);
    sender.close();
    receiver.close();
  });

  test("resolves with the number sent when aborted, or rejects if it is 0", async () => {
    const { receiver, sender, to } = await openUnixEnds(isConnected);
    const batch = fullBatch(to);
    const abort = new AbortController();
    const sending = sender.sendBatch(batch, { signal: abort.signal });
    await nextTick();
    abort.abort();
    const sent = await sending;
    expect(sent).toBeWithin(1, 1024);
    expect(batch.length).toBe(1024 - sent);
    // The peer is still full, so the next call sends nothing and rejects.
    const reason = new Error("aborted");
    const again = new AbortController();
    const waiting = sender.sendBatch(batch, { signal: again.signal });
    again.abort(reason);
    expect(await rejection(waiting)).toBe(reason);
    expect(await rejection(sender.sendBatch(batch, { signal: again.signal }))).toBe(reason);
    expect(batch.length).toBe(1024 - sent);
    // The next call sends the remaining datagrams. None is sent twice.
    const remaining = sender.sendBatch(batch);
    expect(await receiveNumbers(receiver, 1024)).toEqual(sequence(1024));
    expect(await remaining).toBe(1024 - sent);
    sender.close();
    receiver.close();
  });

  test("rejects with the number sent when the peer closes, and again after that", async () => {
    const { receiver, sender, to } = await openUnixEnds(isConnected);
    const batch = fullBatch(to);
    const sending = sender.sendBatch(batch);
    await nextTick();
    receiver.close();
    const error = (await rejection(sending)) as SocketError;
    expect(error.code).toBe("ECONNREFUSED");
    const sent = error.sent as number;
    expect(sent).toBeGreaterThan(0);
    expect(batch.length).toBe(1024 - sent);
    // The first failure has disconnected a connected socket (unix(7)).
    const code = isConnected ? "ENOTCONN" : "ECONNREFUSED";
    expect(await rejection(sender.sendBatch(batch))).toMatchObject({ code, sent: 0 });
    expect(batch.length).toBe(1024 - sent);
    sender.close();
  });

  test("rejects when the sender is closed, and keeps the unsent datagrams", async () => {
    const { receiver, sender, to } = await openUnixEnds(isConnected);
    const batch = fullBatch(to);
    const sent = sender.trySendBatch(batch) as number;
    const sending = sender.sendBatch(batch);
    sender.close();
    expect(isClosedError(await rejection(sending))).toBe(true);
    expect(batch.length).toBe(1024 - sent);
    receiver.close();
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("sendBatch of datagrams with prefixes", () => {
  test("combines up to 64 of the same total length into a GSO message", async () => {
    for (const [count, messages] of [
      [1, 1],
      [2, 1],
      [63, 1],
      [64, 1],
      [65, 2],
      [128, 2],
    ] as const) {
      using ends = await openEnds({ sender: true, receiver: true });
      const batch = new SendBatch({ datagrams: 128 });
      const payloads = sequence(count).map((i) => datagram(i, 500));
      for (const [i, payload] of payloads.entries()) {
        // The total length is always 500 bytes, with prefixes of different lengths.
        const prefix = 1 + (i % 8);
        batch.prefix(payload.subarray(0, prefix));
        batch.pushSlice(payload, prefix, 500 - prefix, ends.receiver.localAddr);
      }
      expect(await ends.sender.sendBatch(batch)).toBe(count);
      expect(ends.sender.counters).toMatchObject({
        messagesSent: messages,
        sendCalls: 1,
        datagramsSent: count,
        bytesSent: 500 * count,
      });
      expectSame(await receiveAll(ends.receiver, count), payloads);
    }
  });

  test("starts a message at a longer datagram, and ends one at a shorter one", async () => {
    using ends = await openEnds({ sender: true, receiver: true });
    const to = ends.receiver.localAddr;
    const payload = new Uint8Array(100);
    const batch = new SendBatch().prefixVarint(1).push(payload, to).prefixVarint(64);
    batch.push(payload, to).prefixVarint(1).push(payload, to);
    await ends.sender.sendBatch(batch);
    expect(ends.sender.counters.messagesSent).toBe(2);
    const received = await receiveAll(ends.receiver, 3);
    expect(received.map(({ bytes }) => bytes.length)).toEqual([101, 102, 101]);
  });
});

/** A datagram of a random batch, and how to push it. */
interface RandomDatagram {
  readonly prefixBytes: number;
  readonly bytes: number;
  readonly kind: "push" | "slice" | "DgramBuffer";
  readonly receiver: number;
}

const randomDatagram: fc.Arbitrary<RandomDatagram> = fc.record({
  prefixBytes: fc.constantFrom(0, 0, 1, 2, 8, 16),
  bytes: fc.oneof(fc.constantFrom(0, 1, 100, 100, 100, 1200), fc.integer({ min: 0, max: 3000 })),
  kind: fc.constantFrom("push", "slice", "DgramBuffer"),
  receiver: fc.integer({ min: 0, max: 7 }).map((i) => Number(i === 7)),
});

/** Pushes datagram `number` as `random` says. Returns its bytes, including the prefix. */
function pushRandom(
  batch: SendBatch,
  number: number,
  random: RandomDatagram,
  to: SocketAddress,
): Uint8Array {
  const { prefixBytes, bytes, kind } = random;
  const whole = datagram(number, prefixBytes + bytes);
  if (prefixBytes > 0) batch.prefix(whole.subarray(0, prefixBytes));
  if (kind === "push") batch.push(whole.subarray(prefixBytes), to);
  else if (kind === "slice") batch.pushSlice(whole, prefixBytes, bytes, to);
  else batch.push(DgramBuffer.fromVecWithHeadroom(whole.slice(), prefixBytes), to);
  return whole;
}

describe.each(ENDS)("sendBatch of random batches with $name", (ends) => {
  test("delivers them intact and in order to every kind of receive call", async () => {
    using pair = await openEnds(ends);
    using other = await openEnds(ends);
    const receivers = [pair.receiver, other.receiver];
    const batch = new SendBatch({ datagrams: 100 });
    let number = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(randomDatagram, { minLength: 1, maxLength: 100, size: "max" }),
        fc.constantFrom(...Object.values(STEPS)),
        fc.boolean(),
        async (datagrams, step, isCleared) => {
          if (isCleared) {
            batch.prefix(new Uint8Array(3)).push(new Uint8Array(5), pair.sender.localAddr);
            batch.clear();
          }
          const expected: Uint8Array[][] = [[], []];
          for (const random of datagrams) {
            const to = receivers[random.receiver]?.localAddr as SocketAddress;
            expected[random.receiver]?.push(pushRandom(batch, number++, random, to));
          }
          expect(await pair.sender.sendBatch(batch)).toBe(datagrams.length);
          expect(batch.length).toBe(0);
          for (const [i, sent] of expected.entries()) {
            const received = await receiveAll(receivers[i] as UdpSocket, sent.length, step);
            expectSame(received, sent);
          }
        },
      ),
      { numRuns: 150 },
    );
    expect(number).toBeGreaterThan(2000);
  });
});

test.each(BACKENDS)("2000 send batches arrive in order, %s backend", async (backend) => {
  using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
  using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
  const batch = new SendBatch({ datagrams: 20 });
  let sent = 0;
  for (let round = 0; round < 2000; round++) {
    const count = 1 + (round % 20);
    const numbers = numbered(count, sent);
    for (const payload of numbers) {
      batch
        .prefix(payload.subarray(0, round % 5))
        .push(payload.subarray(round % 5), receiver.localAddr);
    }
    await sender.sendBatch(batch);
    const got = await receiveNumbers(receiver, count);
    if (got[0] !== sent || got.length !== count) expect(got).toEqual(sequence(count, sent));
    sent += count;
  }
  expect(sender.counters.datagramsSent).toBe(sent);
});

test.concurrent.each(["on", "off"])(
  "steady-state send batches with metadata allocate nothing per datagram, offload %s",
  async (offload) => {
    const { stdout, stderr, exitCode } = await runScript("send-batch-allocation.ts", {
      args: [offload],
    });
    expect([exitCode, stderr]).toEqual([0, ""]);
    const { bytes, leakyBytes } = JSON.parse(stdout);
    // The smallest object has 16 bytes. A few per batch are acceptable, one per datagram is not.
    expect(bytes).toBeLessThan(32 * 16);
    expect(leakyBytes).toBeGreaterThan(64 * 16);
  },
  CHILD_TIMEOUT_MS,
);
