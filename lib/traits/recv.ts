/** The receive half of a datagram socket. A subclass implements `pollRecvFrom`. */

import type { SocketAddress } from "../address/socket-address.ts";
import { checkRecvBatch, type RecvBatch } from "../batch/recv-batch.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import type { Target } from "../datagram/payload.ts";
import { checkRecvRange, type RecvRange, readTargets } from "../datagram/ranges.ts";
import { RecvMeta } from "../datagram/recv-meta.ts";
import type { UdpSocketHandle } from "../datagram/udp-interface.ts";
import { DeferredError } from "../poll/deferred-error.ts";
import { OperationQueue, type WaitOptions } from "../poll/operation-queue.ts";
import { Pending, type Poll, startPromise, type Waker, WouldBlock } from "../poll/poll.ts";
import { checkInteger, inspectAs, showFields, showState, typeError } from "../support/check.ts";
import { isClosedError, mayBeTransportError } from "../support/errors.ts";
import {
  BATCH_COUNT_MAX,
  DGRAM_HEADROOM,
  MAX_BUF_SIZE,
  MAX_DATAGRAM_SIZE,
} from "../support/limits.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { setImmediate } from "../support/timers.ts";

/** Options of `recvMany`. */
export interface RecvManyOptions extends RecvRange, WaitOptions {}

/** Options of `batches`. */
export interface BatchesOptions extends WaitOptions {
  /** The maximum number of datagrams per batch, 1..1024. Default 64. */
  readonly count?: number | undefined;
  /** The maximum length of a datagram in bytes, 0..65536. Default 1500. */
  readonly payloadBytesMax?: number | undefined;
  /** The headroom of each buffer in bytes, 0..65536. Default 16. */
  readonly headroom?: number | undefined;
  /**
   * Whether to include datagrams that are longer than `payloadBytesMax`, truncated: their
   * `meta.truncated` is true. Default: they are skipped, and counted in `skipped`.
   */
  readonly keepTruncated?: boolean | undefined;
}

const BATCHES_OPTIONS = optionKinds<BatchesOptions>({
  count: "any",
  payloadBytesMax: "any",
  headroom: "any",
  keepTruncated: "boolean",
  signal: "any",
});

/** Datagrams that were received together. Borrowed until the next step of the iteration. */
export interface DatagramBatch {
  /** The number of datagrams. Later array elements belong to earlier batches. */
  readonly length: number;
  readonly buffers: readonly DgramBuffer[];
  readonly meta: readonly RecvMeta[];
  /** The number of truncated datagrams that the iteration has skipped since it began. */
  readonly skipped: number;
}

/** A datagram of its own: the caller owns the bytes. */
export interface Datagram {
  readonly data: Uint8Array;
  /** The sender; absent if it has no address, as an unbound Unix socket. */
  readonly peer: SocketAddress | undefined;
}

/**
 * Returns whether the error of a receive ends an iteration: the socket was closed, or the call
 * aborted. Errors about earlier datagrams do not, and others are thrown.
 */
async function endsIteration(error: unknown, signal: AbortSignal | undefined): Promise<boolean> {
  if (isClosedError(error) || (signal?.aborted && error === signal.reason)) return true;
  if (!mayBeTransportError(error)) throw error;
  // In a later tick: a socket that always throws must not block the event loop.
  await new Promise((resolve) => setImmediate(resolve));
  return false;
}

/** The buffers of an iteration. */
class ReusedBatch implements DatagramBatch {
  static {
    inspectAs(ReusedBatch.prototype, ({ length, skipped }) =>
      showState("DatagramBatch", { length, skipped }),
    );
  }

  length = 0;
  skipped = 0;
  readonly buffers: DgramBuffer[];
  readonly meta: RecvMeta[];
  readonly #capacity: number;
  readonly #headroom: number;

