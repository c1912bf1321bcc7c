/**
 * The receiving half of the shim's engine: one system call for many datagrams, straight into the
 * caller's buffers, or, where the kernel may coalesce, into memory of its own from where they are
 * copied (25 ns for 1200 bytes, against 500 that coalescing saves).
 */

import type { Native, ReceiveVector, ScatterVector } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/address.ts";
import {
  type BufferRange,
  fillTargets,
  type Run,
  scatterReceived,
  storeReceived,
} from "../batch/batch.ts";
import { type MessageSource, RecvBatch } from "../batch/recv-batch.ts";
import { RECV_CONTROL_CAPACITY } from "../datagram/control.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import type { DatagramInfo, Target } from "../datagram/info.ts";
import { EAGAIN } from "../support/linux.ts";
import { checkEntries, checkInfos } from "../traits/recv.ts";

/** Datagrams that a receive is always ready for. */
const EXPECTED_MIN = 4;

/**
 * Datagrams to take into a batch at a time. More messages that are each full of them would push
 * one another out of the processor's cache (C alone: 102 ns a datagram at 4 messages a receive,
 * 335 at 32).
 */
const BATCH_DATAGRAMS = 256;

/** Memory to receive into that no socket of this thread has datagrams left in. */
const idleBatches: RecvBatch[] = [];
let scatterVector: ScatterVector | undefined;

/** What a `ShimReceiver` is made of. */
export interface ShimReceiverInit {
  readonly native: Native;
  readonly fd: number;
  /** Bytes of room for a peer's address. */
  readonly nameCapacity: number;
  /** Whether the kernel may hand over many datagrams in one message (UDP_GRO is on). */
  readonly isCoalescing: boolean;
  readonly counters: SocketCounters;
}

/** Receives from one descriptor. */
export class ShimReceiver {
  #source: MessageSource;
  readonly #isCoalescing: boolean;
  readonly #counters: SocketCounters;
  readonly #nameCapacity: number;
  #vector: ReceiveVector;
  /** Whether the last receive took all there was. */
  #isDrained = false;
  /** An errno behind a partial batch, for the next receive. */
  #deferredErrno = 0;
  /** How many datagrams the next receive is likely to bring. */
  #expected = EXPECTED_MIN;
  /** Datagrams a message had lately. */
  #perMessage = 1;
  /** Received and not yet handed out: datagrams from `#restFrom` on. */
  #rest: RecvBatch | undefined;
  #restFrom = 0;

  constructor({ native, fd, nameCapacity, isCoalescing, counters }: ShimReceiverInit) {
    this.#source = { native, fd, hasControl: isCoalescing };
    this.#isCoalescing = isCoalescing;
    this.#counters = counters;
    this.#nameCapacity = nameCapacity;
    this.#vector = native.receiveVector(nameCapacity);
  }

  /** Reads metadata from now on, on a socket bound to `local`. */
  readMetadata(local: SocketAddress): void {
    const { native } = this.#source;
    this.#source = { ...this.#source, hasControl: true, local };
    this.#vector = native.receiveVector(this.#nameCapacity, RECV_CONTROL_CAPACITY);
  }

  /** Whether the last receive took all there was, so that the next would find nothing. */
  get isDrained(): boolean {
    return this.#isDrained && this.#rest === undefined && this.#deferredErrno === 0;
  }

  /** Forgets that, after a while. */
  forgetDrained(): void {
    this.#isDrained = false;
  }

  /** Receives into the targets of `run`, which are checked: how many, or -errno. */
  receive(
    bufs: readonly Target[],
    run: BufferRange,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    const errno = this.#takeDeferredErrno();
    if (errno !== 0) return -errno;
    return this.#isCoalescing
      ? this.#receiveCoalesced(bufs, run, info)
      : this.#receiveDirect(bufs, run, info);
  }

