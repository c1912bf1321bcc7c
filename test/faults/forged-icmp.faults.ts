/**
 * Forged ICMP errors (an attacker needs only the addresses and ports of a flow). They are reported,
 * but no datagram is lost without a count, other flows are unaffected, and a flood of them neither
 * fills the receive buffer for good nor stops the traffic.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { temporaryDirectory } from "../ffi/tools.ts";
import { Namespaces } from "../net/namespaces.ts";
import {
  amount,
  compile,
  FAMILIES,
  families,
  forgeIcmp,
  type Parts,
  Program,
  pinNeighbours,
  Receiver,
  Sender,
  skipReason,
  some,
  TEST_TIMEOUT_MS,
  udpMib,
} from "./tools.ts";

const reason = skipReason("tests of forged ICMP", ["gcc"]);

const PORT = 9999;
const FLOOD = amount(20_000, 5000);

describe.skipIf(reason !== undefined).each(families("IPv4"))("forged ICMP over %s", (family) => {
  const { near, any } = FAMILIES[family];
  let directory: ReturnType<typeof temporaryDirectory>;
  let forger = "";
  let namespaces: Namespaces;
  beforeAll(() => {
    directory = temporaryDirectory();
    forger = compile("icmp-forger", directory.path);
    namespaces = new Namespaces("dfi");
    pinNeighbours(namespaces);
  });
  afterAll(() => {
    namespaces?.[Symbol.dispose]();
    directory?.[Symbol.dispose]();
  });

  const forge = (kind: "mtu" | "port", localPort: number, options: object) =>
    forgeIcmp(forger, namespaces, { family, kind, localPort, port: PORT, ...options });

  test(
    "forged ICMP about other flows changes nothing: no error, GSO stays",
    async () => {
      await using receiver = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
      });
      const to = { hostname: near, port: PORT, handlesErrors: true };
      await using sender = await Sender.start(namespaces.sender, to);
      const otherPort = sender.localPort === 40_000 ? 40_001 : 40_000;
      await forge("mtu", otherPort, { mtu: 600, count: 10 });
      await forge("port", otherPort, { count: 10 });
      await Bun.sleep(50);
      const report = await sender.send({ count: 640, bytes: 400, pauseMs: 3 });
      const got = await receiver.report();
      expect(report).toMatchObject({ accepted: 640, refused: [] });
      expect(report.counters).toMatchObject({ transportErrors: 0, messagesSent: 10 });
      expect(await sender.transportErrors()).toEqual([]);
      expect(got.ranges).toEqual([[0, 639]]);
    },
    TEST_TIMEOUT_MS,
  );

  test.each(["74727565", "-"])(
    "forged port unreachable with a handler: nothing is lost, and the quoted payload %p is reported",
    async (quoted) => {
      await using receiver = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
      });
      const to = { hostname: near, port: PORT, handlesErrors: true };
      await using sender = await Sender.start(namespaces.sender, to);
      const sending = sender.send({ count: 2000, perCall: 20, pauseMs: 3 });
      for (let i = 0; i < 10; i++) {
        await forge("port", sender.localPort, { count: 5, quoted });
        await Bun.sleep(10);
      }
      const report = await sending;
      const got = await receiver.report();
      expect(report).toMatchObject({ accepted: 2000, refused: [] });
      expect(got.ranges).toEqual([[0, 1999]]);
      expect(got.late).toBe(0);
      const errors = await sender.transportErrors();
      expect(errors.length).toBe(50);
      const [first] = errors;
      expect(first).toMatchObject({ code: "ECONNREFUSED", payload: quoted === "-" ? "" : quoted });
    },
    TEST_TIMEOUT_MS,
  );

  test.each(["throw", "drop"] as const)(
    'forged port unreachable without a handler, sendErrors "%s": accepted = delivered, and each ' +
      "refused datagram is not delivered",
    async (sendErrors) => {
      await using receiver = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
      });
      const before = udpMib(namespaces.receiver);
      const to = { hostname: near, port: PORT, bind: { sendErrors } };
      await using sender = await Sender.start(namespaces.sender, to);
      const sending = sender.send({ count: 2000, perCall: 20, pauseMs: 2 });
      for (let i = 0; i < 10; i++) {
        await forge("port", sender.localPort, { count: 5 });
        await Bun.sleep(10);
      }
      const report = await sending;
      const got = await receiver.report();
      expect(udpMib(namespaces.receiver).rcvbufErrors).toBe(before.rcvbufErrors);
      expect(report.accepted + report.refused.length).toBe(2000);
      expect(report.counters.datagramsSent).toBe(report.accepted);
      expect(got.distinct).toBe(report.accepted);
      const isDelivered = (number: number) =>
        got.ranges.some(([first, last]) => first <= number && number <= last);
      expect(report.refused.filter(([number]) => isDelivered(number))).toEqual([]);
      if (sendErrors === "drop") expect(report.refused).toEqual([]);
      else expect(report.refused.length).toBeGreaterThan(0);
    },
    TEST_TIMEOUT_MS,
  );

  /** A client that exchanges datagrams with the echo server while errors arrive. */
  const CLIENTS = some(
    [
      { handlesErrors: true, isConnected: true },
      { handlesErrors: true, isConnected: false },
      { handlesErrors: false, isConnected: true },
      { handlesErrors: false, isConnected: false },
    ],
    3,
  );
  test.each(CLIENTS)(
    "a flood of port unreachable: sent = echoed = received, and the thread keeps running (%o)",
    async (client) => {
      await using server = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
        echoes: true,
      });
      const before = udpMib(namespaces.sender).rcvbufErrors;
      await using program = Program.start(namespaces.sender, exchange, {
        ...client,
        hostname: near,
      });
      const localPort = await program.said<number>();
      for (let i = 0; i < 5; i++) await forge("port", localPort, { count: FLOOD / 5 });
      program.tell("stop");
      const result = await program.result();
      const got = await server.report();
      const overflow = udpMib(namespaces.sender).rcvbufErrors - before;
      expect(got.echoed).toBe(got.received);
      expect(result.sent).toBe(got.received);
      // Queued errors share the receive buffer with datagrams.
      expect(result.received + overflow).toBe(got.echoed);
      if (client.handlesErrors) expect([result.sendErrors, result.receiveErrors]).toEqual([0, 0]);
      // After the flood, each of 50 round trips takes one datagram and one reply.
      expect(result.afterFlood).toBe(50);
      expect(result.longestTickMs).toBeLessThan(1000);
      console.log(JSON.stringify(result));
    },
    TEST_TIMEOUT_MS,
  );
});

