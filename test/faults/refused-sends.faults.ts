/**
 * Full queues and firewalls on the way out. Every datagram is delivered, or its caller gets the
 * error, or it is counted by the socket or the kernel; each refused datagram is one that was not
 * delivered, and no call takes long.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { Namespaces, run } from "../net/namespaces.ts";
import {
  amount,
  attempt,
  FAMILIES,
  families,
  nft,
  nftPackets,
  pinNeighbours,
  qdiscDrops,
  Receiver,
  Sender,
  send,
  skipReason,
  some,
  TEST_TIMEOUT_MS,
} from "./tools.ts";
import type { ReceiveReport, SendReport } from "./traffic.ts";

const reason = skipReason("tests of refused sends", ["nft", "tc"]);

const PORT = 9999;
const COUNT = amount(1500, 600);
/** Longer than the 20 ms of retries after ENOBUFS: a busy machine delays timers. */
const CALL_MS_MAX = 1500;

const APIS = some(["sendMany", "sendBatch", "send"] as const, 2);
const MODES = ["throw", "drop"] as const;
const CASES = APIS.flatMap((api) => MODES.map((sendErrors) => [api, sendErrors] as const));

/** Returns whether a number was received. */
function isDelivered({ ranges }: ReceiveReport, number: number): boolean {
  return ranges.some(([first, last]) => first <= number && number <= last);
}

/** Checks the reports against each other: sent = delivered + counted, and errors have owners. */
function expectAccounted(
  sent: SendReport,
  got: ReceiveReport,
  { count, kernelDrops = 0 }: { count: number; kernelDrops?: number },
): void {
  const { datagramsSent, sendDrops, sendErrors } = sent.counters;
  expect(sent.accepted + sent.refused.length).toBe(count);
  expect(datagramsSent + sendDrops).toBe(sent.accepted);
  expect(sendErrors).toBe(sent.refused.length);
  expect(got.distinct + kernelDrops).toBe(datagramsSent);
  expect([got.received - got.distinct, got.late, got.altered]).toEqual([0, 0, 0]);
  expect(sent.refused.filter(([number]) => isDelivered(got, number))).toEqual([]);
  const byCode = Object.values(sent.dropsByCode).reduce((sum, each) => sum + each, 0);
  expect(byCode).toBe(sendDrops);
  expect(sent.slowestMs).toBeLessThan(CALL_MS_MAX);
}

