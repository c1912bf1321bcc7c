/** `pathMtu`, and the system's default of path MTU discovery, on a path with a narrow router. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { LINKS, Namespaces, reasonToSkip, run } from "./namespaces.ts";
import { runIn } from "./run-in.ts";

const reason = reasonToSkip([]);
if (reason !== undefined) console.warn(`skipped: path MTU between namespaces: ${reason}`);

const TIMEOUT_MS = 30_000;
/** The minimum that IPv6 allows (RFC 8200 section 5). */
const NARROW_MTU = 1280;
const DEVICE_MTU = 1500;

const FAMILIES = [
  { name: "IPv4", hostname: "0.0.0.0", host: "10.96.3.5", headers: 28 },
  { name: "IPv4 on a dual-stack socket", hostname: "::", host: "10.96.3.5", headers: 28 },
  { name: "IPv6", hostname: "::", host: "fd96:3::5", headers: 48 },
] as const;

let net: Namespaces;

/** Sends datagrams with UDP payloads of these lengths, and returns the path MTU after each. */
function send(
  { hostname, host }: (typeof FAMILIES)[number],
  lengths: readonly number[],
  pathMtuDiscovery?: "system" | "off" | "on" | "probe",
): Promise<{ mtus: number[]; results: string[]; mayFragment: boolean }> {
  // The kernel remembers what it has learned about a route.
  run(`ip -n ${net.sender} route flush cache`);
  run(`ip -n ${net.sender} -6 route flush cache`);
  return runIn(
    net.sender,
    async ({ SocketError, UdpSocket }, { hostname, host, lengths, narrow, option }) => {
      const socket = await UdpSocket.bind({
        hostname,
        connect: { hostname: host, port: 9 },
        ...option,
      });
      const results: string[] = [];
      const mtus = [socket.pathMtu as number];
      socket.onTransportError(() => {});
      for (const length of lengths) {
        try {
          await socket.send(new Uint8Array(length));
          results.push("sent");
        } catch (error) {
          results.push(error instanceof SocketError ? error.code : `${error}`);
        }
        // The router's message takes a moment.
        const isLarge = length > narrow;
        for (let i = 0; isLarge && i < 30 && socket.pathMtu !== narrow; i++) await Bun.sleep(10);
        mtus.push(socket.pathMtu as number);
      }
      return { mtus, results, mayFragment: socket.mayFragment };
    },
    {
      hostname,
      host,
      lengths,
      narrow: NARROW_MTU,
      option: pathMtuDiscovery && { pathMtuDiscovery },
    },
  );
}

describe.skipIf(reason !== undefined)("a connected socket", () => {
  beforeAll(() => {
    net = new Namespaces("dgv");
    net.exec("receiver", "sysctl -qw net.ipv4.ip_forward=1");
    net.exec("receiver", "sysctl -qw net.ipv6.conf.all.forwarding=1");
    // By default the router sends one message per second and host.
    net.exec("receiver", "sysctl -qw net.ipv4.icmp_ratelimit=0");
    net.exec("receiver", "sysctl -qw net.ipv6.icmp.ratelimit=0");
    net.addNeighbours();
    run(`ip -n ${net.receiver} link set far mtu ${NARROW_MTU}`);
    for (const [network, router] of [
      ["10.96.3.0/24", `${LINKS.near.network}2`],
      ["fd96:3::/64", `${LINKS.near.network6}2`],
    ] as const) {
      run(`ip -n ${net.sender} route add ${network} via ${router}`);
      run(`ip -n ${net.receiver} route add ${network} dev far`);
    }
  });
  afterAll(() => net[Symbol.dispose]());

  test.each(FAMILIES)(
    "knows the MTU of the device, and that of the path once a router has reported it: $name",
    async (family) => {
      const lengths = [100, DEVICE_MTU - family.headers, 100];
      for (const option of ["system", "on", undefined] as const) {
        const { mtus, results } = await send(family, lengths, option);
        expect([option, mtus]).toEqual([option, [DEVICE_MTU, DEVICE_MTU, NARROW_MTU, NARROW_MTU]]);
        expect(results).toEqual(["sent", "sent", "sent"]);
      }
    },
    TIMEOUT_MS,
  );

  test.each(FAMILIES)(
    "fragments by default what exceeds the path MTU, after it has learned it: $name",
    async (family) => {
      const full = DEVICE_MTU - family.headers;
      const system = await send(family, [full, full, 3000]);
      expect(system.results).toEqual(["sent", "sent", "sent"]);
      expect(system.mayFragment).toBe(true);
      const on = await send(family, [full, full, 3000], "on");
      expect(on.results).toEqual(["sent", "EMSGSIZE", "EMSGSIZE"]);
      expect(on.mayFragment).toBe(false);
    },
    TIMEOUT_MS,
  );

  test(
    "does not ask for reports with discovery off: IPv4",
    async () => {
      const family = FAMILIES[0];
      // The router fragments.
      const { mtus } = await send(family, [DEVICE_MTU - family.headers], "off");
      expect(mtus).toEqual([DEVICE_MTU, DEVICE_MTU]);
    },
    TIMEOUT_MS,
  );
});
