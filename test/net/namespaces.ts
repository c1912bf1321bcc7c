/**
 * Two network namespaces joined by two veth pairs, and sockets in them: each in a process of its
 * own (metadata-end.ts), as a process is in one namespace.
 */

import { join } from "node:path";
import type { ReceivePlan, SendPlan, SendReport, Started, ToldInfo } from "./metadata-end.ts";

const SCRIPT = join(import.meta.dir, "metadata-end.ts");

/** How long an end may take before it is given up. */
const END_TIMEOUT_MS = 20_000;

/** Runs a command, and answers what it printed. */
export function run(command: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command.split(" "));
  if (exitCode !== 0) throw new Error(`${command}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

/** A link: its device's name at both ends, and the addresses of both less their last digit. */
export interface Link {
  readonly device: string;
  readonly network: string;
  readonly network6: string;
}

/** The two links. The sender is number 1 in their networks, the receiver number 2. */
export const LINKS: { readonly near: Link; readonly far: Link } = {
  near: { device: "near", network: "10.97.1.", network6: "fd97:1::" },
  far: { device: "far", network: "10.97.2.", network6: "fd97:2::" },
};

/** A namespace for a sender and one for a receiver. */
export class Namespaces implements Disposable {
  readonly sender: string;
  readonly receiver: string;

  /** `id` keeps those of several test files apart. */
  constructor(id: string) {
    [this.sender, this.receiver] = [`${id}${process.pid}s`, `${id}${process.pid}r`];
    try {
      this.#setUp();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #setUp(): void {
    for (const namespace of [this.sender, this.receiver]) {
      run(`ip netns add ${namespace}`);
      run(`ip -n ${namespace} link set lo up`);
      // A datagram may come by another device than the answer would leave by.
      for (const scope of ["all", "default"]) {
        run(`ip netns exec ${namespace} sysctl -qw net.ipv4.conf.${scope}.rp_filter=0`);
      }
    }
    for (const { device, network, network6 } of Object.values(LINKS)) {
      const ends = [this.sender, this.receiver];
      run(`ip link add ${device} netns ${ends[0]} type veth peer name ${device} netns ${ends[1]}`);
      for (const [i, namespace] of ends.entries()) {
        const add = `ip -n ${namespace} addr add`;
        run(`ip netns exec ${namespace} sysctl -qw net.ipv6.conf.${device}.accept_dad=0`);
        run(`${add} ${network}${i + 1}/24 dev ${device}`);
        run(`${add} ${network6}${i + 1}/64 dev ${device} nodad`);
        run(`ip -n ${namespace} link set ${device} up`);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const namespace of [this.sender, this.receiver]) {
      Bun.spawnSync(["ip", "netns", "del", namespace]);
    }
  }

  /** Runs a command in one of them. */
  exec(end: "sender" | "receiver", command: string): string {
    return run(`ip netns exec ${this[end]} ${command}`);
  }

  /** The index that a device has in one of them. */
  interfaceIndex(end: "sender" | "receiver", device: string): number {
    return Number(this.exec(end, `cat /sys/class/net/${device}/ifindex`));
  }

  /** The link-local address that a device has in one of them, without its zone. */
  linkLocal(end: "sender" | "receiver", device: string): string {
    const text = this.exec(end, `ip -6 addr show dev ${device} scope link`);
    return /inet6 (fe80::[0-9a-f:]+)/.exec(text)?.[1] as string;
  }

  /** Starts a receiver, once it is bound. */
  receive(plan: ReceivePlan, options: EndOptions = {}): Promise<RunningReceiver> {
    return RunningReceiver.start(this[options.end ?? "receiver"], plan, options.prefix);
  }

  /** Sends a batch. */
  async send(plan: SendPlan, options: EndOptions = {}): Promise<SendReport> {
    const namespace = this[options.end ?? "sender"];
    const child = spawnEnd({ namespace, mode: "send", plan, prefix: options.prefix });
    return new Lines(child).next();
  }
}

/** Where and how an end runs. */
export interface EndOptions {
  readonly end?: "sender" | "receiver";
  /** Put in front of its command. */
  readonly prefix?: readonly string[] | undefined;
}

type End = ReturnType<typeof spawnEnd>;

function spawnEnd({
  namespace,
  mode,
  plan,
  prefix = [],
}: {
  namespace: string;
  mode: "receive" | "send";
  plan: ReceivePlan | SendPlan;
  prefix?: readonly string[] | undefined;
}) {
  const end = [process.execPath, SCRIPT, mode, JSON.stringify(plan)];
  return Bun.spawn(["ip", "netns", "exec", namespace, ...prefix, ...end], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: END_TIMEOUT_MS,
  });
}

/** The lines that an end prints. */
class Lines {
  readonly #child: End;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(child: End) {
    this.#child = child;
    this.#chunks = child.stdout[Symbol.asyncIterator]();
  }

  /** The next line as JSON; fails with what the end complains of when there is none. */
  async next<T>(): Promise<T> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end !== -1) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return JSON.parse(line);
      }
      const { value, done } = await this.#chunks.next();
      if (done) throw new Error(`the end failed: ${await new Response(this.#child.stderr).text()}`);
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }
}

/** A receiver that runs. */
export class RunningReceiver implements Disposable {
  /** What it said when it was bound. */
  readonly started: Started;
  readonly #child: End;
  readonly #lines: Lines;

  private constructor(child: End, lines: Lines, started: Started) {
    this.#child = child;
    this.#lines = lines;
    this.started = started;
  }

  static async start(
    namespace: string,
    plan: ReceivePlan,
    prefix: readonly string[] | undefined,
  ): Promise<RunningReceiver> {
    const child = spawnEnd({ namespace, mode: "receive", plan, prefix });
    const lines = new Lines(child);
    return new RunningReceiver(child, lines, await lines.next());
  }

  /** Where it is bound. */
  get port(): number {
    return this.started.port;
  }

  /** What it was told of the datagrams, once all came. */
  told(): Promise<ToldInfo[]> {
    return this.#lines.next();
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

/** Why this machine has no such namespaces, or lacks one of `tools`. */
export function reasonToSkip(tools: readonly string[]): string | undefined {
  const missing = ["ip", "sysctl", ...tools].filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) return `no ${missing.join(", no ")}`;
  try {
    using _ = new Namespaces("dgp");
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}
