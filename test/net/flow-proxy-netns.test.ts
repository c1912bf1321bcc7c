/**
 * The flow proxy over links that lose datagrams: client, ingress and egress each in a network
 * namespace of its own, joined by veth pairs; nftables drops one of a hundred at random on the
 * tunnel's link, either way, and counts what it dropped.
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

/** Why this machine cannot run these tests. */
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
if (reason !== undefined) console.warn(`namespace tests are skipped: ${reason}`);

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

/** What nftables dropped so far. */
function dropped(): number {
  return [INGRESS, EGRESS]
    .map((namespace) => run(`ip netns exec ${namespace} nft list table inet loss`))
    .map((rules) => Number(/counter packets (\d+)/.exec(rules)?.[1]))
    .reduce((sum, packets) => sum + packets);
}

describe.skipIf(reason !== undefined)("over a tunnel that loses 1 % each way", () => {
  beforeAll(setUp);
  afterAll(() => {
    for (const namespace of [CLIENT, INGRESS, EGRESS]) {
      Bun.spawnSync(["ip", "netns", "del", namespace]);
    }
  });

  test.each(["native", "portable"])(
    "every answer that arrives is unaltered, and the loss is told, on the %s backend",
    async (backend) => {
      const chosen = ["--backend", backend];
      await using origin = await RunningProxy.start(
        ["origin", "--listen", "127.0.0.1:0", ...chosen],
        inside(EGRESS),
      );
      await using egress = await RunningProxy.start(
        ["egress", "--listen", `10.99.2.3:${TUNNEL_PORT}`, "--upstream", origin.address, ...chosen],
        inside(EGRESS),
      );
      const listen = `10.99.1.2:${INGRESS_PORT}`;
      await using ingress = await RunningProxy.start(
        ["ingress", "--listen", listen, "--tunnel", egress.address, ...chosen],
        inside(INGRESS),
      );
      const droppedBefore = dropped();
      const load = ["load", "--target", listen, "--duration", "2", "--clients", "32", "--json"];
      const { code, stdout, stderr } = await runProxy([...load, ...chosen], {
        prefix: inside(CLIENT),
      });
      expect([code, stderr]).toEqual([0, ""]);
      const report = JSON.parse(stdout).load;
      const droppedNow = dropped() - droppedBefore;
      expect([report.altered, report.misdelivered, report.duplicated]).toEqual([0, 0, 0]);
      expect(report.replies).toBeGreaterThan(0);
      expect(report.replies + report.lost).toBe(report.requests);
      // What the links dropped is lost for certain. It may have been more than one datagram a
      // packet, as a packet that is still to be segmented counts once.
      expect(droppedNow).toBeGreaterThan(0);
      expect(report.lost).toBeGreaterThanOrEqual(droppedNow);
      const ends = [(await ingress.stop()).summary, (await egress.stop()).summary];
      expect(ends).toMatchObject([
        { ingress: { flows: 32, drops: { malformed: 0, unknownFlow: 0 } } },
        { egress: { flows: 32, drops: { malformed: 0, refused: 0 } } },
      ]);
      console.log(
        `${backend}: ${report.requests} sent, ${report.replies} answered, ${report.lost} lost, ` +
          `${droppedNow} of them by the links`,
      );
    },
    60_000,
  );
});
