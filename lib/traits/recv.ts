/**
 * The receive half of a datagram socket. A type of your own writes `pollRecvFrom`; all else
 * follows.
 */

import { checkRecvBatch, type RecvBatch } from "../batch/recv-batch.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { checkInfo, checkTarget, DatagramInfo, type Target } from "../datagram/info.ts";
import type { UdpSocket } from "../sockets/udp.ts";
import { checkBuffers, checkInteger, typeError } from "../support/check.ts";
import {
  BATCH_COUNT_MAX,
  DGRAM_HEADROOM,
  MAX_BUF_SIZE,
  MAX_DATAGRAM_SIZE,
} from "../support/limits.ts";
import { OperationQueue, type WaitOptions } from "./operations.ts";
import { Pending, type Poll, type Waker, WouldBlock } from "./poll.ts";

/** Which buffers are filled, and where to tell of what came. */
export interface RecvRange {
  /** Filled for every datagram, as far as it is long: sender, real length. */
  readonly info?: readonly DatagramInfo[] | undefined;
  /** The first buffer to fill, and the first `info`. Default 0. */
  readonly start?: number | undefined;
  /** How many from there on. Default: all. */
  readonly count?: number | undefined;
}

/** Options of `recvMany`. */
export interface RecvManyOptions extends RecvRange, WaitOptions {}

/** Options of `batches`. */
export interface BatchesOptions extends WaitOptions {
  /** Datagrams a batch at most, 1..1024. Default 64. */
  readonly count?: number | undefined;
  /** Bytes a datagram may have, 0..65536; longer ones are truncated. Default 1500. */
  readonly payloadBytesMax?: number | undefined;
  /** Bytes of headroom in front of each, 0..65536. Default 16. */
  readonly headroom?: number | undefined;
}

/** Datagrams that came together. Borrowed: the next step of the iteration fills it anew. */
export interface DatagramBatch {
  /** How many came; the entries behind are of earlier batches. */
  readonly length: number;
  readonly buffers: readonly DgramBuffer[];
  readonly info: readonly DatagramInfo[];
}

/**
 * Receives datagrams.
 *
 * Polls take a waker, or `null` for "try only": then nobody is woken, and a waker that an earlier
 * poll left stays in place.
 */
export abstract class DatagramSocketRecv {
  /** @internal Who waits to receive; made when somebody first does. */
  _recvQueue: OperationQueue | undefined;
  /** @internal An error behind a partial batch, which the next receive throws. */
  _deferredRecvError: unknown;

  /**
   * Receives one datagram into `buf` and tells of it in `info`: the bytes stored (0 is a valid
   * datagram), or `Pending` when there is none, after keeping `waker` (unless it is `null`).
   *
   * @throws SocketError when the system reports one, such as `ECONNREFUSED`; the socket stays
   * usable. Would-block is never thrown.
   */
  abstract pollRecvFrom(waker: Waker | null, buf: Target, info: DatagramInfo): Poll<number>;

  /** Receives one datagram: the bytes stored. */
  pollRecv(waker: Waker | null, buf: Target): Poll<number> {
    return this.pollRecvFrom(waker, buf, new DatagramInfo());
  }

  /**
   * Receives what is there, one datagram a buffer, in order: how many. Never waits for more. A
   * partial count wins over an error, which the next receive then throws, once.
   */
  pollRecvMany(waker: Waker | null, bufs: readonly Target[], batch?: RecvRange): Poll<number> {
    this._throwDeferredRecvError();
    const end = checkTargets(bufs, batch);
    const start = batch?.start ?? 0;
    for (let i = start; i < end; i++) {
      try {
        const info = batch?.info?.[i] ?? new DatagramInfo();
        if (this.pollRecvFrom(i === start ? waker : null, bufs[i] as Target, info) === Pending) {
          return i > start ? i - start : Pending;
        }
      } catch (error) {
        if (i === start) throw error;
        this._deferredRecvError = error;
        return i - start;
      }
    }
    return end - start;
  }

