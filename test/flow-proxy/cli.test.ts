/** Tests of the proxy's command: its output, exit codes and signals. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type EndpointSnapshot, newEndpointCounters } from "../../examples/flow-proxy/counters.ts";
import { summaryText } from "../../examples/flow-proxy/summary.ts";
import { newCounters } from "../../lib/datagram/counters.ts";
import { UdpSocket } from "../../lib/index.ts";
import { BACKENDS } from "../tools/sockets.ts";
import { RunningProxy, runProxy } from "./proxy-process.ts";

const FLOW_PROXY = join(import.meta.dir, "../../examples/flow-proxy");

const LISTEN = ["--listen", "127.0.0.1:0"];
const TUNNEL = ["--tunnel", "127.0.0.1:9"];

/** Wrong command lines, and a part of the error message of each. */
const WRONG_COMMANDS: readonly (readonly [readonly string[], string])[] = [
  [["--nope"], "'--nope'"],
  [["ingres"], '"ingres" expected ingress, egress, origin or load'],
  [["toString"], '"toString" expected ingress, egress, origin or load'],
  [["ingress", "egress"], 'unexpected argument "egress"'],
  [["ingress", ...TUNNEL], "ingress requires --listen"],
  [["egress", ...LISTEN], "egress requires --upstream"],
  [["--upstream", "127.0.0.1:9"], "start with ingress or egress"],
  [["egress", ...LISTEN, ...TUNNEL], "--tunnel is not an option of egress"],
  [
    ["egress", ...LISTEN, "--upstream", "127.0.0.1:9", "--clients", "3"],
    "--clients is not an option",
  ],
  [["ingress", ...LISTEN, "--tunnel", "127.0.0.1"], "--tunnel expected host:port"],
  [["ingress", ...LISTEN, "--tunnel", "::1:9"], "--tunnel expected host:port"],
  [["ingress", ...LISTEN, "--tunnel", "127.0.0.1:65536"], "expected port 1..65535, got 65536"],
  [["ingress", ...LISTEN, "--tunnel", "127.0.0.1:0"], "expected port 1..65535, got 0"],
  [["ingress", ...LISTEN, "--tunnel", "no-such-host.invalid:9"], "cannot resolve host"],
  [["ingress", ...LISTEN, "--tunnel"], "--tunnel"],
  [["ingress", "--listen", "192.0.2.1:0", ...TUNNEL], "EADDRNOTAVAIL"],
  [["--max-flows", "0"], "--max-flows expected integer 1..30000"],
  [["--max-flows", "30001"], "--max-flows expected integer 1..30000"],
  [["--reply-factor", "0"], "--reply-factor expected integer 1..1000"],
  [["--reply-factor", "1001"], "--reply-factor expected integer 1..1000"],
  [["--clients", "1e3"], "--clients expected integer 1..10000"],
  [["--duration", "0"], "--duration expected seconds"],
  [["--idle-timeout", "-1"], "--idle-timeout"],
  [["--idle-timeout", "soon"], "--idle-timeout expected seconds"],
  [["--grace", "-1"], "--grace"],
  [["--grace", "soon"], "--grace expected seconds"],
  [["--flow-by-connection-id", "8"], "--flow-by-connection-id is not an option of demo"],
  [
    ["ingress", ...LISTEN, ...TUNNEL, "--flow-by-connection-id", "3"],
    "--flow-by-connection-id expected integer 4..20",
  ],
  [["ingress", ...LISTEN, ...TUNNEL, "--identity", "x"], "--identity requires --secure"],
  [["ingress", ...LISTEN, ...TUNNEL, "--peer", "x"], "--peer requires --secure"],
  [["ingress", ...LISTEN, ...TUNNEL, "--secure"], "--secure requires --identity"],
  [["ingress", ...LISTEN, ...TUNNEL, "--secure", "--identity", "x"], "--secure requires --peer"],
  [
    ["ingress", ...LISTEN, ...TUNNEL, "--secure", "--identity", "x", "--peer", "a", "--peer", "b"],
    "an ingress has one --peer",
  ],
  [["--packet-bytes", "1400"], "--packet-bytes requires --secure"],
  [["--secure", "--packet-bytes", "1601"], "--packet-bytes expected integer 1200..1600"],
  [["--secure", "--backend", "portable"], "--secure requires the native backend"],
  [["origin", ...LISTEN, "--secure"], "--secure is not an option of origin"],
  [["--backend", "quick"], "expected native or portable"],
];

