/**
 * A network of network namespaces: clients, a router, two load balancers, and hosts.
 *
 *     clients - router = load balancers = hosts
 *                  \____________________/   replies
 *
 * The router has a route to the address of the service with both load balancers as next hops (ECMP).
 * Each load balancer has a link to each host. All hosts have the address of the service, and send their
 * replies to the router directly.
 */

/** The addresses of the service. */
export const SERVICE = { address4: "10.90.255.1", address6: "fd90:0:0:ff::1" } as const;
/** The addresses of the clients. They use the first, and move to the second. */
export const CLIENT_ADDRESSES = {
  4: ["10.90.1.1", "10.90.1.3"],
  6: ["fd90:0:0:1::1", "fd90:0:0:1::3"],
} as const;
/** The numbers of the load balancers. */
export const BALANCERS = [1, 2] as const;

/** The numbers of the links, which are part of their addresses. */
const CLIENT_LINK = 1;
const balancerLink = (balancer: number) => 1 + balancer;
const hostLink = (host: number) => 10 + host;
const balancerHostLink = (balancer: number, host: number) => 50 * balancer + host;
/** The routing tables of the hosts: IDs below 256 have names. */
const tableOf = (host: number) => 1000 + host;

const address4 = (link: number, end: number) => `10.90.${link}.${end}`;
const address6 = (link: number, end: number) => `fd90:0:0:${link.toString(16)}::${end}`;

/** Runs a command with an input, and returns its output. */
function run(command: readonly string[], input = ""): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { stdin: Buffer.from(input) });
  if (exitCode === 0) return stdout.toString();
  throw new Error(`${command.join(" ")}: ${stderr.toString().trim().split("\n", 1)[0]}`);
}

/** The settings of each namespace. Packets arrive on devices that replies do not leave by. */
const SETTINGS = [
  "net.ipv4.ip_forward=1",
  "net.ipv4.conf.all.rp_filter=0",
  "net.ipv4.conf.default.rp_filter=0",
  "net.ipv6.conf.all.forwarding=1",
  "net.ipv6.conf.default.accept_dad=0",
  // The address of the service is on loopback only: ARP must neither reply for it nor announce it.
  "net.ipv4.conf.all.arp_ignore=1",
  "net.ipv4.conf.all.arp_announce=2",
  // ECMP by addresses and ports.
  "net.ipv4.fib_multipath_hash_policy=1",
  "net.ipv6.fib_multipath_hash_policy=1",
];

/** One end of a link. */
interface End {
  readonly namespace: string;
  readonly device: string;
}

/** The namespaces. They are deleted by `using`. */
export class Network implements Disposable {
  readonly clients: string;
  readonly router: string;
  readonly #id: string;
  readonly #namespaces: string[] = [];
  #activeBalancers: readonly number[] = [];

