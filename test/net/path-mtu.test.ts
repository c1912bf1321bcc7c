/**
 * Path MTU discovery and what routers say, between namespaces: the receiver's is a router too,
 * whose second device takes shorter packets, and which knows no way to some networks.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { ErrorPlan, ErrorReport } from "./error-end.ts";
import { LINKS, Namespaces, run } from "./namespaces.ts";

const SCRIPT = join(import.meta.dir, "error-end.ts");
const TIMEOUT_MS = 30_000;
/** How long a sender may take before it is given up: something was not told. */
const END_TIMEOUT_MS = 20_000;
/** Of the router's second device: the least that IPv6 allows (RFC 8200 section 5). */
const NARROW_MTU = 1280;
const PORT = 9;

/** For each family: a network behind the narrow device, and one that there is no way to. */
const FAMILIES = {
  IPv4: {
    any: "0.0.0.0",
    router: `${LINKS.near.network}2`,
    narrow: "10.96.1.0/24",
    beyond: "10.96.1.5",
    nowhere: "10.96.2.0/24",
    lost: "10.96.2.5",
    headers: 28,
    tooBig: { origin: "icmp", icmpType: 3, icmpCode: 4 },
    // RFC 792: host unreachable.
    unreachable: { code: "EHOSTUNREACH", origin: "icmp", icmpType: 3, icmpCode: 1 },
  },
  IPv6: {
    any: "::",
    router: `${LINKS.near.network6}2`,
    narrow: "fd96:1::/64",
    beyond: "fd96:1::5",
    nowhere: "fd96:2::/64",
    lost: "fd96:2::5",
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
    for (const { router, narrow, nowhere } of Object.values(FAMILIES)) {
      for (const network of [narrow, nowhere]) {
        run(`ip -n ${namespaces.sender} route add ${network} via ${router}`);
      }
      run(`ip -n ${namespaces.receiver} route add ${narrow} dev far`);
      run(`ip -n ${namespaces.receiver} route add unreachable ${nowhere}`);
    }
  } catch (error) {
    namespaces[Symbol.dispose]();
    throw error;
  }
  return namespaces;
}

/** Why this machine cannot run these tests. */
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
if (reason !== undefined) console.warn(`tests of the path's MTU are skipped: ${reason}`);

describe.skipIf(reason !== undefined).each(["IPv4", "IPv6"] as const)("over %s", (name) => {
  const family = FAMILIES[name];
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = setUp();
  });
  afterAll(() => namespaces?.[Symbol.dispose]());

  async function send(plan: ErrorPlan): Promise<ErrorReport> {
    // The kernel remembers what it learned of a path.
    run(`ip -n ${namespaces.sender} route flush cache`);
    run(`ip -n ${namespaces.sender} -6 route flush cache`);
    const command = ["ip", "netns", "exec", namespaces.sender, process.execPath, SCRIPT];
    const child = Bun.spawn([...command, JSON.stringify(plan)], {
      stdout: "pipe",
      stderr: "pipe",
      timeout: END_TIMEOUT_MS,
    });
    const text = await new Response(child.stdout).text();
    if ((await child.exited) !== 0) throw new Error(await new Response(child.stderr).text());
    return JSON.parse(text);
  }

  const beyond = (payloadBytes: number, isTold = false) => ({
    to: family.beyond,
    port: PORT,
    bytes: payloadBytes,
    isTold,
  });
  const fitting = NARROW_MTU - family.headers;
  const deviceMax = 1500 - family.headers;

  test(
    "a host that there is no way to is told with the router that said so",
    async () => {
      const datagrams = [{ to: family.lost, port: PORT, bytes: 5, isTold: true }];
      const { errors, results } = await send({ bind: { hostname: family.any }, datagrams });
      expect(results).toEqual(["sent"]);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatchObject(family.unreachable);
      const { offender, destination } = errors[0] as (typeof errors)[0];
      expect(offender).toContain(family.router);
      expect(destination).toContain(family.lost);
    },
    TIMEOUT_MS,
  );

  test(
    "with discovery on, what is too big for a router is told with the path's MTU, then refused",
    async () => {
      const bind = { hostname: family.any, pathMtuDiscovery: "on" } as const;
      const datagrams = [beyond(fitting), beyond(deviceMax, true), beyond(fitting + 1, true)];
      datagrams.push(beyond(fitting));
      const { errors, results, mayFragment } = await send({ bind, datagrams });
      expect(mayFragment).toBe(false);
      expect(results).toEqual(["sent", "sent", "too long", "sent"]);
      expect(errors).toHaveLength(2);
      expect(errors[0]).toMatchObject({ code: "EMSGSIZE", mtu: NARROW_MTU, ...family.tooBig });
      expect(errors[0]?.offender).toContain(family.router);
      expect(errors[0]?.destination).toContain(family.beyond);
      expect(errors[1]).toMatchObject({ code: "EMSGSIZE", mtu: NARROW_MTU, origin: "local" });
    },
    TIMEOUT_MS,
  );

  test(
    "in probe mode what is known of the path refuses nothing, and the device's MTU does",
    async () => {
      const bind = { hostname: family.any, pathMtuDiscovery: "probe" } as const;
      const datagrams = [beyond(deviceMax, true), beyond(deviceMax, true), beyond(deviceMax + 1)];
      const { errors, results, mayFragment } = await send({ bind, datagrams });
      expect(mayFragment).toBe(false);
      expect(results).toEqual(["sent", "sent", "too long"]);
      const tooBig = { code: "EMSGSIZE", mtu: NARROW_MTU, ...family.tooBig };
      expect(errors.slice(0, 2)).toMatchObject([tooBig, tooBig]);
    },
    TIMEOUT_MS,
  );

  test(
    "with discovery off, as it is by default, nothing is too big: it is fragmented",
    async () => {
      const datagrams = [beyond(fitting), beyond(deviceMax + 1), beyond(9000)];
      for (const bind of [{}, { pathMtuDiscovery: "off" } as const]) {
        const report = await send({ bind: { hostname: family.any, ...bind }, datagrams });
        expect(report.mayFragment).toBe(true);
        expect(report.results).toEqual(["sent", "sent", "sent"]);
      }
    },
    TIMEOUT_MS,
  );
});
