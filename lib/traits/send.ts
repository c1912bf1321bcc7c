/**
 * The send half of a datagram socket. A type of your own writes `pollSend`; all else follows.
 */

import { checkAddress, type SocketAddress } from "../address/address.ts";
import { checkSendBatch, type SendBatch } from "../batch/send-batch.ts";
import { checkPeer, type Destinations, destination } from "../datagram/destination.ts";
import { checkPayload, type Payload } from "../datagram/info.ts";
import type { UdpSocket } from "../sockets/udp.ts";
import { checkBuffers, checkInteger } from "../support/check.ts";
import { OperationQueue, type WaitOptions } from "./operations.ts";
import { Pending, type Poll, type Waker, WouldBlock } from "./poll.ts";

/** Which datagrams of an array are sent, and where to. */
export interface SendRange {
  /** One destination for all, or one each. None: where the socket is connected to. */
  readonly to?: SocketAddress | readonly SocketAddress[] | undefined;
  /** The first datagram to send. Default 0. */
  readonly start?: number | undefined;
  /** How many from there on. Default: all. */
  readonly count?: number | undefined;
}

/** Options of `sendMany`. */
export interface SendManyOptions extends SendRange, WaitOptions {}

/**
 * Sends datagrams.
 *
 * Polls take a waker, or `null` for "try only": then nobody is woken, and a waker that an earlier
 * poll left stays in place. The counts that polls answer are of datagrams (`pollSendMany`,
 * `pollSendBatch`) or of bytes (the others).
 */
export abstract class DatagramSocketSend {
  /** @internal Who waits to send; made when somebody first does. */
  _sendQueue: OperationQueue | undefined;
  /** @internal An error behind a partial batch, which the next send throws. */
  _deferredSendError: unknown;

  /**
   * Sends one datagram to the connected peer: its bytes, or `Pending` when the socket is full,
   * after keeping `waker` (unless it is `null`).
   *
   * @throws SocketError when the system refuses; would-block is never thrown.
   */
  abstract pollSend(waker: Waker | null, buf: Payload): Poll<number>;