  constructor(count: number, capacity: number, headroom: number) {
    this.#capacity = capacity;
    this.#headroom = headroom;
    this.buffers = Array.from({ length: count }, () => this.#newBuffer());
    this.meta = Array.from({ length: count }, () => new RecvMeta());
  }

  /** Returns what `JSON.stringify` prints: the datagrams, without the buffers that are not in use. */
  toJSON(): DatagramBatch {
    const { length, skipped } = this;
    const [buffers, meta] = [this.buffers.slice(0, length), this.meta.slice(0, length)];
    return { length, buffers, meta, skipped };
  }

  #newBuffer(): DgramBuffer {
    return DgramBuffer.withCapacityAndHeadroom(this.#capacity, this.#headroom);
  }

  /** Moves truncated datagrams after the others, and excludes them from `length`. */
  skipTruncated(): void {
    const { buffers, meta } = this;
    let kept = 0;
    for (let i = 0; i < this.length; i++) {
      const datagramMeta = meta[i] as RecvMeta;
      if (datagramMeta.truncated) continue;
      if (i !== kept) {
        const buffer = buffers[i] as DgramBuffer;
        buffers[i] = buffers[kept] as DgramBuffer;
        buffers[kept] = buffer;
        meta[i] = meta[kept] as RecvMeta;
        meta[kept] = datagramMeta;
      }
      kept++;
    }
    this.skipped += this.length - kept;
    this.length = kept;
  }

  /** Empties the first `count` buffers for the next receive. */
  reset(count: number): void {
    for (let i = 0; i < count; i++) {
      const buffer = this.buffers[i] as DgramBuffer;
      if (buffer.capacity >= this.#capacity) buffer.reset(this.#headroom);
      // The caller took the memory with `intoParts`, and keeps it.
      else this.buffers[i] = this.#newBuffer();
    }
  }
}

/** Iterates as `DatagramSocketRecv.batches`. */
async function* iterateBatches(
  socket: DatagramSocketRecv,
  batch: ReusedBatch,
  { keepTruncated, signal }: Pick<BatchesOptions, "keepTruncated" | "signal">,
): AsyncGenerator<DatagramBatch, void, void> {
  const { buffers, meta } = batch;
  while (!signal?.aborted) {
    try {
      batch.length = await socket.recvMany(buffers, { meta, signal });
    } catch (error) {
      if (await endsIteration(error, signal)) return;
      continue;
    }
    const received = batch.length;
    if (!keepTruncated) batch.skipTruncated();
    if (batch.length > 0) yield batch;
    batch.reset(received);
  }
}

/**
 * Receives datagrams.
 *
 * Polls take a waker, or `null` to try only: then no waker is stored, and the waker of an earlier
 * poll is kept.
 */
export abstract class DatagramSocketRecv {
  static {
    inspectAs(DatagramSocketRecv.prototype, showFields);
  }

  // Created on first use: `DatagramSocket` inherits the methods of this class, not its constructor.
  /** @internal The callers that wait to receive. */
  _recvQueue: OperationQueue | undefined;
  /** @internal The error after a partial batch. */
  _recvError: DeferredError | undefined;

  /**
   * Receives one datagram into `buf` and its metadata into `meta`. Returns the number of bytes
   * stored (0 is a valid datagram). If there is no datagram, stores `waker` (unless it is `null`)
   * and returns `Pending`.
   *
   * @throws SocketError if the system reports one, such as `ECONNREFUSED`. The socket remains
   * usable.
   */
  abstract pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number>;

  /** Receives one datagram, and returns the number of bytes stored. */
  pollRecv(waker: Waker | null, buf: Target): Poll<number> {
    return this.pollRecvFrom(waker, buf, new RecvMeta());
  }

  /**
   * Receives the available datagrams in order, one per buffer, and returns their number. Does not
   * wait for more. If an error ends the batch after the first datagram, the count is returned, and
   * the next receive throws the error, once.
   */
  pollRecvMany(waker: Waker | null, bufs: readonly Target[], range?: RecvRange): Poll<number> {
    this._recvError?.throwIfSet();
    const { targets, metas } = readTargets(checkRecvRange(bufs, range), bufs);
    for (const [i, target] of targets.entries()) {
      try {
        const meta = metas[i] ?? new RecvMeta();
        if (this.pollRecvFrom(i === 0 ? waker : null, target, meta) === Pending) {
          return i > 0 ? i : Pending;
        }
      } catch (error) {
        if (i === 0) throw error;
        this._deferRecvError(error);
        return i;
      }
    }
    return targets.length;
  }

  /**
   * Receives the available datagrams into `batch` without copying, and returns their number. Does
   * not wait for more. Removes the former contents of the batch, even if it returns `Pending` or
   * throws. Errors after the first datagram are deferred as in `pollRecvMany`.
   *
   * A datagram of more than 64 KiB is truncated, and reported as such by `batch.metaAt`.
   */
  pollRecvBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    checkRecvBatch(batch);
    batch._clear();
    this._recvError?.throwIfSet();
    for (let i = 0; i < batch.messagesMax; i++) {
      try {
        const view = batch._nextView();
        const result = this.pollRecvFrom(i === 0 ? waker : null, view, batch._nextMeta());
        if (result === Pending) return i > 0 ? i : Pending;
        batch._add(result);
      } catch (error) {
        if (i === 0) throw error;
        this._deferRecvError(error);
        return i;
      }
    }
    return batch.length;
  }

  /** Returns the UDP socket that this is, or forwards to; absent for other types. */
  asUdpSocket(): UdpSocketHandle | undefined {
    return undefined;
  }

  /** Waits for one datagram, and returns the number of bytes stored in `buf`. */
  recv(buf: Target, options?: WaitOptions): Promise<number> {
    return this._runRecv((waker) => {
      this._recvError?.throwIfSet();
      return this.pollRecv(waker, buf);
    }, options);
  }

  /** Waits for one datagram, and returns its metadata in a new object. */
  recvFrom(buf: Target, options?: WaitOptions): Promise<RecvMeta> {
    const meta = new RecvMeta();
    const poll = (waker: Waker) => {
      this._recvError?.throwIfSet();
      return this.pollRecvFrom(waker, buf, meta) === Pending ? Pending : meta;
    };
    return this._runRecv<RecvMeta>(poll, options);
  }

  /**
   * Waits for at least one datagram, receives the available ones, one per buffer, up to 1024, and
   * returns their number. Returns 0 at once if there are no buffers.
   */
  recvMany(bufs: readonly Target[], options?: RecvManyOptions): Promise<number> {
    const poll = (waker: Waker) => {
      this._recvError?.throwIfSet();
      // Checks the names of the options.
      return this.pollRecvMany(waker, bufs, options);
    };
    return startPromise(() => {
      this._recvQueue ??= new OperationQueue();
      return this._recvQueue.run(poll, options?.signal);
    });
  }

  /** Waits for at least one datagram, and receives as `pollRecvBatch` does. */
  recvBatch(batch: RecvBatch, options?: WaitOptions): Promise<number> {
    return this._runRecv((waker) => this.pollRecvBatch(waker, batch), options);
  }

  /** Receives one datagram, or returns `WouldBlock`, also while other callers wait. */
  tryRecv(buf: Target): number | WouldBlock {
    if (this._recvQueue?.isBusy) return WouldBlock;
    this._recvError?.throwIfSet();
    const result = this.pollRecv(null, buf);
    return result === Pending ? WouldBlock : result;
  }

  /** Receives as `pollRecvMany` does, or returns `WouldBlock`. */
  tryRecvMany(bufs: readonly Target[], range?: RecvRange): number | WouldBlock {
    if (this._recvQueue?.isBusy) return WouldBlock;
    const result = this.pollRecvMany(null, bufs, range);
    return result === Pending ? WouldBlock : result;
  }

  /** Receives as `pollRecvBatch` does, or returns `WouldBlock`. */
  tryRecvBatch(batch: RecvBatch): number | WouldBlock {
    if (this._recvQueue?.isBusy) return WouldBlock;
    const result = this.pollRecvBatch(null, batch);
    return result === Pending ? WouldBlock : result;
  }

  /**
   * Iterates over batches of datagrams, in buffers that are reused: a batch is borrowed until the
   * next step. Ends when the signal aborts or the socket is closed. ICMP errors about earlier
   * datagrams do not end it. Truncated datagrams are skipped unless `keepTruncated` is set.
   *
   * @throws TypeError or RangeError at the call for invalid options. The iteration throws SocketError
   * if the system reports another error; a new one then continues.
   * @example
   * ```ts
   * for await (const batch of socket.batches()) {
   *   for (let i = 0; i < batch.length; i++) handle(batch.buffers[i], batch.meta[i]);
   * }
   * ```
   */
  batches(options: BatchesOptions = {}): AsyncGenerator<DatagramBatch, void, void> {
    checkOptions("options", options, BATCHES_OPTIONS);
    const {
      count = 64,
      payloadBytesMax = MAX_DATAGRAM_SIZE,
      headroom = DGRAM_HEADROOM,
      keepTruncated = false,
      signal,
    } = options;
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw typeError("signal", "AbortSignal", signal);
    }
    checkInteger("count", count, 1, BATCH_COUNT_MAX);
    checkInteger("payloadBytesMax", payloadBytesMax, 0, MAX_BUF_SIZE);
    checkInteger("headroom", headroom, 0, MAX_BUF_SIZE);
    const batch = new ReusedBatch(count, headroom + payloadBytesMax, headroom);
    return iterateBatches(this, batch, { keepTruncated, signal });
  }

