/**
 * Per-datagram metadata between hosts with several interfaces and addresses, firewall marks, TPROXY
 * and freebind: in two network namespaces that are connected by two veth pairs.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { QuicAuditStats, UdpSocket } from "../../lib/index.ts";
import { missing, testIf } from "../ffi/tools.ts";
import type { ReceivedMeta } from "./metadata-endpoint.ts";
import { LINKS, Namespaces, reasonToSkip } from "./namespaces.ts";

const reason = reasonToSkip(["nft"]);
if (reason !== undefined) console.warn(`metadata tests in namespaces are skipped: ${reason}`);

const TIMEOUT_MS = 30_000;
const { near, far } = LINKS;
const GROUP = "239.255.97.1";
const GROUP_IPV6 = "ff12::9701";

let net: Namespaces;

/**
 * Returns the metadata in the order of sending: each datagram is a byte longer than the previous
 * one. The order of arrival may differ, because the first datagram on a link waits for neighbour
 * discovery.
 */
function inOrder(received: readonly ReceivedMeta[]): ReceivedMeta[] {
  return received.toSorted((a, b) => a.length - b.length);
}

describe.skipIf(reason !== undefined)("metadata between two hosts with two links", () => {
  beforeAll(() => {
    net = new Namespaces("dgm");
  });
  afterAll(() => net[Symbol.dispose]());

  test(
    "reports the destination address and the receiving interface of each datagram",
    async () => {
      const addresses = [near.network, far.network].map((network) => `${network}2`);
      const addresses6 = [near.network6, far.network6].map((network) => `${network}2`);
      using receiver = await net.receive({ bind: { hostname: "::" }, count: 4 });
      const to = [...addresses, ...addresses6.map((address) => `[${address}]`)].map(
        (address) => `${address}:${receiver.port}`,
      );
      const datagrams = to.map((to) => ({ to }));
      const report = await net.send({ bind: { hostname: "::" }, datagrams });
      expect(report).toMatchObject({ sent: 4 });
      const received = inOrder(await receiver.received());
      expect(received.map(({ destination }) => destination)).toEqual(to);
      const indices = [near, far].map(({ device }) => net.interfaceIndex("receiver", device));
      expect(indices[0]).not.toBe(indices[1] as number);
      expect(received.map(({ interfaceIndex }) => interfaceIndex)).toEqual([
        ...indices,
        ...indices,
      ]);
    },
    TIMEOUT_MS,
  );

  test(
    "sends from the requested interface, even if the route uses another",
    async () => {
      using receiver = await net.receive({
        bind: { hostname: "0.0.0.0" },
        groups: [near, far].map(({ network }) => ({
          group: GROUP,
          interface: `${network}2`,
        })),
        count: 6,
      });
      const devices = [near, far, near].map(({ device }) => device);
      const datagrams = [`${near.network}2`, GROUP].flatMap((address) =>
        devices.map((device) => ({
          to: `${address}:${receiver.port}`,
          interfaceIndex: net.interfaceIndex("sender", device),
        })),
      );
      expect(await net.send({ datagrams })).toMatchObject({ sent: 6 });
      const received = inOrder(await receiver.received());
      const arrivals = devices.map((device) => net.interfaceIndex("receiver", device));
      expect(received.map(({ interfaceIndex }) => interfaceIndex)).toEqual([
        ...arrivals,
        ...arrivals,
      ]);
      expect(received.map(({ destination }) => destination)).toEqual(datagrams.map(({ to }) => to));
    },
    TIMEOUT_MS,
  );

  test(
    "reaches an IPv6 multicast group through the requested interface",
    async () => {
      const zones = [near, far].map(({ device }) => net.interfaceIndex("receiver", device));
      using receiver = await net.receive({
        bind: { hostname: "::" },
        groups: zones.map((zone) => ({ group: GROUP_IPV6, interface: `::%${zone}` })),
        count: 2,
      });
      const datagrams = [near, far].map(({ device }) => ({
        to: `[${GROUP_IPV6}]:${receiver.port}`,
        interfaceIndex: net.interfaceIndex("sender", device),
      }));
      expect(await net.send({ bind: { hostname: "::" }, datagrams })).toMatchObject({ sent: 2 });
      const received = inOrder(await receiver.received());
      expect(received.map(({ interfaceIndex }) => interfaceIndex)).toEqual(zones);
      for (const { destination } of received) {
        expect(destination).toBe(`[${GROUP_IPV6}]:${receiver.port}`);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "sends from the requested address if the host has several",
    async () => {
      const own = [`${near.network}1`, `${near.network}11`, `${near.network}12`];
      const own6 = [`${near.network6}1`, `${near.network6}11`, `${near.network6}12`];
      for (const address of [...own.slice(1), ...own6.slice(1)]) {
        const [bits, flags] = address.includes(":") ? [64, " nodad"] : [24, ""];
        run(`addr add ${address}/${bits} dev ${near.device}${flags}`);
      }
      using receiver = await net.receive({ bind: { hostname: "::" }, count: 6 });
      const datagrams = [...own, ...own6].map((source) => ({
        to: source.includes(":")
          ? `[${near.network6}2]:${receiver.port}`
          : `${near.network}2:${receiver.port}`,
        source,
      }));
      const report = await net.send({ bind: { hostname: "::" }, datagrams });
      expect(report).toMatchObject({ sent: 6, messages: 6 });
      const received = inOrder(await receiver.received());
      expect(received.map(({ peer }) => peer)).toEqual([
        ...own.map((address) => `[::ffff:${address}]:${report.port}`),
        ...own6.map((address) => `[${address}]:${report.port}`),
      ]);
    },
    TIMEOUT_MS,
  );

  test(
    "link-local addresses have a zone as source, peer and destination",
    async () => {
      using receiver = await net.receive({ bind: { hostname: "::" }, count: 2 });
      const index = net.interfaceIndex("sender", far.device);
      const source = net.linkLocal("sender", far.device);
      const target = net.linkLocal("receiver", far.device);
      const report = await net.send({
        bind: { hostname: "::" },
        datagrams: [
          { to: `[${target}%${index}]:${receiver.port}` },
          // Only the zone of the source selects the interface.
          { to: `[ff02::1]:${receiver.port}`, source: `${source}%${index}` },
        ],
      });
      expect(report).toMatchObject({ sent: 2 });
      const received = inOrder(await receiver.received());
      const arrival = net.interfaceIndex("receiver", far.device);
      for (const { peer, interfaceIndex } of received) {
        expect(peer).toBe(`[${source}%${arrival}]:${report.port}`);
        expect(interfaceIndex).toBe(arrival);
      }
      expect(received[0]?.destination).toBe(`[${target}%${arrival}]:${receiver.port}`);
      expect(received[0]?.originalDestination).toBe(`[${target}%${arrival}]:${receiver.port}`);
      expect(received[1]?.destination).toBe(`[ff02::1]:${receiver.port}`);
    },
    TIMEOUT_MS,
  );

  function run(command: string): string {
    return net.exec("sender", `ip ${command}`);
  }
});

describe.skipIf(reason !== undefined)("metadata that a firewall sets", () => {
  beforeAll(() => {
    net = new Namespaces("dgf");
    nft("add table inet t");
    nft("add chain inet t in { type filter hook prerouting priority mangle ; }");
  });
  afterAll(() => net[Symbol.dispose]());

  function nft(command: string): void {
    net.exec("receiver", `nft ${command}`);
  }

  test(
    "a congestion mark (ECN CE) is reported for IPv4 and IPv6",
    async () => {
      using receiver = await net.receive({ bind: { hostname: "::" }, count: 4 });
      nft(`add rule inet t in udp dport ${receiver.port} udp length 10 ip ecn set ce`);
      nft(`add rule inet t in udp dport ${receiver.port} udp length 12 ip6 ecn set ce`);
      const to4 = `${near.network}2:${receiver.port}`;
      const to6 = `[${near.network6}2]:${receiver.port}`;
      // The payloads have 1 to 4 bytes. `udp length` includes the header of 8 bytes.
      const datagrams = [to4, to4, to6, to6].map((to) => ({ to, ecn: 2 as const }));
      await net.send({ bind: { hostname: "::" }, datagrams });
      const received = inOrder(await receiver.received());
      expect(received.map(({ ecn }) => ecn)).toEqual([2, 3, 2, 3]);
    },
    TIMEOUT_MS,
  );

  test(
    "firewall marks are reported, and QuicAuditStats keeps the first",
    async () => {
      using receiver = await net.receive({ bind: { hostname: "0.0.0.0" }, count: 3 });
      if (receiver.bound.capabilities?.mark !== true) {
        console.warn("marks are not tested: SO_RCVMARK is not available");
        return;
      }
      nft(`add rule inet t in udp dport ${receiver.port} udp length 9 meta mark set 0xa1b2c3d4`);
      nft(`add rule inet t in udp dport ${receiver.port} udp length 10 meta mark set 7`);
      const to = `${near.network}2:${receiver.port}`;
      await net.send({ datagrams: [{ to }, { to }, { to }] });
      const marks = inOrder(await receiver.received()).map(({ mark }) => mark as number);
      expect(marks).toEqual([0xa1b2c3d4, 7, 0]);
      const stats = new QuicAuditStats(new Uint8Array(8));
      expect(stats.initialSoMark).toBeUndefined();
      for (const mark of marks) {
        const bytes = new Uint8Array(4);
        new DataView(bytes.buffer).setUint32(0, mark, true);
        stats.initialSoMark = bytes;
      }
      expect(stats.initialSoMark).toEqual(Uint8Array.of(0xd4, 0xc3, 0xb2, 0xa1));
    },
    TIMEOUT_MS,
  );
});

/**
 * Redirects UDP datagrams for port 53 of any host to `port` of the receiver (TPROXY), and routes
 * the networks of `FOREIGN` from the sender to the receiver.
 */
function redirectTo(port: number): void {
  const chain = "add chain inet proxy in { type filter hook prerouting priority mangle ; }";
  net.exec("receiver", "nft add table inet proxy");
  net.exec("receiver", `nft ${chain}`);
  for (const [family, version] of [
    ["ip", "-4"],
    ["ip6", "-6"],
  ]) {
    net.exec(
      "receiver",
      `nft add rule inet proxy in meta nfproto ${family === "ip" ? "ipv4" : "ipv6"} ` +
        `udp dport 53 tproxy ${family} to :${port} meta mark set 1 accept`,
    );
    net.exec("receiver", `ip ${version} rule add fwmark 1 lookup 100`);
    net.exec("receiver", `ip ${version} route add local default dev lo table 100`);
  }
  net.exec("sender", `ip route add 198.51.100.0/24 via ${near.network}2`);
  net.exec("sender", `ip -6 route add 2001:db8:99::/64 via ${near.network6}2`);
}

/** Returns why TPROXY cannot be tested here. */
function reasonToSkipTproxy(): string | undefined {
  if (reason !== undefined) return reason;
  net = new Namespaces("dgt");
  try {
    redirectTo(1);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    net[Symbol.dispose]();
  }
}

const tproxyReason = reasonToSkipTproxy();
if (tproxyReason !== undefined) console.warn(`TPROXY is not tested: ${tproxyReason}`);

/** Addresses that neither host has. */
const FOREIGN = ["198.51.100.7:53", "[2001:db8:99::7]:53"];
/** Runs a command without the capabilities that transparent sockets require. */
const WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-net_admin,-net_raw"];

describe.skipIf(tproxyReason !== undefined)("a transparent socket", () => {
  beforeAll(() => {
    net = new Namespaces("dgt");
  });
  afterAll(() => net[Symbol.dispose]());

  test(
    "receives datagrams that TPROXY redirects, and reports their original destination",
    async () => {
      using receiver = await net.receive({
        bind: { hostname: "::", transparent: true },
        count: 2,
      });
      redirectTo(receiver.port);
      const datagrams = FOREIGN.map((to) => ({ to }));
      expect(await net.send({ bind: { hostname: "::" }, datagrams })).toMatchObject({ sent: 2 });
      const received = inOrder(await receiver.received());
      expect(received.map(({ originalDestination }) => originalDestination)).toEqual(FOREIGN);
      // The destination has the port of the socket that it was redirected to.
      expect(received.map(({ destination }) => destination)).toEqual(
        FOREIGN.map((address) => address.replace(/:53$/, `:${receiver.port}`)),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "sends from an address of another host",
    async () => {
      for (const [hostname, to] of [
        ["198.51.100.7", `${near.network}1`],
        ["2001:db8:99::7", `[${near.network6}1]`],
      ] as const) {
        using receiver = await net.receive(
          { bind: { hostname: "::" }, count: 1 },
          { host: "sender" },
        );
        const report = await net.send(
          {
            bind: { hostname, port: 53, transparent: true },
            datagrams: [{ to: `${to}:${receiver.port}` }],
          },
          { host: "receiver" },
        );
        expect(report).toMatchObject({ sent: 1, port: 53 });
        const [meta] = await receiver.received();
        const peer = hostname.includes(":") ? hostname : `::ffff:${hostname}`;
        expect(meta?.peer).toBe(`[${peer}]:53`);
      }
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(reason !== undefined)("binding to an address of another host", () => {
  beforeAll(() => {
    net = new Namespaces("dga");
  });
  afterAll(() => net[Symbol.dispose]());

  test(
    "succeeds only with transparent or freebind",
    async () => {
      for (const hostname of ["192.0.2.1", "2001:db8::1"]) {
        for (const [options, error] of [
          [{}, "EADDRNOTAVAIL bind"],
          [{ transparent: false, freebind: false }, "EADDRNOTAVAIL bind"],
          [{ transparent: true }, undefined],
          [{ freebind: true }, undefined],
        ] as const) {
          using receiver = await net.receive({ bind: { hostname, ...options }, count: 1 });
          expect([hostname, options, receiver.bound.error]).toEqual([hostname, options, error]);
        }
      }
    },
    TIMEOUT_MS,
  );

  testIf(missing("setpriv"))(
    "without capabilities, transparent and TAI transmit times fail with EPERM, all else works",
    async () => {
      const options = { prefix: WITHOUT_CAPABILITIES };
      for (const hostname of ["0.0.0.0", "::"]) {
        using transparent = await net.receive(
          { bind: { hostname, transparent: true }, count: 1 },
          options,
        );
        expect(transparent.bound.error).toBe("EPERM setsockopt");
        using freebind = await net.receive(
          { bind: { hostname, freebind: true }, count: 1 },
          options,
        );
        expect(freebind.bound.error).toBeUndefined();
        expect(freebind.bound.capabilities).toMatchObject({
          destination: true,
          originalDestination: true,
          ecn: true,
          timestamp: true,
          socketDrops: true,
        });
      }
      const to = "127.0.0.1:9";
      for (const [clock, error] of [
        ["monotonic", undefined],
        ["tai", "EPERM setsockopt"],
      ] as const) {
        const report = await net.send({ clock, datagrams: [{ to }] }, options);
        expect([clock, report.error]).toEqual([clock, error]);
      }
    },
    TIMEOUT_MS,
  );
});

test("the portable backend rejects transparent and freebind with ERR_NOT_SUPPORTED", async () => {
  for (const options of [{ transparent: true }, { freebind: true }]) {
    const bound = UdpSocket.bind({ ...options, backend: "portable" });
    await expect(bound).rejects.toMatchObject({ code: "ERR_NOT_SUPPORTED", syscall: "bind" });
  }
});
