/**
 * Receives into the caller's buffers: points a vector at them, and updates them after the receive.
 * These loops run once per datagram and allocate nothing.
 */

import type { ReceiveVector, ScatterVector } from "../../ffi/native.ts";
import { addressAt } from "../address/address-cache.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import { checkTarget, type Target } from "../datagram/payload.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import { readMetadata } from "../linux/recv-cmsg.ts";
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

/**
 * Points the slots of a range, which the vector has reserved, at their targets. Returns whether
 * some of the targets are `DgramBuffer`s.
 *
 * @throws TypeError or RangeError for an invalid target.
 */
export function fillTargets(
  vector: ReceiveVector | ScatterVector,
  bufs: readonly Target[],
  { slot, start, count }: SlotRange,
): boolean {
  let hasBuffers = false;
  // Slots that already refer to the same views were checked when they were set.
  for (let i = vector.countUnchanged(slot, bufs, start, count); i < count; i++) {
    const buf = bufs[start + i] as Target;
    checkTarget("bufs[]", buf);
    if (buf instanceof DgramBuffer) {
      vector.setBuffer(slot + i, buf._bytes, buf._end, buf._bytes.length - buf._end);
      hasBuffers = true;
    } else {
      vector.setView(slot + i, buf);
    }
  }
  return hasBuffers;
}

/** The objects that a receive updates besides the buffers. */
export interface ReceiveRecords {
  readonly meta: readonly RecvMeta[] | undefined;
  readonly counters: SocketCounters;
  /** The bound address of the socket, if receive metadata was enabled. */
  readonly local: SocketAddress | undefined;
}

/** Updates the targets of a range, whose slots a receive has filled, and the records. */
export function storeReceived(
  vector: ReceiveVector,
  bufs: readonly Target[],
  { slot, start, count }: SlotRange,
  { meta, counters, local }: ReceiveRecords,
): void {
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const buf = bufs[start + i] as Target;
    const datagramLength = vector.lengthAt(slot + i);
    let length: number;
    if (buf instanceof DgramBuffer) {
      length = Math.min(datagramLength, buf._bytes.length - buf._end);
      buf._end += length;
    } else {
      length = Math.min(datagramLength, buf.byteLength);
    }
    bytes += length;
    if (datagramLength > length) counters.datagramsTruncated++;
    const isControlTruncated = local !== undefined && vector.isControlTruncatedAt(slot + i);
    if (isControlTruncated) counters.controlTruncated++;
    const datagramMeta = meta?.[start + i];
    if (datagramMeta !== undefined) {
      datagramMeta._set(length, datagramLength, addressAt(vector, slot + i));
      datagramMeta.controlTruncated = isControlTruncated;
      if (local !== undefined) {
        const controlBytes = vector.controlLengthAt(slot + i);
        const index = vector.controlIndex(slot + i);
        readMetadata(vector.words, index, controlBytes, datagramMeta, local);
      }
    }
  }
  counters.datagramsReceived += count;
  counters.bytesReceived += bytes;
}

/**
 * Copies the datagrams of a batch from `first` on to the targets of a range.
 *
 * @throws TypeError or RangeError for an invalid target, before anything is copied.
 */
export function scatterReceived(
  batch: RecvBatch,
  first: number,
  targets: ScatterVector,
  bufs: readonly Target[],
  { start, count }: BufferRange,
  records: Omit<ReceiveRecords, "local">,
): void {
  targets.reserve(count);
  const hasBuffers = fillTargets(targets, bufs, { slot: 0, start, count });
  let bytes = 0;
  let isTruncated = false;
  for (let done = 0; done < count; ) {
    const segments = batch._segmentsFrom(first + done);
    const datagrams = Math.min(count - done, segments.datagrams);
    const copied = targets.scatter(segments, done, datagrams);
    bytes += copied;
    if (copied < Math.min(segments.length, datagrams * segments.stride)) isTruncated = true;
    done += datagrams;
  }
  records.counters.datagramsReceived += count;
  records.counters.bytesReceived += bytes;
  // Plain arrays that received whole datagrams need no update.
  if (hasBuffers || isTruncated || records.meta !== undefined) {
    storeScattered(batch, first, bufs, { start, count }, records);
  }
}

/** Updates the targets of a range, to which datagrams were copied, and the records. */
function storeScattered(
  batch: RecvBatch,
  first: number,
  bufs: readonly Target[],
  { start, count }: BufferRange,
  { meta, counters }: Omit<ReceiveRecords, "local">,
): void {
  for (let i = 0; i < count; i++) {
    const buf = bufs[start + i] as Target;
    const datagramLength = batch.lengthAt(first + i);
    const isBuffer = buf instanceof DgramBuffer;
    const room = isBuffer ? buf._bytes.length - buf._end : buf.byteLength;
    const length = datagramLength < room ? datagramLength : room;
    if (isBuffer) buf._end += length;
    if (datagramLength > length) counters.datagramsTruncated++;
    const datagramMeta = meta?.[start + i];
    if (datagramMeta !== undefined) batch.metaAt(first + i, datagramMeta).length = length;
  }
}