describe.skipIf(reason !== undefined).each(families("IPv4"))("refused sends over %s", (family) => {
  const { near, any, nft: ip } = FAMILIES[family];
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dfr");
    pinNeighbours(namespaces);
  });
  afterAll(() => namespaces?.[Symbol.dispose]());
  afterEach(() => {
    attempt(`ip netns exec ${namespaces.sender} nft flush ruleset`);
    attempt(`tc -n ${namespaces.sender} qdisc del dev near root`);
  });

  const startReceiver = () =>
    Receiver.start(namespaces.receiver, { hostname: any, port: PORT, gro: false });

  test.each(CASES)(
    "a full queue: sent = delivered + refused + dropped by the queue (%s, %s)",
    async (api, sendErrors) => {
      await using receiver = await startReceiver();
      const { sender } = namespaces;
      run(`tc -n ${sender} qdisc add dev near root tbf rate 40mbit burst 3000 limit 15000`);
      const pauseMs = api === "send" ? 0 : 2;
      const plan = { count: COUNT, api, bytes: 1000, pauseMs, perCall: 40 };
      const to = { hostname: near, port: PORT, bind: { sendErrors } };
      const sent = await send(sender, { ...to, ...plan });
      const got = await receiver.report();
      // A queue that splits a GSO message may drop some of its datagrams without an error.
      const refusedCount = sent.refused.length + sent.counters.sendDrops;
      const kernelDrops = sent.counters.datagramsSent - got.distinct;
      expectAccounted(sent, got, { count: COUNT, kernelDrops });
      expect(kernelDrops).toBeGreaterThanOrEqual(0);
      expect(qdiscDrops(sender, "near")).toBeGreaterThanOrEqual(kernelDrops);
      if (api === "send") expect(kernelDrops).toBe(0);
      const lost = `${refusedCount} refused, ${kernelDrops} dropped by the queue`;
      console.log(`${family} ${api} ${sendErrors}: ${got.distinct} delivered, ${lost}`);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a pfifo of two packets without GSO: sent = delivered + refused, nothing else is lost",
    async () => {
      await using receiver = await startReceiver();
      const { sender } = namespaces;
      run(
        `tc -n ${sender} qdisc add dev near root handle 1: tbf rate 80mbit burst 3000 limit 100000`,
      );
      run(`tc -n ${sender} qdisc add dev near parent 1:1 handle 2: pfifo limit 2`);
      const bind = { sendErrors: "drop", offload: false } as const;
      const plan = { count: COUNT, bytes: 1000, pauseMs: 1, perCall: 20 };
      const sent = await send(sender, { hostname: near, port: PORT, bind, ...plan });
      const got = await receiver.report();
      expectAccounted(sent, got, { count: COUNT });
    },
    TEST_TIMEOUT_MS,
  );

  test.each(CASES)(
    "a firewall that drops every eighth on output: exactly those are EPERM of their callers (%s, %s)",
    async (api, sendErrors) => {
      // The lowest byte of the number, at bit 88 after the start of the UDP header.
      nft(namespaces.sender, [
        "add table inet t",
        "add chain inet t c { type filter hook output priority 0 ; }",
        `add rule inet t c udp dport ${PORT} @th,88,8 & 7 == 5 counter drop`,
      ]);
      await using receiver = await startReceiver();
      const plan = { count: COUNT, api, perCall: 40, pauseMs: api === "send" ? 0 : 1 };
      const to = { hostname: near, port: PORT, bind: { sendErrors, offload: false } };
      const sent = await send(namespaces.sender, { ...to, ...plan });
      const got = await receiver.report();
      expectAccounted(sent, got, { count: COUNT });
      const refused = Array.from(Array(COUNT).keys()).filter((number) => number % 8 === 5);
      expect(refused.filter((number) => isDelivered(got, number))).toEqual([]);
      expect(nftPackets(namespaces.sender)).toBeGreaterThanOrEqual(refused.length);
      if (sendErrors === "drop") expect(sent.dropsByCode).toEqual({ EPERM: refused.length });
      else expect(sent.refused).toEqual(refused.map((number) => [number, "EPERM"]));
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a firewall that drops GSO messages on output: sent = delivered + EPERM, none twice",
    async () => {
      nft(namespaces.sender, [
        "add table inet t",
        "add chain inet t c { type filter hook output priority 0 ; }",
        `add rule inet t c udp dport ${PORT} numgen random mod 100 lt 30 counter drop`,
      ]);
      await using receiver = await startReceiver();
      const bind = { sendErrors: "drop" } as const;
      const plan = { count: COUNT, perCall: 40 };
      const sent = await send(namespaces.sender, { hostname: near, port: PORT, bind, ...plan });
      const got = await receiver.report();
      expectAccounted(sent, got, { count: COUNT });
      expect(sent.counters.sendDrops).toBe(nftPackets(namespaces.sender));
    },
    TEST_TIMEOUT_MS,
  );

  test.each(MODES)(
    "an outage at the device (egress hook): sent = delivered + ENOBUFS, then all delivered (%s)",
    async (sendErrors) => {
      await using receiver = await startReceiver();
      const to = { hostname: near, port: PORT, bind: { sendErrors } };
      await using sender = await Sender.start(namespaces.sender, to);
      const plan = { count: 300, perCall: 30 };
      const before = await sender.send(plan);
      nft(namespaces.sender, [
        "add table netdev t",
        "add chain netdev t c { type filter hook egress device near priority 0 ; }",
        `add rule netdev t c ${ip} daddr ${near} udp dport ${PORT} counter drop`,
      ]);
      const during = await sender.send({ ...plan, first: 1000 });
      attempt(`ip netns exec ${namespaces.sender} nft flush ruleset`);
      const after = await sender.send({ ...plan, first: 2000 });
      const got = await receiver.report();
      expect([before.counters.datagramsSent, after.counters.datagramsSent]).toEqual([300, 300]);
      expect(got.ranges).toEqual([
        [0, 299],
        [2000, 2299],
      ]);
      expect(during.refused.length + during.counters.sendDrops).toBe(300);
      const codes = new Set(during.refused.map(([, code]) => code));
      if (sendErrors === "drop") expect(during.dropsByCode).toEqual({ ENOBUFS: 300 });
      else expect([...codes]).toEqual(["ENOBUFS"]);
      expect(during.slowestMs).toBeLessThan(CALL_MS_MAX);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "drops at the device without an error queue: sent = delivered + dropped by the firewall",
    async () => {
      nft(namespaces.sender, [
        "add table netdev t",
        "add chain netdev t c { type filter hook egress device near priority 0 ; }",
        `add rule netdev t c ${ip} daddr ${near} numgen random mod 100 lt 10 counter drop`,
      ]);
      await using receiver = await startReceiver();
      // An unconnected socket gets no error from the kernel: the send succeeds.
      const to = { hostname: near, port: PORT, isConnected: false, bind: { offload: false } };
      const sent = await send(namespaces.sender, { ...to, count: COUNT });
      const got = await receiver.report();
      const kernelDrops = nftPackets(namespaces.sender);
      expect(kernelDrops).toBeGreaterThan(0);
      expectAccounted(sent, got, { count: COUNT, kernelDrops });
    },
    TEST_TIMEOUT_MS,
  );
});
