/**
 * Random batches over loopback, with GSO and GRO enabled and disabled, received by all methods:
 * each datagram arrives once, unchanged and in order.
 */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { testIf } from "../ffi/tools.ts";
import {
  datagramsOf,
  ENDS,
  type Ends,
  expectSame,
  fitsRecvBuffer,
  NO_OFFLOAD_REASON,
  openEnds,
  receiveAll,
  STEPS,
  type Step,
  times,
} from "../tools/offload.ts";
import { nextTick, runCommand } from "../tools/sockets.ts";

/** The readiness mode requested for this process; unset: the default. */
const MODE = process.env.DATAGRAM_SOCKET_READINESS;
const RUNS = 250;
const TIMEOUT_MS = 60_000;

/** The maximum number of batches in the receive buffer, and of datagrams per batch. */
const BATCHES_MAX = 4;
const BATCH_DATAGRAMS_MAX = 400;

/** The lengths of the datagrams of a batch, in sequences of equal lengths that GSO can group. */
const lengths = fc
  .array(
    fc.tuple(
      fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(0, 1, 2, 100, 1200, 1472) },
        { weight: 3, arbitrary: fc.integer({ min: 0, max: 1500 }) },
        { weight: 1, arbitrary: fc.integer({ min: 1501, max: 65_507 }) },
      ),
      fc.oneof(fc.constantFrom(1, 2, 63, 64, 65), fc.integer({ min: 1, max: 130 })),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((sequences) => {
    const all: number[] = [];
    let bytes = 0;
    for (const length of sequences.flatMap(([value, count]) => times(count, value))) {
      bytes += length;
      if (!fitsRecvBuffer(BATCHES_MAX * (all.length + 1), BATCHES_MAX * bytes)) break;
      if (all.length === BATCH_DATAGRAMS_MAX) break;
      all.push(length);
    }
    return all;
  });

/** Batches that are sent one after the other, each followed by `pauseTicks` event loop ticks. */
const round = fc.record({
  batches: fc.array(fc.record({ lengths, pauseTicks: fc.nat({ max: 2 }) }), {
    minLength: 1,
    maxLength: BATCHES_MAX,
  }),
  steps: fc.infiniteStream(fc.constantFrom<Step>(...Object.values(STEPS))),
  /** Whether a receive already waits when the first batch is sent. */
  isWaiting: fc.boolean(),
});

async function transfers(ends: Ends): Promise<void> {
  using pair = await openEnds(ends);
  const { sender, receiver } = pair;
  let total = 0;
  await fc.assert(
    fc.asyncProperty(round, async ({ batches, steps, isWaiting }) => {
      const sent = batches.map((batch) => datagramsOf(batch.lengths, total));
      const count = sent.flat().length;
      const receiving = () => receiveAll(receiver, count, () => steps.next().value as Step);
      const waiting = isWaiting ? receiving() : undefined;
      for (const [i, payloads] of sent.entries()) {
        expect(await sender.sendMany(payloads, { to: receiver.localAddr })).toBe(payloads.length);
        for (let ticks = batches[i]?.pauseTicks ?? 0; ticks > 0; ticks--) await nextTick();
      }
      expectSame(await (waiting ?? receiving()), sent.flat());
      total += count;
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
  expect(sender.counters).toMatchObject({ datagramsSent: total, gsoRefusals: 0 });
  expect(receiver.counters).toMatchObject({
    datagramsReceived: total,
    bytesReceived: sender.counters.bytesSent,
    datagramsTruncated: 0,
    datagramsDropped: 0,
  });
  if (ends.sender) expect(sender.counters.messagesSent).toBeLessThan(total / 2);
  if (ends.sender && ends.receiver) {
    expect(receiver.counters.messagesReceived).toBe(sender.counters.messagesSent);
  }
}

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("random batches", () => {
  test.each([...ENDS])("arrive unchanged with $name", transfers, TIMEOUT_MS);

  testIf(MODE === undefined ? undefined : "DATAGRAM_SOCKET_READINESS is set")(
    "arrive unchanged in readiness mode thread",
    async () => {
      const { exitCode, stderr } = await runCommand(
        [process.execPath, "test", "./test/offload/random-batches.test.ts"],
        { DATAGRAM_SOCKET_READINESS: "thread" },
      );
      expect([exitCode, stderr]).toEqual([0, expect.stringContaining(`${ENDS.length} pass`)]);
    },
    4 * TIMEOUT_MS,
  );
});
