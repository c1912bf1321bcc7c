/** `datagram-socket doctor`, as a process: on this machine, and where something is missing. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { BUFFER_BYTES_WANTED } from "../../lib/doctor/remedies.ts";
import { METADATA_PROBES, type Remedy, type Report } from "../../lib/doctor/report.ts";
import { UdpSocket } from "../../lib/index.ts";
import { missing, ROOT, run, testIf } from "../ffi/tools.ts";
import { CHILD_TIMEOUT_MS, type ChildResult, HAS_IPV6, runCommand } from "../tools/sockets.ts";

const PROGRAM = join(ROOT, "lib/doctor/bin.js");
const ESCAPE = "\x1b";
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

/** Variables of the test run that change the report. */
const CLEAN = {
  NO_COLOR: "",
  DATAGRAM_SOCKET_BACKEND: "",
  DATAGRAM_SOCKET_READINESS: "",
  DATAGRAM_SOCKET_OFFLOAD: "",
};

interface Options {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A command that runs the program. */
  readonly prefix?: readonly string[];
}

function runProgram(args: readonly string[], options: Options = {}): Promise<ChildResult> {
  const { flags = [], env = {}, prefix = [] } = options;
  const command = [...prefix, process.execPath, ...flags, PROGRAM, ...args];
  return runCommand(command, { ...CLEAN, ...env });
}

/** Runs `doctor --json`, and checks its exit code. */
async function reportOf(exitCode: number, options: Options = {}): Promise<Report> {
  const result = await runProgram(["doctor", "--json"], options);
  expect([result.exitCode, result.stderr]).toEqual([exitCode, ""]);
  return JSON.parse(result.stdout);
}

/** The largest size that the program requests. */
const REQUEST_MAX_BYTES = 2 ** 30 - 1;

/** Returns a limit of buffers in bytes. */
function limitOf(name: string): number {
  const bytes = Number(readFileSync(`/proc/sys/net/core/${name}`, "utf8"));
  return Math.min(bytes, REQUEST_MAX_BYTES);
}

const commandsOf = (remedies: readonly Remedy[]) => remedies.flatMap(({ commands }) => commands);

const FINDING = { works: expect.any(Boolean), detail: expect.stringMatching(/./) };

