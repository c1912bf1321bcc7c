/** The proxy's command: what it prints, and how it ends. */

import { describe, expect, test } from "bun:test";
import { UdpSocket } from "../../lib/index.ts";
import { BACKENDS } from "../tools/sockets.ts";
import { RunningProxy, runProxy } from "./proxy-process.ts";

const LISTEN = ["--listen", "127.0.0.1:0"];
const TUNNEL = ["--tunnel", "127.0.0.1:9"];

/** Wrong command lines, and what the one line must say. */
const MISTAKES: readonly (readonly [readonly string[], string])[] = [
  [["--nope"], "'--nope'"],
  [["ingres"], '"ingres" expected ingress, egress, origin or load'],
  [["ingress", "egress"], 'unexpected argument "egress"'],
  [["ingress", ...TUNNEL], "ingress needs --listen"],
  [["egress", ...LISTEN], "egress needs --upstream"],
  [["--upstream", "127.0.0.1:9"], "Say ingress or egress"],
  [["egress", ...LISTEN, ...TUNNEL], "--tunnel does not go with egress"],
  [["egress", ...LISTEN, "--upstream", "127.0.0.1:9", "--clients", "3"], "--clients does not go"],
  [["ingress", ...LISTEN, "--tunnel", "127.0.0.1"], "--tunnel expected host:port"],
  [["ingress", ...LISTEN, "--tunnel", "::1:9"], "--tunnel expected host:port"],
  [["ingress", ...LISTEN, "--tunnel", "127.0.0.1:65536"], "expected port 1..65535, got 65536"],
  [["ingress", ...LISTEN, "--tunnel", "127.0.0.1:0"], "expected port 1..65535, got 0"],
  [["ingress", ...LISTEN, "--tunnel", "no-such-host.invalid:9"], "cannot resolve host"],
  [["ingress", ...LISTEN, "--tunnel"], "--tunnel"],
  [["ingress", "--listen", "192.0.2.1:0", ...TUNNEL], "EADDRNOTAVAIL"],
  [["--max-flows", "0"], "--max-flows expected integer 1..30000"],
  [["--max-flows", "30001"], "--max-flows expected integer 1..30000"],
  [["--clients", "1e3"], "--clients expected integer 1..10000"],
  [["--duration", "0"], "--duration expected seconds"],
  [["--idle-timeout", "-1"], "--idle-timeout"],
  [["--idle-timeout", "soon"], "--idle-timeout expected seconds"],
  [["--backend", "quick"], "expected native or portable"],
];

describe("a bad configuration ends with one line and exit code 2", () => {
  test.concurrent.each(MISTAKES.map(([args, says]) => [args.join(" "), args, says] as const))(
    "%s",
    async (_name, args, says) => {
      const { code, stdout, stderr } = await runProxy(args);
      expect({ code, stdout, lines: stderr.split("\n").length }).toEqual({
        code: 2,
        stdout: "",
        lines: 2,
      });
      expect(stderr).toStartWith("flow-proxy: ");
      expect(stderr).toContain(says);
    },
    60_000,
  );

  test("a port in use, on either backend", async () => {
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

  test("an unknown backend in the environment", async () => {
    const env = { DATAGRAM_SOCKET_BACKEND: "quick" };
    const { code, stderr } = await runProxy([], { env });
    expect([code, stderr.split("\n").length]).toEqual([2, 2]);
  });
});

test("--help prints what there is, and nothing is run", async () => {
  const { code, stdout, stderr } = await runProxy(["--help"]);
  expect([code, stderr]).toEqual([0, ""]);
  for (const word of [
    "ingress",
    "egress",
    "--max-flows",
    "--idle-timeout",
    "--json",
    "Exit codes",
  ]) {
    expect(stdout).toContain(word);
  }
});

describe.each(BACKENDS)("the demonstration, on the %s backend", (backend) => {
  test("says that all answers came back unaltered, and counts the same in both halves", async () => {
    const args = ["--duration", "0.4", "--clients", "16", "--json", "--backend", backend];
    const { code, stdout, stderr } = await runProxy(args);
    expect([code, stderr.split("\n").length]).toEqual([0, 4]);
    const summary = JSON.parse(stdout);
    const { load, ingress, egress } = summary;
    expect([summary.backend, load.altered, load.misdelivered]).toEqual([backend, 0, 0]);
    expect(load.answered + load.lost).toBe(load.sent);
    expect(load.answered).toBeGreaterThan(100);
    expect([ingress.flows, egress.flows]).toEqual([16, 16]);
    if (load.lost === 0) {
      for (const half of [ingress, egress]) {
        expect([half.up.datagrams, half.down.datagrams]).toEqual([load.sent, load.answered]);
      }
    }
  }, 30_000);
});

test("the demonstration prints a line a second, tables, and a verdict at the end", async () => {
  const { code, stdout, stderr } = await runProxy(["--duration", "1.5", "--clients", "8"]);
  expect(code).toBe(0);
  expect(stderr).toMatch(
    /^flows 8 {2}[\d.]+( [kM])? datagrams\/s {2}[\d.]+ Gbit\/s {2}.* drops 0$/m,
  );
  expect(stdout).toMatch(/^flows opened +8 +8$/m);
  expect(stdout).toMatch(/^answers unaltered +[1-9]\d*$/m);
  expect(stdout).toMatch(/\nOK: every answer came back unaltered to the right client; .*\n$/);
}, 30_000);

describe("signals", () => {
  test.each(["SIGINT", "SIGTERM"] as const)(
    "%s ends each part with its summary",
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
      await client.send(Buffer.from("question"));
      const answer = Buffer.alloc(100);
      expect(answer.toString("utf8", 0, await client.recv(answer))).toBe("question");
      const passed = { up: { datagrams: 1 }, down: { datagrams: 1, bytes: 8 } };
      expect(await ingress.stop(signal)).toMatchObject({ code: 0, summary: { ingress: passed } });
      expect(await egress.stop(signal)).toMatchObject({
        code: 0,
        summary: { egress: { flows: 1 } },
      });
      expect(await origin.stop(signal)).toEqual({ code: 0, summary: { answered: 1 } });
    },
    30_000,
  );

  test("the demonstration, too, with what it had by then", async () => {
    await using demo = await RunningProxy.start(["--duration", "3600"]);
    const { code, summary } = await demo.stop("SIGINT");
    expect(summary).toMatchObject({ load: { altered: 0, misdelivered: 0 } });
    // Interrupted before the first answer, it has nothing to call well.
    const { answered } = (summary as { load: { answered: number } }).load;
    expect(code).toBe(answered > 0 ? 0 : 1);
  }, 30_000);
});

test("both halves find out what they are without being told", async () => {
  await using egress = await RunningProxy.start([...LISTEN, "--upstream", "127.0.0.1:9"]);
  await using ingress = await RunningProxy.start([...LISTEN, "--tunnel", egress.address]);
  expect((await egress.stop()).summary).toHaveProperty("egress");
  expect((await ingress.stop()).summary).toHaveProperty("ingress");
}, 30_000);