  /**
   * Iterates over the datagrams one by one. Each is a copy, which the caller owns; `batches()` copies
   * nothing. A loop that is left loses no datagram. Ends and skips as `batches()` does.
   *
   * @example
   * ```ts
   * for await (const { data, peer } of socket) console.log(`${peer}: ${data.length} bytes`);
   * ```
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Datagram, void, void> {
    const buffer = new Uint8Array(MAX_BUF_SIZE);
    for (;;) {
      let meta: RecvMeta;
      try {
        meta = await this.recvFrom(buffer);
      } catch (error) {
        if (await endsIteration(error, undefined)) return;
        continue;
      }
      if (!meta.truncated) yield { data: buffer.slice(0, meta.length), peer: meta.peer };
    }
  }

  /** @internal Appends an operation to the queue of receivers. */
  _runRecv<T>(poll: (waker: Waker) => Poll<T>, options: WaitOptions | undefined): Promise<T> {
    this._recvQueue ??= new OperationQueue();
    return this._recvQueue.runWith(poll, options);
  }

  /** @internal */
  _deferRecvError(error: unknown): void {
    this._recvError ??= new DeferredError();
    this._recvError.set(error);
  }
}

if (isShared("DatagramSocketRecv", DatagramSocketRecv)) {
  // @ts-expect-error See `isShared`.
  DatagramSocketRecv = sharedClass("DatagramSocketRecv");
}
