/** The send half of a datagram socket. A subclass implements `pollSend`. */

import type { SocketAddress } from "../address/socket-address.ts";
import { checkSendBatch, type SendBatch } from "../batch/send-batch.ts";
import {
  checkPeer,
  type Destination,
  destinationAt,
  settledAddress,
  toAddress,
} from "../datagram/destination.ts";
import { type Payload, type Sendable, toPayload } from "../datagram/payload.ts";
import { checkSend, type SendRange } from "../datagram/ranges.ts";
import type { UdpSocketHandle } from "../datagram/udp-interface.ts";
import { OperationQueue, type WaitOptions } from "../poll/operation-queue.ts";
import { Pending, type Poll, startPromise, type Waker, WouldBlock } from "../poll/poll.ts";
import { inspectAs, showFields } from "../support/check.ts";
import { SocketError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

/** Options of `sendMany`. */
export interface SendManyOptions extends SendRange, WaitOptions {
  /**
   * Whether datagrams to different peers may be sent in another order than in the array, which is
   * much faster with GSO if the peers alternate. The order of each peer's datagrams is kept.
   * Default true.
   */
  readonly groupByPeer?: boolean | undefined;
}

/**
 * Sends datagrams.
 *
 * Polls take a waker, or `null` to try only: then no waker is stored, and the waker of an earlier
 * poll is kept. `pollSendMany` and `pollSendBatch` return a number of datagrams, the other polls a
 * number of bytes.
 */
export abstract class DatagramSocketSend {
  static {
    inspectAs(DatagramSocketSend.prototype, showFields);
  }

  /** @internal The callers that wait to send. Created on first use. */
  _sendQueue: OperationQueue | undefined;

  /**
   * Sends one datagram to the connected peer, and returns its length. If the socket is full, stores
   * `waker` (unless it is `null`) and returns `Pending`.
   *
   * @throws SocketError if the system refuses the datagram.
   */
  abstract pollSend(waker: Waker | null, buf: Payload): Poll<number>;

  /**
   * Sends one datagram to `address`. A connected socket accepts only the address of its peer.
   *
   * @throws SocketError with code `EISCONN` if the socket has another peer, and `EDESTADDRREQ` if
   * it does not know its peer.
   */
  pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    checkPeer(this.peerAddr, address);
    return this.pollSend(waker, buf);
  }

  /**
   * Sends `bufs` in order until the socket is full or a datagram is refused, and returns the number
   * of datagrams sent. The error of a datagram after the first is not reported: a caller that sends
   * the remaining datagrams gets it then.
   *
   * @throws SocketError if the first datagram is refused.
   */
  pollSendMany(waker: Waker | null, bufs: readonly Sendable[], range?: SendRange): Poll<number> {
    const { to, start, end } = checkSend(bufs, range);
    for (let i = start; i < end; i++) {
      try {
        const buf = toPayload("bufs[]", bufs[i]);
        const address = destinationAt(to, i);
        const kept = i === start ? waker : null;
        const result =
          address === undefined ? this.pollSend(kept, buf) : this.pollSendTo(kept, buf, address);
        if (result === Pending) return i > start ? i - start : Pending;
      } catch (error) {
        if (i === start) throw error;
        return i - start;
      }
    }
    return end - start;
  }

  /**
   * Sends the datagrams of `batch` in order until the socket is full or a datagram is refused,
   * removes those that were sent, and returns their number. A datagram that is refused remains the
   * first of the batch, and the next call reports its error.
   *
   * @throws SocketError if the first datagram is refused; with code `ERR_NOT_SUPPORTED`, before any
   * is sent, if one has metadata that the socket cannot send.
   */
  pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    checkSendBatch(batch);
    batch._refuseMetadata("this type of socket has none");
    for (let sent = 0; ; sent++) {
      if (batch.length === 0) return sent;
      try {
        const address = batch._firstAddress;
        const buf = batch._firstBytes();
        const kept = sent === 0 ? waker : null;
        const result =
          address === undefined ? this.pollSend(kept, buf) : this.pollSendTo(kept, buf, address);
        if (result === Pending) return sent > 0 ? sent : Pending;
      } catch (error) {
        if (sent === 0) throw error;
        return sent;
      }
      batch._sent(1);
    }
  }

  /** Returns the UDP socket that this is, or forwards to; absent for other types. */
  asUdpSocket(): UdpSocketHandle | undefined {
    return undefined;
  }

  /** The connected peer; absent if there is none. */
  get peerAddr(): SocketAddress | undefined {
    return undefined;
  }

  /** Sends one datagram to the connected peer, waits while the socket is full, and returns its length. */
  send(buf: Sendable, options?: WaitOptions): Promise<number> {
    return this._runSend((waker) => this.pollSend(waker, toPayload("buf", buf)), options);
  }

  /** Sends one datagram to `address`, waits while the socket is full, and returns its length. */
  sendTo(buf: Sendable, address: Destination, options?: WaitOptions): Promise<number> {
    const to = settledAddress(address);
    // The order of `node:dgram`, whose third argument would be refused before the address.
    if (typeof to === "number") return startPromise(async () => toAddress("address", to).port);
    const poll = (waker: Waker) =>
      this.pollSendTo(waker, toPayload("buf", buf), toAddress("address", to));
    return this._runSend(poll, options);
  }

  /**
   * Sends all of `bufs` in order, waits whenever the socket is full, and returns their number. If the
   * signal aborts the call after the first datagram, returns the number sent until then.
   *
   * The arrays, the buffers, and destinations that are objects must not be modified until the promise
   * settles.
   *
   * @throws SocketError if a datagram is refused. `error.sent` is the number of datagrams sent
   * before it, and `error.index` its index in `bufs`; the ones after it are not sent. If the peers
   * alternate, those sent are not always the first ones of the array (see `groupByPeer`).
   */
  sendMany(bufs: readonly Sendable[], options?: SendManyOptions): Promise<number> {
    let done = 0;
    let isChecked = false;
    const poll = (waker: Waker): Poll<number> => {
      for (;;) {
        try {
          // What does not fit into one system call is checked before the first, and only once.
          if (!isChecked && bufs?.length > BATCH_COUNT_MAX) checkSend(bufs, options);
          isChecked = true;
          const range = done === 0 ? options : remaining(bufs, options, done);
          const result = this.pollSendMany(waker, bufs, range);
          if (result === Pending) return Pending;
          done += result;
          // A user-defined socket may return 0 forever.
          if (result === 0 || done === countOf(bufs, options)) return done;
        } catch (error) {
          if (error instanceof SocketError) error.index = (options?.start ?? 0) + done;
          throw withSent(error, done);
        }
      }
    };
    const partial = () => (done > 0 ? done : undefined);
    this._sendQueue ??= new OperationQueue();
    try {
      // The poll checks the names of the options.
      return this._sendQueue.run(poll, options?.signal, partial);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Sends all datagrams of `batch`, waits whenever the socket is full, and returns their number. If
   * the signal aborts the call after the first datagram, returns the number sent until then.
   *
   * The batch must not be modified until the promise settles.
   *
   * @throws SocketError if a datagram is refused. `error.sent` is the number of datagrams sent
   * before it; the refused one is then the first of the batch.
   */
  sendBatch(batch: SendBatch, options?: WaitOptions): Promise<number> {
    // Not shared with `sendMany`: a common loop was measured to cost 20 %.
    let sent = 0;
    const poll = (waker: Waker): Poll<number> => {
      for (;;) {
        try {
          const result = this.pollSendBatch(waker, batch);
          if (result === Pending) return Pending;
          sent += result;
          // A user-defined socket may return 0 forever.
          if (result === 0 || batch.length === 0) return sent;
        } catch (error) {
          throw withSent(error, sent);
        }
      }
    };
    return this._runSend(poll, options, () => (sent > 0 ? sent : undefined));
  }

  /** Sends one datagram to the peer, or returns `WouldBlock`, also while other callers wait. */
  trySend(buf: Sendable): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    const result = this.pollSend(null, toPayload("buf", buf));
    return result === Pending ? WouldBlock : result;
  }

  /** Sends one datagram to `address`, or returns `WouldBlock`. */
  trySendTo(buf: Sendable, address: Destination): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    const result = this.pollSendTo(null, toPayload("buf", buf), toAddress("address", address));
    return result === Pending ? WouldBlock : result;
  }

  /** Sends as `pollSendMany` does, or returns `WouldBlock`. */
  trySendMany(bufs: readonly Sendable[], range?: SendRange): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    const result = this.pollSendMany(null, bufs, range);
    return result === Pending ? WouldBlock : result;
  }

  /** Sends as `pollSendBatch` does, or returns `WouldBlock`. */
  trySendBatch(batch: SendBatch): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    const result = this.pollSendBatch(null, batch);
    return result === Pending ? WouldBlock : result;
  }

  /** @internal Appends an operation to the queue of senders. */
  _runSend(
    poll: (waker: Waker) => Poll<number>,
    options: WaitOptions | undefined,
    partial?: () => number | undefined,
  ): Promise<number> {
    this._sendQueue ??= new OperationQueue();
    return this._sendQueue.runWith(poll, options, partial);
  }
}

if (isShared("DatagramSocketSend", DatagramSocketSend)) {
  // @ts-expect-error See `isShared`.
  DatagramSocketSend = sharedClass("DatagramSocketSend");
}

/** Stores in `error` how many datagrams were sent before it. */
function withSent(error: unknown, sent: number): unknown {
  if (error instanceof SocketError) error.sent = sent;
  return error;
}

function countOf(bufs: readonly Sendable[], range: SendRange | undefined): number {
  return range?.count ?? bufs.length - (range?.start ?? 0);
}

/** Returns the range without its first `done` datagrams. */
function remaining(
  bufs: readonly Sendable[],
  range: SendRange | undefined,
  done: number,
): SendRange {
  return {
    to: range?.to,
    start: (range?.start ?? 0) + done,
    count: countOf(bufs, range) - done,
  };
}
