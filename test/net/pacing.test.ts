/**
 * Transmit times between two hosts: with a qdisc that knows them (tc-fq(8), tc-etf(8)) no datagram
 * leaves before its time, which the receiver's kernel timestamps show; without one, all arrive at
 * once. Both hosts are namespaces of this machine, so that their clocks are one.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TransmitClock } from "../../lib/index.ts";
import type { PlannedDatagram, ToldInfo } from "./metadata-end.ts";
import { LINKS, Namespaces, reasonToSkip, run } from "./namespaces.ts";

const reason = reasonToSkip(["tc"]);
if (reason !== undefined) console.warn(`pacing tests are skipped: ${reason}`);

const TIMEOUT_MS = 30_000;
const { near } = LINKS;
const COUNT = 10;
const MS = 1_000_000;
/** Time to line them all up before the first is due. */
const LEAD_NS = 100 * MS;
const SPACING_NS = 10 * MS;

/** The qdiscs that know transmit times, the clock of each, and how it is set up. */
const QDISCS: readonly { name: string; clock: TransmitClock; options: string }[] = [
  { name: "fq", clock: "monotonic", options: "" },
  // It opens the gate a little before the time, and takes times of the sender's clock alone.
  { name: "etf", clock: "tai", options: " clockid CLOCK_TAI delta 200000" },
];

/** `etf` lets a datagram go by its `delta` before its time. */
const EARLY_NS_MAX = 0.2 * MS;
/** The wall clock is read in milliseconds, and not at the same moment as that of transmit times. */
const CLOCK_NS_MAX = 2 * MS;

/** Why the kernel has no such qdisc. */
function reasonForNone(name: string, options: string): string | undefined {
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

/** Sends datagrams that are due 10 ms apart: when each arrived, in nanoseconds after the start. */
async function arrivals(clock: TransmitClock): Promise<number[]> {
  using receiver = await net.receive({ wanted: { timestamp: true }, count: COUNT + 1 });
  const to = `${near.network}2:${receiver.port}`;
  const datagrams: PlannedDatagram[] = Array.from({ length: COUNT }, (_, i) => ({
    to,
    delayNs: LEAD_NS + i * SPACING_NS,
  }));
  // The neighbour is to be known by then.
  await net.send({ datagrams: [{ to }] });
  const { sent, messages, startNs } = await net.send({ clock, datagrams });
  expect([sent, messages]).toEqual([COUNT, COUNT]);
  const [, ...told] = await receiver.told();
  expect(told.map(({ length }: ToldInfo) => length)).toEqual(datagrams.map((_, i) => i + 1));
  return told.map(({ timestampNs }) => Number(BigInt(timestampNs) - BigInt(startNs)));
}

/** How long before its time each arrived, in nanoseconds; negative: after it. */
function earliness(times: readonly number[]): number[] {
  return times.map((time, i) => LEAD_NS + i * SPACING_NS - time);
}

for (const { name, clock, options } of QDISCS) {
  const reason = reasonForNone(name, options);
  if (reason !== undefined) console.warn(`pacing by ${name} is not tested: ${reason}`);

  describe.skipIf(reason !== undefined)(`with ${name}`, () => {
    beforeAll(() => {
      net = new Namespaces("dgq");
      net.exec("sender", `tc qdisc replace dev ${near.device} root ${name}${options}`);
    });
    afterAll(() => net[Symbol.dispose]());

    test(
      "datagrams of one batch leave one by one, none before its time",
      async () => {
        const times = await arrivals(clock);
        const early = earliness(times);
        console.log(`${name}: ${early.map((ns) => (-ns / MS).toFixed(3)).join(" ")} ms late`);
        // How late they are is this machine's matter.
        expect(Math.max(...early)).toBeLessThan(EARLY_NS_MAX + CLOCK_NS_MAX);
      },
      TIMEOUT_MS,
    );
  });
}

describe.skipIf(reason !== undefined)("without a qdisc that knows them", () => {
  beforeAll(() => {
    net = new Namespaces("dgq");
  });
  afterAll(() => net[Symbol.dispose]());

  test.each(["monotonic", "tai"] as const)(
    "datagrams with times of the %s clock arrive all the same, in order",
    async (clock) => {
      const times = await arrivals(clock);
      expect(times.length).toBe(COUNT);
      // None was held up: the last came before it was due, on a machine that was not stopped.
      console.log(`no qdisc, ${clock}: the last one came after ${(times.at(-1) ?? 0) / MS} ms`);
    },
    TIMEOUT_MS,
  );
});
