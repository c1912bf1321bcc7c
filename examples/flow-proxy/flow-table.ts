/**
 * The flows of an endpoint, ordered by last use. Their number is limited. A flow without datagrams
 * is removed after the idle timeout and a grace period. A client that has sent nothing for the timeout
 * gets no more replies, however many there are: it may be gone, or be reachable at another address
 * only (RFC 4787, section 4.3). In the grace period it finds its flow as it was.
 *
 * A host may use all free space. If the table is full, a new flow replaces another one, of a host
 * that has more flows than the host of the new one, or else of the same host:
 *
 * - one that has been idle for at least `EVICTABLE_AFTER_MS`;
 * - also one in use, of a host with more than a `PROTECTED_SHARE` of the table, so that a host which
 *   keeps all of its flows in use cannot keep the others out.
 *
 * If there is none, the new flow is refused. A flood from one host therefore evicts only flows of
 * that host. A flood with forged source addresses, each of them a host of its own, evicts idle flows
 * and those beyond a `PROTECTED_SHARE`, and the others stay. Evictions and refusals are counted.
 */

import { type HostFlows, Hosts } from "./host-flows.ts";
import type { Runtime } from "./runtime.ts";

/** The minimum idle time of a flow that a new one may replace, unless the timeout is shorter. */
export const EVICTABLE_AFTER_MS = 1000;
/** Up to this share of the table, the flows in use of a host are not evicted. */
export const PROTECTED_SHARE: number = 1 / 8;

/** The base class of flows: a node of the table's linked lists. Only the table writes to it. */
export abstract class FlowEntry {
  /** When a datagram of the flow was forwarded, in either direction. */
  lastUsedMs = 0;
  /** When a datagram of its client was forwarded. */
  lastRequestMs = 0;
  older: FlowEntry | undefined = undefined;
  newer: FlowEntry | undefined = undefined;
  /** The neighbors in the list of the flows of the same host, and that list. */
  newerSibling: FlowEntry | undefined = undefined;
  olderSibling: FlowEntry | undefined = undefined;
  siblings: HostFlows | undefined = undefined;
}

export interface FlowTableOptions<F> {
  /** The maximum number of flows. */
  readonly flowsMax: number;
  /** How long a flow is kept without a datagram. */
  readonly idleTimeoutMs: number;
  /**
   * How long a flow is kept after that. It gets no replies then, but a datagram of its client finds it,
   * with its upstream socket. Default 0.
   */
  readonly graceMs?: number | undefined;
  /** Called once for each flow that is removed, for any reason. */
  readonly onRemove: (flow: F) => void;
}

/** Totals since the table was created. */
export interface FlowCounters {
  opened: number;
  /** Removed after the idle timeout and the grace period. */
  expired: number;
  /** Replaced by a new flow when the table was full. */
  evicted: number;
  /** Removed by an egress because the ingress has started another flow in the slot. */
  ended: number;
  /** Moved to another address of their client, or ingress. */
  moved: number;
  /** Refusals of a new flow when the table was full of flows in use: one per datagram. */
  refused: number;
}

/**
 * Two linked lists from the least to the most recently used flow: of all flows, and of the flows of
 * each host. All operations are O(1).
 */
export class FlowTable<F extends FlowEntry> {
  readonly counters: FlowCounters = {
    opened: 0,
    expired: 0,
    evicted: 0,
    ended: 0,
    moved: 0,
    refused: 0,
  };
  readonly #flowsMax: number;
  readonly #idleTimeoutMs: number;
  readonly #expiryMs: number;
  readonly #evictableAfterMs: number;
  readonly #protectedSize: number;
  readonly #onRemove: (flow: F) => void;
  readonly #hosts = new Hosts();
  #oldest: F | undefined;
  #newest: F | undefined;
  #size = 0;

  constructor({ flowsMax, idleTimeoutMs, graceMs = 0, onRemove }: FlowTableOptions<F>) {
    this.#flowsMax = flowsMax;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#expiryMs = idleTimeoutMs + graceMs;
    this.#protectedSize = flowsMax * PROTECTED_SHARE;
    this.#evictableAfterMs = Math.min(EVICTABLE_AFTER_MS, idleTimeoutMs);
    this.#onRemove = onRemove;
  }

  /** The number of flows. */
  get size(): number {
    return this.#size;
  }

