/**
 * Receives into the caller's buffers: points a vector at them, and updates them after the receive.
 * These loops run once per datagram and allocate nothing.
 */

import type { ReceiveVector } from "../../ffi/native.ts";
import { addressAt } from "../address/address-cache.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import type { Target } from "../datagram/payload.ts";
import { checkRecvMeta, type RecvMeta } from "../datagram/recv-meta.ts";
import { readMetadata } from "../linux/recv-cmsg.ts";
import { checkBytes, rangeError } from "../support/check.ts";
import type { RecvBatch } from "./recv-batch.ts";

/** Buffers `start` to `start + count - 1` of an array. */
export interface BufferRange {
  start: number;
  count: number;
}

/** Buffers, and the slots of a vector that refer to them: slot `slot + i` is buffer `start + i`. */
export interface SlotRange extends BufferRange {
  slot: number;
}

/** The objects that a receive updates besides the buffers. */
export interface ReceiveRecords {
  readonly counters: SocketCounters;
  /** As `MessageSource.local`. */
  readonly local: SocketAddress | undefined;
}

/**
 * The targets of a call, one per slot of a vector, and their metadata objects.
 *
 * `load` reads each element of the caller's arrays once, which may run code of the caller. After
 * that, only the copies in this list and in the vector are used.
 */
export class TargetList {
  readonly vector: ReceiveVector;
  /** The `DgramBuffer` of each slot; absent for an array. */
  readonly #buffers: (DgramBuffer | undefined)[] = [];
  readonly #metas: (RecvMeta | undefined)[] = [];
  #hasMeta = false;
  #hasBuffers = false;

  constructor(vector: ReceiveVector) {
    this.vector = vector;
  }

  /** Whether the loaded targets include `DgramBuffer`s, or have metadata objects. */
  get needsUpdate(): boolean {
    return this.#hasBuffers || this.#hasMeta;
  }

  /**
   * Loads slots, which the vector has reserved. The slots of a call are loaded in order from 0 on.
   *
   * @throws TypeError or RangeError for an invalid target or metadata object, or if a `DgramBuffer`
   * is in two slots.
   */
  load(
    bufs: readonly Target[],
    meta: readonly RecvMeta[] | undefined,
    { slot, start, count }: SlotRange,
  ): void {
    const { vector } = this;
    if (slot === 0) this.#hasBuffers = this.#hasMeta = false;
    const covered = vector.countCovered(slot, bufs, start, count);
    for (let i = covered; i < count; i++) {
      const buf: unknown = i === covered ? vector.uncovered : bufs[start + i];
      if (!vector.covers(slot + i, buf)) this.#loadTarget(slot + i, buf);
    }
    if (meta !== undefined) this.#loadMetas(meta, slot, start, count);
  }

  /** Loads slot `slot` with `buf`. Reads each property of `buf` once. */
  #loadTarget(slot: number, buf: unknown): void {
    if (!DgramBuffer._isGenuine(buf)) {
      checkBytes("bufs[]", buf);
      this.vector.loadWhole(slot, buf);
      this.#buffers[slot] = undefined;
      return;
    }
    const end = buf._end;
    const length = end - buf._start;
    if (length !== 0 || end >>> 0 !== end) {
      throw rangeError("bufs[]", "DgramBuffer without payload", `${length} bytes of payload`);
    }
    if (!DgramBuffer._claim(buf, slot, this.#buffers)) {
      throw rangeError("bufs[]", "each DgramBuffer once", `one at ${slot} again`);
    }
    // Throws if the object is frozen, before a datagram is received into it.
    buf._end = end;
    this.#hasBuffers = true;
    this.vector.loadTail(slot, buf._bytes, end);
    this.#buffers[slot] = buf;
  }

