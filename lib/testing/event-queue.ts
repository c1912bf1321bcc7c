/** The future of a simulation: callbacks, ordered by virtual time. */

/** A callback that is due at a time. */
export interface SimTask {
  readonly timeMs: number;
  /** The order of tasks that are due at the same time: that in which they were added. */
  readonly sequence: number;
  /** Whether promise callbacks run before and after it, as between two timers of an event loop. */
  readonly isIsolated: boolean;
  /** Absent once cancelled. */
  run: (() => void) | undefined;
}

/** A queue of tasks (a binary heap). */
export class EventQueue {
  readonly #heap: SimTask[] = [];
  #sequence = 0;
  #cancelled = 0;

  /** The number of tasks that are not cancelled. */
  get length(): number {
    return this.#heap.length - this.#cancelled;
  }

  /** Adds a task, and returns it. */
  add(timeMs: number, run: () => void, isIsolated = false): SimTask {
    const task: SimTask = { timeMs, sequence: this.#sequence++, isIsolated, run };
    const heap = this.#heap;
    let i = heap.length;
    heap.push(task);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const other = heap[parent] as SimTask;
      if (isBefore(other, task)) break;
      heap[i] = other;
      i = parent;
    }
    heap[i] = task;
    return task;
  }

  /** Cancels a task. No effect if it ran or was cancelled. */
  cancel(task: SimTask): void {
    if (task.run === undefined) return;
    task.run = undefined;
    // It is removed when it is due, or when most tasks are cancelled.
    if (++this.#cancelled > 64 && this.#cancelled * 2 > this.#heap.length) this.#sweep();
  }

  /** Returns the next task, which remains in the queue. */
  peek(): SimTask | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.run !== undefined) return first;
      this.#removeFirst();
      this.#cancelled--;
    }
  }

  /** Removes the next task, and returns its callback. */
  take(): (() => void) | undefined {
    const task = this.peek();
    if (task === undefined) return undefined;
    this.#removeFirst();
    const { run } = task;
    task.run = undefined;
    return run;
  }

  #sweep(): void {
    const live = this.#heap.filter((task) => task.run !== undefined);
    // A sorted array is a heap.
    live.sort((a, b) => (isBefore(a, b) ? -1 : 1));
    // Not as arguments of a call, whose number is limited.
    this.#heap.length = 0;
    for (const task of live) this.#heap.push(task);
    this.#cancelled = 0;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as SimTask;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as SimTask)) child++;
      const other = heap[child] as SimTask;
      if (isBefore(last, other)) break;
      heap[i] = other;
      i = child;
    }
    heap[i] = last;
  }
}

function isBefore(a: SimTask, b: SimTask): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.sequence < b.sequence);
}
