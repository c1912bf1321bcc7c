/**
 * Hosts without IPv6, and without a loopback interface. Sockets of the other family work, sockets
 * of the missing one fail with an error that names the cause, and nothing hangs.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { LINKS, Namespaces, run } from "../net/namespaces.ts";
import {
  FAMILIES,
  families,
  Program,
  pinNeighbours,
  Receiver,
  send,
  skipReason,
  TEST_TIMEOUT_MS,
} from "./tools.ts";

const reason = skipReason("tests of environments", ["nft"]);

const PORT = 9999;

/** Tries to open sockets of all kinds, and returns "ok" or the code of the error of each. */
async function openAll(namespace: string): Promise<Record<string, string>> {
  await using program = Program.start(
    namespace,
    async ({ lib }) => {
      const { UdpSocket, UnixDatagram } = lib;
      const openings = {
        default: UdpSocket.bind(),
        any4: UdpSocket.bind({ hostname: "0.0.0.0" }),
        any6: UdpSocket.bind({ hostname: "::" }),
        loopback4: UdpSocket.bind({ hostname: "127.0.0.1" }),
        loopback6: UdpSocket.bind({ hostname: "::1" }),
        unix: UnixDatagram.pair(),
      };
      const results: Record<string, string> = {};
      for (const [name, opening] of Object.entries(openings)) {
        results[name] = await opening.then(
          () => "ok",
          (error) => error.code ?? `${error}`,
        );
      }
      return results;
    },
    null,
  );
  return await program.result();
}

describe.skipIf(reason !== undefined)("an environment", () => {
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dfe");
    pinNeighbours(namespaces);
  });
  afterAll(() => namespaces?.[Symbol.dispose]());

  /** Sends 1000 datagrams over the near link, and returns how many arrived. */
  async function delivered(family: "IPv4" | "IPv6", api: "sendMany" | "sendBatch") {
    const { any, near } = FAMILIES[family];
    await using receiver = await Receiver.start(namespaces.receiver, { hostname: any, port: PORT });
    const sent = await send(namespaces.sender, { hostname: near, port: PORT, count: 1000, api });
    const got = await receiver.report();
    return [sent.accepted, sent.refused.length, got.distinct, got.late, got.altered];
  }

  test.each(families("IPv4"))(
    "without a loopback interface: all sockets open, and sent = delivered on the link over %s",
    async (family) => {
      for (const host of ["sender", "receiver"] as const) {
        run(`ip -n ${namespaces[host]} link set lo down`);
      }
      try {
        expect(await openAll(namespaces.sender)).toMatchObject({
          default: "ok",
          any4: "ok",
          any6: "ok",
          unix: "ok",
        });
        expect(await delivered(family, "sendBatch")).toEqual([1000, 0, 1000, 0, 0]);
      } finally {
        for (const host of ["sender", "receiver"] as const) {
          run(`ip -n ${namespaces[host]} link set lo up`);
        }
      }
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "IPv6 disabled: IPv4 sockets work, and IPv6 addresses fail with EADDRNOTAVAIL",
    async () => {
      const setDisabled = (disabled: 0 | 1) => {
        for (const host of ["sender", "receiver"] as const) {
          for (const scope of ["all", "default", "lo"]) {
            namespaces.exec(host, `sysctl -qw net.ipv6.conf.${scope}.disable_ipv6=${disabled}`);
          }
        }
      };
      setDisabled(1);
      try {
        expect(await openAll(namespaces.sender)).toEqual({
          default: "ok",
          any4: "ok",
          // The kernel has the family, without addresses; the dual-stack socket serves IPv4.
          any6: "ok",
          loopback4: "ok",
          loopback6: "EADDRNOTAVAIL",
          unix: "ok",
        });
        expect(await delivered("IPv4", "sendMany")).toEqual([1000, 0, 1000, 0, 0]);
        await using program = Program.start(
          namespaces.sender,
          async ({ lib }, hostname: string) => {
            const code = (error: { code?: string }) => error.code ?? `${error}`;
            const connect = lib.UdpSocket.connect({ hostname, port: 9 });
            const socket = await lib.UdpSocket.bind({ hostname: "::" });
            const to = lib.SocketAddress.ip(hostname, 9);
            return [
              await connect.then(String, code),
              await socket.sendTo(new Uint8Array(9), to).then(String, code),
            ];
          },
          FAMILIES.IPv6.near,
        );
        const codes = await program.result();
        for (const code of codes)
          expect(["EADDRNOTAVAIL", "ENETUNREACH", "EHOSTUNREACH"]).toContain(code);
      } finally {
        setDisabled(0);
        for (const { device, network6 } of Object.values(LINKS)) {
          run(`ip -n ${namespaces.sender} addr replace ${network6}1/64 dev ${device} nodad`);
          run(`ip -n ${namespaces.receiver} addr replace ${network6}2/64 dev ${device} nodad`);
        }
      }
    },
    TEST_TIMEOUT_MS,
  );
});
