/**
 * The demonstration of several machines, in network namespaces: a router with ECMP routes, two load
 * balancers that keep no state, and hosts. While clients have flows, hosts and load balancers are added
 * and removed, and clients change their addresses. During and after each event, every flow is asked
 * for its host.
 */

import { installQuiche } from "../../quiche/install.ts";
import { Child } from "./child.ts";
import type { ClientFunctions } from "./clients.ts";
import type { HostCounts, HostFunctions } from "./host.ts";
import { BALANCERS, Network, reasonToSkip } from "./network.ts";
import { balancerRules, hashingRules } from "./rules.ts";
import { balancerConfig } from "./service.ts";

/** The outcome of `runMachines`. */
export interface MachinesResult {
  readonly passed: number;
  readonly failed: number;
  /** What was not tried, and why. */
  readonly skipped: string[];
}

/** The flows to open, for each IP version. */
export interface FlowCounts {
  readonly quic: number;
  readonly tunnel: number;
}

const FLOWS: FlowCounts = { quic: 120, tunnel: 180 };
/** Flows that are opened to see which hosts get new ones: so many that each host gets some. */
const NEW_FLOWS: FlowCounts = { quic: 20, tunnel: 20 };
const FIRST_HOSTS = [1, 2, 3] as const;
const NEW_HOST = 4;
const REMOVED_HOST = 2;
const PROBE_MS_MAX = 15_000;
/** In the comparison, flows without a reply are expected. */
const SHORT_PROBE_MS = 1500;

/** Runs the demonstration, and prints a line for each check. */
export async function runMachines(flows: FlowCounts = FLOWS): Promise<MachinesResult> {
  const result = { passed: 0, failed: 0, skipped: [] as string[] };
  const skip = (reason: string) => {
    console.log(`  skip  ${reason}`);
    result.skipped.push(reason);
  };
  const reason = reasonToSkip();
  if (reason !== undefined) {
    skip(`machines: ${reason}`);
    return result;
  }
  const { reason: quicReason } = installQuiche();
  if (quicReason !== undefined) skip(`QUIC connections: ${quicReason}`);
  const check: Check = async (name, run) => {
    try {
      console.log(`  ok    ${name}: ${await run()}`);
      result.passed++;
    } catch (error) {
      console.log(`  FAIL  ${name}: ${(error as Error).message}`);
      result.failed++;
    }
  };
  try {
    using network = new Network();
    using machines = new Machines(network, quicReason === undefined);
    await machines.runAll(check, flows);
  } catch (error) {
    console.log(`  FAIL  machines: ${(error as Error).message}`);
    result.failed++;
  }
  return result;
}

/** Runs a check, which returns what it has found, or throws. */
type Check = (name: string, run: () => Promise<string>) => Promise<void>;

/** The hosts of the flows, by index. */
type Owners = readonly (number | null)[];

/** The processes of the demonstration, and the events. */
class Machines implements Disposable {
  readonly #network: Network;
  readonly #hasQuic: boolean;
  readonly #hosts = new Map<number, Child<HostFunctions>>();
  readonly #clients: Child<ClientFunctions>;
  /** The hosts of all flows after the last check. */
  #owners: Owners = [];

  constructor(network: Network, hasQuic: boolean) {
    this.#network = network;
    this.#hasQuic = hasQuic;
    this.#clients = new Child(network.clients, "clients.ts");
  }

