/**
 * The receive half of the native engine: `recvmmsg` into the caller's buffers. With GRO it receives
 * into a `RecvBatch` of its own and copies the datagrams to the caller's buffers: a copy of 1200
 * bytes takes 25 ns, and GRO saves 500 ns per datagram.
 */

import type { Native, ReceiveVector, ScatterVector } from "../../../ffi/native.ts";
import type { SocketAddress } from "../../address/socket-address.ts";
import type { MessageSource } from "../../batch/kernel-messages.ts";
import { RecvBatch } from "../../batch/recv-batch.ts";
import {
  type BufferRange,
  fillTargets,
  type SlotRange,
  scatterReceived,
  storeReceived,
} from "../../batch/targets.ts";
import type { SocketCounters } from "../../datagram/counters.ts";
import type { Target } from "../../datagram/payload.ts";
import { checkRecvEntries, checkRecvMetas } from "../../datagram/ranges.ts";
import type { RecvMeta } from "../../datagram/recv-meta.ts";
import { RECV_CONTROL_CAPACITY } from "../../linux/cmsg.ts";
import { EAGAIN } from "../../linux/constants.ts";
import { DeferredError } from "../../poll/deferred-error.ts";
import { IdleResource } from "../../support/idle.ts";
import { giveBatch, takeBatch } from "./batch-pool.ts";

/** The number of slots that every receive prepares at least. */
const EXPECTED_MIN = 4;

/**
 * The number of datagrams to receive into a batch with one call. More full messages evict each
 * other from the processor cache (in C: 102 ns per datagram with 4 messages per call, 335 with 32).
 */
const BATCH_DATAGRAMS = 256;

/** The vector that copies to the caller's buffers, which it holds until they are idle. */
let scatterVector: ScatterVector | undefined;
const scattered = new IdleResource(() => scatterVector?.releaseAll());

/** A datagram that another owner of a descriptor has received. */
export interface EarlyDatagram {
  readonly bytes: Uint8Array;
  readonly peer: SocketAddress;
}

/** The properties of the socket of a `NativeReceiver`. */
export interface NativeReceiverInit {
  readonly native: Native;
  readonly fd: number;
  /** Space in bytes for a peer address. */
  readonly nameCapacity: number;
  /** Whether UDP_GRO is enabled, so that a message may contain several datagrams. */
  readonly usesGro: boolean;
  readonly counters: SocketCounters;
}

/** Receives from one descriptor. */
export class NativeReceiver {
  #source: MessageSource;
  readonly #usesGro: boolean;
  readonly #counters: SocketCounters;
  readonly #nameCapacity: number;
  #vector: ReceiveVector;
  /** The caller's buffers, which the vector holds because the next receive may reuse them. */
  readonly #targets: IdleResource = new IdleResource(() => this.#vector.releaseAll());
  /** Whether the latest receive emptied the socket. */
  #isDrained = false;
  /** The errno of a call that followed a successful one. */
  readonly #deferredErrno: DeferredError<number> = new DeferredError();
  /** The number of datagrams that the next receive is expected to return. */
  #expected = EXPECTED_MIN;
  /** The number of datagrams per message in the latest receive. */
  #perMessage = 1;
  /** Datagrams received with GRO, or prepended, and not returned yet: from `#unreadStart` on. */
  #unread: RecvBatch | undefined;
  #unreadStart = 0;

  constructor({ native, fd, nameCapacity, usesGro, counters }: NativeReceiverInit) {
    this.#source = { native, fd, hasControl: usesGro };
    this.#usesGro = usesGro;
    this.#counters = counters;
    this.#nameCapacity = nameCapacity;
    this.#vector = native.receiveVector(nameCapacity);
  }

  /**
   * Makes datagrams that another owner of the descriptor has received the first ones to return, at
   * most `BATCH_COUNT_MAX`.
   */
  prepend(datagrams: readonly EarlyDatagram[]): void {
    if (datagrams.length === 0) return;
    const batch = new RecvBatch({ messages: datagrams.length });
    for (const { bytes, peer } of datagrams) {
      batch._nextView().set(bytes);
      batch._nextMeta()._set(bytes.length, bytes.length, peer);
      batch._add(bytes.length);
    }
    this.#unread = batch;
    this.#unreadStart = 0;
  }

  /** Starts to read metadata, on a socket bound to `local`. */
  readMetadata(local: SocketAddress): void {
    const { native } = this.#source;
    this.#source = { ...this.#source, hasControl: true, local };
    this.#vector = native.receiveVector(this.#nameCapacity, RECV_CONTROL_CAPACITY);
  }

  /** Whether the latest receive emptied the socket, so that another one would find nothing. */
  get isDrained(): boolean {
    return this.#isDrained && this.#unread === undefined && !this.#deferredErrno.isSet;
  }

  /** Clears `isDrained`: it is valid only right after the receive. */
  clearDrained(): void {
    this.#isDrained = false;
  }

  /** Receives into a range of targets. Returns the number of datagrams, or -errno. */
  receive(
    bufs: readonly Target[],
    range: BufferRange,
    meta: readonly RecvMeta[] | undefined,
  ): number {
    const errno = this.#deferredErrno.take();
    if (errno !== undefined) return -errno;
    return this.#usesGro || this.#unread !== undefined
      ? this.#receiveMerged(bufs, range, meta)
      : this.#receiveDirect(bufs, range, meta);
  }

