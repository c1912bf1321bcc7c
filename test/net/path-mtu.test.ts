/**
 * Path MTU discovery and ICMP errors of routers. The receiver's namespace is a router: its second
 * device has a smaller MTU, and some networks are unreachable.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { LINKS, Namespaces, run } from "./namespaces.ts";
import type { SendPlan, SendReport } from "./transport-error-sender.ts";

const SCRIPT = join(import.meta.dir, "transport-error-sender.ts");
const TIMEOUT_MS = 30_000;
/** How long a sender may run before it is killed: it waits for each expected error. */
const SENDER_TIMEOUT_MS = 20_000;
/** The MTU of the router's second device: the minimum of IPv6 (RFC 8200 section 5). */
const NARROW_MTU = 1280;
const PORT = 9;

/**
 * For each family, a network that is reached through the second device, an unreachable network, an
 * address in each, and the ICMP errors to expect.
 */
const FAMILIES = {
  IPv4: {
    any: "0.0.0.0",
    router: `${LINKS.near.network}2`,
    routed: "10.96.1.0/24",
    routedHost: "10.96.1.5",
    unreachableNetwork: "10.96.2.0/24",
    unreachableHost: "10.96.2.5",
    headers: 28,
    tooBig: { origin: "icmp", icmpType: 3, icmpCode: 4 },
    // RFC 792: host unreachable.
    unreachable: { code: "EHOSTUNREACH", origin: "icmp", icmpType: 3, icmpCode: 1 },
  },
  IPv6: {
    any: "::",
    router: `${LINKS.near.network6}2`,
    routed: "fd96:1::/64",
    routedHost: "fd96:1::5",
    unreachableNetwork: "fd96:2::/64",
    unreachableHost: "fd96:2::5",
    headers: 48,
    tooBig: { origin: "icmp6", icmpType: 2, icmpCode: 0 },
    // RFC 4443 section 3.1: no route.
    unreachable: { code: "ENETUNREACH", origin: "icmp6", icmpType: 1, icmpCode: 0 },
  },
} as const;

function setUp(): Namespaces {
  const namespaces = new Namespaces("dgm");
  try {
    namespaces.exec("receiver", "sysctl -qw net.ipv4.ip_forward=1");
    namespaces.exec("receiver", "sysctl -qw net.ipv6.conf.all.forwarding=1");
    run(`ip -n ${namespaces.receiver} link set far mtu ${NARROW_MTU}`);
    for (const { router, routed, unreachableNetwork } of Object.values(FAMILIES)) {
      for (const network of [routed, unreachableNetwork]) {
        run(`ip -n ${namespaces.sender} route add ${network} via ${router}`);
      }
      run(`ip -n ${namespaces.receiver} route add ${routed} dev far`);
      run(`ip -n ${namespaces.receiver} route add unreachable ${unreachableNetwork}`);
    }
  } catch (error) {
    namespaces[Symbol.dispose]();
    throw error;
  }
  return namespaces;
}

/** Returns why these tests cannot run here. */
function reasonToSkip(): string | undefined {
  if (Bun.which("ip") === null) return "no ip";
  try {
    setUp()[Symbol.dispose]();
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}

const reason = reasonToSkip();
if (reason !== undefined) console.warn(`path MTU tests are skipped: ${reason}`);

describe.skipIf(reason !== undefined).each(["IPv4", "IPv6"] as const)("ICMP errors, %s", (name) => {
  const family = FAMILIES[name];
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = setUp();
  });
  afterAll(() => namespaces?.[Symbol.dispose]());

  async function send(plan: SendPlan): Promise<SendReport> {
    // The kernel caches path MTUs.
    run(`ip -n ${namespaces.sender} route flush cache`);
    run(`ip -n ${namespaces.sender} -6 route flush cache`);
    const command = ["ip", "netns", "exec", namespaces.sender, process.execPath, SCRIPT];
    const child = Bun.spawn([...command, JSON.stringify(plan)], {
      stdout: "pipe",
      stderr: "pipe",
      timeout: SENDER_TIMEOUT_MS,
    });
    const text = await new Response(child.stdout).text();
    if ((await child.exited) !== 0) throw new Error(await new Response(child.stderr).text());
    return JSON.parse(text);
  }

  /** A datagram that is routed through the second device. */
  const routed = (bytes: number, expectsError = false) => ({
    to: family.routedHost,
    port: PORT,
    bytes,
    expectsError,
  });
  const pathMax = NARROW_MTU - family.headers;
  const deviceMax = 1500 - family.headers;

  test(
    "an unreachable host is reported with the address of the router",
    async () => {
      const datagrams = [{ to: family.unreachableHost, port: PORT, bytes: 5, expectsError: true }];
      const { errors, results } = await send({ bind: { hostname: family.any }, datagrams });
      expect(results).toEqual(["sent"]);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatchObject(family.unreachable);
      const { offender, destination } = errors[0] as (typeof errors)[0];
      expect(offender).toContain(family.router);
      expect(destination).toContain(family.unreachableHost);
    },
    TIMEOUT_MS,
  );

  test(
    "with discovery on, the path MTU is reported, and longer datagrams then fail with EMSGSIZE",
    async () => {
      const bind = { hostname: family.any, pathMtuDiscovery: "on" } as const;
      const datagrams = [routed(pathMax), routed(deviceMax, true), routed(pathMax + 1)];
      datagrams.push(routed(pathMax));
      const { errors, results, mayFragment } = await send({ bind, datagrams });
      expect(mayFragment).toBe(false);
      expect(results).toEqual(["sent", "sent", "too long", "sent"]);
      // Not the datagram that is too long: its own call has failed.
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatchObject({ code: "EMSGSIZE", mtu: NARROW_MTU, ...family.tooBig });
      expect(errors[0]?.offender).toContain(family.router);
      expect(errors[0]?.destination).toContain(family.routedHost);
    },
    TIMEOUT_MS,
  );

  test(
    "in probe mode, only datagrams above the MTU of the device fail",
    async () => {
      const bind = { hostname: family.any, pathMtuDiscovery: "probe" } as const;
      const datagrams = [routed(deviceMax, true), routed(deviceMax, true), routed(deviceMax + 1)];
      const { errors, results, mayFragment } = await send({ bind, datagrams });
      expect(mayFragment).toBe(false);
      expect(results).toEqual(["sent", "sent", "too long"]);
      const tooBig = { code: "EMSGSIZE", mtu: NARROW_MTU, ...family.tooBig };
      expect(errors.slice(0, 2)).toMatchObject([tooBig, tooBig]);
    },
    TIMEOUT_MS,
  );

  test(
    "with discovery off, and by default, datagrams of any length are sent, in fragments",
    async () => {
      const datagrams = [routed(pathMax), routed(deviceMax + 1), routed(9000)];
      for (const bind of [{}, { pathMtuDiscovery: "off" } as const]) {
        const report = await send({ bind: { hostname: family.any, ...bind }, datagrams });
        expect(report.mayFragment).toBe(true);
        expect(report.results).toEqual(["sent", "sent", "sent"]);
      }
    },
    TIMEOUT_MS,
  );
});
