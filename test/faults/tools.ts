/**
 * Tools of the fault suite: programs in network namespaces that the test talks to while they run,
 * firewall rules and their counters, the kernel's counters, and helpers written in C.
 */

import { join } from "node:path";
import { LINKS, type Namespaces, reasonToSkip, run } from "../net/namespaces.ts";
import type * as traffic from "./traffic.ts";

type Library = typeof import("../../lib/index.ts");

const LIB = join(import.meta.dir, "../../lib/index.ts");
const NATIVE = join(import.meta.dir, "../../ffi/native.ts");
const TRAFFIC = join(import.meta.dir, "traffic.ts");

/** How long a program may run before it is killed. */
const PROGRAM_TIMEOUT_MS = 50_000;

/** The timeout of a test, longer than that of its programs. */
export const TEST_TIMEOUT_MS = 60_000;

/** Whether only the shortened suite is to be run: FAULTS=short. */
export const IS_SHORT: boolean = process.env.FAULTS === "short";

/** Returns `full`, or `short` in the shortened suite. */
export function amount(full: number, short: number): number {
  return IS_SHORT ? short : full;
}

/** Returns `full`, or its first `count` elements in the shortened suite. */
export function some<T>(full: readonly T[], count = 1): readonly T[] {
  return IS_SHORT ? full.slice(0, count) : full;
}

/** Returns why the tests of `subject` cannot run here, and prints it. */
export function skipReason(subject: string, tools: readonly string[] = []): string | undefined {
  const reason = reasonToSkip(tools);
  if (reason !== undefined) console.warn(`${subject} are skipped: ${reason}`);
  return reason;
}

/** The addresses of one address family. The sender has host number 1, the receiver 2. */
export interface Family {
  /** The sender's address on the near link. */
  readonly local: string;
  /** The receiver's addresses on the two links. */
  readonly near: string;
  readonly far: string;
  readonly any: string;
  readonly loopback: string;
  /** The name of the family in firewall rules. */
  readonly nft: string;
}

/** The addresses by family. */
export const FAMILIES: { readonly IPv4: Family; readonly IPv6: Family } = {
  IPv4: {
    local: `${LINKS.near.network}1`,
    near: `${LINKS.near.network}2`,
    far: `${LINKS.far.network}2`,
    any: "0.0.0.0",
    loopback: "127.0.0.1",
    nft: "ip",
  },
  IPv6: {
    local: `${LINKS.near.network6}1`,
    near: `${LINKS.near.network6}2`,
    far: `${LINKS.far.network6}2`,
    any: "::",
    loopback: "::1",
    nft: "ip6",
  },
};

/** Returns both address families; in the shortened suite only the given one. */
export function families(short: "IPv4" | "IPv6"): ("IPv4" | "IPv6")[] {
  return IS_SHORT ? [short] : ["IPv4", "IPv6"];
}

// ------------------------------------------------------------------------------ programs ----

/** The end of a program's conversation with the test. */
export interface Talk {
  /** Sends a value to the test. */
  say(value: unknown): void;
  /** Waits for the next value from the test. */
  hear(): Promise<unknown>;
}

/** What a program gets. */
export interface Parts {
  readonly lib: Library;
  readonly traffic: typeof traffic;
  readonly talk: Talk;
  /** Advances the clock of the library. */
  readonly clock: { offsetMs: number };
}

/** Options of a program. */
export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** A command to prepend, such as `["strace", "-e", ...]`. */
  readonly prefix?: readonly string[];
}

/**
 * A function of the test in a process of its own. It is passed as source text: it may use its
 * parameters only, not the variables around it. Its result must be JSON.
 */