  /** Receives into `batch`. Returns the number of datagrams, or -errno. */
  receiveBatch(batch: RecvBatch): number {
    const unread = this.#unread;
    if (unread !== undefined) {
      const taken = batch._copyFrom(unread, this.#unreadStart);
      this.#countBatch(batch);
      this.#advanceUnread(unread, taken);
      return taken;
    }
    const errno = this.#deferredErrno.take();
    if (errno !== undefined) return -errno;
    const messages = Math.max(1, Math.floor(BATCH_DATAGRAMS / this.#perMessage));
    const result = this.#receiveMessages(batch, messages);
    if (result <= 0) return result;
    this.#counters.datagramsTruncated += batch._truncated;
    this.#countBatch(batch);
    return batch.length;
  }

  /**
   * Forgets the descriptor, whose number may be reused: later receives fail with `EBADF`. Returns
   * the number of datagrams that were received and not returned.
   */
  close(): number {
    this.#source = { ...this.#source, fd: -1 };
    // Even if a getter of the caller's array closes the socket while the vector is filled: a receive
    // from descriptor -1 accesses no buffer.
    this.#vector.releaseAll();
    const unread = this.#unread;
    if (unread === undefined) return 0;
    const dropped = unread.length - this.#unreadStart;
    this.#advanceUnread(unread, dropped);
    return dropped;
  }

  #receiveDirect(
    bufs: readonly Target[],
    { start, count: limit }: BufferRange,
    meta: readonly RecvMeta[] | undefined,
  ): number {
    this.#vector.reserve(limit);
    // Preparing a slot costs as much as a short datagram, so the first call uses only as many as
    // are expected to be filled.
    const first = Math.min(limit, this.#expected);
    this.#targets.use();
    if (meta !== undefined) checkRecvMetas(meta, start, start + first);
    let total = this.#receiveSlots(bufs, { slot: 0, start, count: first }, meta);
    if (total < 0) return total;
    if (total === first && first < limit && areValid(bufs, meta, start + first, start + limit)) {
      const remaining = { slot: first, start: start + first, count: limit - first };
      const more = this.#receiveSlots(bufs, remaining, meta);
      if (more > 0) total += more;
      else if (more !== -EAGAIN) this.#deferredErrno.set(-more);
    }
    this.#isDrained = total < limit;
    this.#expected = Math.max(EXPECTED_MIN, 2 * total);
    return total;
  }

  /** Makes one system call. Returns the number of datagrams, or -errno. */
  #receiveSlots(
    bufs: readonly Target[],
    slots: SlotRange,
    meta: readonly RecvMeta[] | undefined,
  ): number {
    fillTargets(this.#vector, bufs, slots);
    const result = this.#vector.receive(this.#source.fd, slots.slot, slots.count);
    this.#counters.receiveCalls++;
    if (result > 0) {
      slots.count = result;
      this.#counters.messagesReceived += result;
      const records = { meta, counters: this.#counters, local: this.#source.local };
      storeReceived(this.#vector, bufs, slots, records);
    }
    return result;
  }

  #receiveMerged(
    bufs: readonly Target[],
    { start, count: limit }: BufferRange,
    meta: readonly RecvMeta[] | undefined,
  ): number {
    let unread = this.#unread;
    if (unread === undefined) {
      const batch = takeBatch();
      // As many messages as will probably fill all targets. Some datagrams may remain unread.
      const result = this.#receiveMessages(batch, Math.ceil(limit / this.#perMessage));
      if (result <= 0) {
        giveBatch(batch);
        return result;
      }
      unread = this.#unread = batch;
      this.#unreadStart = 0;
    }
    const count = Math.min(limit, unread.length - this.#unreadStart);
    // If one of the following throws, the datagrams remain unread.
    if (meta !== undefined) checkRecvMetas(meta, start, start + count);
    scatterVector ??= this.#source.native.scatterVector();
    scattered.use();
    const records = { meta, counters: this.#counters };
    scatterReceived(unread, this.#unreadStart, scatterVector, bufs, { start, count }, records);
    this.#advanceUnread(unread, count);
    return count;
  }

  /** Receives up to `wanted` messages, as far as the batch has room. */
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

  #advanceUnread(unread: RecvBatch, count: number): void {
    // The socket may have been closed meanwhile, which gave the batch back.
    if (this.#unread !== unread) return;
    this.#unreadStart += count;
    if (this.#unreadStart < unread.length) return;
    giveBatch(unread);
    this.#unread = undefined;
  }

  #countBatch(batch: RecvBatch): void {
    this.#counters.datagramsReceived += batch.length;
    this.#counters.bytesReceived += batch._payloadBytes;
  }
}

/** Returns whether buffers are valid. An invalid one throws when a receive starts with it. */
function areValid(
  bufs: readonly Target[],
  meta: readonly RecvMeta[] | undefined,
  start: number,
  end: number,
): boolean {
  try {
    checkRecvEntries(bufs, meta, start, end);
    return true;
  } catch {
    return false;
  }
}
