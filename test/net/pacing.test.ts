/**
 * Transmit times between two hosts. With a qdisc that supports them (tc-fq(8), tc-etf(8)), no
 * datagram is sent before its time; with other qdiscs, all are sent at once. The arrival times are
 * kernel timestamps. Both hosts are namespaces of this machine, so that they share their clocks.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TransmitClock } from "../../lib/index.ts";
import type { PlannedDatagram, ReceivedMeta } from "./metadata-endpoint.ts";
import { LINKS, Namespaces, reasonToSkip, run } from "./namespaces.ts";

const reason = reasonToSkip(["tc"]);
if (reason !== undefined) console.warn(`pacing tests are skipped: ${reason}`);

const TIMEOUT_MS = 30_000;
const { near } = LINKS;
const COUNT = 10;
const MS = 1_000_000;
/** The transmit time of the first datagram: all are queued by then. */
const LEAD_NS = 100 * MS;
const SPACING_NS = 10 * MS;

/** The qdiscs that support transmit times, with the clock that each uses and its options. */
const QDISCS: readonly { name: string; clock: TransmitClock; options: string }[] = [
  { name: "fq", clock: "monotonic", options: "" },
  // Requires times of its own clock. Dequeues a datagram `delta` (200 us) before its time.
  { name: "etf", clock: "tai", options: " clockid CLOCK_TAI delta 200000" },
];

/** The `delta` of `etf`. */
const EARLY_NS_MAX = 0.2 * MS;
/** The wall clock has a resolution of 1 ms, and is not read together with the transmit clock. */
const CLOCK_NS_MAX = 2 * MS;

/** Returns why the qdisc cannot be tested here. */
function reasonToSkipQdisc(name: string, options: string): string | undefined {
  if (reason !== undefined) return reason;
  const namespace = `dgq${process.pid}`;
  try {
    run(`ip netns add ${namespace}`);
    run(`ip -n ${namespace} link add x type veth peer name y`);
    run(`ip netns exec ${namespace} tc qdisc replace dev x root ${name}${options}`);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    Bun.spawnSync(["ip", "netns", "del", namespace]);
  }
}

let net: Namespaces;

/**
 * Sends datagrams with transmit times 10 ms apart. Returns when each arrived, in nanoseconds after
 * the start.
 */
async function arrivals(clock: TransmitClock): Promise<number[]> {
  using receiver = await net.receive({ metadata: { timestamp: true }, count: COUNT + 1 });
  const to = `${near.network}2:${receiver.port}`;
  const datagrams: PlannedDatagram[] = Array.from({ length: COUNT }, (_, i) => ({
    to,
    delayNs: LEAD_NS + i * SPACING_NS,
  }));
  // One datagram first, so that neighbour discovery does not delay the others.
  await net.send({ datagrams: [{ to }] });
  const { sent, messages, startNs } = await net.send({ clock, datagrams });
  expect([sent, messages]).toEqual([COUNT, COUNT]);
  const [, ...received] = await receiver.received();
  expect(received.map(({ length }: ReceivedMeta) => length)).toEqual(
    datagrams.map((_, i) => i + 1),
  );
  return received.map(({ timestampNs }) => Number(BigInt(timestampNs) - BigInt(startNs)));
}

/** Returns how long before its transmit time each datagram arrived; negative: after it. */
function earliness(times: readonly number[]): number[] {
  return times.map((time, i) => LEAD_NS + i * SPACING_NS - time);
}

for (const { name, clock, options } of QDISCS) {
  const reason = reasonToSkipQdisc(name, options);
  if (reason !== undefined) console.warn(`pacing by ${name} is not tested: ${reason}`);

  describe.skipIf(reason !== undefined)(`transmit times with the ${name} qdisc`, () => {
    beforeAll(() => {
      net = new Namespaces("dgq");
      net.exec("sender", `tc qdisc replace dev ${near.device} root ${name}${options}`);
    });
    afterAll(() => net[Symbol.dispose]());

    test(
      "no datagram of a batch is sent before its time",
      async () => {
        const times = await arrivals(clock);
        const early = earliness(times);
        console.log(`${name}: ${early.map((ns) => (-ns / MS).toFixed(3)).join(" ")} ms late`);
        // Not checked: how late they are, which depends on the load of the machine.
        expect(Math.max(...early)).toBeLessThan(EARLY_NS_MAX + CLOCK_NS_MAX);
      },
      TIMEOUT_MS,
    );
  });
}

describe.skipIf(reason !== undefined)("transmit times without a qdisc that supports them", () => {
  beforeAll(() => {
    net = new Namespaces("dgq");
  });
  afterAll(() => net[Symbol.dispose]());

  test.each(["monotonic", "tai"] as const)(
    "datagrams with times of the %s clock arrive in order",
    async (clock) => {
      const times = await arrivals(clock);
      expect(times.length).toBe(COUNT);
      // Not checked: a busy machine may receive the last datagram after its transmit time.
      console.log(`no qdisc, ${clock}: the last one arrived after ${(times.at(-1) ?? 0) / MS} ms`);
    },
    TIMEOUT_MS,
  );
});