describe("datagram-socket doctor on this machine", () => {
  test("--json reports the limits of the kernel, and that what it accepts works", async () => {
    const report = await reportOf(0);
    const buffer = (name: string) => ({
      defaultBytes: limitOf(`${name}_default`),
      requestMaxBytes: limitOf(`${name}_max`),
      maxBytes: 2 * limitOf(`${name}_max`),
    });
    expect(report).toEqual({
      version: manifest.version,
      bun: { version: Bun.version, required: manifest.engines.bun, isSupported: true },
      kernel: { platform: process.platform, release: release(), arch: process.arch },
      backend: { name: "native", reason: null },
      readiness: { mode: "loop", reason: null },
      proc: FINDING,
      families: { IPv4: FINDING, IPv6: FINDING, unix: FINDING },
      offload: { gso: FINDING, gro: FINDING },
      metadata: Object.fromEntries(METADATA_PROBES.map((kind) => [kind, FINDING])) as never,
      buffers: { receive: buffer("rmem"), send: buffer("wmem") },
      loopback: {
        payloadBytes: 1200,
        datagramsPerSecond: expect.any(Number),
        bitsPerSecond: expect.any(Number),
        processorNanoseconds: expect.any(Number),
        datagramsPerSystemCall: expect.any(Number),
      },
      remedies: expect.any(Array),
    });
    // What the kernel accepts, according to the library.
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const accepted: Record<string, boolean> = { ...socket.enableMetadata(), IPv6: HAS_IPV6 };
    const { proc, families, offload, metadata, loopback } = report;
    const findings = Object.entries({ proc, ...families, ...offload, ...metadata });
    for (const [name, { works, detail }] of findings) {
      expect([name, works, detail]).toEqual([name, accepted[name] ?? true, detail]);
    }
    if ("reason" in loopback) throw new Error(loopback.reason);
    expect(loopback.datagramsPerSecond).toBeGreaterThan(0);
    // With GSO, one call sends 64 datagrams, and one receives them.
    expect(loopback.datagramsPerSystemCall).toBeGreaterThan(2);
  });

  test("remedies are printed for the buffers exactly if their limits are low", async () => {
    const commands = commandsOf((await reportOf(0)).remedies);
    for (const name of ["rmem_max", "wmem_max"]) {
      const command = `sysctl -w net.core.${name}=${BUFFER_BYTES_WANTED}`;
      const isLow = limitOf(name) < BUFFER_BYTES_WANTED;
      expect([name, commands.includes(command)]).toEqual([name, isLow]);
    }
  });

  test("the text has no escape sequence without a terminal", async () => {
    const { exitCode, stdout, stderr } = await runProgram(["doctor"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^backend +native$/m);
    expect(stdout).toMatch(/^GSO +yes {2}32 datagrams sent as 1 message$/m);
    expect(stdout).toMatch(/^loopback +[\d,]+ datagrams\/s of 1,200 bytes, /m);
    expect(stdout).not.toContain(ESCAPE);
  });

  testIf(missing("script"))("a terminal shows colours, unless NO_COLOR is set", async () => {
    const onTerminal = (env: Record<string, string>) => {
      const command = `${process.execPath} ${PROGRAM} doctor`;
      const script = ["script", "--quiet", "--return", "--command", command, "/dev/null"];
      return runCommand(script, { ...CLEAN, TERM: "xterm", ...env });
    };
    const [coloured, plain] = await Promise.all([onTerminal({}), onTerminal({ NO_COLOR: "1" })]);
    expect([coloured.exitCode, plain.exitCode]).toEqual([0, 0]);
    expect(coloured.stdout).toContain(`${ESCAPE}[32mnative${ESCAPE}[0m`);
    expect(plain.stdout).toMatch(/^backend +native\r$/m);
    expect(plain.stdout).not.toContain(ESCAPE);
  });
});

describe("datagram-socket doctor where something is missing", () => {
  /** The report of a process without the native backend. */
  function checkPortable(report: Report): void {
    expect(report.backend.name).toBe("portable");
    expect(report.readiness).toEqual({ mode: null, reason: "requires the native backend" });
    expect(report.buffers).toBeNull();
    const { offload, metadata } = report;
    const works = Object.values({ ...offload, ...metadata }).map((finding) => finding.works);
    expect(works).not.toContain(true);
    expect(report.families.IPv4.works).toBe(true);
    expect(report.loopback).toMatchObject({ datagramsPerSystemCall: null });
  }

  test("the portable backend requested: exit code 1, and how to undo that", async () => {
    const report = await reportOf(1, { env: { DATAGRAM_SOCKET_BACKEND: "portable" } });
    checkPortable(report);
    expect(report.backend.reason).toBe("DATAGRAM_SOCKET_BACKEND is portable");
    expect(commandsOf(report.remedies)).toContain("unset DATAGRAM_SOCKET_BACKEND");
  });

  test("--no-ffi-cc: exit code 1, the reason, and a command without it", async () => {
    const report = await reportOf(1, { flags: ["--no-ffi-cc"] });
    checkPortable(report);
    expect(report.backend.reason).toContain("ERR_FFI_CC_DISABLED");
    expect(commandsOf(report.remedies)).toContain("bun x datagram-socket doctor");
  });

  test("offload and readiness switched off: how to undo that, and exit code 0", async () => {
    const env = { DATAGRAM_SOCKET_OFFLOAD: "off", DATAGRAM_SOCKET_READINESS: "thread" };
    const { offload, readiness, remedies } = await reportOf(0, { env });
    expect([offload.gso.works, offload.gro.works]).toEqual([false, false]);
    expect(offload.gso.detail).toContain("DATAGRAM_SOCKET_OFFLOAD is off");
    expect(readiness.mode).toBe("thread");
    const commands = commandsOf(remedies);
    expect(commands).toContain("unset DATAGRAM_SOCKET_OFFLOAD");
    expect(commands).toContain("unset DATAGRAM_SOCKET_READINESS");
  });

  test("an invalid environment variable: exit code 2, and one line", async () => {
    const env = { DATAGRAM_SOCKET_OFFLOAD: "maybe" };
    const { exitCode, stdout, stderr } = await runProgram(["doctor"], { env });
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toBe(
      'datagram-socket: "DATAGRAM_SOCKET_OFFLOAD" expected "on" or "off", got "maybe"\n',
    );
  });

  testIf(cannotUnshare())(
    "no loopback interface, then no IPv6: each remedy, run as it is, repairs its problem",
    () => {
      const doctor = `${process.execPath} ${PROGRAM} doctor --json`;
      // Each report is printed after a line with a dash. The commands come from the report.
      const firstCommand = "JSON.parse(process.argv[1]).remedies[0].commands[0]";
      const apply = `${process.execPath} -p '${firstCommand}' --`;
      const script = `
        first=$(${doctor}); echo "$first"; sh -c "$(${apply} "$first")" >&2
        echo -; sysctl -qw net.ipv6.conf.all.disable_ipv6=1
        second=$(${doctor}); echo "$second"; sh -c "$(${apply} "$second")" >&2
        echo -; ${doctor}`;
      const { code, out, err } = run(["unshare", "--net", "sh", "-c", script], { env: CLEAN });
      expect([code, err]).toEqual([0, "net.ipv6.conf.all.disable_ipv6 = 0\n"]);
      const reports = out.split("\n-\n").map((text) => JSON.parse(text) as Report);
      const works = reports.map(({ families: { IPv4, IPv6 } }) => [IPv4.works, IPv6.works]);
      expect(works).toEqual([
        [false, false],
        [true, false],
        [true, true],
      ]);
      const [first, second, third] = reports as [Report, Report, Report];
      expect(first.remedies[0]?.commands).toEqual(["ip link set lo up"]);
      expect(first.offload.gso.works).toBe(false);
      expect(first.loopback).toEqual({ reason: expect.stringContaining("ENETUNREACH") });
      expect(second.remedies[0]?.containerOptions).toEqual([
        "--sysctl net.ipv6.conf.all.disable_ipv6=0",
      ]);
      expect(second.metadata.ecn.works).toBe(true);
      const problems = third.remedies.map(({ problem }) => problem);
      expect(problems.filter((problem) => /IPv6|loopback/.test(problem))).toEqual([]);
    },
    CHILD_TIMEOUT_MS,
  );

  testIf(process.getuid?.() === 0 ? missing("setpriv") : "not root")(
    "a process without capabilities: the native backend, and marks cannot be set",
    async () => {
      const ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
      const prefix = ["setpriv", ...ids, "--inh-caps=-all", "--bounding-set=-all"];
      const { backend, metadata } = await reportOf(0, { prefix });
      expect(backend.name).toBe("native");
      expect(metadata.mark.detail).toMatch(/EPERM$|refuses the socket option$/);
      expect(metadata.ecn.works).toBe(true);
    },
  );
});

describe("the arguments of datagram-socket", () => {
  for (const [args, message] of [
    [[], "a command is missing"],
    [["cure"], 'unknown command "cure"'],
    [["doctor", "now"], 'unexpected argument "now"'],
    [["doctor", "--xml"], "Unknown option '--xml'"],
    [["doctor", "--json=yes"], "--json"],
  ] as const) {
    test(`"${args.join(" ")}" is refused with the usage and exit code 2`, async () => {
      const { exitCode, stdout, stderr } = await runProgram(args);
      expect([exitCode, stdout]).toEqual([2, ""]);
      expect(stderr).toStartWith("datagram-socket: ");
      expect(stderr.split("\n")[0]).toContain(message);
      expect(stderr).toContain("\n\nUsage: datagram-socket doctor");
    });
  }

  test("--help prints the usage", async () => {
    for (const args of [["--help"], ["doctor", "--help"]]) {
      const { exitCode, stdout, stderr } = await runProgram(args);
      expect([exitCode, stderr]).toEqual([0, ""]);
      expect(stdout).toStartWith("Usage: datagram-socket doctor");
    }
  });

  test("--version prints the version of package.json", async () => {
    const { version } = await Bun.file(join(import.meta.dir, "../../package.json")).json();
    const { exitCode, stdout, stderr } = await runProgram(["--version"]);
    expect([exitCode, stdout, stderr]).toEqual([0, `${version}\n`, ""]);
  });
});

describe("bin.js under Node", () => {
  const testWithNode = testIf(missing("node"));

  testWithNode(
    "says in one line that Bun is required if there is none, with exit code 1",
    async () => {
      const env = { npm_config_user_agent: "npm/10.8.2 node/v20.20.2 linux x64", PATH: "/nowhere" };
      const command = [Bun.which("node") as string, PROGRAM, "doctor"];
      const { exitCode, stdout, stderr } = await runCommand(command, env);
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toBe(`datagram-socket requires ${bunRange()}: https://bun.sh\n`);
    },
  );

  testWithNode("starts Bun if bunx has started it, with its arguments and exit code", async () => {
    const env = { npm_config_user_agent: "bun/1.4.5", npm_execpath: process.execPath };
    const { exitCode, stderr } = await runCommand(["node", PROGRAM, "cure"], env);
    expect([exitCode, stderr.split("\n")[0]]).toEqual([
      2,
      'datagram-socket: unknown command "cure"',
    ]);
  });
});

/** Returns the range of package.json as text: "Bun >= 1.4.3". */
function bunRange(): string {
  return manifest.engines.bun.replace(">=", "Bun >= ");
}

function cannotUnshare(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const reason = missing("unshare", "ip", "sysctl");
  if (reason !== undefined) return reason;
  return run(["unshare", "--net", "true"]).code === 0 ? undefined : "unshare is not permitted";
}
