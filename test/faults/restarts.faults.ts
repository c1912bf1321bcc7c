/**
 * Peers that die and come back, interfaces that go down and up, addresses that are removed and
 * restored. Traffic continues without a new socket, and every datagram is delivered, refused to its
 * caller, or counted by the kernel as lost.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Namespaces, run } from "../net/namespaces.ts";
import {
  FAMILIES,
  families,
  pinNeighbours,
  Receiver,
  Sender,
  skipReason,
  TEST_TIMEOUT_MS,
  udpMib,
} from "./tools.ts";

const reason = skipReason("tests of restarts", ["nft"]);

const PORT = 9999;

describe.skipIf(reason !== undefined).each(families("IPv6"))("restarts over %s", (family) => {
  const { near, local, any } = FAMILIES[family];
  const bits = family === "IPv4" ? 24 : 64;
  const nodad = family === "IPv4" ? "" : " nodad";
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dfs");
    pinNeighbours(namespaces);
  });
  afterAll(() => namespaces?.[Symbol.dispose]());

  const startReceiver = (hostname: string = any) =>
    Receiver.start(namespaces.receiver, { hostname, port: PORT });

  test.each(["throw", "drop"] as const)(
    "a peer that is killed and restarted: sent = delivered + refused + no port (%s)",
    async (sendErrors) => {
      await using sender = await Sender.start(namespaces.sender, {
        hostname: near,
        port: PORT,
        bind: { sendErrors },
      });
      const first = await startReceiver();
      const delivered = await sender.send({ count: 200 });
      first.kill();
      await first[Symbol.asyncDispose]();
      const before = udpMib(namespaces.receiver).noPorts;
      // Without a peer, every datagram that is sent comes back as "port unreachable" (the kernel
      // limits the rate), and makes a later call fail.
      const lost = await sender.send({ count: 200, first: 1000, api: "send", pauseMs: 2 });
      const noPorts = udpMib(namespaces.receiver).noPorts - before;
      await using second = await startReceiver();
      const again = await sender.send({ count: 400, first: 2000 });
      const got = await second.report();
      expect(delivered).toMatchObject({ accepted: 200, refused: [] });
      expect(lost.accepted + lost.refused.length).toBe(200);
      expect(lost.counters.datagramsSent).toBe(lost.accepted);
      expect(noPorts).toBe(lost.accepted);
      expect(lost.counters.transportErrors).toBeGreaterThan(0);
      const codes = new Set(lost.refused.map(([, code]) => code));
      expect([...codes]).toEqual(sendErrors === "drop" ? [] : ["ECONNREFUSED"]);
      // The last of the errors may be reported by the first call to the new peer.
      expect(again.refused.length).toBeLessThanOrEqual(1);
      expect(got.distinct).toBe(again.accepted);
      expect(again.accepted + again.refused.length).toBe(400);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a peer that is killed and restarted with a handler: no call fails, all are delivered after it",
    async () => {
      const to = { hostname: near, port: PORT, handlesErrors: true };
      await using sender = await Sender.start(namespaces.sender, to);
      const lost = await sender.send({ count: 100, api: "send", pauseMs: 2 });
      await using second = await startReceiver();
      const again = await sender.send({ count: 400, first: 1000 });
      const got = await second.report();
      expect([lost.refused, again.refused]).toEqual([[], []]);
      expect(got.ranges).toEqual([[1000, 1399]]);
      const errors = await sender.transportErrors();
      expect(errors.length).toBeGreaterThan(0);
      expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["ECONNREFUSED"]));
    },
    TEST_TIMEOUT_MS,
  );

  const SOCKETS = [true, false].flatMap((isConnected) =>
    (["throw", "drop"] as const).map((sendErrors) => ({ isConnected, sendErrors })),
  );
  test.each(SOCKETS)(
    "the interface goes down and up: sends fail with a route error, then all are delivered (%o)",
    async ({ isConnected, sendErrors }) => {
      await using receiver = await startReceiver();
      const to = { hostname: near, port: PORT, isConnected, bind: { sendErrors } };
      await using sender = await Sender.start(namespaces.sender, to);
      const before = await sender.send({ count: 200 });
      run(`ip -n ${namespaces.sender} link set near down`);
      const down = await sender.send({ count: 40, first: 1000, perCall: 10 });
      run(`ip -n ${namespaces.sender} link set near up`);
      if (family === "IPv6") {
        // The kernel removes IPv6 addresses when an interface goes down.
        run(`ip -n ${namespaces.sender} addr replace ${local}/64 dev near nodad`);
      }
      pinNeighbours(namespaces);
      const after = await sender.send({ count: 200, first: 2000 });
      const got = await receiver.report();
      expect([before.accepted, after.accepted]).toEqual([200, 200]);
      expect(got.ranges).toEqual([
        [0, 199],
        [2000, 2199],
      ]);
      expect(down.counters.datagramsSent).toBe(0);
      const codes = down.refused.map(([, code]) => code).concat(Object.keys(down.dropsByCode));
      expect(["ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EINVAL"]).toContain(
        codes[0] as string,
      );
      expect(down.refused.length + down.counters.sendDrops).toBe(40);
    },
    TEST_TIMEOUT_MS,
  );

  test.each([true, false])(
    "the sender's address is removed and restored: sent = delivered + refused (connected: %p)",
    async (isConnected) => {
      await using receiver = await startReceiver();
      const to = { hostname: near, port: PORT, isConnected };
      await using sender = await Sender.start(namespaces.sender, to);
      const before = await sender.send({ count: 100 });
      run(`ip -n ${namespaces.sender} addr del ${local}/${bits} dev near`);
      const without = await sender.send({ count: 40, first: 1000, perCall: 10 });
      run(`ip -n ${namespaces.sender} addr add ${local}/${bits} dev near${nodad}`);
      pinNeighbours(namespaces);
      const after = await sender.send({ count: 100, first: 2000 });
      const got = await receiver.report();
      expect([before.accepted, after.accepted, after.refused.length]).toEqual([100, 100, 0]);
      expect(without.accepted + without.refused.length).toBe(40);
      expect(got.distinct).toBe(200 + without.accepted);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "the receiver's address is removed and restored: its bound socket receives again",
    async () => {
      await using receiver = await startReceiver(near);
      await using sender = await Sender.start(namespaces.sender, { hostname: near, port: PORT });
      const before = await sender.send({ count: 100 });
      run(`ip -n ${namespaces.receiver} addr del ${near}/${bits} dev near`);
      const without = await sender.send({ count: 20, first: 1000, perCall: 10 });
      run(`ip -n ${namespaces.receiver} addr add ${near}/${bits} dev near${nodad}`);
      pinNeighbours(namespaces);
      // An error about one of the lost datagrams may arrive first.
      await sender.send({ count: 1, first: 1500, api: "send" });
      const after = await sender.send({ count: 100, first: 2000 });
      const got = await receiver.report();
      expect(before.accepted).toBe(100);
      expect(without.accepted + without.refused.length).toBe(20);
      expect(after.accepted).toBe(100);
      expect(got.ranges.at(-1)).toEqual([2000, 2099]);
      expect(got.ranges[0]).toEqual([0, 99]);
    },
    TEST_TIMEOUT_MS,
  );
});
