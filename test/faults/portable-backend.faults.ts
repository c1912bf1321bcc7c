/**
 * The faults of the other files on the portable backend, which sends and receives through Bun's own
 * socket. The same guarantees: sent = delivered + refused + counted.
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
  Receiver,
  Sender,
  send,
  skipReason,
  TEST_TIMEOUT_MS,
  udpMib,
} from "./tools.ts";
import type { ReceiveReport } from "./traffic.ts";

const reason = skipReason("tests of the portable backend with faults", ["nft"]);

const PORT = 9999;
const COUNT = amount(2000, 800);
const MODES = ["throw", "drop"] as const;
const backend = "portable";

function isDelivered({ ranges }: ReceiveReport, number: number): boolean {
  return ranges.some(([first, last]) => first <= number && number <= last);
}

describe.skipIf(reason !== undefined).each(families("IPv4"))(
  "portable backend over %s",
  (family) => {
    const { near, local, any } = FAMILIES[family];
    let namespaces: Namespaces;
    beforeAll(() => {
      namespaces = new Namespaces("dfb");
      pinNeighbours(namespaces);
    });
    afterAll(() => namespaces?.[Symbol.dispose]());
    afterEach(() => {
      attempt(`ip netns exec ${namespaces.sender} nft flush ruleset`);
      attempt(`ip netns exec ${namespaces.receiver} nft flush ruleset`);
    });

    const startReceiver = () =>
      Receiver.start(namespaces.receiver, { hostname: any, port: PORT, backend });

    test(
      "5 % random loss: sent = delivered + dropped by the firewall, in order",
      async () => {
        nft(namespaces.receiver, [
          "add table inet t",
          "add chain inet t c { type filter hook input priority 0 ; }",
          `add rule inet t c udp dport ${PORT} numgen random mod 100 lt 5 counter drop`,
        ]);
        await using receiver = await startReceiver();
        const before = udpMib(namespaces.receiver).rcvbufErrors;
        const to = { hostname: near, port: PORT, bind: { backend } } as const;
        const sent = await send(namespaces.sender, { ...to, count: COUNT, pauseMs: 2 });
        const got = await receiver.report();
        const dropped = nftPackets(namespaces.receiver);
        const lost = udpMib(namespaces.receiver).rcvbufErrors - before;
        expect([sent.accepted, sent.counters.datagramsSent]).toEqual([COUNT, COUNT]);
        expect(got.distinct + dropped + lost + got.counters.datagramsDropped).toBe(COUNT);
        expect([got.received - got.distinct, got.late, got.altered]).toEqual([0, 0, 0]);
      },
      TEST_TIMEOUT_MS,
    );

    test.each(MODES)(
      "a firewall that drops every eighth on output: sent = delivered + EPERM (%s)",
      async (sendErrors) => {
        nft(namespaces.sender, [
          "add table inet t",
          "add chain inet t c { type filter hook output priority 0 ; }",
          `add rule inet t c udp dport ${PORT} @th,88,8 & 7 == 5 counter drop`,
        ]);
        await using receiver = await startReceiver();
        const before = udpMib(namespaces.receiver).rcvbufErrors;
        const bind = { backend, sendErrors } as const;
        const plan = { count: COUNT, perCall: 40, pauseMs: 2 };
        const sent = await send(namespaces.sender, { hostname: near, port: PORT, bind, ...plan });
        const got = await receiver.report();
        const refused = Array.from(Array(COUNT).keys()).filter((number) => number % 8 === 5);
        const overflow = udpMib(namespaces.receiver).rcvbufErrors - before;
        expect(sent.accepted + sent.refused.length).toBe(COUNT);
        expect(got.distinct + overflow).toBe(sent.counters.datagramsSent);
        expect(refused.filter((number) => isDelivered(got, number))).toEqual([]);
        if (sendErrors === "drop") expect(sent.dropsByCode).toEqual({ EPERM: refused.length });
        else expect(sent.refused).toEqual(refused.map((number) => [number, "EPERM"]));
      },
      TEST_TIMEOUT_MS,
    );

    test.each(MODES)(
      "a peer that is killed and restarted: sent = delivered + refused + no port (%s)",
      async (sendErrors) => {
        const to = { hostname: near, port: PORT, bind: { backend, sendErrors } } as const;
        await using sender = await Sender.start(namespaces.sender, to);
        const first = await startReceiver();
        const delivered = await sender.send({ count: 200 });
        await first[Symbol.asyncDispose]();
        const before = udpMib(namespaces.receiver);
        const lost = await sender.send({ count: 100, first: 1000, api: "send", pauseMs: 2 });
        const noPorts = udpMib(namespaces.receiver).noPorts - before.noPorts;
        await using second = await startReceiver();
        const again = await sender.send({ count: 400, first: 2000, pauseMs: 2 });
        const got = await second.report();
        expect(delivered).toMatchObject({ accepted: 200, refused: [] });
        expect(lost.accepted + lost.refused.length).toBe(100);
        expect(noPorts).toBe(lost.counters.datagramsSent);
        expect(again.accepted + again.refused.length).toBe(400);
        // This backend cannot enlarge the receive buffer.
        const overflow = udpMib(namespaces.receiver).rcvbufErrors - before.rcvbufErrors;
        expect(got.distinct + overflow).toBe(again.counters.datagramsSent);
        expect(again.refused.length + again.counters.sendDrops).toBeLessThanOrEqual(1);
      },
      TEST_TIMEOUT_MS,
    );

    test.each(MODES)(
      "the interface goes down and up: sends fail, then all are delivered (%s)",
      async (sendErrors) => {
        await using receiver = await startReceiver();
        const to = { hostname: near, port: PORT, bind: { backend, sendErrors } } as const;
        await using sender = await Sender.start(namespaces.sender, to);
        const before = await sender.send({ count: 80, perCall: 20, pauseMs: 2 });
        run(`ip -n ${namespaces.sender} link set near down`);
        const down = await sender.send({ count: 40, first: 1000, perCall: 10 });
        run(`ip -n ${namespaces.sender} link set near up`);
        if (family === "IPv6") {
          run(`ip -n ${namespaces.sender} addr replace ${local}/64 dev near nodad`);
        }
        pinNeighbours(namespaces);
        const after = await sender.send({ count: 80, first: 2000, perCall: 20, pauseMs: 2 });
        const got = await receiver.report();
        expect([before.accepted, after.accepted]).toEqual([80, 80]);
        expect(down.counters.datagramsSent).toBe(0);
        expect(down.refused.length + down.counters.sendDrops).toBe(40);
        expect(got.ranges).toEqual([
          [0, 79],
          [2000, 2079],
        ]);
      },
      TEST_TIMEOUT_MS,
    );

    test.each(MODES)(
      "a device that drops everything for a while: sent = delivered + ENOBUFS (%s)",
      async (sendErrors) => {
        await using receiver = await startReceiver();
        const to = { hostname: near, port: PORT, bind: { backend, sendErrors } } as const;
        await using sender = await Sender.start(namespaces.sender, to);
        const plan = { count: 100, perCall: 20, pauseMs: 5 };
        const before = await sender.send(plan);
        nft(namespaces.sender, [
          "add table netdev t",
          "add chain netdev t c { type filter hook egress device near priority 0 ; }",
          `add rule netdev t c ${FAMILIES[family].nft} daddr ${near} udp dport ${PORT} counter drop`,
        ]);
        const during = await sender.send({ ...plan, first: 1000 });
        attempt(`ip netns exec ${namespaces.sender} nft flush ruleset`);
        const after = await sender.send({ ...plan, first: 2000 });
        const got = await receiver.report();
        expect([before.counters.datagramsSent, after.counters.datagramsSent]).toEqual([100, 100]);
        expect(got.ranges).toEqual([
          [0, 99],
          [2000, 2099],
        ]);
        expect(during.refused.length + during.counters.sendDrops).toBe(100);
        const refused = during.refused.map(([, code]) => code);
        const codes = new Set([...refused, ...Object.keys(during.dropsByCode)]);
        expect([...codes]).toEqual(["ENOBUFS"]);
      },
      TEST_TIMEOUT_MS,
    );
  },
);
