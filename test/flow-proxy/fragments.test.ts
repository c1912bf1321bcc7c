/**
 * The proxy behind a link with a small MTU. The kernels fragment and reassemble the datagrams: those
 * that the proxy forwards arrive whole, and longer ones are counted.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { LINKS, Namespaces, reasonToSkip } from "../net/namespaces.ts";
import { BACKENDS } from "../tools/sockets.ts";
import { RunningProxy } from "./proxy-process.ts";

const LIB = join(import.meta.dir, "../../lib/index.ts");
const { device, network } = LINKS.near;
const MTU = 600;
/** Of these, the ones above 1500 bytes are not forwarded. */
const LENGTHS = [500, 1500, 1501, 4000, 65_507, 0, 601];
const FORWARDED = LENGTHS.filter((length) => length <= 1500);

const reason = reasonToSkip([]);
if (reason !== undefined) console.warn(`proxy tests with fragments are skipped: ${reason}`);

/** Sends datagrams of the lengths to the ingress, and prints the lengths of the replies. */
const CLIENT = `
  import { UdpSocket } from ${JSON.stringify(LIB)};
  const [port, count, ...lengths] = process.argv.slice(1).map(Number);
  const socket = await UdpSocket.connect({ hostname: "${network}2", port });
  // The route to the ingress has the same MTU: datagrams are fragmented.
  for (const length of lengths) await socket.send(new Uint8Array(length).fill(7));
  const replies = [];
  const buffer = new Uint8Array(2000);
  while (replies.length < count) {
    const length = await socket.recv(buffer, { signal: AbortSignal.timeout(10_000) });
    replies.push(buffer.subarray(0, length).every((byte) => byte === 7) ? length : "altered");
  }
  console.log(JSON.stringify(replies));
  process.exit(0);
`;

describe.skipIf(reason !== undefined)("datagrams that are longer than the MTU", () => {
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dff");
    for (const host of ["sender", "receiver"] as const) {
      namespaces.exec(host, `ip link set ${device} mtu ${MTU}`);
    }
  });
  afterAll(() => namespaces?.[Symbol.dispose]());

  /** Returns the number of datagrams that the kernel of the proxy's host has reassembled. */
  function reassembled(): number {
    const [names, values] = namespaces
      .exec("receiver", "cat /proc/net/snmp")
      .split("\n")
      .filter((line) => line.startsWith("Ip:"))
      .map((line) => line.split(" "));
    return Number(values?.[names?.indexOf("ReasmOKs") ?? -1]);
  }

  test.each(BACKENDS)(
    "are forwarded whole, or counted if they are too long, on the %s backend",
    async (backend) => {
      const inside = ["ip", "netns", "exec", namespaces.receiver];
      const start = (...args: string[]) =>
        RunningProxy.start([...args, "--backend", backend], inside);
      await using origin = await start("origin", "--listen", "127.0.0.1:0");
      const upstream = ["--upstream", origin.address];
      await using egress = await start("egress", "--listen", "127.0.0.1:0", ...upstream);
      const tunnel = ["--tunnel", egress.address];
      await using ingress = await start("ingress", "--listen", `${network}2:0`, ...tunnel);
      const before = reassembled();
      const args = [ingress.port, FORWARDED.length, ...LENGTHS].map(String);
      const client = Bun.spawnSync([
        ...["ip", "netns", "exec", namespaces.sender, process.execPath, "-e", CLIENT, ...args],
      ]);
      expect([client.stderr.toString(), JSON.parse(client.stdout.toString())]).toEqual([
        "",
        FORWARDED,
      ]);
      expect(reassembled() - before).toBe(LENGTHS.filter((length) => length + 28 > MTU).length);
      const { summary } = await ingress.stop();
      expect(summary).toMatchObject({
        ingress: {
          drops: { oversize: LENGTHS.length - FORWARDED.length },
          sockets: { datagramsTruncated: 0, datagramsDropped: 0 },
        },
      });
    },
    30_000,
  );
});
