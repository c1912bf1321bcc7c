/** A datagram socket: both halves, access to its descriptor, and receiving in buffers of its own. */

import type { DgramBuffer } from "../buffer/buffer.ts";
import { DeferredError } from "../poll/deferred-error.ts";
import { checkWaker, Pending, type Poll, type Waker } from "../poll/poll.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { DatagramSocketRecv } from "./recv.ts";
import { DatagramSocketSend } from "./send.ts";
import type { AsSocketStats } from "./stats.ts";

/**
 * A datagram socket. A subclass implements `pollSend` and `pollRecvFrom`, and inherits everything
 * else.
 *
 * @example
 * ```ts
 * class Loopback extends DatagramSocket {
 *   #queue: Uint8Array[] = [];
 *   pollSend(_waker: Waker | null, buf: Payload) { ... }
 *   pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta) { ... }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods are added below.
export abstract class DatagramSocket extends DatagramSocketSend {
  /** Returns the file descriptor, which the socket still owns; absent if there is none. */
  asRawIo(): number | undefined {
    return undefined;
  }

  /**
   * Transfers the ownership of the file descriptor to the caller, and closes the socket. Absent, and
   * nothing changes, if there is none.
   *
   * Datagrams that the library has read from the kernel and not returned yet are dropped, and so are
   * the messages in the receive buffer up to the last one that GRO has merged. Both are counted
   * (`counters.datagramsDropped`). To keep the former, call `asRawIo()`, and receive while
   * `unreadDatagrams` is more than 0. For the latter, open the socket with `offload: { gro: false }`,
   * or pass the descriptor of `asRawIo()` to a program that knows GRO (docs/restart.md).
   */
  intoFd(): number | undefined {
    return undefined;
  }

  /** Returns the interface that transfers the ownership of buffers; absent if there is none. */
  asBufIo(): RawPoolBufDatagramIo | undefined {
    return undefined;
  }
}

if (isShared("DatagramSocket", DatagramSocket)) {
  // @ts-expect-error See `isShared`.
  DatagramSocket = sharedClass("DatagramSocket");
}

// A class has one base class, so the methods of the receive half are copied (a mixin as in the
// TypeScript handbook). They use no private fields, so they work on any object.
export interface DatagramSocket extends DatagramSocketRecv {}

for (const [name, descriptor] of Object.entries(
  Object.getOwnPropertyDescriptors(DatagramSocketRecv.prototype),
)) {
  if (!Object.hasOwn(DatagramSocket.prototype, name)) {
    Object.defineProperty(DatagramSocket.prototype, name, descriptor);
  }
}
Object.defineProperty(DatagramSocket.prototype, Symbol.asyncIterator, {
  value: DatagramSocketRecv.prototype[Symbol.asyncIterator],
  writable: true,
  configurable: true,
});

/** A datagram socket that has statistics. */
export type DatagramSocketWithStats = DatagramSocket & AsSocketStats;

/** Sends and receives datagrams in buffers whose ownership is transferred with them. */
export abstract class RawPoolBufDatagramIo {
  /**
   * Sends `datagrams` in order, and returns their number. The socket may take the memory of those
   * that were sent, and leaves them empty then.
   */
  abstract pollSendDatagrams(waker: Waker | null, datagrams: DgramBuffer[]): Poll<number>;

  /** Receives one datagram in a buffer that the caller then owns. */
  abstract pollRecvDgram(waker: Waker | null): Poll<DgramBuffer>;

  /** @internal The error after a partial batch. */
  readonly _recvError: DeferredError = new DeferredError();

  /**
   * Appends up to `limit` received datagrams to `buffers`, and returns their number. If an error
   * occurs after the first datagram, the count is returned, and the next call throws the error,
   * once.
   */
  pollRecvDatagrams(waker: Waker | null, buffers: DgramBuffer[], limit: number): Poll<number> {
    checkRecvArguments(waker, buffers, limit);
    this._recvError.throwIfSet();
    for (let i = 0; i < limit; i++) {
      try {
        const buffer = this.pollRecvDgram(i === 0 ? waker : null);
        if (buffer === Pending) return i > 0 ? i : Pending;
        buffers.push(buffer);
      } catch (error) {
        if (i === 0) throw error;
        this._recvError.set(error);
        return i;
      }
    }
    return limit;
  }
}

if (isShared("RawPoolBufDatagramIo", RawPoolBufDatagramIo)) {
  // @ts-expect-error See `isShared`.
  RawPoolBufDatagramIo = sharedClass("RawPoolBufDatagramIo");
}

/**
 * @internal Checks the arguments of `pollRecvDatagrams` before a datagram is received.
 *
 * @throws TypeError or RangeError for an invalid argument, or an array that is not extensible.
 */
export function checkRecvArguments(
  waker: Waker | null,
  buffers: readonly DgramBuffer[],
  limit: number,
): void {
  checkWaker(waker);
  if (!Array.isArray(buffers) || !Object.isExtensible(buffers)) {
    throw typeError("buffers", "array that can grow", buffers);
  }
  checkInteger("limit", limit, 0, Number.MAX_SAFE_INTEGER);
}
