/**
 * The datagrams that a socket has not passed to the system yet.
 *
 * Datagrams between `cork` and `uncork` are sent together: with GSO, many of them in one system call.
 * Of the others, the first of a tick is sent at once. Those that follow in the same tick are copied,
 * and sent together when the tick ends.
 */

import type { SocketAddress } from "../address/socket-address.ts";
import type { Engine } from "../engine/engine.ts";
import { Pending, type Poll, WouldBlock } from "../poll/poll.ts";
import { sendmmsg } from "../sockets/mmsg.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import type { SendRequest } from "./driver.ts";
import { ECANCELED, errnoOf } from "./errors.ts";
import { atEndOfTick } from "./tick.ts";

/** The result of a request that has not been sent. */
const UNSENT = -1;

/** A datagram in the queue. */
class Entry {
  readonly request: SendRequest;
  readonly bytes: number;
  /** The error number, positive, or 0 if the datagram was sent; `UNSENT` before. */
  result: number = UNSENT;
  /** Whether the tick ended before the datagram was sent. */
  isLate = false;

  constructor(request: SendRequest, bytes: number) {
    this.request = request;
    this.bytes = bytes;
  }

  /** Sets the result. The end of the tick reports it, unless that has passed. */
  settle(result: number): void {
    this.result = result;
    if (this.isLate) process.nextTick(report, this);
  }
}

function report(entry: Entry): void {
  entry.request.oncomplete?.(-entry.result, entry.result === 0 ? entry.bytes : 0);
}

/** Reports a datagram that is sent, or leaves that to `settle`. */
function reportOrWait(entry: Entry): void {
  if (entry.result === UNSENT) entry.isLate = true;
  else report(entry);
}

/** The queues to flush when the process exits. */
const queues: Set<SendQueue> = new Set();

function flushAll(): void {
  for (const queue of queues) queue.flush();
}

/** The send queue of one socket. */
export class SendQueue {
  /** Absent until the socket is registered for readiness. */
  #engine: Engine | undefined;
  /** The descriptor to send to until then; -1 if it is not open. */
  #fd = -1;
  readonly #payloads: Uint8Array[] = [];
  readonly #addresses: SocketAddress[] = [];
  readonly #entries: Entry[] = [];
  /** The number of datagrams at the start of the arrays that have been sent. */
  #first = 0;
  #bytes = 0;
  /** Whether a datagram was sent in this tick. */
  #isTickOpen = false;
  #isCorked = false;
  /** Whether the reactor calls `flush`. */
  #isWaiting = false;
  readonly #wake: () => void = () => {
    this.#isWaiting = false;
    this.flush();
  };
  readonly #endTick: () => void = () => {
    this.#isTickOpen = false;
    this.flush();
  };

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#entries.length - this.#first;
  }

  /** Starts to send to a descriptor, without waiting while it has no room. */
  open(fd: number): void {
    this.#fd = fd;
  }

  /** Sends with the engine from now on. */
  start(engine: Engine): void {
    this.#engine = engine;
    this.flush();
  }

  #sendNow(
    bufs: Uint8Array[],
    { start, end }: { start: number; end: number },
    to: SocketAddress | SocketAddress[] | undefined,
  ): Poll<number> {
    if (this.#engine !== undefined) return this.#engine.send(this.#wake, bufs, start, end, to);
    const range = Array.isArray(to) ? to.slice(start, end) : to;
    const result = this.#fd === -1 ? WouldBlock : sendmmsg(this.#fd, bufs.slice(start, end), range);
    return result === WouldBlock ? Pending : result;
  }

  /**
   * Sends a datagram, or queues a copy. Returns as `Driver.send`. Without `address`, it goes to the
   * connected peer: all datagrams in the queue do then.
   */
  send(payload: Uint8Array, request: SendRequest, address: SocketAddress | undefined): number {
    if (this.#isCorked) {
      this.#push(payload, request, address);
      return 0;
    }
    if (!this.#isTickOpen && this.count === 0) {
      this.#isTickOpen = true;
      atEndOfTick(this.#endTick);
      try {
        const result = this.#sendNow([payload], { start: 0, end: 1 }, address);
        if (result !== Pending) return payload.byteLength + 1;
        this.#isWaiting = this.#engine !== undefined;
      } catch (error) {
        return -errnoOf(error);
      }
    }
    // Not `slice`: that of a `Buffer` shares its memory.
    this.#push(new Uint8Array(payload), request, address);
    return 0;
  }

  /** Collects the datagrams of the following calls of `send`, borrowing them. */
  cork(): void {
    this.#isCorked = true;
  }

  /** Sends what has been collected. */
  uncork(): void {
    this.#isCorked = false;
    this.flush();
  }

  #push(payload: Uint8Array, request: SendRequest, address: SocketAddress | undefined): void {
    if (this.count === 0) addQueue(this);
    const entry = new Entry(request, payload.byteLength);
    this.#payloads.push(payload);
    if (address !== undefined) this.#addresses.push(address);
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
    // Mostly runs after `#endTick`, which was queued before, or after `uncork`.
    if (request.oncomplete !== undefined) process.nextTick(reportOrWait, entry);
    if (this.count >= BATCH_COUNT_MAX) this.flush();
  }

  /** Sends what the system accepts now. */
  flush(): void {
    if (this.#isWaiting) return;
    const to = this.#addresses.length === 0 ? undefined : this.#addresses;
    while (this.#first < this.#entries.length) {
      const { length } = this.#entries;
      try {
        const range = { start: this.#first, end: length };
        const result = this.#sendNow(this.#payloads, range, to);
        if (result === Pending) {
          // Without an engine, `start` sends them.
          this.#isWaiting = this.#engine !== undefined;
          return;
        }
        for (let i = 0; i < result; i++) this.#settle(0);
      } catch (error) {
        this.#settle(errnoOf(error));
      }
    }
    this.#clear();
  }

  #settle(result: number): void {
    const entry = this.#entries[this.#first++] as Entry;
    this.#bytes -= entry.bytes;
    entry.settle(result);
  }

  #clear(): void {
    this.#payloads.length = this.#addresses.length = this.#entries.length = this.#first = 0;
    queues.delete(this);
  }

  /** Sends what the system accepts, and cancels the rest. */
  close(): void {
    try {
      this.flush();
    } finally {
      while (this.#first < this.#entries.length) this.#settle(ECANCELED);
      this.#clear();
      this.#engine = undefined;
      this.#fd = -1;
    }
  }
}

let hasExitListener = false;

/** Remembers a queue that is not empty. */
function addQueue(queue: SendQueue): void {
  queues.add(queue);
  if (hasExitListener) return;
  hasExitListener = true;
  process.on("exit", flushAll);
}