interface ExchangeOptions {
  readonly hostname: string;
  readonly handlesErrors: boolean;
  readonly isConnected: boolean;
}

/** Sends and receives until the test says stop, then makes 50 round trips. */
async function exchange({ lib, traffic, talk }: Parts, options: ExchangeOptions) {
  const { hostname, handlesErrors, isConnected } = options;
  const port = 9999;
  const socket = await lib.UdpSocket.bind({
    hostname: hostname.includes(":") ? "::" : "0.0.0.0",
    receiveBufferBytes: 2 ** 20,
    ...(isConnected ? { connect: { hostname, port } } : {}),
  });
  const to = lib.SocketAddress.ip(hostname, port);
  let reported = 0;
  if (handlesErrors) socket.onTransportError(() => reported++);
  let received = 0;
  let receiveErrors = 0;
  void traffic.receiveWithErrors(lib, socket, "recvMany", (bytes) => {
    if (bytes === undefined) receiveErrors++;
    else received++;
  });
  let longestTickMs = 0;
  let latestMs = performance.now();
  const timer = setInterval(() => {
    longestTickMs = Math.max(longestTickMs, performance.now() - latestMs);
    latestMs = performance.now();
  }, 5);
  talk.say(socket.localAddr.port);
  let isStopped = false;
  void talk.hear().then(() => {
    isStopped = true;
  });
  let sent = 0;
  let sendErrors = 0;
  const send = async () => {
    try {
      const payload = traffic.numbered(sent + sendErrors, 100);
      await (isConnected ? socket.send(payload) : socket.sendTo(payload, to));
      sent++;
    } catch {
      sendErrors++;
    }
  };
  while (!isStopped) {
    for (let i = 0; i < 4; i++) await send();
    await Bun.sleep(1);
  }
  await Bun.sleep(300);
  let afterFlood = 0;
  for (let i = 0; i < 50; i++) {
    const before = received;
    await send();
    for (let waits = 0; received === before && waits < 200; waits++) await Bun.sleep(1);
    if (received > before) afterFlood++;
  }
  clearInterval(timer);
  await Bun.sleep(200);
  const { transportErrors } = socket.counters;
  socket.close();
  return {
    sent,
    received,
    sendErrors,
    receiveErrors,
    reported,
    transportErrors,
    afterFlood,
    longestTickMs,
  };
}
