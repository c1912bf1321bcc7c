/**
 * The flows of a table by host, to find the host with the most flows.
 *
 * A host is an IPv4 address, or the first 64 bits of an IPv6 address: networks assign 64 bits, of
 * which a host can use any address (RFC 4291, section 2.5.4).
 */

import type { SocketAddress } from "../../lib/index.ts";
import type { FlowEntry } from "./flow-table.ts";

/** The groups of an IPv6 address, and those of its first 64 bits. */
const GROUPS = 8;
const HOST_GROUPS = 4;
/** What an IPv4 address starts with on a socket for both families (RFC 4291, section 2.5.5.2). */
const MAPPED_PREFIX = "::ffff:";

/** Returns the host that an IP address belongs to. */
export function hostOf({ family, address }: SocketAddress): string {
  if (family === "IPv4") return address;
  if (address.startsWith(MAPPED_PREFIX) && address.includes(".")) {
    return address.slice(MAPPED_PREFIX.length);
  }
  // "::" stands for as many zeros as are missing (RFC 5952).
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const last = tail.split(":");
    while (groups.length + last.length < GROUPS) groups.push("0");
    groups.push(...last);
  }
  return groups.slice(0, HOST_GROUPS).join(":");
}

/** The flows of one host: a linked list from the least to the most recently used one. */
export class HostFlows {
  readonly host: string;
  size = 0;
  oldest: FlowEntry | undefined;
  newest: FlowEntry | undefined;

  constructor(host: string) {
    this.host = host;
  }

  /** Appends a flow, as the most recently used one. */
  append(flow: FlowEntry): void {
    flow.olderSibling = this.newest;
    flow.newerSibling = undefined;
    if (this.newest === undefined) this.oldest = flow;
    else this.newest.newerSibling = flow;
    this.newest = flow;
  }

  unlink(flow: FlowEntry): void {
    const { olderSibling, newerSibling } = flow;
    if (olderSibling === undefined) this.oldest = newerSibling;
    else olderSibling.newerSibling = newerSibling;
    if (newerSibling === undefined) this.newest = olderSibling;
    else newerSibling.olderSibling = olderSibling;
    flow.olderSibling = flow.newerSibling = undefined;
  }
}

/** The hosts that have flows. All operations are O(1). */
export class Hosts {
  readonly #hosts = new Map<string, HostFlows>();
  /** The hosts by their number of flows. Has no empty sets. */
  readonly #bySize = new Map<number, Set<HostFlows>>();
  #sizeMax = 0;

  get(host: string): HostFlows | undefined {
    return this.#hosts.get(host);
  }

  /** A host with the most flows; absent if there are no flows. */
  get largest(): HostFlows | undefined {
    return this.#bySize.get(this.#sizeMax)?.values().next().value;
  }

  /** Adds a flow as the most recently used one of `host`. */
  add(flow: FlowEntry, host: string): void {
    let flows = this.#hosts.get(host);
    if (flows === undefined) {
      flows = new HostFlows(host);
      this.#hosts.set(host, flows);
    }
    flow.siblings = flows;
    flows.append(flow);
    this.#resize(flows, flows.size + 1);
    this.#sizeMax = Math.max(this.#sizeMax, flows.size);
  }

  /** Removes a flow, and its host with its last flow. */
  remove(flow: FlowEntry): void {
    const flows = flow.siblings as HostFlows;
    flow.siblings = undefined;
    flows.unlink(flow);
    this.#resize(flows, flows.size - 1);
    // If it was the only host of that size, its new size is the largest.
    if (!this.#bySize.has(this.#sizeMax)) this.#sizeMax--;
    if (flows.size === 0) this.#hosts.delete(flows.host);
  }

  #resize(flows: HostFlows, size: number): void {
    const before = this.#bySize.get(flows.size);
    if (before?.delete(flows) && before.size === 0) this.#bySize.delete(flows.size);
    flows.size = size;
    if (size === 0) return;
    const after = this.#bySize.get(size);
    if (after === undefined) this.#bySize.set(size, new Set([flows]));
    else after.add(flows);
  }
}