  /**
   * Makes room for a new flow of `host`, see `hostOf`, if necessary and possible. Returns whether there
   * is room.
   */
  admit(host: string, nowMs: number): boolean {
    if (this.#size < this.#flowsMax) return true;
    const victim = this.#victimFor(host, nowMs);
    if (victim === undefined) {
      this.counters.refused++;
      return false;
    }
    this.counters.evicted++;
    this.remove(victim);
    return true;
  }

  /** Returns the flow that a new one of `host` replaces. */
  #victimFor(host: string, nowMs: number): F | undefined {
    const own = this.#hosts.get(host);
    const ownSize = own?.size ?? 0;
    const { size, oldest } = this.#hosts.largest as HostFlows;
    // Not if the hosts would only have swapped their sizes.
    if (size > this.#protectedSize && size > ownSize + 1) return oldest as F;
    if (size > ownSize && this.#isIdle(oldest as F, nowMs)) return oldest as F;
    const idlest = this.#oldest as F;
    if (!this.#isIdle(idlest, nowMs)) return undefined;
    if ((idlest.siblings as HostFlows).size > ownSize) return idlest;
    const oldestOwn = own?.oldest as F | undefined;
    return oldestOwn !== undefined && this.#isIdle(oldestOwn, nowMs) ? oldestOwn : undefined;
  }

  /** Returns whether a flow has been idle for so long that it may be evicted. */
  #isIdle(flow: F, nowMs: number): boolean {
    return nowMs - flow.lastUsedMs >= this.#evictableAfterMs;
  }

  /** Adds a flow of `host`. To be called after `admit` returned true. */
  add(flow: F, host: string, nowMs: number): void {
    this.counters.opened++;
    this.#size++;
    flow.lastRequestMs = flow.lastUsedMs = nowMs;
    this.#append(flow);
    this.#hosts.add(flow, host);
  }

  /** Marks a flow as used by a datagram of its client. */
  touch(flow: F, nowMs: number): void {
    flow.lastRequestMs = flow.lastUsedMs = nowMs;
    if (flow !== this.#newest) this.#moveToEnd(flow);
  }

  /**
   * Marks a flow as used by a reply. Returns false if the reply must be dropped: the client has sent
   * nothing for the idle timeout.
   */
  touchByReply(flow: F, nowMs: number): boolean {
    if (nowMs - flow.lastRequestMs >= this.#idleTimeoutMs) return false;
    flow.lastUsedMs = nowMs;
    if (flow !== this.#newest) this.#moveToEnd(flow);
    return true;
  }

  /** Makes a flow the most recently used one, in both lists. */
  #moveToEnd(flow: F): void {
    this.#unlink(flow);
    this.#append(flow);
    // The siblings of the newest one are not accessed: with many hosts they are in no CPU cache.
    if (flow.newerSibling === undefined) return;
    const siblings = flow.siblings as HostFlows;
    siblings.unlink(flow);
    siblings.append(flow);
  }

  /** Records that a flow has moved to an address of `host`. */
  move(flow: F, host: string): void {
    this.counters.moved++;
    if (flow.siblings?.host === host) return;
    this.#hosts.remove(flow);
    this.#hosts.add(flow, host);
  }

  /** Removes a flow. It must be in the table. */
  remove(flow: F): void {
    this.#unlink(flow);
    this.#hosts.remove(flow);
    this.#size--;
    this.#onRemove(flow);
  }

  /** Removes the flows whose idle timeout and grace period have passed. */
  expire(nowMs: number): void {
    for (;;) {
      const oldest = this.#oldest;
      if (oldest === undefined || nowMs - oldest.lastUsedMs < this.#expiryMs) return;
      this.counters.expired++;
      this.remove(oldest);
    }
  }

  /** Calls `expire` regularly, until the function that it returns is called. */
  startExpiry(runtime: Runtime): () => void {
    const intervalMs = expiryIntervalMs(this.#idleTimeoutMs);
    return runtime.callRepeatedly(() => this.expire(runtime.nowMs()), intervalMs);
  }

  /** Removes all flows, without counting them. */
  clear(): void {
    while (this.#oldest !== undefined) this.remove(this.#oldest);
  }

  #append(flow: F): void {
    flow.older = this.#newest;
    flow.newer = undefined;
    if (this.#newest === undefined) this.#oldest = flow;
    else this.#newest.newer = flow;
    this.#newest = flow;
  }

  #unlink(flow: F): void {
    // Only `#append` links flows, so the neighbors of a flow are of type `F`.
    const { older, newer } = flow as { older: F | undefined; newer: F | undefined };
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    flow.older = flow.newer = undefined;
  }
}

/**
 * Returns the interval at which to call `expire`: a quarter of the idle timeout, limited to
 * 10..1000 ms.
 */
export function expiryIntervalMs(idleTimeoutMs: number): number {
  return Math.min(1000, Math.max(10, idleTimeoutMs / 4));
}
