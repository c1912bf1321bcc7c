/**
 * The flow proxy end to end, with faults on its tunnel: clients and ingress are on one host, egress
 * and origin on the other. Every reply reaches its client unaltered, and every request without a
 * reply is one that the network dropped, or that an endpoint counted.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { RunningProxy, runProxy } from "../flow-proxy/proxy-process.ts";
import { Namespaces, run } from "../net/namespaces.ts";
import {
  amount,
  attempt,
  disableSegmentation,
  FAMILIES,
  families,
  IS_SHORT,
  nft,
  nftPackets,
  Program,
  pinNeighbours,
  skipReason,
  TEST_TIMEOUT_MS,
  udpMib,
} from "./tools.ts";

const reason = skipReason("tests of the flow proxy with faults", ["nft", "tc", "ethtool"]);

const TUNNEL_PORT = 7000;
const CLIENTS = 16;
const SECONDS = amount(2, 1);
/** The duration of tests in which faults begin and end while requests are sent. */
const LONG_SECONDS = amount(3, 2);
const REBINDINGS = amount(4, 2);

/** The parts of the load generator's report that are checked. */
interface Load {
  readonly requests: number;
  readonly replies: number;
  readonly lost: number;
  readonly late: number;
  readonly duplicated: number;
  readonly altered: number;
  readonly misdelivered: number;
}

/** The counters of the endpoints that are checked. */
interface Endpoint {
  readonly flows: number;
  readonly flowCounters: { readonly opened: number; readonly moved: number };
  readonly drops: Readonly<Record<string, number>>;
  readonly sockets: {
    readonly sendDrops: number;
    readonly datagramsDropped: number;
    readonly datagramsSent: number;
  };
}

/** Returns the datagrams that an endpoint has counted as dropped. */
function dropsOf({ drops, sockets }: Endpoint): number {
  const sum = Object.values(drops).reduce((total, each) => total + each, 0);
  return sum + sockets.sendDrops + sockets.datagramsDropped;
}

function urlHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

