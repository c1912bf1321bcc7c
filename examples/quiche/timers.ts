/** The deadlines of many connections, with one timer for all of them. */

/** An object with a deadline. The queue sets both fields; a new object has -1 in `queueIndex`. */
export interface Timed {
  /** In milliseconds of `performance.now()`. */
  deadlineMs: number;
  /** The position in the heap, -1 if the object has no deadline. */
  queueIndex: number;
}

/**
 * A binary heap of deadlines. A timer of the event loop exists only for the earliest one, and is not
 * moved when that deadline becomes later, which it does with nearly every packet: it then finds
 * nothing due, and is set again.
 */
export class DeadlineQueue<T extends Timed> {
  readonly #heap: T[] = [];
  readonly #onDue: (item: T) => void;
  readonly #afterDue: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  /** Calls `onDue` for each item whose deadline has passed, which removes it, then `afterDue`. */
  constructor(onDue: (item: T) => void, afterDue: () => void) {
    this.#onDue = onDue;
    this.#afterDue = afterDue;
  }

  /** The number of items with a deadline. */
  get size(): number {
    return this.#heap.length;
  }

  /** The earliest deadline; infinite if there is none. */
  get earliestMs(): number {
    return this.#heap[0]?.deadlineMs ?? Number.POSITIVE_INFINITY;
  }

  /** Sets or changes the deadline of an item. */
  set(item: T, deadlineMs: number): void {
    item.deadlineMs = deadlineMs;
    if (item.queueIndex === -1) item.queueIndex = this.#heap.push(item) - 1;
    this.#settle(item);
    this.#arm();
  }

  /** Removes the deadline of an item, if it has one. */
  delete(item: T): void {
    const i = item.queueIndex;
    if (i === -1) return;
    item.queueIndex = -1;
    const last = this.#heap.pop() as T;
    if (last === item) return;
    this.#place(last, i);
    this.#settle(last);
  }

  /** Removes all items and the timer. */
  clear(): void {
    for (const item of this.#heap) item.queueIndex = -1;
    this.#heap.length = 0;
    clearTimeout(this.#timer);
    this.#timerMs = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined || first.deadlineMs >= this.#timerMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = first.deadlineMs;
    const delayMs = Math.max(0, Math.ceil(first.deadlineMs - performance.now()));
    this.#timer = setTimeout(() => this.#fire(), delayMs);
  }

  #fire(): void {
    this.#timerMs = Number.POSITIVE_INFINITY;
    const nowMs = performance.now();
    let isAnyDue = false;
    for (let item = this.#heap[0]; item !== undefined; item = this.#heap[0]) {
      if (item.deadlineMs > nowMs) break;
      this.delete(item);
      this.#onDue(item);
      isAnyDue = true;
    }
    if (isAnyDue) this.#afterDue();
    this.#arm();
  }

  #place(item: T, i: number): void {
    this.#heap[i] = item;
    item.queueIndex = i;
  }

  /** Moves an item up or down to its position. */
  #settle(item: T): void {
    let i = item.queueIndex;
    while (i > 0) {
      const parent = this.#heap[(i - 1) >> 1] as T;
      if (parent.deadlineMs <= item.deadlineMs) break;
      this.#place(parent, i);
      i = (i - 1) >> 1;
    }
    for (;;) {
      const [left, right] = [this.#heap[2 * i + 1], this.#heap[2 * i + 2]];
      if (left === undefined) break;
      const child = right !== undefined && right.deadlineMs < left.deadlineMs ? right : left;
      if (child.deadlineMs >= item.deadlineMs) break;
      const childIndex = child.queueIndex;
      this.#place(child, i);
      i = childIndex;
    }
    this.#place(item, i);
  }
}
