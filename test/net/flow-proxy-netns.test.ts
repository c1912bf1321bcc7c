/**
 * The flow proxy over a link with packet loss. Client, ingress and egress are in network namespaces
 * that are connected by veth pairs. On the link of the tunnel, nftables drops 1 % of the packets in
 * each direction at random, and counts them.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RunningProxy, runProxy } from "../flow-proxy/proxy-process.ts";

const ID = `dgs${process.pid}`;
const [CLIENT, INGRESS, EGRESS] = [`${ID}c`, `${ID}i`, `${ID}e`];
const INGRESS_PORT = 5300;
const TUNNEL_PORT = 7000;
const LOSS_PERCENT = 1;

function run(command: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command.split(" "));
  if (exitCode !== 0) throw new Error(`${command}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

/** Returns why these tests cannot run here: a tool or a permission is missing. */
function reasonToSkip(): string | undefined {
  const missing = ["ip", "nft"].filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) return `no ${missing.join(", no ")}`;
  try {
    run(`ip netns add ${ID}p`);
    run(`ip netns exec ${ID}p nft add table inet probe`);
    run(`ip link add ${ID}p type veth peer name ${ID}q`);
    run(`ip link del ${ID}p`);
  } catch (error) {
    return (error as Error).message;
  } finally {
    Bun.spawnSync(["ip", "netns", "del", `${ID}p`]);
  }
  return undefined;
}

const reason = reasonToSkip();
if (reason !== undefined) console.warn(`flow proxy tests in namespaces are skipped: ${reason}`);

function inside(namespace: string): string[] {
  return ["ip", "netns", "exec", namespace];
}

function setUp(): void {
  for (const namespace of [CLIENT, INGRESS, EGRESS]) {
    run(`ip netns add ${namespace}`);
    run(`ip -n ${namespace} link set lo up`);
  }
  link([CLIENT, "10.99.1.1/24"], [INGRESS, "10.99.1.2/24"]);
  link([INGRESS, "10.99.2.2/24"], [EGRESS, "10.99.2.3/24"]);
  for (const [namespace, match] of [
    [EGRESS, `udp dport ${TUNNEL_PORT}`],
    [INGRESS, `udp sport ${TUNNEL_PORT}`],
  ] as const) {
    const nft = `ip netns exec ${namespace} nft`;
    run(`${nft} add table inet loss`);
    run(`${nft} add chain inet loss in { type filter hook input priority 0 ; }`);
    run(
      `${nft} add rule inet loss in ${match} numgen random mod 100 lt ${LOSS_PERCENT} counter drop`,
    );
  }
}

let links = 0;

function link(...[[near, nearAddress], [far, farAddress]]: [[string, string], [string, string]]) {
  const name = `v${process.pid}x${links++}`;
  run(`ip link add ${name} netns ${near} type veth peer name ${name} netns ${far}`);
  for (const [namespace, address] of [
    [near, nearAddress],
    [far, farAddress],
  ]) {
    run(`ip -n ${namespace} addr add ${address} dev ${name}`);
    run(`ip -n ${namespace} link set ${name} up`);
  }
}

/** Returns the number of packets that nftables has dropped so far. */
function droppedPackets(): number {
  return [INGRESS, EGRESS]
    .map((namespace) => run(`ip netns exec ${namespace} nft list table inet loss`))
    .map((rules) => Number(/counter packets (\d+)/.exec(rules)?.[1]))
    .reduce((sum, packets) => sum + packets);
}

describe.skipIf(reason !== undefined)("flow proxy over a tunnel with 1 % packet loss", () => {
  beforeAll(setUp);
  afterAll(() => {
    for (const namespace of [CLIENT, INGRESS, EGRESS]) {
      Bun.spawnSync(["ip", "netns", "del", namespace]);
    }
  });

  test.each(["native", "portable"])(
    "delivers responses unaltered and counts the lost ones, on the %s backend",
    async (backend) => {
      const backendArgs = ["--backend", backend];
      await using origin = await RunningProxy.start(
        ["origin", "--listen", "127.0.0.1:0", ...backendArgs],
        inside(EGRESS),
      );
      await using egress = await RunningProxy.start(
        [
          "egress",
          "--listen",
          `10.99.2.3:${TUNNEL_PORT}`,
          "--upstream",
          origin.address,
          ...backendArgs,
        ],
        inside(EGRESS),
      );
      const listen = `10.99.1.2:${INGRESS_PORT}`;
      await using ingress = await RunningProxy.start(
        ["ingress", "--listen", listen, "--tunnel", egress.address, ...backendArgs],
        inside(INGRESS),
      );
      const droppedBefore = droppedPackets();
      const load = ["load", "--target", listen, "--duration", "2", "--clients", "32", "--json"];
      const { code, stdout, stderr } = await runProxy([...load, ...backendArgs], {
        prefix: inside(CLIENT),
      });
      expect([code, stderr]).toEqual([0, ""]);
      const report = JSON.parse(stdout).load;
      const dropped = droppedPackets() - droppedBefore;
      expect([report.altered, report.misdelivered, report.duplicated]).toEqual([0, 0, 0]);
      expect(report.replies).toBeGreaterThan(0);
      expect(report.replies + report.lost).toBe(report.requests);
      // A dropped packet loses one datagram or more: a GSO packet that nftables drops before it is
      // segmented counts once.
      expect(dropped).toBeGreaterThan(0);
      expect(report.lost).toBeGreaterThanOrEqual(dropped);
      const summaries = [(await ingress.stop()).summary, (await egress.stop()).summary];
      expect(summaries).toMatchObject([
        { ingress: { flows: 32, drops: { malformed: 0, unknownFlow: 0 } } },
        { egress: { flows: 32, drops: { malformed: 0, refused: 0 } } },
      ]);
      console.log(
        `${backend}: ${report.requests} requests, ${report.replies} replies, ${report.lost} lost, ` +
          `at least ${dropped} of them on the link`,
      );
    },
    60_000,
  );
});