describe("the command exits with code 2 and one line on stderr", () => {
  test.concurrent.each(
    WRONG_COMMANDS.map(([args, message]) => [args.join(" "), args, message] as const),
  )(
    "for %s",
    async (_name, args, message) => {
      const { code, stdout, stderr } = await runProxy(args);
      expect({ code, stdout, lines: stderr.split("\n").length }).toEqual({
        code: 2,
        stdout: "",
        lines: 2,
      });
      expect(stderr).toStartWith("flow-proxy: ");
      expect(stderr).toContain(message);
    },
    60_000,
  );

  test("for a port in use, on both backends", async () => {
    await using taken = await UdpSocket.bind({ hostname: "127.0.0.1" });
    for (const backend of BACKENDS) {
      const listen = taken.localAddr.toString();
      const args = ["ingress", "--listen", listen, ...TUNNEL, "--backend", backend];
      const { code, stderr } = await runProxy(args);
      expect(code).toBe(2);
      expect(stderr).toBe(
        `flow-proxy: ingress on ${listen}, tunnel to 127.0.0.1:9: bind EADDRINUSE\n`,
      );
    }
  }, 60_000);

  test("for an unknown backend in the environment variable", async () => {
    const env = { DATAGRAM_SOCKET_BACKEND: "quick" };
    const { code, stderr } = await runProxy([], { env });
    expect([code, stderr.split("\n").length]).toEqual([2, 2]);
  });
});

test("--help prints roles, options and exit codes, and runs nothing", async () => {
  const { code, stdout, stderr } = await runProxy(["--help"]);
  expect([code, stderr]).toEqual([0, ""]);
  for (const word of [
    "ingress",
    "egress",
    "--max-flows",
    "--idle-timeout",
    "--reply-factor",
    "--grace",
    "--flow-by-connection-id",
    "--secure",
    "--identity",
    "--peer",
    "--json",
    "Exit codes",
  ]) {
    expect(stdout).toContain(word);
  }
});

test("the summary and the README have a row for each reason of a drop", async () => {
  const { drops } = newEndpointCounters();
  const reasons = Object.keys(drops) as (keyof typeof drops)[];
  for (const [i, reason] of reasons.entries()) drops[reason] = 1000 + i;
  const sockets = { ...newCounters(), datagramsDropped: 2000, sendDrops: 3000 };
  const endpoint: EndpointSnapshot = {
    role: "ingress",
    flows: 0,
    flowCounters: { opened: 0, expired: 0, evicted: 0, ended: 0, moved: 0, refused: 0 },
    toUpstream: { datagrams: 0, bytes: 0 },
    toClients: { datagrams: 0, bytes: 0 },
    socketErrors: 0,
    drops,
    sockets,
    sides: { upstream: sockets, clients: sockets },
  };
  const text = summaryText({ backend: "native", seconds: 1, endpoints: [endpoint] });
  const rows = text.split("\n").map((line) => line.trim().split(/\s+/));
  const total = reasons.reduce((sum, reason) => sum + drops[reason], 5000);
  expect(rows).toContainEqual(["drops", `${total}`]);
  const counted: Record<string, number> = { ...drops, receiveQueueFull: 2000, refusedSends: 3000 };
  const readme = await Bun.file(join(FLOW_PROXY, "README.md")).text();
  for (const [reason, count] of Object.entries(counted)) {
    expect(rows).toContainEqual([reason, `${count}`]);
    expect(readme).toContain(`| \`${reason}\` |`);
  }
});

