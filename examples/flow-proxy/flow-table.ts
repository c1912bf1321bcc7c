/**
 * The flows of an endpoint, ordered by last use. Their number is limited, and a flow without
 * datagrams is removed after the idle timeout.
 *
 * If the table is full, a new flow replaces one that has been idle for at least
 * `EVICTABLE_AFTER_MS`, of a host that has more flows than the host of the new one: flows in use are
 * not evicted, and a host cannot evict the flows of one that has fewer, however long they have been
 * idle. If there is none, the new flow is refused. With one exception, so that a host whose flows
 * are all in use does not keep the others out: beyond half of the table, it also loses flows in use.
 *
 * Source addresses may be forged, so that each packet of a flood seems to come from a host of its
 * own. Such a flood evicts idle flows, and of those in use only the ones of a host that has more than
 * half of the table. Evictions and refusals are counted.
 */

import { type HostFlows, HostShares } from "./host-shares.ts";
import type { Runtime } from "./runtime.ts";

/** The minimum idle time of a flow that a new one may replace, unless the timeout is shorter. */
export const EVICTABLE_AFTER_MS = 1000;

/** The base class of flows: a node of the table's linked lists. Only the table writes to it. */
export abstract class FlowEntry {
  /** The host that the flow belongs to, an IP address. */
  readonly host: string;
  lastUsedMs = 0;
  older: FlowEntry | undefined = undefined;
  newer: FlowEntry | undefined = undefined;
  /** The flows of the same host, and the neighbors of this one in their order. */
  siblings: HostFlows | undefined = undefined;
  olderSibling: FlowEntry | undefined = undefined;
  newerSibling: FlowEntry | undefined = undefined;

  constructor(host: string) {
    this.host = host;
  }
}

export interface FlowTableOptions<F> {
  /** The maximum number of flows. */
  readonly flowsMax: number;
  /** How long a flow is kept without a datagram. */
  readonly idleTimeoutMs: number;
  /** Called once for each flow that is removed, for any reason. */
  readonly onRemove: (flow: F) => void;
}

/** Totals since the table was created. */
export interface FlowCounters {
  opened: number;
  /** Removed after the idle timeout. */
  expired: number;
  /** Replaced by a new flow when the table was full. */
  evicted: number;
  /** Refusals of a new flow when the table was full of flows in use: one per datagram. */
  refused: number;
}

/** A linked list from the least to the most recently used flow. All operations are O(1). */
export class FlowTable<F extends FlowEntry> {
  readonly counters: FlowCounters = { opened: 0, expired: 0, evicted: 0, refused: 0 };
  readonly #flowsMax: number;
  readonly #idleTimeoutMs: number;
  readonly #evictableAfterMs: number;
  readonly #onRemove: (flow: F) => void;
  readonly #shares = new HostShares();
  #oldest: F | undefined;
  #newest: F | undefined;
  #size = 0;

  constructor({ flowsMax, idleTimeoutMs, onRemove }: FlowTableOptions<F>) {
    this.#flowsMax = flowsMax;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#evictableAfterMs = Math.min(EVICTABLE_AFTER_MS, idleTimeoutMs);
    this.#onRemove = onRemove;
  }

  /** The number of flows. */
  get size(): number {
    return this.#size;
  }

  /** Makes room for a new flow of `host`, if necessary and possible. Returns whether there is room. */
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
    const own = this.#shares.get(host);
    const count = own?.size ?? 0;
    const largest = this.#shares.largest;
    if (largest !== undefined && count + 1 < largest.size) {
      const victim = largest.oldest as F;
      if (largest.size > this.#flowsMax / 2 || this.#isEvictable(victim, nowMs)) return victim;
    }
    const oldestOwn = own?.oldest as F | undefined;
    if (oldestOwn !== undefined && this.#isEvictable(oldestOwn, nowMs)) return oldestOwn;
    const oldest = this.#oldest;
    if (oldest === undefined || !this.#isEvictable(oldest, nowMs)) return undefined;
    return (oldest.siblings as HostFlows).size > count ? oldest : undefined;
  }

  #isEvictable(flow: F, nowMs: number): boolean {
    return nowMs - flow.lastUsedMs >= this.#evictableAfterMs;
  }

  /** Adds a flow. To be called after `admit` returned true. */
  add(flow: F, nowMs: number): void {
    this.counters.opened++;
    this.#size++;
    this.#append(flow, nowMs);
    this.#shares.add(flow);
  }

  /** Marks a flow as used: a datagram of it was forwarded. */
  touch(flow: F, nowMs: number): void {
    flow.lastUsedMs = nowMs;
    if (flow === this.#newest) return;
    this.#unlink(flow);
    this.#append(flow, nowMs);
    (flow.siblings as HostFlows).touch(flow);
  }

  /** Removes a flow. It must be in the table. */
  remove(flow: F): void {
    this.#unlink(flow);
    this.#shares.remove(flow);
    this.#size--;
    this.#onRemove(flow);
  }

  /** Removes the flows that have reached the idle timeout. */
  expire(nowMs: number): void {
    for (;;) {
      const oldest = this.#oldest;
      if (oldest === undefined || nowMs - oldest.lastUsedMs < this.#idleTimeoutMs) return;
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

  #append(flow: F, nowMs: number): void {
    flow.lastUsedMs = nowMs;
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
