/**
 * Property test of receiving: random sequences of sends and of receive calls of every kind, some of
 * which are aborted. The receivers are served in the order of their calls, no datagram is lost or
 * repeated, and the counters agree.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import { RecvBatch, RecvMeta, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { BACKENDS, nextTick, numbered, numberOf, targets } from "../tools/sockets.ts";

const RUNS = 150;
const TIMEOUT_MS = 60_000;
const PAYLOAD_BYTES = 40;
/** The maximum number of queued datagrams: any receive buffer has room for them. */
const IN_FLIGHT_MAX = 100;

const KINDS = ["recv", "recvMany", "recvBatch", "tryRecv", "tryRecvMany", "tryRecvBatch"] as const;

const receive = fc.record({
  kind: fc.constantFrom(...KINDS),
  /** The number of buffers, and their length in bytes: some are too short for a datagram. */
  count: fc.integer({ min: 1, max: 8 }),
  room: fc.constantFrom(4, PAYLOAD_BYTES - 1, PAYLOAD_BYTES),
  /** The number of ticks after which it is aborted. */
  abortTicks: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
});
type Receive = typeof receive extends fc.Arbitrary<infer T> ? T : never;

const step = fc.oneof(
  receive,
  fc.record({ kind: fc.constant("send" as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant("tick" as const) }),
);

/** The received datagrams: their numbers in the order of the receive calls, and totals. */
class Received {
  readonly #byReceiver: number[][] = [];
  bytes = 0;
  truncated = 0;

  /** Adds a receiver, and returns the function that records its datagrams. */
  addReceiver(): (buf: Uint8Array, stored: number) => void {
    const numbers: number[] = [];
    this.#byReceiver.push(numbers);
    return (buf, stored) => {
      numbers.push(numberOf(buf));
      this.bytes += stored;
      if (stored < PAYLOAD_BYTES) this.truncated++;
    };
  }

  get numbers(): number[] {
    return this.#byReceiver.flat();
  }
}

/** Makes a receive call, and records its datagrams. Resolves when the call has settled. */
async function runReceive(socket: UdpSocket, received: Received, call: Receive): Promise<void> {
  const { kind, count, room, abortTicks } = call;
  const record = received.addReceiver();
  const controller = new AbortController();
  const { signal } = controller;
  if (abortTicks === 0) controller.abort();
  else if (abortTicks !== undefined) void ticks(abortTicks).then(() => controller.abort());
  const bufs = targets(count, room);
  const meta = bufs.map(() => new RecvMeta());
  const [first] = bufs as [Uint8Array];
  const batch = new RecvBatch({ messages: count });
  const isMany = kind === "recvMany" || kind === "tryRecvMany";
  const isBatch = kind === "recvBatch" || kind === "tryRecvBatch";
  try {
    let result: number | WouldBlock;
    if (kind === "recv") result = await socket.recv(first, { signal });
    else if (kind === "recvMany") result = await socket.recvMany(bufs, { meta, signal });
    else if (kind === "recvBatch") result = await socket.recvBatch(batch, { signal });
    else if (kind === "tryRecv") result = socket.tryRecv(first);
    else if (kind === "tryRecvMany") result = socket.tryRecvMany(bufs, { meta });
    else result = socket.tryRecvBatch(batch);
    if (result === WouldBlock) return;
    if (!isMany && !isBatch) record(first, result);
    else if (isMany) {
      for (let i = 0; i < result; i++) record(bufs[i] as Uint8Array, meta[i]?.length as number);
    } else {
      for (let i = 0; i < result; i++) record(batch.payload(i), batch.lengthAt(i));
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

async function ticks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await nextTick();
}

const CASES = BACKENDS.flatMap((backend) =>
  (backend === "native" ? [true, false] : [true]).map((offload) => ({ backend, offload })),
);

test.each(CASES)(
  "$backend backend, offload $offload: random receives get each datagram once, in call order",
  async ({ backend, offload }) => {
    const steps = fc.array(step, { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(steps, async (steps) => {
        await using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend, offload });
        await using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend, offload });
        const to = receiver.localAddr;
        const received = new Received();
        const receivers: Promise<void>[] = [];
        let sent = 0;
        for (const step of steps) {
          if (step.kind === "tick") {
            await nextTick();
          } else if (step.kind === "send") {
            if (sent + step.count > IN_FLIGHT_MAX) continue;
            sent += await sender.sendMany(numbered(step.count, sent, PAYLOAD_BYTES), { to });
          } else {
            receivers.push(runReceive(receiver, received, step));
          }
        }
        // Sends a datagram to each receiver that is still pending.
        let done = false;
        const all = Promise.all(receivers).then(() => {
          done = true;
        });
        while (!done) {
          if (received.numbers.length === sent) {
            sent += await sender.sendMany(numbered(1, sent, PAYLOAD_BYTES), { to });
          }
          await nextTick();
        }
        await all;
        while (received.numbers.length < sent) {
          await runReceive(receiver, received, {
            kind: "recvMany",
            count: 8,
            room: 40,
            abortTicks: undefined,
          });
        }
        expect(received.numbers).toEqual(Array.from({ length: sent }, (_, i) => i));
        expect(sender.counters).toMatchObject({
          datagramsSent: sent,
          bytesSent: sent * PAYLOAD_BYTES,
        });
        expect(receiver.counters).toMatchObject({
          datagramsReceived: sent,
          bytesReceived: received.bytes,
          datagramsTruncated: received.truncated,
          datagramsDropped: 0,
          receiveErrors: 0,
        });
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  TIMEOUT_MS,
);
