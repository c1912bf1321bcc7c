/**
 * Promises over polls: the callers that wait on one direction of a socket are served in the order
 * of their calls, each can be aborted, and an error rejects the one at the head.
 */

import { typeError } from "../support/check.ts";
import { SocketError } from "../support/errors.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { setImmediate } from "../support/timers.ts";
import { Pending, type Poll, type Waker } from "./poll.ts";

/** Options of every call that waits. */
export interface WaitOptions {
  /**
   * Aborts the wait. The promise rejects with the reason of the signal, and no datagram is
   * received or sent by it. A call that already transferred datagrams resolves with their number.
   */
  readonly signal?: AbortSignal | undefined;
}

/** The queue checks the signal itself. */
const WAIT_OPTIONS = optionKinds<WaitOptions>({ signal: "any" });

/** A caller that waits: an element of a doubly linked list, which removes any element in O(1). */
interface Operation {
  readonly poll: (waker: Waker) => Poll<unknown>;
  readonly signal: AbortSignal | undefined;
  readonly partial: (() => unknown) | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  onAbort: (() => void) | undefined;
  previous: Operation | undefined;
  next: Operation | undefined;
}

function newOperation<T>(
  poll: (waker: Waker) => Poll<T>,
  signal: AbortSignal | undefined,
  partial: (() => T | undefined) | undefined,
  resolve: (value: T) => void,
  reject: (error: unknown) => void,
): Operation {
  return {
    poll,
    signal,
    partial,
    resolve: resolve as (value: unknown) => void,
    reject,
    onAbort: undefined,
    previous: undefined,
    next: undefined,
  };
}

/** What `#polled` is while an operation is polled that has no place in the queue. */
const STARTING: Operation = newOperation(
  () => Pending,
  undefined,
  undefined,
  () => {},
  () => {},
);

/**
 * Returns an error whose stack trace begins above `method`, a function on the stack: at the call of
 * the user, without the poll.
 */
function traced(error: unknown, method: (...args: never[]) => unknown): unknown {
  if (error instanceof SocketError) Error.captureStackTrace(error, method);
  return error;
}

/** The queue of callers that wait on one direction of a socket. */
export class OperationQueue {
  #head: Operation | undefined;
  #tail: Operation | undefined;
  /** The operation that is being polled. Its poll may run user code, which may call this queue. */
  #polled: Operation | undefined;
  /** Whether the waker was called during the latest poll. */
  #isWoken = false;

  /** The only waker that this queue passes to polls. Polls the head again. */
  readonly waker: Waker = () => this.#advance();

  /** Whether an operation waits, or is being polled. */
  get isBusy(): boolean {
    return this.#head !== undefined || this.#polled !== undefined;
  }

  /**
   * Appends an operation, polls it when it is at the head, and returns a promise for its value.
   * If it is aborted, `partial` may provide a value to resolve with instead.
   */
  run<T>(
    poll: (waker: Waker) => Poll<T>,
    signal: AbortSignal | undefined,
    partial?: () => T | undefined,
  ): Promise<T> {
    if (signal !== undefined) {
      if (!(signal instanceof AbortSignal)) {
        return Promise.reject(typeError("signal", "AbortSignal", signal));
      }
      if (signal.aborted) return Promise.reject(signal.reason);
    }
    if (signal === undefined && !this.isBusy) return this.#start(poll, partial);
    return new Promise((resolve, reject) => {
      const operation = newOperation(poll, signal, partial, resolve, reject);
      if (signal !== undefined) {
        operation.onAbort = () => this.#onAbort(operation);
        signal.addEventListener("abort", operation.onAbort);
      }
      this.#append(operation);
      if (this.#head === operation) this.#advance(operation);
    });
  }

  /**
   * Polls an operation before it has a place in the queue: most have a result at once, which takes
   * 0.2 instead of 0.4 us then.
   */
  #start<T>(poll: (waker: Waker) => Poll<T>, partial?: () => T | undefined): Promise<T> {
    this.#isWoken = false;
    this.#polled = STARTING;
    let promise: Promise<T> | undefined;
    try {
      const result = poll(this.waker);
      if (result !== Pending) promise = Promise.resolve(result);
    } catch (error) {
      promise = Promise.reject(traced(error, this.#start));
    } finally {
      this.#polled = undefined;
    }
    if (promise === undefined) {
      promise = new Promise((resolve, reject) => {
        this.#prepend(newOperation(poll, undefined, partial, resolve, reject));
      });
      this.#wakeLater();
    } else if (this.#head !== undefined) {
      // Its poll has run code of the user, which has appended others.
      this.#advance();
    }
    return promise;
  }

  /**
   * Appends an operation as `run` does, with the options of the caller. Rejects with a `TypeError`
   * for an unknown option, and with what a getter of an option throws. Never throws.
   */
  runWith<T>(
    poll: (waker: Waker) => Poll<T>,
    options: WaitOptions | undefined,
    partial?: () => T | undefined,
  ): Promise<T> {
    if (options === undefined) return this.run(poll, undefined, partial);
    try {
      checkOptions("options", options, WAIT_OPTIONS);
      return this.run(poll, options.signal, partial);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Polls from the head on, until an operation is pending.
   *
   * @param started the operation that `run` has just appended.
   */
  #advance(started?: Operation): void {
    // Called within a poll: the loop below, further up the stack, continues.
    if (this.#polled !== undefined) {
      this.#isWoken = true;
      return;
    }
    for (let head = this.#head; head !== undefined; head = this.#head) {
      if (head.signal?.aborted) this.#abort(head);
      else if (!this.#poll(head, head === started) && !head.signal?.aborted) break;
    }
    this.#wakeLater();
  }

  /** If the waker was called during the latest poll, calls it again in a later tick. */
  #wakeLater(): void {
    // A poll that always wakes itself must not block the event loop.
    if (this.#isWoken && this.#head !== undefined) setImmediate(this.waker);
    this.#isWoken = false;
  }

  /** Polls `operation` and settles it unless it is pending. Returns whether it is settled. */
  #poll(operation: Operation, isStarted: boolean): boolean {
    this.#isWoken = false;
    this.#polled = operation;
    try {
      const result = operation.poll(this.waker);
      if (result === Pending) return false;
      this.#remove(operation);
      operation.resolve(result);
    } catch (error) {
      this.#remove(operation);
      operation.reject(isStarted ? traced(error, this.run) : error);
    } finally {
      this.#polled = undefined;
    }
    return true;
  }

  #onAbort(operation: Operation): void {
    // Aborted by its own poll, which may return a datagram: `#advance` decides afterwards.
    if (operation === this.#polled) return;
    const isHead = operation === this.#head;
    this.#abort(operation);
    if (isHead) this.#advance();
  }

  #abort(operation: Operation): void {
    this.#remove(operation);
    const result = operation.partial?.();
    if (result === undefined) operation.reject(operation.signal?.reason);
    else operation.resolve(result);
  }

  #append(operation: Operation): void {
    operation.previous = this.#tail;
    if (this.#tail === undefined) this.#head = operation;
    else this.#tail.next = operation;
    this.#tail = operation;
  }

  #prepend(operation: Operation): void {
    operation.next = this.#head;
    if (this.#head === undefined) this.#tail = operation;
    else this.#head.previous = operation;
    this.#head = operation;
  }

  #remove(operation: Operation): void {
    const { previous, next, onAbort } = operation;
    if (previous === undefined) this.#head = next;
    else previous.next = next;
    if (next === undefined) this.#tail = previous;
    else next.previous = previous;
    if (onAbort !== undefined) operation.signal?.removeEventListener("abort", onAbort);
  }
}