export class Program<Result> implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Promise<string>;

  private constructor(child: Bun.Subprocess<"pipe", "pipe", "pipe">) {
    this.#child = child;
    this.#lines = linesOf(child.stdout);
    this.#errors = new Response(child.stderr).text();
  }

  /** Starts `main` in a namespace, or in this one. */
  static start<Argument, Result>(
    namespace: string | undefined,
    main: (parts: Parts, argument: Argument) => Promise<Result>,
    argument: Argument,
    { env = {}, prefix = [] }: ProgramOptions = {},
  ): Program<Result> {
    const source = `
      // The library reads the clock of the system through its shim.
      const { Native } = await import(${JSON.stringify(NATIVE)});
      const { monotonicMs } = Native.prototype;
      const clock = { offsetMs: 0 };
      Native.prototype.monotonicMs = function () {
        return monotonicMs.call(this) + clock.offsetMs;
      };
      const lib = await import(${JSON.stringify(LIB)});
      const traffic = await import(${JSON.stringify(TRAFFIC)});
      const talk = traffic.makeTalk();
      const result = await (${main})({ lib, traffic, talk, clock }, ${JSON.stringify(argument)});
      const line = JSON.stringify({ result: result ?? null }) + "\\n";
      process.stdout.write(line, () => process.exit(0));`;
    const enter = namespace === undefined ? [] : ["ip", "netns", "exec", namespace];
    const child = Bun.spawn([...enter, ...prefix, process.execPath, "-e", source], {
      env: { ...process.env, ...env },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      timeout: PROGRAM_TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    return new Program<Result>(child);
  }

  /** The process ID; with a prefix such as strace, that of the prefix. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Waits for the next value that the program says. */
  async said<T>(): Promise<T> {
    const line = await this.#next();
    if (!("said" in line)) throw new Error(`expected a value, got ${JSON.stringify(line)}`);
    return line.said as T;
  }

  /** Sends a value to the program. */
  tell(value: unknown = null): void {
    this.#child.stdin.write(`${JSON.stringify(value)}\n`);
    this.#child.stdin.flush();
  }

  /** Waits for the end of the program, and returns its result. */
  async result(): Promise<Result> {
    const line = await this.#next();
    if (!("result" in line)) throw new Error(`expected the result, got ${JSON.stringify(line)}`);
    return line.result as Result;
  }

  async #next(): Promise<{ said?: unknown; result?: unknown }> {
    const { value, done } = await this.#lines.next();
    if (!done) return JSON.parse(value);
    const code = await this.#child.exited;
    const signal = this.#child.signalCode;
    throw new Error(`the program ended: exit code ${code}, ${signal}: ${await this.#errors}`);
  }

  /** Sends a signal. */
  kill(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGCONT");
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n")) {
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      if (line.startsWith("{")) yield line;
    }
  }
  return undefined;
}

/** The options of a receiver. */
export interface ReceiverOptions {
  readonly hostname: string;
  readonly port?: number;
  /** The way to receive. Default `"batches"`. */
  readonly api?: traffic.ReceiveApi;
  readonly backend?: "native" | "portable";
  readonly receiveBufferBytes?: number;
  readonly gro?: boolean;
  /** Whether to send every datagram back to its source. */
  readonly echoes?: boolean;
  /** Pauses after each receive, so that the receive buffer overflows. */
  readonly pauseMs?: number;
}

/** A receiver process that counts numbered datagrams, see `traffic.Tally`. */
export class Receiver implements AsyncDisposable {
  readonly port: number;
  readonly #program: Program<traffic.ReceiveReport>;

  private constructor(program: Program<traffic.ReceiveReport>, port: number) {
    this.#program = program;
    this.port = port;
  }

  static async start(namespace: string, options: ReceiverOptions): Promise<Receiver> {
    const program = Program.start(
      namespace,
      ({ lib, traffic, talk }, options: ReceiverOptions) => traffic.receive(lib, talk, options),
      options,
    );
    return new Receiver(program, await program.said<number>());
  }

  /** Ends the receiver once no datagram has arrived for a while, and returns its counts. */
  report(): Promise<traffic.ReceiveReport> {
    this.#program.tell("report");
    return this.#program.result();
  }

  kill(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT" = "SIGKILL"): void {
    this.#program.kill(signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]();
  }
}

/** The socket of a sender. */
export interface SenderOptions {
  readonly hostname: string;
  readonly port: number;
  /** Default: connected. */
  readonly isConnected?: boolean;
  readonly bind?: Parameters<Library["UdpSocket"]["bind"]>[0];
  /** Whether to set an `onTransportError` handler. */
  readonly handlesErrors?: boolean;
}

/** A sender process: a socket that sends when the test says so. */
export class Sender implements AsyncDisposable {
  readonly #program: Program<null>;
  readonly localPort: number;

  private constructor(program: Program<null>, localPort: number) {
    this.#program = program;
    this.localPort = localPort;
  }

  static async start(
    namespace: string | undefined,
    options: SenderOptions,
    programOptions?: ProgramOptions,
  ): Promise<Sender> {
    const program = Program.start(
      namespace,
      (parts, options: SenderOptions) => parts.traffic.serve(parts, options),
      options,
      programOptions,
    );
    return new Sender(program, await program.said<number>());
  }

  /** Sends numbered datagrams. The counters in the result are those of this call. */
  send(plan: traffic.SendPlan): Promise<traffic.SendReport> {
    this.#program.tell({ send: plan });
    return this.#program.said();
  }

  /** Returns the errors that were passed to the `onTransportError` handler so far. */
  transportErrors(): Promise<traffic.ReportedError[]> {
    this.#program.tell({ errors: true });
    return this.#program.said();
  }

  /** Advances the clock of the process, see `Parts.clock`. */
  advanceClock(ms: number): Promise<void> {
    this.#program.tell({ advanceMs: ms });
    return this.#program.said();
  }

  kill(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT" = "SIGKILL"): void {
    this.#program.kill(signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]();
  }
}

/** Sends numbered datagrams from a process in a namespace. */
export async function send(
  namespace: string,
  options: SenderOptions & traffic.SendPlan,
): Promise<traffic.SendReport> {
  await using sender = await Sender.start(namespace, options);
  return await sender.send(options);
}

