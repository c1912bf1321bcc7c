/**
 * The flows of one half of the proxy, in the order of their last use: a bounded number of them,
 * and none for longer than the idle timeout without a datagram.
 *
 * When the table is full, a new flow takes the place of the one that was idle the longest, but
 * only if that was idle for `EVICTABLE_AFTER_MS`; otherwise the new flow is refused. So a flood of
 * new addresses (which is how spoofed sources look) cannot push out flows that are in use, and
 * flows that merely linger do not keep new ones out. Both are counted.
 */

/** How long a flow must have been idle to be evicted for a new one. */
export const EVICTABLE_AFTER_MS = 1000;

/** What every flow has: its place in the order of use. The table writes it, nobody else. */
export abstract class FlowEntry {
  lastUsedMs = 0;
  older: FlowEntry | undefined = undefined;
  newer: FlowEntry | undefined = undefined;
}

export interface FlowTableOptions<F> {
  /** Flows at the same time, at the most. */
  readonly flowsMax: number;
  /** A flow without a datagram for this long is removed. */
  readonly idleTimeoutMs: number;
  /** Called once for each flow that leaves the table, for whatever reason. */
  readonly onRemove: (flow: F) => void;
}

/** What became of the flows, in totals. */
export interface FlowCounts {
  opened: number;
  /** Removed after the idle timeout. */
  expired: number;
  /** Removed for a new one while the table was full. */
  evicted: number;
  /** Not taken, as the table was full of flows in use. */
  refused: number;
}

/** A linked list from the flow idle the longest to the one used last; all steps take O(1). */
export class FlowTable<F extends FlowEntry> {
  readonly counts: FlowCounts = { opened: 0, expired: 0, evicted: 0, refused: 0 };
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

  /** How many flows there are. */
  get size(): number {
    return this.#size;
  }

  /** Makes room for one more flow, if it may: whether there is room. */
  admit(nowMs: number): boolean {
    if (this.#size < this.#flowsMax) return true;
    const oldest = this.#oldest;
    if (oldest === undefined || nowMs - oldest.lastUsedMs < this.#evictableAfterMs) {
      this.counts.refused++;
      return false;
    }
    this.counts.evicted++;
    this.remove(oldest);
    return true;
  }

  /** Takes a flow in, after `admit` said so. */
  add(flow: F, nowMs: number): void {
    this.counts.opened++;
    this.#size++;
    this.#append(flow, nowMs);
  }

  /** Tells that a datagram of the flow passed. */
  touch(flow: F, nowMs: number): void {
    flow.lastUsedMs = nowMs;
    if (flow === this.#newest) return;
    this.#unlink(flow);
    this.#append(flow, nowMs);
  }

  /** Removes a flow of the table. */
  remove(flow: F): void {
    this.#unlink(flow);
    this.#size--;
    this.#onRemove(flow);
  }

  /** Removes the flows whose idle time is up. */
  expire(nowMs: number): void {
    for (;;) {
      const oldest = this.#oldest;
      if (oldest === undefined || nowMs - oldest.lastUsedMs < this.#idleTimeoutMs) return;
      this.counts.expired++;
      this.remove(oldest);
    }
  }

  /** Calls `expire` now and then, until the timer is cleared. */
  expireRegularly(): ReturnType<typeof setInterval> {
    const intervalMs = expiryIntervalMs(this.#idleTimeoutMs);
    return setInterval(() => this.expire(performance.now()), intervalMs);
  }

  /** Removes all flows, uncounted. */
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
    // Neighbours are of this table, so they are `F`.
    const { older, newer } = flow as { older: F | undefined; newer: F | undefined };
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    flow.older = flow.newer = undefined;
  }
}

/** How often to call `expire`: often enough that no flow stays a quarter too long. */
export function expiryIntervalMs(idleTimeoutMs: number): number {
  return Math.min(1000, Math.max(10, idleTimeoutMs / 4));
}
