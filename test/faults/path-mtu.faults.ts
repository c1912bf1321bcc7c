/**
 * A path MTU that shrinks and recovers mid-flow, also by forged "fragmentation needed" messages.
 * No datagram is lost without a count, other destinations are unaffected, and GSO returns.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { temporaryDirectory } from "../ffi/tools.ts";
import { Namespaces, run } from "../net/namespaces.ts";
import {
  attempt,
  compile,
  FAMILIES,
  families,
  forgeIcmp,
  pinNeighbours,
  Receiver,
  Sender,
  skipReason,
  TEST_TIMEOUT_MS,
} from "./tools.ts";

const reason = skipReason("tests of a changing path MTU", ["nft", "tc", "gcc"]);

const PORT = 9999;
const MINUTE_MS = 60_000;

describe.skipIf(reason !== undefined).each(families("IPv6"))("path MTU over %s", (family) => {
  const { near, any } = FAMILIES[family];
  let directory: ReturnType<typeof temporaryDirectory>;
  let forger = "";
  let namespaces: Namespaces;
  beforeAll(() => {
    directory = temporaryDirectory();
    forger = compile("icmp-forger", directory.path);
    namespaces = new Namespaces("dfm");
    pinNeighbours(namespaces);
  });
  afterAll(() => {
    namespaces?.[Symbol.dispose]();
    directory?.[Symbol.dispose]();
  });
  afterEach(() => {
    setMtu(1500);
    // Forgets the path MTU that forged messages have stored.
    attempt(`ip -n ${namespaces.sender} route flush cache`);
    attempt(`ip -n ${namespaces.sender} -6 route flush cache`);
  });

  function setMtu(mtu: number): void {
    for (const host of ["sender", "receiver"] as const) {
      run(`ip -n ${namespaces[host]} link set near mtu ${mtu}`);
    }
  }

  test.each([
    ["sendMany", true],
    ["sendBatch", false],
  ] as const)(
    "the device's MTU shrinks and recovers: all are delivered, and GSO returns (%s)",
    async (api, isConnected) => {
      await using receiver = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
      });
      const to = { hostname: near, port: PORT, isConnected };
      await using sender = await Sender.start(namespaces.sender, to);
      const plan = { count: 640, bytes: 1400, api, pauseMs: 3 };
      const before = await sender.send(plan);
      setMtu(1280);
      const small = await sender.send({ ...plan, first: 640 });
      setMtu(1500);
      const soon = await sender.send({ ...plan, first: 1280 });
      await sender.advanceClock(MINUTE_MS + 1);
      const later = await sender.send({ ...plan, first: 1920 });
      const got = await receiver.report();
      expect([before, small, soon, later].map(({ accepted }) => accepted)).toEqual(
        Array(4).fill(640),
      );
      expect(got.ranges).toEqual([[0, 2559]]);
      expect([got.received, got.late, got.altered]).toEqual([2560, 0, 0]);
      // 46 datagrams of 1400 bytes fill a message: two messages per call of 64.
      expect(before.counters.messagesSent).toBe(20);
      expect(small.counters).toMatchObject({ gsoRefusals: 1, messagesSent: 640 });
      expect(soon.counters).toMatchObject({ gsoRefusals: 0, gsoRetries: 0, messagesSent: 640 });
      expect(later.counters).toMatchObject({ gsoRefusals: 0, gsoRetries: 1, messagesSent: 20 });
    },
    TEST_TIMEOUT_MS,
  );

  test.each(["drop", "throw"] as const)(
    'pathMtuDiscovery "on", sendErrors "%s": sent = delivered + EMSGSIZE of the long datagrams',
    async (sendErrors) => {
      await using receiver = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
      });
      const bind = { pathMtuDiscovery: "on", sendErrors } as const;
      await using sender = await Sender.start(namespaces.sender, {
        hostname: near,
        port: PORT,
        bind,
      });
      const plan = { count: 128, bytes: 1400, pauseMs: 0, perCall: 32 };
      setMtu(1280);
      const long = await sender.send(plan);
      const short = await sender.send({ ...plan, first: 128, bytes: 1100 });
      setMtu(1500);
      const recovered = await sender.send({ ...plan, first: 256 });
      const got = await receiver.report();
      if (sendErrors === "drop") {
        expect(long.dropsByCode).toEqual({ EMSGSIZE: 128 });
        expect(long.accepted).toBe(128);
      } else {
        expect(long.refused.map(([number]) => number)).toEqual(Array.from(Array(128).keys()));
        expect(new Set(long.refused.map(([, code]) => code))).toEqual(new Set(["EMSGSIZE"]));
      }
      expect(long.counters.datagramsSent).toBe(0);
      expect([short.counters.datagramsSent, recovered.counters.datagramsSent]).toEqual([128, 128]);
      expect(got.ranges).toEqual([[128, 383]]);
    },
    TEST_TIMEOUT_MS,
  );

  test.each([true, false])(
    "a forged MTU: sent = delivered + refused, and GSO returns when it has expired (connected: %p)",
    async (isConnected) => {
      await using receiver = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
      });
      const to = { hostname: near, port: PORT, isConnected };
      await using sender = await Sender.start(namespaces.sender, to);
      const plan = { count: 640, bytes: 1400, pauseMs: 3 };
      const before = await sender.send(plan);
      await forgeIcmp(forger, namespaces, {
        family,
        kind: "mtu",
        localPort: sender.localPort,
        port: PORT,
        mtu: family === "IPv4" ? 600 : 1280,
      });
      await Bun.sleep(50);
      const during = await sender.send({ ...plan, first: 640 });
      // The kernel expires what it has learned after ten minutes (net.ipv4.route.mtu_expires).
      run(`ip -n ${namespaces.sender} route flush cache`);
      run(`ip -n ${namespaces.sender} -6 route flush cache`);
      await sender.advanceClock(10 * MINUTE_MS + 1);
      const after = await sender.send({ ...plan, first: 1280 });
      const got = await receiver.report();
      // A connected socket may report the message once: over IPv4 only with path MTU discovery.
      const codes = during.refused.map(([, code]) => code);
      expect(codes).toEqual(isConnected && codes.length > 0 ? ["EMSGSIZE"] : []);
      expect(got.received).toBe(1920 - codes.length);
      expect([got.distinct, got.late, got.altered]).toEqual([got.received, 0, 0]);
      expect([before, after].flatMap(({ refused }) => refused)).toEqual([]);
      expect(during.counters.messagesSent).toBe(640 - codes.length);
      expect([before, after].map(({ counters }) => counters.messagesSent)).toEqual([20, 20]);
    },
    TEST_TIMEOUT_MS,
  );
});