  #loadMetas(meta: readonly unknown[], slot: number, start: number, count: number): void {
    const metas = this.#metas;
    this.#hasMeta = true;
    const known = Math.min(count, meta.length - start);
    for (let i = 0; i < known; i++) {
      const datagramMeta: unknown = meta[start + i];
      if (datagramMeta !== undefined && metas[slot + i] === datagramMeta) continue;
      checkRecvMeta("meta[]", datagramMeta);
      metas[slot + i] = datagramMeta;
    }
    for (let i = Math.max(0, known); i < count; i++) metas[slot + i] = undefined;
  }

  /** Releases all targets and metadata objects. */
  releaseAll(): void {
    this.release(this.vector.capacity);
  }

  /** Releases all targets and metadata objects, and the memory of the vector. */
  free(): void {
    this.vector.free();
    this.#buffers.length = this.#metas.length = 0;
  }

  /** Releases the first `count` targets and metadata objects, so that they can be collected. */
  release(count: number): void {
    this.vector.release(count);
    this.#buffers.fill(undefined, 0, count);
    this.#metas.fill(undefined, 0, count);
  }

  /**
   * Updates the first `count` targets from `slot` on, into which the vector has received. Runs code
   * of the caller if a metadata object has a setter.
   */
  store(slot: number, count: number, { counters, local }: ReceiveRecords): void {
    const { vector } = this;
    const buffers = this.#buffers;
    const hasMeta = this.#hasMeta;
    let bytes = 0;
    for (let i = slot; i < slot + count; i++) {
      const datagramLength = vector.lengthAt(i);
      const room = vector.roomAt(i);
      const length = datagramLength < room ? datagramLength : room;
      const buf = buffers[i];
      if (buf !== undefined) buf._end = vector.startAt(i) + length;
      bytes += length;
      if (datagramLength > length) counters.datagramsTruncated++;
      const isControlTruncated = local !== undefined && vector.isControlTruncatedAt(i);
      if (isControlTruncated) counters.controlTruncated++;
      const meta = hasMeta ? this.#metas[i] : undefined;
      if (meta === undefined) continue;
      meta._set(length, datagramLength, addressAt(vector, i));
      meta.controlTruncated = isControlTruncated;
      if (local === undefined) continue;
      const controlBytes = vector.controlLengthAt(i);
      readMetadata(vector.words, vector.controlIndex(i), controlBytes, meta, local);
    }
    counters.datagramsReceived += count;
    counters.bytesReceived += bytes;
  }

  /**
   * Updates the first `count` targets, to which datagrams `first` on of `batch` were copied. Runs
   * code of the caller if a metadata object has a setter.
   */
  storeCopied(batch: RecvBatch, first: number, count: number, counters: SocketCounters): void {
    const { vector } = this;
    const hasMeta = this.#hasMeta;
    for (let i = 0; i < count; i++) {
      const datagramLength = batch.lengthAt(first + i);
      const room = vector.roomAt(i);
      const length = datagramLength < room ? datagramLength : room;
      const buf = this.#buffers[i];
      if (buf !== undefined) buf._end = vector.startAt(i) + length;
      if (datagramLength > length) counters.datagramsTruncated++;
      const meta = hasMeta ? this.#metas[i] : undefined;
      if (meta !== undefined) batch.metaAt(first + i, meta).length = length;
    }
  }
}

/**
 * Copies datagrams of a batch from `first` on to the first `count` targets, which are prepared.
 * Returns whether the targets must be updated with `storeCopied`.
 */
export function scatterReceived(
  batch: RecvBatch,
  first: number,
  targets: TargetList,
  count: number,
  counters: SocketCounters,
): boolean {
  const { vector } = targets;
  let bytes = 0;
  let isTruncated = false;
  for (let done = 0; done < count; ) {
    const segments = batch._segmentsFrom(first + done);
    const datagrams = Math.min(count - done, segments.datagrams);
    const copied = vector.scatter(segments, done, datagrams);
    bytes += copied;
    if (copied < Math.min(segments.length, datagrams * segments.stride)) isTruncated = true;
    done += datagrams;
  }
  counters.datagramsReceived += count;
  counters.bytesReceived += bytes;
  // Plain arrays that received whole datagrams need no update.
  return isTruncated || targets.needsUpdate;
}
