/**
 * Which errors `onTransportError` gets: those that ICMP reports, all of them, with the quoted
 * payload; not the ones that the failing call returns itself.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { LINKS, Namespaces, reasonToSkip } from "./namespaces.ts";
import { runIn } from "./run-in.ts";

const reason = reasonToSkip(["nft"]);
if (reason !== undefined) console.warn(`tests of transport errors are skipped: ${reason}`);

const FAMILIES = {
  IPv4: { near: `${LINKS.near.network}2`, any: "0.0.0.0", unreachable: "EHOSTUNREACH" },
  IPv6: { near: `${LINKS.near.network6}2`, any: "::", unreachable: "EHOSTUNREACH" },
} as const;

/** The receiver rejects datagrams to these ports with ICMP. */
const HOST_UNREACHABLE_PORT = 1001;
const PORT_UNREACHABLE_PORT = 1002;

describe.skipIf(reason !== undefined).each(["IPv4", "IPv6"] as const)("over %s", (name) => {
  const { near, any, unreachable } = FAMILIES[name];
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dth");
    namespaces.addNeighbours();
    // The kernel limits the rate of ICMP messages.
    namespaces.exec("receiver", "sysctl -qw net.ipv4.icmp_ratelimit=0");
    namespaces.exec("receiver", "sysctl -qw net.ipv4.icmp_msgs_per_sec=100000");
    namespaces.exec("receiver", "sysctl -qw net.ipv4.icmp_msgs_burst=100000");
    namespaces.exec("receiver", "sysctl -qw net.ipv6.icmp.ratelimit=0");
    const rules = [
      "add table inet t",
      "add chain inet t c { type filter hook input priority 0 ; }",
      `add rule inet t c udp dport ${HOST_UNREACHABLE_PORT} reject with icmpx type host-unreachable`,
      `add rule inet t c udp dport ${PORT_UNREACHABLE_PORT} reject with icmpx type port-unreachable`,
    ].join("\n");
    const command = ["ip", "netns", "exec", namespaces.receiver, "nft", "-f", "-"];
    const { exitCode, stderr } = Bun.spawnSync(command, { stdin: Buffer.from(rules) });
    if (exitCode !== 0) throw new Error(stderr.toString());
  });
  afterAll(() => namespaces?.[Symbol.dispose]());

  test("a datagram that is too long for the device fails its call and is not reported", async () => {
    const { codes, reported } = await runIn(
      namespaces.sender,
      async ({ UdpSocket, SocketAddress }, { near, any }) => {
        const socket = await UdpSocket.bind({ hostname: any, pathMtuDiscovery: "on" });
        let reported = 0;
        socket.onTransportError(() => reported++);
        const codes: string[] = [];
        for (let i = 0; i < 3; i++) {
          const sending = socket.sendTo(new Uint8Array(3000), SocketAddress.ip(near, 9));
          codes.push(await sending.then(String, (error) => error.code));
        }
        await Bun.sleep(50);
        return { codes, reported };
      },
      { near, any },
    );
    expect(codes).toEqual(["EMSGSIZE", "EMSGSIZE", "EMSGSIZE"]);
    expect(reported).toBe(0);
  });

  test.each([true, false])(
    "errors of different kinds that arrive together all reach the handler, and no call fails (connected: %p)",
    async (isConnected) => {
      const report = await runIn(
        namespaces.sender,
        async ({ UdpSocket, SocketAddress }, { near, any, ports, isConnected }) => {
          const codes: Record<string, number> = {};
          const sockets = await Promise.all(
            ports.map((port) =>
              isConnected
                ? UdpSocket.connect({ hostname: near, port })
                : UdpSocket.bind({ hostname: any }),
            ),
          );
          let failures = 0;
          for (const socket of sockets) {
            socket.onTransportError(({ code }) => {
              codes[code] = (codes[code] ?? 0) + 1;
            });
          }
          for (let i = 0; i < 300; i++) {
            const socket = sockets[isConnected ? i % 2 : 0];
            const to = SocketAddress.ip(near, ports[i % 2] as number);
            await socket?.sendTo(new Uint8Array(10), to).catch(() => failures++);
            if (i % 10 === 0) socket?.tryRecv(new Uint8Array(10));
          }
          const deadlineMs = performance.now() + 3000;
          const total = () => Object.values(codes).reduce((sum, count) => sum + count, 0);
          while (total() < 250 && performance.now() < deadlineMs) await Bun.sleep(20);
          const counted = sockets.map(({ counters }) => counters.transportErrors);
          return { codes, failures, counted: counted.reduce((sum, count) => sum + count) };
        },
        { near, any, ports: [HOST_UNREACHABLE_PORT, PORT_UNREACHABLE_PORT], isConnected },
      );
      expect(report.failures).toBe(0);
      expect(Object.keys(report.codes).toSorted()).toEqual(
        ["ECONNREFUSED", unreachable].toSorted(),
      );
      const reported = Object.values(report.codes).reduce((sum, count) => sum + count);
      expect(reported).toBe(report.counted);
      expect(reported).toBeGreaterThan(200);
    },
  );

  test("an error has the start of the payload that the ICMP message quotes", async () => {
    const { payload, destination } = await runIn(
      namespaces.sender,
      async ({ UdpSocket, SocketAddress }, { near, any, port }) => {
        const socket = await UdpSocket.bind({ hostname: any });
        const { promise, resolve } = Promise.withResolvers<{
          payload: string;
          destination: string;
        }>();
        socket.onTransportError(({ payload, destination }) =>
          resolve({ payload: payload.toHex(), destination: `${destination}` }),
        );
        const datagram = Uint8Array.from({ length: 200 }, (_, i) => i);
        await socket.sendTo(datagram, SocketAddress.ip(near, port));
        return promise;
      },
      { near, any, port: PORT_UNREACHABLE_PORT },
    );
    const expected = Uint8Array.from({ length: 200 }, (_, i) => i).toHex();
    expect(payload.length).toBeGreaterThan(16);
    expect(expected.startsWith(payload)).toBe(true);
    expect(destination).toContain(near);
  });
});