  /**
   * Creates the namespaces without hosts.
   *
   * @throws Error if the system or the permissions do not suffice.
   */
  constructor(id: string = `mch${process.pid}`) {
    this.#id = id;
    this.clients = `${id}c`;
    this.router = `${id}r`;
    try {
      this.#setUp();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Returns the namespace of a load balancer. */
  balancer(number: number): string {
    return `${this.#id}b${number}`;
  }

  /** Returns the namespace of a host. */
  host(number: number): string {
    return `${this.#id}h${number}`;
  }

  /** Adds a host, which the load balancers do not use yet. */
  addHost(host: number): void {
    const namespace = this.host(host);
    this.#addNamespace(namespace);
    this.#ip(namespace, [
      `addr add ${SERVICE.address4}/32 dev lo`,
      `addr add ${SERVICE.address6}/128 dev lo nodad`,
    ]);
    const link = hostLink(host);
    this.#link(link, [this.router, `host${host}`], [namespace, "router"]);
    this.#ip(namespace, [
      `route add default via ${address4(link, 1)}`,
      `route add ::/0 via ${address6(link, 1)}`,
    ]);
    for (const balancer of BALANCERS) {
      const near = { namespace: this.balancer(balancer), device: `host${host}` };
      const number = balancerHostLink(balancer, host);
      this.#link(number, [near.namespace, near.device], [namespace, `balancer${balancer}`]);
      const table = tableOf(host);
      this.#ip(near.namespace, [
        `rule add fwmark ${host} table ${table}`,
        `route add default via ${address4(number, 2)} table ${table}`,
        `route add ::/0 via ${address6(number, 2)} table ${table}`,
      ]);
      run([
        "ip",
        "-6",
        "-n",
        near.namespace,
        ...`rule add fwmark ${host} table ${table}`.split(" "),
      ]);
    }
  }

  /** Deletes a host. */
  removeHost(host: number): void {
    run(["ip", "netns", "del", this.host(host)]);
  }

  /** Loads the rules of a load balancer. */
  loadRules(balancer: number, rules: string): void {
    run(["ip", "netns", "exec", this.balancer(balancer), "nft", "-f", "-"], rules);
  }

  /** Returns the number of packets that a load balancer has received from the router. */
  receivedBy(balancer: number): number {
    const file = "/sys/class/net/router/statistics/rx_packets";
    return Number(run(["ip", "netns", "exec", this.balancer(balancer), "cat", file]));
  }

  /** Makes the router use these load balancers. */
  route(balancers: readonly number[]): void {
    this.#activeBalancers = balancers;
    const via = (addressOf: typeof address4) =>
      balancers.map((balancer) => `nexthop via ${addressOf(balancerLink(balancer), 2)}`).join(" ");
    this.#ip(this.router, [
      `route replace ${SERVICE.address4}/32 ${via(address4)}`,
      // `replace` of a route with several next hops adds to them in IPv6.
      ...(this.#has6Route ? [`route del ${SERVICE.address6}/128`] : []),
      `route add ${SERVICE.address6}/128 ${via(address6)}`,
    ]);
    this.#has6Route = true;
  }

  #has6Route = false;

  /** The load balancers that the router uses. */
  get activeBalancers(): readonly number[] {
    return this.#activeBalancers;
  }

  #setUp(): void {
    for (const namespace of [this.clients, this.router]) this.#addNamespace(namespace);
    this.#link(CLIENT_LINK, [this.clients, "router"], [this.router, "clients"]);
    this.#ip(this.clients, [
      `addr add ${CLIENT_ADDRESSES[4][1]}/24 dev router`,
      `addr add ${CLIENT_ADDRESSES[6][1]}/64 dev router nodad`,
      `route add default via ${address4(CLIENT_LINK, 2)}`,
      `route add ::/0 via ${address6(CLIENT_LINK, 2)}`,
    ]);
    // As a network card does it: otherwise the load balancers receive several datagrams as one packet,
    // and can see the server ID of the first one only.
    const offload = ["ethtool", "-K", "router", "tx-udp-segmentation", "off"];
    run(["ip", "netns", "exec", this.clients, ...offload]);
    for (const balancer of BALANCERS) {
      const namespace = this.balancer(balancer);
      this.#addNamespace(namespace);
      const link = balancerLink(balancer);
      this.#link(link, [this.router, `balancer${balancer}`], [namespace, "router"]);
      this.#ip(namespace, [
        `route add default via ${address4(link, 1)}`,
        `route add ::/0 via ${address6(link, 1)}`,
      ]);
    }
    this.route(BALANCERS);
  }

  #addNamespace(namespace: string): void {
    run(["ip", "netns", "add", namespace]);
    this.#namespaces.push(namespace);
    run(["ip", "netns", "exec", namespace, "sysctl", "-qw", ...SETTINGS]);
    this.#ip(namespace, ["link set lo up"]);
  }

  /** Connects two namespaces. Both ends have the number of the link and 1 or 2 in their addresses. */
  #link(link: number, ...ends: readonly [string, string][]): void {
    const [near, far] = ends.map(([namespace, device]): End => ({ namespace, device })) as [
      End,
      End,
    ];
    const ofNear = `${near.device} netns ${near.namespace}`;
    run(
      ["ip", "-batch", "-"],
      `link add ${ofNear} type veth peer ${far.device} netns ${far.namespace}\n`,
    );
    for (const [i, { namespace, device }] of [near, far].entries()) {
      this.#ip(namespace, [
        `addr add ${address4(link, i + 1)}/24 dev ${device}`,
        `addr add ${address6(link, i + 1)}/64 dev ${device} nodad`,
        `link set ${device} up`,
      ]);
    }
  }

  /** Runs commands of ip(8) in a namespace. */
  #ip(namespace: string, commands: readonly string[]): void {
    run(["ip", "-n", namespace, "-batch", "-"], `${commands.join("\n")}\n`);
  }

  [Symbol.dispose](): void {
    for (const namespace of this.#namespaces) Bun.spawnSync(["ip", "netns", "del", namespace]);
  }
}

/** Returns why the namespaces cannot be created here; absent if they can. */
export function reasonToSkip(): string | undefined {
  if (process.platform !== "linux") return "network namespaces need Linux";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const missing = ["ip", "nft", "ethtool", "sysctl"].filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) return `no ${missing.join(", no ")}`;
  return undefined;
}
