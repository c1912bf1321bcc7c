/**
 * Processes that are stopped and continued, and processes that run out of descriptors. After
 * either, everything works as before, and every datagram is delivered or counted.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { UdpSocket } from "../../lib/index.ts";
import { Namespaces } from "../net/namespaces.ts";
import {
  amount,
  FAMILIES,
  families,
  type Parts,
  Program,
  pinNeighbours,
  Receiver,
  Sender,
  skipReason,
  TEST_TIMEOUT_MS,
  udpMib,
} from "./tools.ts";

const reason = skipReason("tests of stopped processes", ["nft"]);

const PORT = 9999;
const COUNT = amount(10_000, 4000);

describe.skipIf(reason !== undefined).each(families("IPv4"))("SIGSTOP over %s", (family) => {
  const { near, any } = FAMILIES[family];
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dfp");
    pinNeighbours(namespaces);
  });
  afterAll(() => namespaces?.[Symbol.dispose]());

  test.each(["sender", "receiver"] as const)(
    "a busy %s is stopped and continued five times: sent = delivered + full receive buffer",
    async (which) => {
      await using receiver = await Receiver.start(namespaces.receiver, {
        hostname: any,
        port: PORT,
        gro: false,
        receiveBufferBytes: 2 ** 18,
      });
      const before = udpMib(namespaces.receiver).rcvbufErrors;
      const to = { hostname: near, port: PORT };
      await using sender = await Sender.start(namespaces.sender, to);
      const sending = sender.send({ count: COUNT, bytes: 500, pauseMs: 3 });
      const stopped = which === "sender" ? sender : receiver;
      for (let i = 0; i < 5; i++) {
        await Bun.sleep(20);
        stopped.kill("SIGSTOP");
        await Bun.sleep(60);
        stopped.kill("SIGCONT");
      }
      const sent = await sending;
      const got = await receiver.report();
      const lost = udpMib(namespaces.receiver).rcvbufErrors - before;
      expect(sent).toMatchObject({ accepted: COUNT, refused: [] });
      expect(got.distinct + lost).toBe(COUNT);
      expect([got.received - got.distinct, got.late, got.altered]).toEqual([0, 0, 0]);
    },
    TEST_TIMEOUT_MS,
  );
});

/** Runs a function in a process that may open 128 descriptors. */
function withFewDescriptors<Result>(
  main: (parts: Parts, mode: string) => Promise<Result>,
  mode: string,
): Program<Result> {
  const prefix = ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh"];
  return Program.start(undefined, main, mode, { prefix, env: { DATAGRAM_SOCKET_READINESS: mode } });
}

describe.each(["loop", "thread"])("without a free descriptor, mode %s", (mode) => {
  test(
    "opening fails with EMFILE, open sockets lose nothing, and opening works again afterwards",
    async () => {
      await using program = withFewDescriptors(async ({ lib, traffic }) => {
        const fs = await import("node:fs");
        const { sender, receiver } = await traffic.openPair(lib, { kind: "udp" });
        const codeOf = (promise: Promise<unknown>) =>
          promise.then(String, (error) => error.code ?? String(error));
        const exchange = async (first: number) => {
          const tally = new traffic.Tally();
          const receiving = (async () => {
            const buf = new Uint8Array(100);
            while (tally.received < 100) tally.add(buf.subarray(0, await receiver.recv(buf)));
          })();
          const plan = { count: 100, first, bytes: 100, pauseMs: 1, perCall: 10 };
          const { accepted } = await traffic.sendNumbered(lib, sender, plan);
          await receiving;
          return [accepted, tally.report().distinct];
        };
        const before = fs.readdirSync("/proc/self/fd").length;
        const files: number[] = [];
        const sockets: { close(): void }[] = [];
        const codes: string[] = [];
        for (let round = 0; round < 3; round++) {
          try {
            for (;;) files.push(fs.openSync("/dev/null", "r"));
          } catch {
            // EMFILE
          }
          codes.push(await codeOf(lib.UdpSocket.bind({ hostname: "127.0.0.1" })));
          codes.push(await codeOf(lib.UdpSocket.connect({ hostname: "127.0.0.1", port: 9 })));
          codes.push(await codeOf(lib.UnixDatagram.pair()));
          codes.push(await codeOf(lib.UnixDatagram.unbound()));
          const atLimit = await exchange(round * 1000);
          codes.push(atLimit.join());
          for (const fd of files.splice(0)) fs.closeSync(fd);
          sockets.push(await lib.UdpSocket.bind({ hostname: "127.0.0.1" }));
          sockets.push(...(await lib.UnixDatagram.pair()));
          for (const socket of sockets.splice(0)) socket.close();
        }
        const after = fs.readdirSync("/proc/self/fd").length;
        return { codes, leaked: after - before };
      }, mode);
      const { codes, leaked } = await program.result();
      const round = ["EMFILE", "EMFILE", "EMFILE", "EMFILE", "100,100"];
      expect(codes).toEqual([...round, ...round, ...round]);
      expect(leaked).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "sockets are opened until none is left: the last fails with EMFILE, all others work",
    async () => {
      await using program = withFewDescriptors(async ({ lib }) => {
        const receivers: UdpSocket[] = [];
        let code = "";
        while (code === "") {
          try {
            receivers.push(await lib.UdpSocket.bind({ hostname: "127.0.0.1" }));
          } catch (error) {
            code = (error as { code: string }).code;
          }
        }
        const [sender] = receivers as [UdpSocket];
        let received = 0;
        const receiving = receivers.map(async (receiver) => {
          await receiver.recv(new Uint8Array(10));
          received++;
        });
        for (const receiver of receivers) {
          await sender.sendTo(new Uint8Array(1), receiver.localAddr);
        }
        await Promise.all(receiving);
        const opened = receivers.length;
        for (const receiver of receivers) receiver.close();
        using again = await lib.UdpSocket.bind({ hostname: "127.0.0.1" });
        return { code, missing: opened - received, isMany: opened > 80, backend: again.backend };
      }, mode);
      expect(await program.result()).toEqual({
        code: "EMFILE",
        missing: 0,
        isMany: true,
        backend: "native",
      });
    },
    TEST_TIMEOUT_MS,
  );
});
