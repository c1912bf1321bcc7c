/**
 * System calls that fail although the kernel has no reason to: strace makes every n-th call of a
 * kind fail, or return a smaller count, without executing it. No crash, no hang; no datagram is
 * lost or delivered twice without a count, and each error reaches the caller whose datagram failed.
 */

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryDirectory } from "../ffi/tools.ts";
import { runProxy } from "../flow-proxy/proxy-process.ts";
import { type Parts, Program, some, TEST_TIMEOUT_MS } from "./tools.ts";
import type { ReceiveApi, SendApi, SendReport, TallyReport } from "./traffic.ts";

/** Returns why processes cannot be traced here. */
function reasonToSkip(): string | undefined {
  if (Bun.which("strace") === null) return "no strace";
  const inject = ["-e", "trace=getppid", "-e", "inject=getppid:error=EPERM"];
  const { exitCode, stderr } = Bun.spawnSync(["strace", "-f", "-qq", ...inject, "true"]);
  return exitCode === 0 ? undefined : stderr.toString();
}

const reason = reasonToSkip();
if (reason !== undefined) console.warn(`tests of injected errors are skipped: ${reason}`);

/** Returns the command that injects a fault, such as `"sendmmsg:error=EINTR:when=2+3"`. */
function injecting(fault: string, log: string): string[] {
  const [call] = fault.split(":");
  const filter = ["-e", `trace=${call}`, "-e", "signal=none", "-e", `inject=${fault}`];
  return ["strace", "-f", "-qq", "-o", log, "--seccomp-bpf", ...filter];
}