  /**
   * Receives what is there into `batch`, without a copy: how many datagrams. Never waits for more.
   * What the batch had before is gone, also when this answers `Pending` or throws. A partial count
   * wins over an error, which the next receive then throws, once.
   *
   * A datagram of more than 64 KiB, which no socket of the system has, is truncated, and the
   * batch's `infoAt` tells.
   */
  pollRecvBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    checkRecvBatch(batch);
    batch._clear();
    this._throwDeferredRecvError();
    for (let i = 0; i < batch.messagesMax; i++) {
      try {
        const room = batch._nextRoom();
        const result = this.pollRecvFrom(i === 0 ? waker : null, room, batch._nextInfo());
        if (result === Pending) return i > 0 ? i : Pending;
        batch._add(result);
      } catch (error) {
        if (i === 0) throw error;
        this._deferredRecvError = error;
        return i;
      }
    }
    return batch.length;
  }

  /** The UDP socket below, if that is what this is. */
  asUdpSocket(): UdpSocket | undefined {
    return undefined;
  }

  /** Waits for one datagram: the bytes stored in `buf`. */
  recv(buf: Target, options?: WaitOptions): Promise<number> {
    return this._runRecv((waker) => {
      this._throwDeferredRecvError();
      return this.pollRecv(waker, buf);
    }, options?.signal);
  }

  /** Waits for one datagram: what was told of it (a new object each time). */
  recvFrom(buf: Target, options?: WaitOptions): Promise<DatagramInfo> {
    const info = new DatagramInfo();
    const poll = (waker: Waker) => {
      this._throwDeferredRecvError();
      return this.pollRecvFrom(waker, buf, info) === Pending ? Pending : info;
    };
    return this._runRecv<DatagramInfo>(poll, options?.signal);
  }

  /**
   * Waits until there is a datagram, and takes as many as there are, one a buffer: how many, 1024
   * at the most. No buffers, no wait: 0.
   */
  recvMany(bufs: readonly Target[], options?: RecvManyOptions): Promise<number> {
    return this._runRecv((waker) => {
      this._throwDeferredRecvError();
      return this.pollRecvMany(waker, bufs, options);
    }, options?.signal);
  }

  /** Waits until there is a datagram, and receives what is there into `batch`: how many. */
  recvBatch(batch: RecvBatch, options?: WaitOptions): Promise<number> {
    return this._runRecv((waker) => this.pollRecvBatch(waker, batch), options?.signal);
  }

  /** Receives one datagram now, or answers `WouldBlock`; others that wait are not disturbed. */
  tryRecv(buf: Target): number | WouldBlock {
    if (this._recvQueue?.isBusy) return WouldBlock;
    this._throwDeferredRecvError();
    const result = this.pollRecv(null, buf);
    return result === Pending ? WouldBlock : result;
  }

  /** Receives what is there now, or answers `WouldBlock`. */
  tryRecvMany(bufs: readonly Target[], batch?: RecvRange): number | WouldBlock {
    if (this._recvQueue?.isBusy) return WouldBlock;
    const result = this.pollRecvMany(null, bufs, batch);
    return result === Pending ? WouldBlock : result;
  }

  /** Receives what is there now into `batch`, or answers `WouldBlock`. */
  tryRecvBatch(batch: RecvBatch): number | WouldBlock {
    if (this._recvQueue?.isBusy) return WouldBlock;
    const result = this.pollRecvBatch(null, batch);
    return result === Pending ? WouldBlock : result;
  }

  /**
   * Iterates over batches of datagrams as they come, in buffers of its own that it fills again:
   * what a step gave is borrowed until the next step. Ends when the signal aborts; throws what
   * `recvMany` throws, and can be iterated again after that.
   *
   * @example
   * ```ts
   * for await (const batch of socket.batches()) {
   *   for (let i = 0; i < batch.length; i++) handle(batch.buffers[i], batch.info[i]);
   * }
   * ```
   */
  async *batches(options?: BatchesOptions): AsyncGenerator<DatagramBatch, void, void> {
    const {
      count = 64,
      payloadBytesMax = MAX_DATAGRAM_SIZE,
      headroom = DGRAM_HEADROOM,
    } = options ?? {};
    checkInteger("count", count, 1, BATCH_COUNT_MAX);
    checkInteger("payloadBytesMax", payloadBytesMax, 0, MAX_BUF_SIZE);
    checkInteger("headroom", headroom, 0, MAX_BUF_SIZE);
    const signal = options?.signal;
    const capacity = headroom + payloadBytesMax;
    const buffers = Array.from({ length: count }, () =>
      DgramBuffer.withCapacityAndHeadroom(capacity, headroom),
    );
    const info = Array.from({ length: count }, () => new DatagramInfo());
    const batch = { length: 0, buffers, info };
    while (!signal?.aborted) {
      try {
        batch.length = await this.recvMany(buffers, { info, signal });
      } catch (error) {
        if (signal?.aborted && error === signal.reason) return;
        throw error;
      }
      yield batch;
      for (let i = 0; i < batch.length; i++) {
        const buffer = buffers[i] as DgramBuffer;
        if (buffer.capacity >= capacity) buffer.reset(headroom);
        // The caller took its memory (`intoParts`), and keeps it.
        else buffers[i] = DgramBuffer.withCapacityAndHeadroom(capacity, headroom);
      }
    }
  }

  /** Iterates over batches of up to 64 datagrams: `batches()` without options. */
  [Symbol.asyncIterator](): AsyncGenerator<DatagramBatch, void, void> {
    return this.batches();
  }

  /** @internal Polls now if nobody waits, and stands in line otherwise. */
  _runRecv<T>(poll: (waker: Waker) => Poll<T>, signal: AbortSignal | undefined): Promise<T> {
    this._recvQueue ??= new OperationQueue();
    return this._recvQueue.run(poll, signal);
  }

  /** @internal */
  _throwDeferredRecvError(): void {
    const error = this._deferredRecvError;
    if (error === undefined) return;
    this._deferredRecvError = undefined;
    throw error;
  }
}

/**
 * Checks what `pollRecvMany` was given: the index behind the last buffer to use. Of the buffers
 * the first `checkedAhead`; who leaves some out has `checkEntries` check them before they are used.
 */
export function checkTargets(
  bufs: readonly Target[],
  batch: RecvRange | undefined,
  checkedAhead: number = Number.POSITIVE_INFINITY,
): number {
  const start = batch?.start ?? 0;
  const end = checkBuffers(bufs, batch);
  const info = batch?.info;
  if (info !== undefined && !Array.isArray(info)) throw typeError("info", "array", info);
  checkEntries(bufs, info, start, Math.min(end, start + checkedAhead));
  return end;
}

/** Checks buffers `start` to `end - 1` and what is told of them. */
export function checkEntries(
  bufs: readonly Target[],
  info: readonly DatagramInfo[] | undefined,
  start: number,
  end: number,
): void {
  for (let i = start; i < end; i++) checkTarget("bufs[]", bufs[i]);
  if (info !== undefined) checkInfos(info, start, end);
}

/** Checks what is told of buffers `start` to `end - 1`. */
export function checkInfos(info: readonly DatagramInfo[], start: number, end: number): void {
  for (let i = start; i < end && i < info.length; i++) checkInfo("info[]", info[i]);
}
