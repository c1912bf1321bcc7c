/**
 * Receivers of every kind in one line, some of which are aborted and some of which only try, while
 * datagrams come: each gets those that are its turn's, none is lost or told twice, and the counters
 * say the same.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import { RecvBatch, RecvMeta, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { BACKENDS, nextTurn, numbered, numberOf, targets } from "../tools/sockets.ts";

const RUNS = 150;
const TIMEOUT_MS = 60_000;
const BYTES = 40;
/** In flight together: what a receive buffer has room for, whatever each takes up there. */
const IN_FLIGHT_MAX = 100;

const KINDS = ["recv", "recvMany", "recvBatch", "tryRecv", "tryRecvMany", "tryRecvBatch"] as const;

const receive = fc.record({
  kind: fc.constantFrom(...KINDS),
  /** Buffers, and bytes of each: too few for some datagrams. */
  count: fc.integer({ min: 1, max: 8 }),
  room: fc.constantFrom(4, BYTES - 1, BYTES),
  /** Turns until it is aborted. */
  abort: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
});
type Receive = typeof receive extends fc.Arbitrary<infer T> ? T : never;

const step = fc.oneof(
  receive,
  fc.record({ kind: fc.constant("send" as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant("turn" as const) }),
);

/** What was received: numbers by the order in which receivers came, and bytes stored. */
class Received {
  readonly #byReceiver: number[][] = [];
  bytes = 0;
  truncated = 0;

  /** Starts a receiver's entry. */
  next(): (buf: Uint8Array, stored: number) => void {
    const numbers: number[] = [];
    this.#byReceiver.push(numbers);
    return (buf, stored) => {
      numbers.push(numberOf(buf));
      this.bytes += stored;
      if (stored < BYTES) this.truncated++;
    };
  }

  get numbers(): number[] {
    return this.#byReceiver.flat();
  }
}

/** Starts a receiver: it is done when the promise is. */
async function start(socket: UdpSocket, received: Received, asked: Receive): Promise<void> {
  const { kind, count, room, abort } = asked;
  const tell = received.next();
  const abortion = new AbortController();
  const { signal } = abortion;
  if (abort === 0) abortion.abort();
  else if (abort !== undefined) void turns(abort).then(() => abortion.abort());
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
    if (!isMany && !isBatch) tell(first, result);
    else if (isMany) {
      for (let i = 0; i < result; i++) tell(bufs[i] as Uint8Array, meta[i]?.length as number);
    } else {
      for (let i = 0; i < result; i++) tell(batch.payload(i), batch.lengthAt(i));
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn();
}

const CASES = BACKENDS.flatMap((backend) =>
  (backend === "native" ? [true, false] : [true]).map((offload) => ({ backend, offload })),
);

test.each(CASES)(
  "$backend backend, offload $offload: each datagram once, in the order of the receivers",
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
        for (const asked of steps) {
          if (asked.kind === "turn") {
            await nextTurn();
          } else if (asked.kind === "send") {
            if (sent + asked.count > IN_FLIGHT_MAX) continue;
            sent += await sender.sendMany(numbered(asked.count, sent, BYTES), { to });
          } else {
            receivers.push(start(receiver, received, asked));
          }
        }
        // Whoever still waits gets one that it waits for.
        let done = false;
        const all = Promise.all(receivers).then(() => {
          done = true;
        });
        while (!done) {
          if (received.numbers.length === sent) {
            sent += await sender.sendMany(numbered(1, sent, BYTES), { to });
          }
          await nextTurn();
        }
        await all;
        while (received.numbers.length < sent) {
          await start(receiver, received, {
            kind: "recvMany",
            count: 8,
            room: 40,
            abort: undefined,
          });
        }
        expect(received.numbers).toEqual(Array.from({ length: sent }, (_, i) => i));
        expect(sender.counters).toMatchObject({ datagramsSent: sent, bytesSent: sent * BYTES });
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
