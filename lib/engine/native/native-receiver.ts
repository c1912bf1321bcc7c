/**
 * The receive half of the native engine: `recvmmsg` into the caller's buffers. With GRO, and when it
 * reads ahead, it receives into a `RecvBatch` of its own and copies the datagrams to the caller's
 * buffers: a copy of 1200 bytes takes 25 ns, GRO saves 500 ns per datagram and reading ahead 600 ns.
 */

import type { Native } from "../../../ffi/native.ts";
import type { SocketAddress } from "../../address/socket-address.ts";
import type { MessageSource } from "../../batch/kernel-messages.ts";
import { RecvBatch } from "../../batch/recv-batch.ts";
import {
  type BufferRange,
  type ReceiveRecords,
  type SlotRange,
  scatterReceived,
  TargetList,
} from "../../batch/targets.ts";
import type { SocketCounters } from "../../datagram/counters.ts";
import type { Target } from "../../datagram/payload.ts";
import type { RecvMeta } from "../../datagram/recv-meta.ts";
import { RECV_CONTROL_CAPACITY } from "../../linux/cmsg.ts";
import { EAGAIN } from "../../linux/constants.ts";
import { DeferredError } from "../../poll/deferred-error.ts";
import { closedError, nestedCallError } from "../../support/errors.ts";
import { IdleResource } from "../../support/idle.ts";
import { giveBatch, takeBatch } from "./batch-pool.ts";

/** The number of slots that every receive prepares at least. */
const EXPECTED_MIN = 4;

/**
 * The number of datagrams to receive into a batch with one call. More full messages evict each
 * other from the processor cache (in C: 102 ns per datagram with 4 messages per call, 335 with 32).
 */
const BATCH_DATAGRAMS = 256;

/**
 * The maximum number of messages that a receive of one datagram reads, to return the others from
 * memory. Small, because they are lost to the next owner of the descriptor.
 */
const READ_AHEAD_MAX = 32;

/**
 * The lists of this thread that copy to the caller's buffers, and that no call uses: a call may run
 * code that receives from other sockets. They hold the buffers until they are idle.
 */
const idleLists: TargetList[] = [];
const scattered = new IdleResource({
  _releaseIdle() {
    for (const list of idleLists) list.releaseAll();
  },
});

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
  /** Whether receives of one datagram may read several from the kernel. */
  readonly readsAhead: boolean;
  readonly counters: SocketCounters;
  /** The bound address of a Unix socket, which reports descriptors that it does not accept. */
  readonly local?: SocketAddress | undefined;
}

/** Receives from one descriptor. */
export class NativeReceiver {
  #source: MessageSource;
  readonly #usesGro: boolean;
  readonly #counters: SocketCounters;
  readonly #nameCapacity: number;
  #targets: TargetList;
  /** The caller's buffers, which the list holds because the next receive may reuse them. */
  readonly #held: IdleResource = new IdleResource(this);
  /** Whether a call is loading targets or storing datagrams, which may run code of the caller. */
  #isBusy = false;
  /** The slots to load: one object for all calls. */
  readonly #slots: SlotRange = { slot: 0, start: 0, count: 0 };
  #records: ReceiveRecords;
  /** The number of targets that the current call has loaded. */
  #loaded = 0;
  /** The list that the current call copies to. */
  #copies: TargetList | undefined;
  /** Whether the latest receive emptied the socket. */
  #isDrained = false;
  /** The errno of a call that followed a successful one. */
  readonly #deferredErrno: DeferredError<number> = new DeferredError();
  /** The number of datagrams that the next receive is expected to return. */
  #expected = EXPECTED_MIN;
  /** The number of datagrams per message in the latest receive. */
  #perMessage = 1;
  /** The number of messages that a receive of one datagram reads; 1: it does not read ahead. */
  #ahead = 1;
  #aheadMax: number;
  /** Datagrams that were received and not returned yet: from `#unreadStart` on. */
  #unread: RecvBatch | undefined;
  #unreadStart = 0;