/** Returns the number of calls that strace has changed. */
function injectedCalls(log: string): number {
  return readFileSync(log, "utf8").match(/\(INJECTED/g)?.length ?? 0;
}

/** The sockets and calls of a run, both ends in one process. */
interface Scenario {
  readonly kind: "udp" | "udp6" | "unix";
  readonly api: SendApi;
  readonly receiveApi: ReceiveApi;
  readonly sendErrors?: "throw" | "drop";
  readonly offload?: boolean;
  readonly count: number;
  /** As in `SendPlan`. Default 16 and 0. */
  readonly perCall?: number;
  readonly pauseMs?: number;
}

interface Outcome {
  readonly sent: SendReport;
  readonly got: TallyReport;
  /** The errors of receives, by code. */
  readonly receiveErrors: Readonly<Record<string, number>>;
}

interface InjectedOutcome extends Outcome {
  /** The number of calls that failed by injection. */
  readonly injected: number;
}

/** Sends and receives in a process with injected faults. */
async function runInjected(
  fault: string,
  scenario: Scenario,
  env: Record<string, string> = {},
): Promise<InjectedOutcome> {
  using directory = temporaryDirectory();
  const log = join(directory.path, "strace");
  await using program = Program.start(
    undefined,
    async ({ lib, traffic }, scenario: Scenario): Promise<Outcome> => {
      const { sender, receiver } = await traffic.openPair(lib, scenario);
      const tally = new traffic.Tally();
      const receiveErrors: Record<string, number> = {};
      const receiving = traffic.receiveWithErrors(
        lib,
        receiver,
        scenario.receiveApi,
        (bytes, code) => {
          if (bytes !== undefined) tally.add(bytes);
          else receiveErrors[code] = (receiveErrors[code] ?? 0) + 1;
        },
      );
      const plan = { ...scenario, perCall: scenario.perCall ?? 16, pauseMs: scenario.pauseMs ?? 0 };
      const sent = await traffic.sendNumbered(lib, sender, plan);
      for (let before = -1; before !== tally.received; ) {
        before = tally.received;
        await Bun.sleep(300);
      }
      receiver.close();
      sender.close();
      await receiving;
      return { sent, got: tally.report(), receiveErrors };
    },
    scenario,
    { prefix: injecting(fault, log), env },
  );
  const outcome = await program.result();
  return { ...outcome, injected: injectedCalls(log) };
}

/** Checks that every datagram was delivered once, refused to its caller, or dropped by option. */
function expectAccounted({ sent, got, injected }: InjectedOutcome, count: number): void {
  expect(injected).toBeGreaterThan(0);
  expect(sent.accepted + sent.refused.length).toBe(count);
  expect(sent.counters.datagramsSent + sent.counters.sendDrops).toBe(sent.accepted);
  expect(got.distinct).toBe(sent.counters.datagramsSent);
  expect([got.received - got.distinct, got.late, got.altered]).toEqual([0, 0, 0]);
  const isDelivered = (number: number) =>
    got.ranges.some(([first, last]) => first <= number && number <= last);
  expect(sent.refused.filter(([number]) => isDelivered(number))).toEqual([]);
}

const COUNT = 200;
const UDP = { kind: "udp", api: "sendMany", receiveApi: "recvMany", count: COUNT } as const;
const SCENARIOS: readonly Scenario[] = some(
  [
    UDP,
    { ...UDP, kind: "udp6", api: "send", receiveApi: "recvFrom", offload: false },
    { ...UDP, api: "sendBatch", receiveApi: "recvBatch", sendErrors: "drop" },
    { ...UDP, api: "send", receiveApi: "recvFrom", sendErrors: "drop" },
    { ...UDP, kind: "unix", receiveApi: "batches" },
    { ...UDP, kind: "unix", api: "send", receiveApi: "recvFrom" },
  ],
  2,
);

describe.skipIf(reason !== undefined)("injected errors of sendmmsg and sendto", () => {
  const FAULTS = some(["EPERM", "ENOBUFS", "EIO", "EINTR", "EAGAIN", "ENOMEM", "EMSGSIZE"], 3);
  const CASES = FAULTS.flatMap((fault) => SCENARIOS.map((scenario) => [fault, scenario] as const));

  test.each(CASES)(
    "every third call fails with %s: sent = delivered + refused or dropped, none twice (%o)",
    async (fault, scenario) => {
      const call = scenario.api === "send" ? "sendto" : "sendmmsg";
      const outcome = await runInjected(`${call}:error=${fault}:when=2+3`, scenario);
      expectAccounted(outcome, COUNT);
      const codes = outcome.sent.refused.map(([, code]) => code);
      const all = new Set([...codes, ...Object.keys(outcome.sent.dropsByCode)]);
      // These are repeated. A GSO message that is refused is sent again without GSO.
      if (fault === "EINTR" || fault === "EAGAIN") expect([...all]).toEqual([]);
      else for (const code of all) expect(code).toBe(fault);
      expect(outcome.receiveErrors).toEqual({});
    },
    TEST_TIMEOUT_MS,
  );

  test.each(some(["ENOBUFS", "EINTR", "ENOMEM", "EIO"], 2))(
    "every call from the tenth on fails with %s: the calls end, each datagram's caller gets it",
    async (fault) => {
      const scenario = { ...UDP, offload: false } as const;
      const outcome = await runInjected(`sendmmsg:error=${fault}:when=10+`, scenario);
      expectAccounted(outcome, COUNT);
      expect(new Set(outcome.sent.refused.map(([, code]) => code))).toEqual(new Set([fault]));
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "partial batches: the remaining datagrams are sent, and the counts are those of the kernel",
    async () => {
      // The kernel did nothing in such a call, so the datagram that it claims to have sent is lost.
      const scenario = { ...UDP, offload: false, receiveApi: "recvBatch" } as const;
      const outcome = await runInjected("sendmmsg:retval=1:when=2+4", scenario);
      const { sent, got } = outcome;
      expect([sent.accepted, sent.refused, sent.counters.datagramsSent]).toEqual([
        COUNT,
        [],
        COUNT,
      ]);
      const lost = COUNT - got.distinct;
      expect(lost).toBeGreaterThan(0);
      expect(lost).toBe(outcome.injected);
      expect([got.received - got.distinct, got.late, got.altered]).toEqual([0, 0, 0]);
      // One datagram per injected call, never two in a row.
      expect(got.ranges.length).toBeGreaterThanOrEqual(lost);
    },
    TEST_TIMEOUT_MS,
  );
});

describe.skipIf(reason !== undefined)("injected errors of recvmmsg", () => {
  const FAULTS = some(["EAGAIN", "ENOMEM", "EINTR", "EIO", "ENOBUFS"], 2);
  const CASES = FAULTS.flatMap((fault) => SCENARIOS.map((scenario) => [fault, scenario] as const));

  test.each(CASES)(
    "every third call fails with %s: sent = delivered, the error reaches a receive (%o)",
    async (fault, scenario) => {
      const spaced = { ...scenario, perCall: 4, pauseMs: 1 };
      const outcome = await runInjected(`recvmmsg:error=${fault}:when=8+3`, spaced);
      expectAccounted(outcome, COUNT);
      const codes = Object.keys(outcome.receiveErrors);
      if (fault === "EINTR" || fault === "EAGAIN") expect(codes).toEqual([]);
      else expect(codes.every((code) => code === fault)).toBe(true);
    },
    TEST_TIMEOUT_MS,
  );
});

describe.skipIf(reason !== undefined)("injected errors of epoll", () => {
  const MODES = some(["loop", "thread"]);
  const FAULTS = ["epoll_wait:error=EINTR:when=1+2", "epoll_ctl:error=ENOMEM:when=13+2"];
  const CASES = MODES.flatMap((mode) => FAULTS.map((fault) => [mode, fault] as const));
  test.each(CASES)(
    "mode %s, %s: full queues and waiting receivers continue, all datagrams are delivered",
    async (mode, fault) => {
      const scenario = { ...UDP, kind: "unix", receiveApi: "recvFrom", pauseMs: 1 } as const;
      const outcome = await runInjected(fault, scenario, { DATAGRAM_SOCKET_READINESS: mode });
      expectAccounted(outcome, COUNT);
      expect(outcome.got.distinct).toBe(COUNT);
    },
    TEST_TIMEOUT_MS,
  );
});

describe.skipIf(reason !== undefined)("injected errors of sendmmsg() and recvmmsg()", () => {
  const FAULTS = ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"].flatMap((error) =>
    ["sendmmsg", "recvmmsg"].map((call) => `${call}:error=${error}:when=6+3`),
  );
  test.each(some(FAULTS, 4))(
    "%s on descriptors of the caller: sent = delivered, errors are thrown once",
    async (fault) => {
      using directory = temporaryDirectory();
      const log = join(directory.path, "strace");
      await using program = Program.start(undefined, exchangeByDescriptor, COUNT, {
        prefix: injecting(fault, log),
      });
      const { sent, refused, got, errors } = await program.result();
      expect(injectedCalls(log)).toBeGreaterThan(0);
      expect(sent + refused.length).toBe(COUNT);
      expect(got).toMatchObject({ received: sent, distinct: sent, late: 0, altered: 0 });
      const isRepeated = /EINTR|EAGAIN/.test(fault);
      if (isRepeated) expect([refused, errors]).toEqual([[], []]);
      for (const code of [...refused, ...errors]) expect(fault).toContain(`error=${code}:`);
    },
    TEST_TIMEOUT_MS,
  );
});

/** Sends and receives `count` datagrams with `pollSendmmsg` and `pollRecvmmsg`. */
async function exchangeByDescriptor({ lib, traffic }: Parts, count: number) {
  const { sender, receiver } = await traffic.openPair(lib, { kind: "udp", offload: false });
  const sendFd = sender.intoFd() as number;
  const recvFd = receiver.intoFd() as number;
  using writable = await lib.AsyncFd.open(sendFd);
  using readable = await lib.AsyncFd.open(recvFd);
  const tally = new traffic.Tally();
  const errors: string[] = [];
  let isDone = false;
  const receiving = (async () => {
    const bufs = Array.from({ length: 8 }, () => new Uint8Array(100));
    const meta = bufs.map(() => new lib.RecvMeta());
    while (!isDone) {
      try {
        const received = await lib.pollFn((waker) => lib.pollRecvmmsg(readable, waker, bufs, meta));
        for (let i = 0; i < received; i++) {
          tally.add((bufs[i] as Uint8Array).subarray(0, meta[i]?.length));
        }
      } catch (error) {
        const { code } = error as { code: string };
        if (code !== "ERR_SOCKET_CLOSED") errors.push(code);
      }
    }
  })();
  const refused: string[] = [];
  let sent = 0;
  for (let next = 0; next < count; ) {
    const bufs = Array.from({ length: 4 }, (_, i) => traffic.numbered(next + i, 100));
    try {
      const result = await lib.pollFn((waker) => lib.pollSendmmsg(writable, waker, bufs));
      sent += result;
      next += result;
    } catch (error) {
      refused.push((error as { code: string }).code);
      next++;
    }
    await Bun.sleep(1);
  }
  for (let before = -1; before !== tally.received; ) {
    before = tally.received;
    await Bun.sleep(200);
  }
  isDone = true;
  readable.close();
  await receiving;
  return { sent, refused, got: tally.report(), errors };
}

describe.skipIf(reason !== undefined)("injected errors of the flow proxy", () => {
  const FAULTS = some([
    ["sendmmsg", "EPERM", 7],
    ["recvmmsg", "ENOMEM", 7],
    ["recvmmsg", "EINTR", 3],
    ["epoll_ctl", "ENOMEM", 3],
  ] as const);
  test.each(FAULTS)(
    "%s fails with %s, every %d calls: requests = replies + refused sends, replies are unaltered",
    async (call, error, step) => {
      using directory = temporaryDirectory();
      const log = join(directory.path, "strace");
      const prefix = injecting(`${call}:error=${error}:when=100+${step}`, log);
      const args = ["--duration", "1", "--clients", "16", "--json"];
      const { code, stdout, stderr } = await runProxy(args, { prefix });
      if (code !== 0) throw new Error(`exit code 0 expected, got ${code}: ${stderr}`);
      const { requests, replies, late, altered, misdelivered } = JSON.parse(stdout).load;
      expect([altered, misdelivered]).toEqual([0, 0]);
      expect(replies).toBeGreaterThan(0);
      // Every refused call of a socket of the proxy drops one datagram, and sends the others.
      const injected = injectedCalls(log);
      expect(injected).toBeGreaterThan(0);
      expect(requests - replies - late).toBe(call === "sendmmsg" ? injected : 0);
    },
    TEST_TIMEOUT_MS,
  );
});

describe.skipIf(reason !== undefined)("injected errors of wake-ups", () => {
  // The helper thread of mode "thread" notifies the event loop with a byte on a socket. In mode
  // "loop", Bun itself waits for the library's events.
  test.each([
    ["thread", "sendto:error=ENOBUFS:when=3+3"],
    ["thread", "sendto:error=ENOMEM:when=3+2"],
    ["thread", "epoll_wait:error=EINTR:when=1+2"],
    ["loop", "epoll_pwait2:error=EINTR:when=3+3"],
  ] as const)(
    "mode %s, %s: every waiting receive returns its datagram, with nothing else to wake it",
    async (mode, fault) => {
      using directory = temporaryDirectory();
      const log = join(directory.path, "strace");
      await using program = Program.start(
        undefined,
        async ({ lib, traffic }) => {
          const { sender, receiver } = await traffic.openPair(lib, { kind: "udp" });
          for (let i = 0; i < 30; i++) {
            const received = receiver.recv(new Uint8Array(10));
            await Bun.sleep(2);
            // By `sendmmsg`, in which no error is injected.
            await sender.sendMany([new Uint8Array(10)]);
            await received;
          }
          return 30;
        },
        null,
        { prefix: injecting(fault, log), env: { DATAGRAM_SOCKET_READINESS: mode } },
      );
      expect(await program.result()).toBe(30);
      expect(injectedCalls(log)).toBeGreaterThan(0);
    },
    TEST_TIMEOUT_MS,
  );
});

describe.skipIf(reason !== undefined)("an injected error while sockets are opened", () => {
  /** Opens and closes sockets, and exchanges a datagram. Returns the errors and descriptors. */
  async function openRepeatedly({ lib, traffic }: Parts, kind: "udp" | "unix") {
    const { readdirSync } = await import("node:fs");
    const errors: string[] = [];
    let exchanged = 0;
    for (let round = 0; round < 5; round++) {
      try {
        const pair = await traffic.openPair(lib, { kind });
        using sender = pair.sender;
        using receiver = pair.receiver;
        await sender.send(new Uint8Array(10));
        await receiver.recv(new Uint8Array(10));
        exchanged++;
      } catch (error) {
        errors.push(error instanceof lib.SocketError ? error.code : `${error}`);
      }
    }
    return { errors, exchanged, descriptors: readdirSync("/proc/self/fd").length };
  }

  const CALLS = some(
    [
      "socket",
      "bind",
      "setsockopt",
      "getsockname",
      "getsockopt",
      "fcntl",
      "getpeername",
      "epoll_create1",
    ],
    3,
  );
  const CASES = CALLS.flatMap((call) =>
    some([3, 5, 1, 2, 4, 6, 8, 10, 12], 2).map((when) => [call, when] as const),
  ).filter(([call, when]) => call !== "epoll_create1" || when === 2);
  /** The open descriptors after such a run without errors, in each readiness mode. */
  const expected: number[] = [];
  beforeAll(async () => {
    for (const mode of ["loop", "thread"]) {
      const env = { DATAGRAM_SOCKET_READINESS: mode };
      await using program = Program.start(undefined, openRepeatedly, "udp", { env });
      expected.push((await program.result()).descriptors);
    }
  });

  test.each(CASES)(
    "%s, call %d: at most one bind fails, with that error; the next succeed, no descriptor leaks",
    async (call, when) => {
      using directory = temporaryDirectory();
      const log = join(directory.path, "strace");
      const prefix = injecting(`${call}:error=ENOBUFS:when=${when}`, log);
      await using program = Program.start(undefined, openRepeatedly, "udp", { prefix });
      const outcome = await program.result();
      expect(outcome.errors.length).toBeLessThanOrEqual(1);
      expect(outcome.errors.every((code) => code === "ENOBUFS")).toBe(true);
      expect(outcome.exchanged).toBe(5 - outcome.errors.length);
      // A mode of readiness that cannot be set up is replaced by the other.
      expect(expected).toContain(outcome.descriptors);
    },
    TEST_TIMEOUT_MS,
  );
});