describe.each(BACKENDS)("the demo on the %s backend", (backend) => {
  test("reports no wrong replies, and equal counters at ingress and egress", async () => {
    const args = ["--duration", "0.4", "--clients", "16", "--json", "--backend", backend];
    const { code, stdout, stderr } = await runProxy(args);
    expect([code, stderr.split("\n").length]).toEqual([0, 4]);
    const summary = JSON.parse(stdout);
    const { load, ingress, egress } = summary;
    expect([summary.backend, load.altered, load.misdelivered]).toEqual([backend, 0, 0]);
    expect(load.replies + load.lost).toBe(load.requests);
    expect(load.replies).toBeGreaterThan(100);
    // On a busy machine, not every client has sent before the end.
    expect(ingress.flows).toBe(egress.flows);
    expect(ingress.flows).toBeWithin(1, 17);
    if (load.lost === 0) {
      for (const { toUpstream, toClients } of [ingress, egress]) {
        const forwarded = [toUpstream.datagrams, toClients.datagrams];
        expect(forwarded).toEqual([load.requests, load.replies]);
      }
    }
  }, 30_000);
});

test("the demo prints a line per second, and finally tables and a verdict", async () => {
  const { code, stdout, stderr } = await runProxy(["--duration", "1.5", "--clients", "8"]);
  expect(code).toBe(0);
  expect(stderr).toMatch(
    /^flows 8 {2}[\d.]+( [kM])? datagrams\/s {2}[\d.]+ Gbit\/s {2}.* drops 0$/m,
  );
  expect(stdout).toMatch(/^flows opened +8 +8$/m);
  expect(stdout).toMatch(/^valid replies +[1-9]\d*$/m);
  expect(stdout).toMatch(/\nOK: all replies reached the right client unaltered; .*\n$/);
}, 30_000);

describe("signals", () => {
  test.each(["SIGINT", "SIGTERM"] as const)(
    "%s makes origin, egress and ingress print their summary and exit with code 0",
    async (signal) => {
      await using origin = await RunningProxy.start(["origin", ...LISTEN]);
      await using egress = await RunningProxy.start([
        "egress",
        ...LISTEN,
        "--upstream",
        origin.address,
      ]);
      await using ingress = await RunningProxy.start([
        "ingress",
        ...LISTEN,
        "--tunnel",
        egress.address,
      ]);
      const { hostname, port } = { hostname: "127.0.0.1", port: ingress.port };
      await using client = await UdpSocket.connect({ hostname, port });
      await client.send(Buffer.from("datagram"));
      const reply = Buffer.alloc(100);
      expect(reply.toString("utf8", 0, await client.recv(reply))).toBe("datagram");
      const traffic = { toUpstream: { datagrams: 1 }, toClients: { datagrams: 1, bytes: 8 } };
      expect(await ingress.stop(signal)).toMatchObject({ code: 0, summary: { ingress: traffic } });
      expect(await egress.stop(signal)).toMatchObject({
        code: 0,
        summary: { egress: { flows: 1 } },
      });
      expect(await origin.stop(signal)).toEqual({ code: 0, summary: { replies: 1 } });
    },
    30_000,
  );

  test("SIGINT makes the demo print its summary and exit", async () => {
    await using demo = await RunningProxy.start(["--duration", "3600"]);
    const { code, summary } = await demo.stop("SIGINT");
    expect(summary).toMatchObject({ load: { altered: 0, misdelivered: 0 } });
    // It may be stopped before the first reply, which counts as a failure.
    const { replies } = (summary as { load: { replies: number } }).load;
    expect(code).toBe(replies > 0 ? 0 : 1);
  }, 30_000);
});

test("the role is inferred from the addresses if it is not given", async () => {
  await using egress = await RunningProxy.start([...LISTEN, "--upstream", "127.0.0.1:9"]);
  await using ingress = await RunningProxy.start([...LISTEN, "--tunnel", egress.address]);
  expect((await egress.stop()).summary).toHaveProperty("egress");
  expect((await ingress.stop()).summary).toHaveProperty("ingress");
}, 30_000);
