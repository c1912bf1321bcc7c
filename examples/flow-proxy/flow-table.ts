/**
 * The flows of an endpoint, ordered by last use. Their number is limited, and a flow without
 * datagrams is removed after the idle timeout.
 *
 * If the table is full, a new flow replaces the one that has been idle for longest, provided that
 * this is at least `EVICTABLE_AFTER_MS`. Otherwise the new flow is refused. A flood of new source
 * addresses, as with spoofed packets, therefore cannot evict flows in use, and idle flows do not
 * keep new ones out. Evictions and refusals are counted.
 */

import type { Runtime } from "./runtime.ts";

/** The minimum idle time of a flow that a new one may replace, unless the timeout is shorter. */
export const EVICTABLE_AFTER_MS = 1000;

/** The base class of flows: a node of the table's linked list. Only the table writes to it. */
export abstract class FlowEntry {
  lastUsedMs = 0;
  older: FlowEntry | undefined = undefined;
  newer: FlowEntry | undefined = undefined;
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

  /** Makes room for a new flow, if necessary and possible. Returns whether there is room. */
  admit(nowMs: number): boolean {
    if (this.#size < this.#flowsMax) return true;
    const oldest = this.#oldest;
    if (oldest === undefined || nowMs - oldest.lastUsedMs < this.#evictableAfterMs) {
      this.counters.refused++;
      return false;
    }
    this.counters.evicted++;
    this.remove(oldest);
    return true;
  }

  /** Adds a flow. To be called after `admit` returned true. */
  add(flow: F, nowMs: number): void {
    this.counters.opened++;
    this.#size++;
    this.#append(flow, nowMs);
  }

  /** Marks a flow as used: a datagram of it was forwarded. */
  touch(flow: F, nowMs: number): void {
    flow.lastUsedMs = nowMs;
    if (flow === this.#newest) return;
    this.#unlink(flow);
    this.#append(flow, nowMs);
  }

  /** Removes a flow. It must be in the table. */
  remove(flow: F): void {
    this.#unlink(flow);
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