  [Symbol.dispose](): void {
    this.#clients[Symbol.dispose]();
    for (const host of this.#hosts.values()) host[Symbol.dispose]();
  }

  async runAll(check: Check, flows: FlowCounts): Promise<void> {
    await check("flows on 3 hosts through 2 load balancers", () => this.#open(flows));
    if (this.#hasQuic) await check("clients change their addresses", () => this.#move());
    await check("load balancer removed", () => this.#removeBalancer());
    await check("load balancer added", () => this.#addBalancer());
    await check("host added", () => this.#addHost());
    await check("host drained", () => this.#drainHost());
    await check("packets at a wrong host", () => this.#countStrays());
    await check("host removed", () => this.#removeHost());
    await check("clients of the removed host continue elsewhere", () => this.#replaceFlows());
    await check("for comparison, by a hash modulo the hosts", () => this.#compare());
  }

  async #open(flows: FlowCounts): Promise<string> {
    await Promise.all(FIRST_HOSTS.map((host) => this.#startHost(host)));
    this.#loadRules(FIRST_HOSTS);
    await this.#clients.call("start", FIRST_HOSTS);
    for (const family of [4, 6] as const) await this.#clients.call("open", { family, ...flows });
    this.#owners = await this.#probe();
    const packets = BALANCERS.map((balancer) => this.#network.receivedBy(balancer));
    expect(
      packets.every((count) => count > 0),
      `packets at the load balancers: ${packets}`,
    );
    return `${this.#describe(FIRST_HOSTS)}; ${packets.join(" and ")} packets`;
  }

  async #move(): Promise<string> {
    const moving = await this.#clients.call("move", null);
    return `${moving} QUIC connections, ${await this.#expectNoneMoved()}`;
  }

  async #removeBalancer(): Promise<string> {
    const [left, removed] = BALANCERS;
    await this.#expectNoneMovedDuring(() => this.#network.route([left]));
    const before = this.#network.receivedBy(removed);
    const text = await this.#expectNoneMoved();
    const late = this.#network.receivedBy(removed) - before;
    // Neighbour discovery and router solicitations continue.
    expect(late < this.#owners.length / 10, `${late} packets at the removed load balancer`);
    return text;
  }

  async #addBalancer(): Promise<string> {
    await this.#expectNoneMovedDuring(() => this.#network.route(BALANCERS));
    return this.#expectNoneMoved();
  }

  async #addHost(): Promise<string> {
    await this.#startHost(NEW_HOST);
    const hosts = [...this.#hosts.keys()];
    await this.#expectNoneMovedDuring(() => this.#loadRules(hosts));
    await this.#clients.call("setServerIds", hosts);
    const text = await this.#expectNoneMoved();
    const counts = await this.#openNew();
    expect((counts.get(NEW_HOST) ?? 0) > 0, `host ${NEW_HOST} got no new flows`);
    return `${text}; of ${this.#newFlows} new flows it got ${counts.get(NEW_HOST)}`;
  }

  async #drainHost(): Promise<string> {
    const hosts = [...this.#hosts.keys()];
    const forNew = hosts.filter((host) => host !== REMOVED_HOST);
    await this.#expectNoneMovedDuring(() => this.#loadRules(hosts, forNew));
    const text = await this.#expectNoneMoved();
    // The ingresses still assign flows to it: their list is what drains a tunnel.
    const counts = await this.#openNew({ ...NEW_FLOWS, tunnel: 0 });
    const atDrained = counts.get(REMOVED_HOST) ?? 0;
    expect(atDrained === 0, `the drained host got ${atDrained} new connections`);
    return `${text}; of ${this.#newFlows} new connections it got 0`;
  }

  async #countStrays(): Promise<string> {
    const counts = await this.#hostCounts();
    const strays = counts.reduce((sum, { strays }) => sum + strays, 0);
    expect(strays === 0, `${strays} QUIC packets`);
    // A flow that moved to another egress would have been opened there again.
    const flows = counts.reduce((sum, { flows }) => sum + flows, 0);
    const accepted = counts.reduce((sum, { accepted }) => sum + accepted, 0);
    const total = this.#owners.length;
    expect(flows + accepted === total, `${flows} + ${accepted} flows opened for ${total}`);
    return `0 of ${accepted} QUIC connections and ${flows} tunnel flows`;
  }

  async #removeHost(): Promise<string> {
    const hosts = [...this.#hosts.keys()].filter((host) => host !== REMOVED_HOST);
    this.#loadRules(hosts);
    await this.#clients.call("setServerIds", hosts);
    this.#hosts.get(REMOVED_HOST)?.[Symbol.dispose]();
    this.#hosts.delete(REMOVED_HOST);
    this.#network.removeHost(REMOVED_HOST);
    const before = this.#owners;
    const others = before.flatMap((owner, i) => (owner === REMOVED_HOST ? [] : [i]));
    const after = await this.#probe(others);
    const moved = others.filter((index, i) => before[index] !== after[i]);
    expect(moved.length === 0, `${moved.length} of ${others.length} flows of other hosts moved`);
    return `0 of the ${others.length} flows of other hosts moved`;
  }

  /** The QUIC connections of the removed host are opened again. Its tunnel flows have moved. */
  async #replaceFlows(): Promise<string> {
    const before = this.#owners;
    const lost = before.flatMap((owner, i) => (owner === REMOVED_HOST ? [i] : []));
    const reconnected = await this.#clients.call("reconnect", lost);
    this.#owners = await this.#probe();
    const moved = changes(before, this.#owners, () => true);
    const isOnlyLost = moved.length === lost.length && moved.every((i) => lost.includes(i));
    expect(isOnlyLost, `${moved.length} flows moved, expected the ${lost.length} of the host`);
    const kinds = `${reconnected} QUIC connections and ${lost.length - reconnected} tunnel flows`;
    return `${kinds}; ${this.#describe([...this.#hosts.keys()])}`;
  }

  /** Forwards by a hash of the addresses, without server IDs. */
  async #compare(): Promise<string> {
    const hosts = [...this.#hosts.keys()];
    const config = balancerConfig(hosts);
    for (const balancer of BALANCERS) this.#network.loadRules(balancer, hashingRules(config));
    const owners = await this.#clients.call("probe", { timeoutMs: SHORT_PROBE_MS });
    const moved = changes(this.#owners, owners, () => true);
    expect(moved.length > 0, "the comparison expected flows that move");
    return `${moved.length} of ${owners.length} flows moved or got no reply`;
  }

  // ------------------------------------------------------------------------------- helpers ----

  async #startHost(host: number): Promise<void> {
    this.#network.addHost(host);
    const child = new Child<HostFunctions>(this.#network.host(host), "host.ts");
    this.#hosts.set(host, child);
    await child.call("start", host);
  }

  #loadRules(servers: readonly number[], serversForNew: readonly number[] = servers): void {
    const rules = balancerRules(balancerConfig(servers, serversForNew));
    for (const balancer of BALANCERS) this.#network.loadRules(balancer, rules);
  }

  /**
   * Asks flows, all by default, for their hosts.
   *
   * @throws Error if one gets no reply.
   */
  async #probe(indices?: readonly number[]): Promise<Owners> {
    const options = indices === undefined ? {} : { indices };
    const owners = await this.#clients.call("probe", { timeoutMs: PROBE_MS_MAX, ...options });
    const silent = owners.filter((owner) => owner === null).length;
    expect(silent === 0, `${silent} of ${owners.length} flows got no reply`);
    return owners;
  }

  /** Expects that each flow still has its host. */
  async #expectNoneMoved(probe: Promise<Owners> = this.#probe()): Promise<string> {
    const owners = await probe;
    const moved = changes(this.#owners, owners, () => true);
    expect(moved.length === 0, `${moved.length} of ${owners.length} flows moved`);
    return `0 of ${owners.length} flows moved`;
  }

  /** Lets an event happen while the flows are asked for their hosts. */
  async #expectNoneMovedDuring(event: () => void): Promise<void> {
    const probe = this.#probe();
    event();
    await this.#expectNoneMoved(probe);
  }

  /** The number of flows that `openNew` has opened. */
  #newFlows = 0;

  /** Opens more flows, and returns the number of them by host. */
  async #openNew(flows: FlowCounts = NEW_FLOWS): Promise<Map<number, number>> {
    const { length } = this.#owners;
    const perSocket = 1;
    for (const family of [4, 6] as const) {
      await this.#clients.call("open", { family, perSocket, ...flows });
    }
    this.#owners = await this.#probe();
    const added = this.#owners.slice(length);
    this.#newFlows = added.length;
    return countByHost(added);
  }

  #hostCounts(): Promise<HostCounts[]> {
    return Promise.all([...this.#hosts.values()].map((host) => host.call("counts", null)));
  }

  #describe(hosts: readonly number[]): string {
    const counts = countByHost(this.#owners);
    return `${this.#owners.length} flows, ${hosts.map((host) => counts.get(host) ?? 0).join(" + ")}`;
  }
}

function expect(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** Returns the indices of flows whose host has changed, of those that were at certain hosts. */
function changes(
  before: Owners,
  after: Owners,
  isIncluded: (owner: number | null) => boolean,
): number[] {
  return before.flatMap((owner, i) => (isIncluded(owner) && owner !== after[i] ? [i] : []));
}

function countByHost(owners: Owners): Map<number, number> {
  const counts = new Map<number, number>();
  for (const owner of owners) if (owner !== null) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return counts;
}

if (import.meta.main) {
  const startMs = performance.now();
  const { passed, failed, skipped } = await runMachines();
  const seconds = ((performance.now() - startMs) / 1e3).toFixed(1);
  const counts = `${passed} passed, ${failed} failed, ${skipped.length} skipped`;
  console.log(`machines: ${counts} in ${seconds} s`);
  process.exitCode = failed === 0 ? 0 : 1;
}
