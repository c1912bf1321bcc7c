/**
 * Two network namespaces that are connected by two veth pairs, and endpoints in them. Each endpoint
 * is a process of its own (metadata-endpoint.ts), because a process is in one namespace.
 */

import { join } from "node:path";
import type {
  BindReport,
  ReceivedMeta,
  ReceivePlan,
  SendPlan,
  SendReport,
} from "./metadata-endpoint.ts";

const SCRIPT = join(import.meta.dir, "metadata-endpoint.ts");

/** How long an endpoint may run before it is killed. */
const ENDPOINT_TIMEOUT_MS = 20_000;

/**
 * Runs a command without a shell, and returns its output.
 *
 * @throws Error with the error output if the command fails.
 */
export function run(command: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command.split(" "));
  if (exitCode !== 0) throw new Error(`${command}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

/** A link between the namespaces. */
export interface Link {
  /** The name of the device, the same in both namespaces. */
  readonly device: string;
  /** The IPv4 addresses without the host number. */
  readonly network: string;
  /** The IPv6 addresses without the host number. */
  readonly network6: string;
}

/** The two links. The host number of the sender is 1, that of the receiver 2. */
export const LINKS: { readonly near: Link; readonly far: Link } = {
  near: { device: "near", network: "10.97.1.", network6: "fd97:1::" },
  far: { device: "far", network: "10.97.2.", network6: "fd97:2::" },
};

/** The two hosts, each a namespace. */
export type Host = "sender" | "receiver";

/** A namespace for the sender and one for the receiver. */
export class Namespaces implements Disposable {
  readonly sender: string;
  readonly receiver: string;

  /** @param id a prefix of the namespaces' names, different for each test file. */
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
      // Accept datagrams on a device that the route back to their source does not use.
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

  /**
   * Adds the receiver's addresses to the sender's neighbour tables. While a neighbour is being
   * resolved, the kernel queues packets and reports neither drops nor ICMP errors.
   */
  addNeighbours(): void {
    for (const { device, network, network6 } of Object.values(LINKS)) {
      const mac = this.exec("receiver", `cat /sys/class/net/${device}/address`).trim();
      for (const prefix of [network, network6]) {
        const entry = `${prefix}2 lladdr ${mac} dev ${device} nud permanent`;
        run(`ip -n ${this.sender} neigh replace ${entry}`);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const namespace of [this.sender, this.receiver]) {
      Bun.spawnSync(["ip", "netns", "del", namespace]);
    }
  }

  /** Runs a command on a host, and returns its output. */
  exec(host: Host, command: string): string {
    return run(`ip netns exec ${this[host]} ${command}`);
  }

  /** Returns the interface index of a device. */
  interfaceIndex(host: Host, device: string): number {
    return Number(this.exec(host, `cat /sys/class/net/${device}/ifindex`));
  }

  /** Returns the link-local address of a device, without its zone. */
  linkLocal(host: Host, device: string): string {
    const text = this.exec(host, `ip -6 addr show dev ${device} scope link`);
    return /inet6 (fe80::[0-9a-f:]+)/.exec(text)?.[1] as string;
  }

  /** Starts a receiver, and waits until its socket is bound. */
  receive(plan: ReceivePlan, options: EndpointOptions = {}): Promise<RunningReceiver> {
    return RunningReceiver.start(this[options.host ?? "receiver"], plan, options.prefix);
  }

  /** Sends a batch. */
  async send(plan: SendPlan, options: EndpointOptions = {}): Promise<SendReport> {
    const namespace = this[options.host ?? "sender"];
    const child = spawnEndpoint({ namespace, mode: "send", plan, prefix: options.prefix });
    return new Lines(child).next();
  }
}

/** Where and how an endpoint runs. */
export interface EndpointOptions {
  /** Default: the receiver for `receive`, the sender for `send`. */
  readonly host?: Host;
  /** A command that runs the endpoint, such as `setpriv`. */
  readonly prefix?: readonly string[] | undefined;
}

type Endpoint = ReturnType<typeof spawnEndpoint>;

function spawnEndpoint({
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
  const endpoint = [process.execPath, SCRIPT, mode, JSON.stringify(plan)];
  return Bun.spawn(["ip", "netns", "exec", namespace, ...prefix, ...endpoint], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: ENDPOINT_TIMEOUT_MS,
  });
}

/** The lines that an endpoint prints. */
class Lines {
  readonly #child: Endpoint;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(child: Endpoint) {
    this.#child = child;
    this.#chunks = child.stdout[Symbol.asyncIterator]();
  }

  /**
   * Waits for the next line, and parses it as JSON.
   *
   * @throws Error with the error output of the endpoint if there is no further line.
   */
  async next<T>(): Promise<T> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end !== -1) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return JSON.parse(line);
      }
      const { value, done } = await this.#chunks.next();
      if (done) {
        throw new Error(`the endpoint failed: ${await new Response(this.#child.stderr).text()}`);
      }
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }
}

/** A receiver process. */
export class RunningReceiver implements Disposable {
  readonly bound: BindReport;
  readonly #child: Endpoint;
  readonly #lines: Lines;

  private constructor(child: Endpoint, lines: Lines, bound: BindReport) {
    this.#child = child;
    this.#lines = lines;
    this.bound = bound;
  }

  static async start(
    namespace: string,
    plan: ReceivePlan,
    prefix: readonly string[] | undefined,
  ): Promise<RunningReceiver> {
    const child = spawnEndpoint({ namespace, mode: "receive", plan, prefix });
    const lines = new Lines(child);
    return new RunningReceiver(child, lines, await lines.next());
  }

  get port(): number {
    return this.bound.port;
  }

  /** Waits until all datagrams have arrived, and returns their metadata. */
  received(): Promise<ReceivedMeta[]> {
    return this.#lines.next();
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

/** Returns why tests in namespaces cannot run here: a tool or a permission is missing. */
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
