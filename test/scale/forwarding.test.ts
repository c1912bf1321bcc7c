/** Where the load balancers forward single datagrams: in network namespaces, counted at the hosts. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { serverFlowId } from "../../examples/flow-proxy/server-ids.ts";
import { encodeId, type QuicLbConfig } from "../../examples/quiche/quic-lb.ts";
import { Network, reasonToSkip, SERVICE } from "../../examples/scale/machines/network.ts";
import { balancerRules } from "../../examples/scale/machines/rules.ts";
import {
  balancerConfig,
  PORTS,
  QUIC_LB,
  serverIdOf,
} from "../../examples/scale/machines/service.ts";
import { runIn } from "../net/run-in.ts";

const HOSTS = [1, 2, 3];
/** Each datagram is sent from so many ports. */
const PORTS_COUNT = 24;
const COUNTER =
  "table inet count { chain in { type filter hook prerouting priority 0; meta l4proto udp counter; }; }";

const reason = reasonToSkip();
if (reason !== undefined) console.log(`tests of load balancers are skipped: ${reason}`);

/** Runs nft(8) at a host. */
function nft(network: Network, host: number, args: readonly string[], input = ""): string {
  const command = ["ip", "netns", "exec", network.host(host), "nft", ...args];
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdin: Buffer.from(input) });
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout.toString();
}

/** A connection ID of a server. */
const idOf = (server: number, config: QuicLbConfig = QUIC_LB) =>
  encodeId(config, serverIdOf(server), new Uint8Array(config.nonceBytes).fill(0xab));

const shortHeader = (id: Uint8Array) => Buffer.concat([Buffer.of(0x40), id, Buffer.alloc(20)]);
const longHeader = (id: Uint8Array) =>
  Buffer.concat([Buffer.of(0xc0, 0, 0, 0, 1, id.length), id, Buffer.alloc(20)]);

function tunnelDatagram(server: number): Buffer {
  const datagram = Buffer.alloc(20);
  datagram.writeBigUInt64BE((3n << 62n) | BigInt(serverFlowId(server, 12_345)));
  return datagram;
}

describe.skipIf(reason !== undefined)("a load balancer", () => {
  let network: Network;

  /** Sends datagrams from many ports, and returns the numbers that the hosts have received. */
  async function send(datagram: Uint8Array, port: number, address: string): Promise<number[]> {
    for (const host of HOSTS) nft(network, host, ["-f", "-"], `flush ruleset\n${COUNTER}`);
    const argument = { payload: Buffer.from(datagram).toHex(), port, address, count: PORTS_COUNT };
    await runIn(
      network.clients,
      async ({ UdpSocket }, { payload, port, address, count }) => {
        for (let i = 0; i < count; i++) {
          // The same ports each time, so that the hash is the same.
          const hostname = address.includes(":") ? "::" : "0.0.0.0";
          const socket = await UdpSocket.bind({ hostname, port: 20_000 + i });
          await socket.sendTo(Uint8Array.fromHex(payload), { address, port });
          socket.close();
        }
      },
      argument,
    );
    return HOSTS.map((host) => {
      const rules = nft(network, host, ["list", "ruleset"]);
      return Number(/counter packets (\d+)/.exec(rules)?.[1]);
    });
  }

  /** What the hosts receive if all datagrams are forwarded to one of them. */
  const onlyAt = (host: number) => HOSTS.map((other) => (other === host ? PORTS_COUNT : 0));
  const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count);

  beforeAll(() => {
    network = new Network(`mcf${process.pid}`);
    for (const host of HOSTS) network.addHost(host);
    // No new connections for host 3.
    for (const balancer of [1, 2]) {
      network.loadRules(balancer, balancerRules(balancerConfig(HOSTS, [1, 2])));
    }
  });
  afterAll(() => network?.[Symbol.dispose]());

  test.each([SERVICE.address4, SERVICE.address6])(
    "forwards packets with a server ID to its host, whatever their ports: %s",
    async (address) => {
      for (const host of HOSTS) {
        expect(await send(shortHeader(idOf(host)), PORTS.quic, address)).toEqual(onlyAt(host));
        expect(await send(longHeader(idOf(host)), PORTS.quic, address)).toEqual(onlyAt(host));
        expect(await send(tunnelDatagram(host), PORTS.tunnel, address)).toEqual(onlyAt(host));
      }
    },
    60_000,
  );

  test.each([
    ["an unknown server ID", shortHeader(idOf(9)), PORTS.quic],
    ["another configuration", shortHeader(idOf(3, { ...QUIC_LB, rotation: 1 })), PORTS.quic],
    ["another length", longHeader(idOf(3, { ...QUIC_LB, nonceBytes: 7 })), PORTS.quic],
    ["an ID that a client chose", longHeader(Buffer.alloc(16, 0x5a)), PORTS.quic],
    ["a short flow ID", Buffer.from("8000000500", "hex"), PORTS.tunnel],
    ["no payload", Buffer.alloc(0), PORTS.quic],
  ])("spreads packets over the hosts that get new connections: %s", async (_, datagram, port) => {
    const counts = await send(datagram, port, SERVICE.address4);
    expect(total(counts)).toBe(PORTS_COUNT);
    expect(counts[2]).toBe(0);
    expect(Math.min(...counts.slice(0, 2))).toBeGreaterThan(0);
  });

  test("decides as the other one does", async () => {
    const datagram = longHeader(Buffer.alloc(16, 0x5a));
    network.route([1]);
    const first = await send(datagram, PORTS.quic, SERVICE.address4);
    network.route([2]);
    expect(await send(datagram, PORTS.quic, SERVICE.address4)).toEqual(first);
    network.route([1, 2]);
  });
});