describe.skipIf(reason !== undefined).each(families("IPv6"))("the flow proxy over %s", (family) => {
  const { near, nft: ip } = FAMILIES[family];
  const tunnel = `${urlHost(near)}:${TUNNEL_PORT}`;
  let namespaces: Namespaces;
  let clientSide: string[] = [];
  let serverSide: string[] = [];
  beforeAll(() => {
    namespaces = new Namespaces("dfx");
    pinNeighbours(namespaces);
    disableSegmentation(namespaces);
    clientSide = ["ip", "netns", "exec", namespaces.sender];
    serverSide = ["ip", "netns", "exec", namespaces.receiver];
  });
  afterAll(() => namespaces?.[Symbol.dispose]());
  afterEach(() => {
    for (const host of [namespaces.sender, namespaces.receiver]) {
      attempt(`ip netns exec ${host} nft flush ruleset`);
      attempt(`tc -n ${host} qdisc del dev near root`);
      attempt(`ip -n ${host} link set near mtu 1500`);
    }
  });

  const startOrigin = () => RunningProxy.start(["origin", "--listen", "127.0.0.1:0"], serverSide);
  const startEgress = (origin: RunningProxy, listen = tunnel) =>
    RunningProxy.start(["egress", "--listen", listen, "--upstream", origin.address], serverSide);
  const startIngress = (to = tunnel) =>
    RunningProxy.start(["ingress", "--listen", "127.0.0.1:0", "--tunnel", to], clientSide);

  /** Runs the load generator. */
  async function load(ingress: RunningProxy, seconds = SECONDS): Promise<Load> {
    const args = ["load", "--target", ingress.address, "--duration", `${seconds}`];
    const clients = ["--clients", `${CLIENTS}`, "--json"];
    const { stdout, stderr } = await runProxy([...args, ...clients], { prefix: clientSide });
    if (stdout === "") throw new Error(stderr);
    return JSON.parse(stdout).load;
  }

  /** Stops the endpoints, and returns the datagrams that they dropped. */
  async function stop(ingress: RunningProxy, egress: RunningProxy) {
    const inSummary = (await ingress.stop()).summary as { ingress: Endpoint };
    const outSummary = (await egress.stop()).summary as { egress: Endpoint };
    return { ingress: inSummary.ingress, egress: outSummary.egress };
  }

  function expectIntact(report: Load): void {
    expect([report.altered, report.misdelivered]).toEqual([0, 0]);
    expect(report.replies).toBeGreaterThan(0);
    expect(report.replies + report.lost).toBe(report.requests);
  }

  const receiveDrops = () =>
    udpMib(namespaces.sender).rcvbufErrors + udpMib(namespaces.receiver).rcvbufErrors;

  test(
    "2 % loss in each direction: requests = replies + dropped by the firewalls",
    async () => {
      for (const [host, match] of [
        [namespaces.receiver, `udp dport ${TUNNEL_PORT}`],
        [namespaces.sender, `udp sport ${TUNNEL_PORT}`],
      ] as const) {
        nft(host, [
          "add table inet t",
          "add chain inet t c { type filter hook input priority 0 ; }",
          `add rule inet t c ${match} numgen random mod 100 lt 2 counter drop`,
        ]);
      }
      await using origin = await startOrigin();
      await using egress = await startEgress(origin);
      await using ingress = await startIngress();
      const before = receiveDrops();
      const report = await load(ingress);
      const { ingress: near, egress: far } = await stop(ingress, egress);
      const dropped = nftPackets(namespaces.sender) + nftPackets(namespaces.receiver);
      expectIntact(report);
      expect(dropped).toBeGreaterThan(0);
      const counted = dropped + dropsOf(near) + dropsOf(far) + receiveDrops() - before;
      expect(report.requests - report.replies - report.late).toBe(counted);
      console.log(
        `${family}: ${report.requests} requests, ${report.lost} lost, ${dropped} dropped`,
      );
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "an outage at the tunnel's device: lost requests are counted, and all is well afterwards",
    async () => {
      await using origin = await startOrigin();
      await using egress = await startEgress(origin);
      await using ingress = await startIngress();
      const before = receiveDrops();
      const loading = load(ingress, LONG_SECONDS);
      await Bun.sleep(700);
      nft(namespaces.sender, [
        "add table netdev t",
        "add chain netdev t c { type filter hook egress device near priority 0 ; }",
        `add rule netdev t c ${ip} daddr ${near} udp dport ${TUNNEL_PORT} counter drop`,
      ]);
      await Bun.sleep(500);
      attempt(`ip netns exec ${namespaces.sender} nft flush ruleset`);
      const during = await loading;
      const after = await load(ingress, 1);
      const { ingress: near2, egress: far } = await stop(ingress, egress);
      expectIntact(during);
      expectIntact(after);
      expect(after.lost).toBe(0);
      const counted = dropsOf(near2) + dropsOf(far) + receiveDrops() - before;
      expect(near2.sockets.sendDrops).toBeGreaterThan(0);
      expect(during.requests - during.replies - during.late).toBe(counted);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "the egress is killed and restarted: replies stay correct, and all is well afterwards",
    async () => {
      await using origin = await startOrigin();
      const first = await startEgress(origin);
      await using ingress = await startIngress();
      const loading = load(ingress, LONG_SECONDS);
      await Bun.sleep(700);
      await first[Symbol.asyncDispose]();
      await Bun.sleep(300);
      await using second = await startEgress(origin);
      const during = await loading;
      const after = await load(ingress, 1);
      expectIntact(during);
      expectIntact(after);
      expect(during.lost).toBeGreaterThan(0);
      expect(after.lost).toBe(0);
      await stop(ingress, second);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "ingress and egress are stopped and continued: nothing is lost that is not counted",
    async () => {
      await using origin = await startOrigin();
      await using egress = await startEgress(origin);
      await using ingress = await startIngress();
      const before = receiveDrops();
      const loading = load(ingress, LONG_SECONDS);
      for (const stopped of [ingress, egress, ingress, egress]) {
        await Bun.sleep(300);
        stopped.kill("SIGSTOP");
        await Bun.sleep(150);
        stopped.kill("SIGCONT");
      }
      const report = await loading;
      const { ingress: near, egress: far } = await stop(ingress, egress);
      expectIntact(report);
      const counted = dropsOf(near) + dropsOf(far) + receiveDrops() - before;
      expect(report.requests - report.replies - report.late).toBe(counted);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a NAT that changes the tunnel's source port: flows stay, requests = replies + stale",
    async () => {
      await using origin = await startOrigin();
      await using egress = await startEgress(origin);
      await using nat = startNat(namespaces.receiver, { hostname: near, to: TUNNEL_PORT });
      const natPort = await nat.said<number>();
      await using ingress = await startIngress(`${urlHost(near)}:${natPort}`);
      const before = receiveDrops();
      const loading = load(ingress, LONG_SECONDS);
      for (let i = 0; i < REBINDINGS; i++) {
        await Bun.sleep(500);
        nat.tell("rebind");
        await nat.said();
      }
      const report = await loading;
      nat.tell("report");
      const { stale, sendDrops } = await nat.result();
      const { ingress: near2, egress: far } = await stop(ingress, egress);
      expectIntact(report);
      // All flows have followed the last rebinding. A client whose window is full of lost requests
      // sends nothing for a while, in which the port may change again.
      expect([near2.flows, far.flows, far.flowCounters.opened]).toEqual([
        CLIENTS,
        CLIENTS,
        CLIENTS,
      ]);
      expect(far.flowCounters.moved).toBeGreaterThanOrEqual(CLIENTS);
      expect(far.flowCounters.moved).toBeLessThanOrEqual(REBINDINGS * CLIENTS);
      const counted = stale + sendDrops + dropsOf(near2) + dropsOf(far) + receiveDrops() - before;
      expect(report.requests - report.replies - report.late).toBe(counted);
    },
    TEST_TIMEOUT_MS,
  );

  test.skipIf(IS_SHORT || family === "IPv6")(
    "the tunnel's MTU shrinks below the datagrams and recovers: lost <= dropped by devices",
    async () => {
      await using origin = await startOrigin();
      await using egress = await startEgress(origin);
      await using ingress = await startIngress();
      // While the MTUs of the two ends differ, a device drops what is too long for the other.
      const deviceDrops = () =>
        (["sender", "receiver"] as const)
          .map((host) => namespaces.exec(host, "cat /sys/class/net/near/statistics/tx_dropped"))
          .reduce((sum, text) => sum + Number(text), 0);
      const before = deviceDrops();
      const loading = load(ingress, LONG_SECONDS);
      for (const mtu of [1000, 1500, 900, 1500]) {
        await Bun.sleep(400);
        for (const host of [namespaces.sender, namespaces.receiver]) {
          run(`ip -n ${host} link set near mtu ${mtu}`);
        }
      }
      const report = await loading;
      const { ingress: near, egress: far } = await stop(ingress, egress);
      expectIntact(report);
      const counted = deviceDrops() - before + dropsOf(near) + dropsOf(far);
      // A datagram may lose both of its fragments.
      expect(report.requests - report.replies - report.late).toBeLessThanOrEqual(counted);
    },
    TEST_TIMEOUT_MS,
  );
});

/** Where a NAT listens, and the port of that host that it forwards to. */
interface NatOptions {
  readonly hostname: string;
  readonly to: number;
}

/**
 * Starts a NAT in user space between one peer and a port: it forwards from a socket of its own, and
 * replaces that socket by another when it is told to. Says its port. Replies to a replaced socket
 * are counted as stale and dropped.
 */
function startNat(namespace: string, options: NatOptions) {
  return Program.start(
    namespace,
    async ({ lib, talk }, { hostname, to }: NatOptions) => {
      const buffers = { receiveBufferBytes: 2 ** 23, sendBufferBytes: 2 ** 22 };
      const bind = { ...buffers, sendErrors: "drop" } as const;
      const inside = await lib.UdpSocket.bind({ hostname, ...bind });
      const opened = [inside];
      let peer: ReturnType<typeof lib.SocketAddress.parse> | undefined;
      let stale = 0;
      const rebind = async () => {
        const socket = await lib.UdpSocket.connect({ hostname, port: to }, bind);
        opened.push(socket);
        void (async () => {
          for await (const { length, buffers } of socket.batches()) {
            if (socket !== outside || peer === undefined) stale += length;
            else await inside.sendMany(buffers, { count: length, to: peer });
          }
        })();
        return socket;
      };
      let outside = await rebind();
      void (async () => {
        for await (const { length, buffers, meta } of inside.batches()) {
          peer = meta[0]?.peer;
          await outside.sendMany(buffers, { count: length });
        }
      })();
      talk.say(inside.localAddr.port);
      while ((await talk.hear()) === "rebind") {
        outside = await rebind();
        talk.say("rebound");
      }
      const sendDrops = opened.reduce((sum, { counters }) => sum + counters.sendDrops, 0);
      return { stale, sendDrops };
    },
    options,
  );
}