  /**
   * Sends one datagram to `address`. A socket with one peer takes only that.
   *
   * @throws SocketError with code `EISCONN` when the socket has another peer, and `EDESTADDRREQ`
   * when the type does not know where it sends to.
   */
  pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    checkPeer(this.peerAddr, address);
    return this.pollSend(waker, buf);
  }

  /**
   * Sends some or all of `bufs`, in order: how many went. A partial count wins over `Pending` and
   * over an error, which the next `pollSendMany`, `send*` or `trySend*` then throws, once.
   *
   * @throws SocketError when not even the first could be sent.
   */
  pollSendMany(waker: Waker | null, bufs: readonly Payload[], batch?: SendRange): Poll<number> {
    this._throwDeferredSendError();
    const { to, start, end } = checkBatch(bufs, batch);
    for (let i = start; i < end; i++) {
      try {
        const buf = bufs[i] as Payload;
        const address = destination(to, i);
        const result =
          address === undefined ? this.pollSend(waker, buf) : this.pollSendTo(waker, buf, address);
        if (result === Pending) return i > start ? i - start : Pending;
      } catch (error) {
        if (i === start) throw error;
        this._deferredSendError = error;
        return i - start;
      }
    }
    return end - start;
  }

  /**
   * Sends what waits in `batch`, in order: how many went, which the batch no longer has. A partial
   * count wins over `Pending` and over an error, which the next send then throws, once.
   *
   * @throws SocketError when not even the first could be sent, and with code `ERR_NOT_SUPPORTED`
   * before any is sent when one has metadata and the socket cannot say it.
   */
  pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    checkSendBatch(batch);
    this._throwDeferredSendError();
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
        this._deferredSendError = error;
        return sent;
      }
      batch._sent(1);
    }
  }

  /** The UDP socket below, if that is what this is. */
  asUdpSocket(): UdpSocket | undefined {
    return undefined;
  }

  /** The peer it is connected to. */
  get peerAddr(): SocketAddress | undefined {
    return undefined;
  }

  /**
   * Sends one datagram to the connected peer, waiting while the socket is full.
   *
   * @returns its length in bytes.
   */
  send(buf: Payload, options?: WaitOptions): Promise<number> {
    return this._runSend((waker) => {
      this._throwDeferredSendError();
      return this.pollSend(waker, buf);
    }, options?.signal);
  }

  /** Sends one datagram to `address`, waiting while the socket is full. */
  sendTo(buf: Payload, address: SocketAddress, options?: WaitOptions): Promise<number> {
    return this._runSend((waker) => {
      this._throwDeferredSendError();
      return this.pollSendTo(waker, buf, address);
    }, options?.signal);
  }

  /**
   * Sends all of `bufs` in order, waiting whenever the socket is full, and answers how many went:
   * all, unless an error or the signal ended it after the first. The error is thrown by the next
   * send then; the datagrams behind it were not sent.
   *
   * The buffers must not change until the promise settles.
   */
  sendMany(bufs: readonly Payload[], options?: SendManyOptions): Promise<number> {
    let done = 0;
    const poll = (waker: Waker): Poll<number> => {
      for (;;) {
        try {
          const batch = done === 0 ? options : rest(bufs, options, done);
          const result = this.pollSendMany(waker, bufs, batch);
          if (result === Pending) return Pending;
          done += result;
          // A type of one's own may answer 0 for ever.
          if (result === 0 || done === countOf(bufs, options)) return done;
        } catch (error) {
          if (done === 0) throw error;
          this._deferredSendError = error;
          return done;
        }
      }
    };
    return this._runSend(poll, options?.signal, () => (done > 0 ? done : undefined));
  }

  /**
   * Sends all that waits in `batch`, waiting whenever the socket is full, and answers how many
   * went: all, unless an error or the signal ended it after the first. The error is thrown by the
   * next send then. What did not go is still in the batch, which must not change until the promise
   * settles.
   */
  sendBatch(batch: SendBatch, options?: WaitOptions): Promise<number> {
    let sent = 0;
    const poll = (waker: Waker): Poll<number> => {
      for (;;) {
        try {
          const result = this.pollSendBatch(waker, batch);
          if (result === Pending) return Pending;
          sent += result;
          // A type of one's own may answer 0 for ever.
          if (result === 0 || batch.length === 0) return sent;
        } catch (error) {
          if (sent === 0) throw error;
          this._deferredSendError = error;
          return sent;
        }
      }
    };
    return this._runSend(poll, options?.signal, () => (sent > 0 ? sent : undefined));
  }

  /** Sends one datagram now, or answers `WouldBlock`; others that wait are not disturbed. */
  trySend(buf: Payload): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    this._throwDeferredSendError();
    const result = this.pollSend(null, buf);
    return result === Pending ? WouldBlock : result;
  }

  /** Sends one datagram to `address` now, or answers `WouldBlock`. */
  trySendTo(buf: Payload, address: SocketAddress): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    this._throwDeferredSendError();
    const result = this.pollSendTo(null, buf, address);
    return result === Pending ? WouldBlock : result;
  }

  /** Sends what goes now of `bufs` (how many, as `pollSendMany`), or answers `WouldBlock`. */
  trySendMany(bufs: readonly Payload[], batch?: SendRange): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    const result = this.pollSendMany(null, bufs, batch);
    return result === Pending ? WouldBlock : result;
  }

  /** Sends what goes now of `batch` (how many, as `pollSendBatch`), or answers `WouldBlock`. */
  trySendBatch(batch: SendBatch): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    const result = this.pollSendBatch(null, batch);
    return result === Pending ? WouldBlock : result;
  }

  /** @internal Polls now if nobody waits, and stands in line otherwise. */
  _runSend(
    poll: (waker: Waker) => Poll<number>,
    signal: AbortSignal | undefined,
    partial?: () => number | undefined,
  ): Promise<number> {
    this._sendQueue ??= new OperationQueue();
    return this._sendQueue.run(poll, signal, partial);
  }

  /** @internal */
  _throwDeferredSendError(): void {
    const error = this._deferredSendError;
    if (error === undefined) return;
    this._deferredSendError = undefined;
    throw error;
  }
}

function countOf(bufs: readonly Payload[], batch: SendRange | undefined): number {
  return batch?.count ?? bufs.length - (batch?.start ?? 0);
}

/** The batch without its first `done` datagrams. */
function rest(bufs: readonly Payload[], batch: SendRange | undefined, done: number): SendRange {
  return {
    to: batch?.to,
    start: (batch?.start ?? 0) + done,
    count: countOf(bufs, batch) - done,
  };
}

/** A checked batch: datagrams `start` to `end - 1`. */
export interface CheckedBatch {
  readonly to: Destinations;
  readonly start: number;
  readonly end: number;
}

/** Checks what `pollSendMany` was given, all of it before the first is sent. */
export function checkBatch(bufs: readonly Payload[], batch: SendRange | undefined): CheckedBatch {
  const checked = checkRange(bufs, batch);
  checkDatagrams(bufs, checked);
  return checked;
}

/** Checks the payloads of a batch, and the addresses where there is one each. */
export function checkDatagrams(bufs: readonly unknown[], { to, start, end }: CheckedBatch): void {
  for (let i = start; i < end; i++) checkPayload("bufs[]", bufs[i]);
  if (Array.isArray(to)) for (let i = start; i < end; i++) checkAddress("to[]", to[i]);
}

/** Checks the rest: for engines, which check datagrams when they look at each anyway. */
export function checkRange(bufs: readonly Payload[], batch: SendRange | undefined): CheckedBatch {
  const start = batch?.start ?? 0;
  const end = checkBuffers(bufs, batch);
  const to = batch?.to;
  if (Array.isArray(to)) checkInteger("to.length", to.length, end, 2 ** 32 - 1);
  else if (to !== undefined) checkAddress("to", to);
  return { to, start, end };
}