  constructor(init: NativeReceiverInit) {
    const { native, fd, nameCapacity, usesGro, readsAhead, counters, local } = init;
    this.#aheadMax = readsAhead ? READ_AHEAD_MAX : 1;
    this.#source = { native, fd, hasControl: usesGro, local };
    this.#usesGro = usesGro;
    this.#counters = counters;
    this.#records = { counters, local };
    this.#nameCapacity = nameCapacity;
    this.#targets = new TargetList(native.receiveVector(nameCapacity));
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

  /** @internal */
  _releaseIdle(): void {
    this.#targets.free();
  }

  /** Reads no datagrams ahead from now on: another reader of the descriptor would miss them. */
  stopReadingAhead(): void {
    this.#ahead = this.#aheadMax = 1;
  }

  /** The number of datagrams that were received and not returned yet. */
  get unread(): number {
    return this.#unread === undefined ? 0 : this.#unread.length - this.#unreadStart;
  }

  /** Returns the result of `receive`, which uses `targets` instead of the list of this object. */
  using<T>(targets: TargetList, receive: () => T): T {
    if (this.#isBusy) throw nestedCallError("recv");
    const own = this.#targets;
    this.#targets = targets;
    try {
      return receive();
    } finally {
      this.#targets = own;
      if (this.#source.fd === -1) own.releaseAll();
    }
  }

  /** Starts to read metadata, on a socket bound to `local`. */
  readMetadata(local: SocketAddress): void {
    if (this.#isBusy) throw nestedCallError("enableMetadata");
    const { native } = this.#source;
    this.#source = { ...this.#source, hasControl: true, local };
    this.#records = { counters: this.#counters, local };
    const vector = native.receiveVector(this.#nameCapacity, RECV_CONTROL_CAPACITY);
    this.#targets = new TargetList(vector);
  }

  /** Whether the latest receive emptied the socket, so that another one would find nothing. */
  get isDrained(): boolean {
    return this.#isDrained && this.#unread === undefined && !this.#deferredErrno.isSet;
  }

  /** Clears `isDrained`: it is valid only right after the receive. */
  clearDrained(): void {
    this.#isDrained = false;
  }

  /**
   * Begins a call that may run code of the caller. `leave` must follow.
   *
   * @throws SocketError if another call on this socket is in progress, which has run that code.
   */
  enter(): void {
    if (this.#isBusy) throw nestedCallError("recv");
    this.#isBusy = true;
  }

  /** Ends the call. */
  leave(): void {
    this.#isBusy = false;
    if (this.#source.fd === -1) this.#targets.releaseAll();
    if (this.#copies === undefined) return;
    scattered.use();
    idleLists.push(this.#copies);
    this.#copies = undefined;
  }

  /**
   * Loads the targets of a call: as many as are expected to be filled, because loading one takes as
   * long as receiving a short datagram.
   *
   * @throws TypeError or RangeError for an invalid target.
   */
  load(bufs: readonly Target[], range: BufferRange, meta: readonly RecvMeta[] | undefined): void {
    const isAhead = range.count === 1 && this.#ahead > 1;
    if (this.#usesGro || this.#unread !== undefined || isAhead) {
      this.#copies = idleLists.pop() ?? new TargetList(this.#source.native.scatterVector());
    }
    const unread = this.#unread;
    const expected = unread === undefined ? this.#expected : unread.length - this.#unreadStart;
    const count = Math.min(range.count, expected);
    if (this.#copies === undefined) this.#held.use();
    const list = this.#copies ?? this.#targets;
    list.vector.reserve(range.count);
    const slots = this.#slots;
    slots.slot = 0;
    slots.start = range.start;
    slots.count = count;
    list.load(bufs, meta, slots);
    this.#loaded = count;
  }

  /** Loads targets until `end` are loaded, and returns the number of those that can be used. */
  #loadMore(
    bufs: readonly Target[],
    { start }: BufferRange,
    meta: readonly RecvMeta[] | undefined,
    end: number,
  ): number {
    const slot = this.#loaded;
    const list = this.#copies ?? this.#targets;
    try {
      list.load(bufs, meta, { slot, start: start + slot, count: end - slot });
      list.vector.prepare(slot, end - slot);
      return end;
    } catch {
      // A receive that starts with the invalid one throws.
      return slot;
    }
  }

  /** Receives into a range of targets, see `load`. Returns the number of datagrams, or -errno. */
  receive(
    bufs: readonly Target[],
    range: BufferRange,
    meta: readonly RecvMeta[] | undefined,
  ): number {
    const errno = this.#deferredErrno.take();
    if (errno !== undefined) return -errno;
    const copies = this.#copies;
    return copies === undefined
      ? this.#receiveDirect(bufs, range, meta)
      : this.#receiveMerged(copies, bufs, range, meta);
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
    // A call that is in progress may still use them: it releases them itself.
    if (!this.#isBusy) this.#targets.releaseAll();
    const unread = this.#unread;
    if (unread === undefined) return 0;
    const dropped = this.unread;
    this.#unread = undefined;
    if (!this.#isBusy) giveBatch(unread);
    return dropped;
  }

  #receiveDirect(
    bufs: readonly Target[],
    range: BufferRange,
    meta: readonly RecvMeta[] | undefined,
  ): number {
    const limit = range.count;
    const first = this.#loaded;
    this.#targets.vector.prepare(0, first);
    let total = this.#receiveSlots(0, first);
    if (total < 0) return total;
    if (total === first && first < limit && this.#loadMore(bufs, range, meta, limit) === limit) {
      const more = this.#receiveSlots(first, limit - first);
      if (more > 0) total += more;
      else if (more !== -EAGAIN) this.#deferredErrno.set(-more);
    }
    this.#isDrained = total < limit;
    if (limit === 1) this.#adaptReadAhead(total, 1);
    this.#expected = Math.max(EXPECTED_MIN, 2 * total);
    return total;
  }

  /** Receives into prepared slots with one system call. Returns the number, or -errno. */
  #receiveSlots(slot: number, count: number): number {
    const targets = this.#targets;
    const result = targets.vector.receive(this.#source.fd, slot, count);
    this.#counters.receiveCalls++;
    if (result > 0) {
      this.#counters.messagesReceived += result;
      targets.store(slot, result, this.#records);
    }
    return result;
  }

  #receiveMerged(
    copies: TargetList,
    bufs: readonly Target[],
    range: BufferRange,
    meta: readonly RecvMeta[] | undefined,
  ): number {
    const limit = range.count;
    let unread = this.#unread;
    if (unread === undefined) {
      const batch = takeBatch();
      // As many messages as will probably fill all targets. Some datagrams may remain unread.
      const wanted = limit === 1 ? this.#ahead : Math.ceil(limit / this.#perMessage);
      const result = this.#receiveMessages(batch, wanted);
      if (result <= 0) {
        giveBatch(batch);
        return result;
      }
      if (limit === 1) this.#adaptReadAhead(result, wanted);
      unread = this.#unread = batch;
      this.#unreadStart = 0;
      this.#expected = Math.max(EXPECTED_MIN, batch.length);
    }
    let count = Math.min(limit, unread.length - this.#unreadStart);
    if (count > this.#loaded) count = this.#loadMore(bufs, range, meta, count);
    if (this.#unread !== unread) throw closedError("recv");
    // If this throws, the datagrams remain unread.
    copies.vector.prepare(0, Math.min(count, this.#loaded));
    const first = this.#unreadStart;
    const counters = this.#counters;
    const needsUpdate = scatterReceived(unread, first, copies, count, counters);
    this.#unreadStart += count;
    // The batch belongs to this call until the targets are updated, which may run code of the caller.
    if (this.#unreadStart === unread.length) this.#unread = undefined;
    if (needsUpdate) copies.storeCopied(unread, first, count, counters);
    if (this.#unread === undefined) giveBatch(unread);
    return count;
  }

  /**
   * Reads twice as many messages next time if the socket had as many as were wanted, and otherwise
   * as many as it had. At least two, which costs nothing: if there is only one, the socket is known
   * to be empty, and the next receive need not try.
   */
  #adaptReadAhead(received: number, wanted: number): void {
    const next = received === wanted ? 2 * wanted : Math.max(2, received);
    this.#ahead = Math.min(next, this.#aheadMax);
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