// -------------------------------------------------------------------------- network tools ----

/** Runs a command on a host, and ignores its failure. */
export function attempt(command: string): void {
  Bun.spawnSync(command.split(" "));
}

/** Adds firewall rules, one nft command per element. */
export function nft(namespace: string, rules: readonly string[]): void {
  const command = ["ip", "netns", "exec", namespace, "nft", "-f", "-"];
  const { exitCode, stderr } = Bun.spawnSync(command, { stdin: Buffer.from(rules.join("\n")) });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

/** Returns the sum of all packet counters of the firewall rules. */
export function nftPackets(namespace: string): number {
  const text = run(`ip netns exec ${namespace} nft list ruleset`);
  let sum = 0;
  for (const [, packets] of text.matchAll(/counter packets (\d+)/g)) sum += Number(packets);
  return sum;
}

/** Returns the number of packets that the root queue of a device has dropped. */
export function qdiscDrops(namespace: string, device: string): number {
  const text = run(`tc -n ${namespace} -s qdisc show dev ${device} root`);
  return Number(/dropped (\d+)/.exec(text)?.[1]);
}

/** The kernel's UDP counters of a namespace, both families (/proc/net/snmp and snmp6). */
export interface UdpMib {
  readonly inDatagrams: number;
  readonly rcvbufErrors: number;
  readonly noPorts: number;
  readonly inCsumErrors: number;
}

/** Reads the kernel's UDP counters. */
export function udpMib(namespace: string): UdpMib {
  const text = run(`ip netns exec ${namespace} cat /proc/net/snmp`);
  const [names = "", values = ""] = text.split("\n").filter((line) => line.startsWith("Udp: "));
  const value = (name: string) => Number(values.split(" ")[names.split(" ").indexOf(name)]);
  const text6 = run(`ip netns exec ${namespace} cat /proc/net/snmp6`);
  const value6 = (name: string) =>
    Number(new RegExp(`^Udp6${name}\\s+(\\d+)`, "m").exec(text6)?.[1]);
  const both = (name: string) => value(name) + value6(name);
  return {
    inDatagrams: both("InDatagrams"),
    rcvbufErrors: both("RcvbufErrors"),
    noPorts: both("NoPorts"),
    inCsumErrors: both("InCsumErrors"),
  };
}

/**
 * Makes the neighbours permanent: while one is being resolved, the kernel queues packets of its
 * own, and drops those beyond a limit without a counter of the socket.
 */
export function pinNeighbours(namespaces: Namespaces): void {
  for (const { device, network, network6 } of Object.values(LINKS)) {
    for (const [host, other, number] of [
      ["sender", "receiver", 2],
      ["receiver", "sender", 1],
    ] as const) {
      const mac = namespaces.exec(other, `cat /sys/class/net/${device}/address`).trim();
      for (const address of [`${network}${number}`, `${network6}${number}`]) {
        const entry = `${address} lladdr ${mac} dev ${device} nud permanent`;
        run(`ip -n ${namespaces[host]} neigh replace ${entry}`);
      }
    }
  }
}

/** Makes the kernel segment GSO messages before they reach a device: a packet is a datagram. */
export function disableSegmentation(namespaces: Namespaces): void {
  for (const host of ["sender", "receiver"] as const) {
    for (const device of Object.keys(LINKS)) {
      namespaces.exec(host, `ethtool -K ${device} tx-udp-segmentation off`);
    }
  }
}

/** Forged ICMP errors, see icmp-forger.c. */
export interface ForgedIcmp {
  readonly family: "IPv4" | "IPv6";
  readonly kind: "mtu" | "port";
  /** The port of the sender, which the errors are about. */
  readonly localPort: number;
  /** The port that the sender sends to. */
  readonly port: number;
  readonly mtu?: number;
  /** The number of messages. Default 1. */
  readonly count?: number;
  /** The quoted payload as hexadecimal digits. Default: none. */
  readonly quoted?: string;
}

/** Sends forged messages from the receiver's host to the sender's, about a flow between them. */
export async function forgeIcmp(
  program: string,
  namespaces: Namespaces,
  { family, kind, localPort, port, mtu = 0, count = 1, quoted = "-" }: ForgedIcmp,
): Promise<void> {
  const { local, near } = FAMILIES[family];
  const version = family === "IPv4" ? "4" : "6";
  const about = [local, localPort, near, port, mtu, count, quoted].map(String);
  const enter = ["ip", "netns", "exec", namespaces.receiver];
  const child = Bun.spawn([...enter, program, version, kind, ...about], { stderr: "inherit" });
  if ((await child.exited) !== 0) throw new Error("icmp-forger failed");
}

/** Compiles a C program of this folder into `directory`, and returns its path. */
export function compile(name: string, directory: string): string {
  const path = join(directory, name);
  const source = join(import.meta.dir, `${name}.c`);
  const { exitCode, stderr } = Bun.spawnSync(["gcc", "-O2", "-o", path, source]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return path;
}
