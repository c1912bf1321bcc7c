/**
 * A simulation of what happens to live flows when hosts, load balancers or client addresses change. It
 * compares five ways to choose the host of a packet:
 *
 * - modulo: the hash of addresses and ports, modulo the number of hosts;
 * - resilient: ECMP with buckets that keep their host while it exists (resilient next-hop groups of
 *   Linux, and of switches). A new host takes its share of the buckets, as at the end of the
 *   unbalanced timer;
 * - maglev: the lookup table of Maglev, as in Katran and in the scheduler `mh` of IPVS;
 * - tracked: the same, and each load balancer remembers the hosts of the flows that it has seen, as
 *   both also do. Here it has room for all of them;
 * - serverId: the server ID in the connection ID. New connections are assigned by a Maglev table.
 *
 * Flows are not stored: the number of a flow determines all of its hashes, so that the memory does not
 * depend on the number of flows. The results are the same in each run.
 */

import { maglevTable, mix } from "./hashing.ts";

/** The ways to choose a host. */
export const METHODS = ["modulo", "resilient", "maglev", "tracked", "serverId"] as const;
export type Method = (typeof METHODS)[number];

/** What happens while all flows are live. */
export const EVENTS = [
  "host added",
  "host removed",
  "host added, then a load balancer removed",
  "addresses changed",
] as const;
export type Event = (typeof EVENTS)[number];

/** Options of `simulate`. */
export interface SimulationOptions {
  /** The number of flows, 1 to 2^31. */
  readonly flows: number;
  /** The number of hosts before the event, at least 2. */
  readonly hosts: number;
}

/** The outcome of an event. */
export interface Outcome {
  readonly method: Method;
  readonly event: Event;
  readonly flows: number;
  /** Flows whose host was removed: they move with any method. */
  readonly orphaned: number;
  /** Flows that moved although their host still exists: these connections break. */
  readonly moved: number;
  /** The flows of the host with the most, after the event, divided by the mean. */
  readonly imbalance: number;
}

/** A prime number, as Maglev needs it. Katran's default is the same. */
const MAGLEV_SLOTS = 65_537;
/** The buckets of a resilient group. */
const BUCKETS = 4096;
/** The load balancers, each of which gets a share of the flows by ECMP. */
const BALANCERS = 4;
/** Of the clients whose addresses change: one in ten. */
const CHANGING_SHARE = 10;

/** The hosts by slot. The slot of a flow is its hash modulo the length. */
type Table = Uint16Array;

/** Returns the table of a method for these hosts. `before` is its table before the event. */
function tableOf(method: Method, hosts: readonly number[], before: Table | undefined): Table {
  if (method === "modulo") return Uint16Array.from(hosts);
  if (method === "resilient") return resilientTable(hosts, before);
  return maglevTable(hosts, MAGLEV_SLOTS);
}

/** Changes as few buckets as possible, so that each host has its share. */
function resilientTable(hosts: readonly number[], before: Table | undefined): Table {
  if (before === undefined) {
    return Uint16Array.from({ length: BUCKETS }, (_, i) => hosts[i % hosts.length] as number);
  }
  const table = before.slice();
  const wanted = new Map<number, number>();
  hosts.forEach((host, i) => {
    const share = Math.floor(BUCKETS / hosts.length) + (i < BUCKETS % hosts.length ? 1 : 0);
    wanted.set(host, share);
  });
  const free: number[] = [];
  table.forEach((host, bucket) => {
    const left = wanted.get(host) ?? 0;
    if (left > 0) wanted.set(host, left - 1);
    else free.push(bucket);
  });
  for (const [host, missing] of wanted) {
    for (let i = 0; i < missing; i++) table[free.pop() as number] = host;
  }
  return table;
}

/** Returns the hosts after an event. */
function hostsAfter(event: Event, hosts: readonly number[]): readonly number[] {
  if (event === "host removed") return hosts.filter((host) => host !== hosts.length >> 1);
  if (event === "addresses changed") return hosts;
  return [...hosts, hosts.length];
}

/** Which flows get their host by something else than the table: see `knownFlows`. */
type Known = "none" | "all" | "sameAddress" | "sameBalancer";

/** Returns which packets lead to the host that the flow had, if that host exists. */
function knownFlows(method: Method, event: Event): Known {
  if (method === "serverId") return "all";
  if (method !== "tracked") return "none";
  if (event === "addresses changed") return "sameAddress";
  return event === "host added, then a load balancer removed" ? "sameBalancer" : "all";
}

/** Simulates one event with one method. */
export function simulateEvent(method: Method, event: Event, options: SimulationOptions): Outcome {
  const { flows, hosts: count } = options;
  const hosts = Array.from({ length: count }, (_, i) => i);
  const before = tableOf(method, hosts, undefined);
  const left = hostsAfter(event, hosts);
  const after = tableOf(method, left, before);
  const exists = new Uint8Array(count + 1);
  for (const host of left) exists[host] = 1;
  const load = new Uint32Array(count + 1);
  const known = knownFlows(method, event);
  const addressesChange = event === "addresses changed";
  let orphaned = 0;
  let moved = 0;
  for (let flow = 0; flow < flows; flow++) {
    const hash = mix(flow);
    const owner = before[hash % before.length] as number;
    const hasNewAddress = addressesChange && flow % CHANGING_SHARE === 0;
    const isKnown =
      known === "all" ||
      (known === "sameAddress" && !hasNewAddress) ||
      (known === "sameBalancer" && mix(flow ^ 0x5bd1e995) % BALANCERS !== 0);
    const hashNow = hasNewAddress ? mix(~flow) : hash;
    const isKept = isKnown && exists[owner] === 1;
    const host = isKept ? owner : (after[hashNow % after.length] as number);
    load[host] = (load[host] as number) + 1;
    if (host === owner) continue;
    if (exists[owner] === 1) moved++;
    else orphaned++;
  }
  const imbalance = (Math.max(...load) * left.length) / flows;
  return { method, event, flows, orphaned, moved, imbalance };
}

/** Simulates all events with all methods. */
export function simulate(options: SimulationOptions): Outcome[] {
  return EVENTS.flatMap((event) => METHODS.map((method) => simulateEvent(method, event, options)));
}

/** Returns a line for each event: the share of the flows that moved although their host exists. */
export function summarize(outcomes: readonly Outcome[]): string[] {
  const percent = (value: number) => `${(value * 100).toFixed(value === 0 ? 0 : 2)} %`;
  return EVENTS.map((event) => {
    const ofEvent = outcomes.filter((outcome) => outcome.event === event);
    const shares = ofEvent.map(({ method, moved, flows }) => `${method} ${percent(moved / flows)}`);
    const [{ orphaned, flows }] = ofEvent as [Outcome];
    const ended = orphaned === 0 ? "" : `, and the ${percent(orphaned / flows)} of the host`;
    return `${event}: ${shares.join(", ")}${ended}`;
  });
}

if (import.meta.main) {
  const startMs = performance.now();
  const options = { flows: 10_000_000, hosts: 10 };
  for (const line of summarize(simulate(options))) console.log(line);
  const seconds = ((performance.now() - startMs) / 1e3).toFixed(1);
  const memory = `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`;
  console.log(`${options.flows} flows on ${options.hosts} hosts, ${seconds} s, ${memory}`);
}