  /** Receives into `batch`: how many datagrams, or -errno. */
  receiveBatch(batch: RecvBatch): number {
    const rest = this.#rest;
    if (rest !== undefined) {
      const taken = batch._copyFrom(rest, this.#restFrom);
      this.#count(batch);
      this.#advanceRest(rest, taken);
      return taken;
    }
    const errno = this.#takeDeferredErrno();
    if (errno !== 0) return -errno;
    const messages = Math.max(1, Math.floor(BATCH_DATAGRAMS / this.#perMessage));
    const result = this.#receiveMessages(batch, messages);
    if (result <= 0) return result;
    this.#count(batch);
    return batch.length;
  }

  /**
   * Drops what was not handed out: how many datagrams. Forgets the descriptor, whose number may be
   * another's: receives fail from then on (`EBADF`).
   */
  close(): number {
    this.#source = { ...this.#source, fd: -1 };
    const rest = this.#rest;
    if (rest === undefined) return 0;
    const dropped = rest.length - this.#restFrom;
    this.#advanceRest(rest, dropped);
    return dropped;
  }

  #takeDeferredErrno(): number {
    const errno = this.#deferredErrno;
    this.#deferredErrno = 0;
    return errno;
  }

  #receiveDirect(
    bufs: readonly Target[],
    { start, count: limit }: BufferRange,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    this.#vector.reserve(limit);
    // Setting up a slot costs as much as a short datagram: only as many as are likely, first.
    const first = Math.min(limit, this.#expected);
    if (info !== undefined) checkInfos(info, start, start + first);
    let total = this.#receiveRun(bufs, { slot: 0, start, count: first }, info);
    if (total < 0) return total;
    if (total === first && first < limit && areUsable(bufs, info, start + first, start + limit)) {
      const rest = { slot: first, start: start + first, count: limit - first };
      const more = this.#receiveRun(bufs, rest, info);
      if (more > 0) total += more;
      else if (more !== -EAGAIN) this.#deferredErrno = -more;
    }
    this.#isDrained = total < limit;
    this.#expected = Math.max(EXPECTED_MIN, 2 * total);
    return total;
  }

  /** One system call: how many datagrams it brought, or -errno. */
  #receiveRun(
    bufs: readonly Target[],
    run: Run,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    fillTargets(this.#vector, bufs, run);
    const result = this.#vector.receive(this.#source.fd, run.slot, run.count);
    this.#counters.receiveCalls++;
    if (result > 0) {
      run.count = result;
      this.#counters.messagesReceived += result;
      const told = { info, counters: this.#counters, local: this.#source.local };
      storeReceived(this.#vector, bufs, run, told);
    }
    return result;
  }

  #receiveCoalesced(
    bufs: readonly Target[],
    { start, count: limit }: BufferRange,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    let rest = this.#rest;
    if (rest === undefined) {
      const batch = idleBatches.pop() ?? new RecvBatch();
      // As many as it is likely to take to fill all targets: of the last, some may be left.
      const result = this.#receiveMessages(batch, Math.ceil(limit / this.#perMessage));
      if (result <= 0) {
        idleBatches.push(batch);
        return result;
      }
      rest = this.#rest = batch;
      this.#restFrom = 0;
    }
    const count = Math.min(limit, rest.length - this.#restFrom);
    // What was received stays here when one of these throws.
    if (info !== undefined) checkInfos(info, start, start + count);
    scatterVector ??= this.#source.native.scatterVector();
    const told = { info, counters: this.#counters };
    scatterReceived(rest, this.#restFrom, scatterVector, bufs, { start, count }, told);
    this.#advanceRest(rest, count);
    return count;
  }

  /** Receives `wanted` messages at the most, if the batch has room for them. */
  #receiveMessages(batch: RecvBatch, wanted: number): number {
    const messages = Math.min(batch.messagesMax, wanted);
    const result = batch._receive(this.#source, messages);
    this.#counters.receiveCalls++;
    if (result > 0) {
      this.#isDrained = result < messages;
      this.#perMessage = batch.length / result;
      this.#counters.messagesReceived += result;
      this.#counters.controlTruncated += batch._controlTruncated;
    }
    return result;
  }

  #advanceRest(rest: RecvBatch, count: number): void {
    // Closed meanwhile: it is no longer this receiver's.
    if (this.#rest !== rest) return;
    this.#restFrom += count;
    if (this.#restFrom < rest.length) return;
    idleBatches.push(rest);
    this.#rest = undefined;
  }

  #count(batch: RecvBatch): void {
    this.#counters.datagramsReceived += batch.length;
    this.#counters.bytesReceived += batch._payloadBytes;
  }
}

/** Whether buffers are good. What is wrong with one is said when a receive begins with it. */
function areUsable(
  bufs: readonly Target[],
  info: readonly DatagramInfo[] | undefined,
  start: number,
  end: number,
): boolean {
  try {
    checkEntries(bufs, info, start, end);
    return true;
  } catch {
    return false;
  }
}
