/**
 * Between buffers and the kernel's vectors: fills a vector from an array of buffers, and takes
 * what came out of it again. The only loops that run once a datagram; they allocate nothing.
 */

import type { ReceiveVector, ScatterVector } from "../../ffi/native.ts";
import { addressAt, type SocketAddress } from "../address/address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { readMetadata } from "../datagram/control.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import { type Destinations, destination } from "../datagram/destination.ts";
import {
  checkPayload,
  checkTarget,
  type DatagramInfo,
  type Payload,
  type Target,
} from "../datagram/info.ts";
import type { MessageBuilder } from "./messages.ts";
import type { RecvBatch } from "./recv-batch.ts";

/** Buffers `start` to `start + count - 1` of an array. */
export interface BufferRange {
  start: number;
  count: number;
}

/** Buffers, and the slots of a vector that stand for them: slot `slot + i` is buffer `start + i`. */
export interface Run extends BufferRange {
  slot: number;
}

/**
 * Points the slots of a run, for which the vector has room, at its targets: whether some of them
 * are `DgramBuffer`s.
 *
 * @throws TypeError or RangeError for a bad one.
 */
export function fillTargets(
  vector: ReceiveVector | ScatterVector,
  bufs: readonly Target[],
  { slot, start, count }: Run,
): boolean {
  let hasBuffers = false;
  // Those that are the same as last time were checked then.
  for (let i = vector.holding(slot, bufs, start, count); i < count; i++) {
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

/** Where `storeReceived` tells of the datagrams. */
export interface Told {
  readonly info: readonly DatagramInfo[] | undefined;
  readonly counters: SocketCounters;
  /** The socket's own address, where it was asked for metadata. */
  readonly local: SocketAddress | undefined;
}

/** Gives the targets of a run the datagrams that a receive put into their slots. */
export function storeReceived(
  vector: ReceiveVector,
  bufs: readonly Target[],
  run: Run,
  told: Told,
): void {
  const { slot, start, count } = run;
  const { info, counters, local } = told;
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
    const about = info?.[start + i];
    if (about !== undefined) {
      about._set(length, datagramLength, addressAt(vector, slot + i));
      about.controlTruncated = isControlTruncated;
      if (local !== undefined) {
        const bytes = vector.controlLengthAt(slot + i);
        readMetadata(vector.words, vector.controlIndex(slot + i), bytes, about, local);
      }
    }
  }
  counters.datagramsReceived += count;
  counters.bytesReceived += bytes;
}

/**
 * Copies datagrams `from` on of a received batch to the targets of a range.
 *
 * @throws TypeError or RangeError for a bad target, before anything is copied.
 */
export function scatterReceived(
  batch: RecvBatch,
  from: number,
  targets: ScatterVector,
  bufs: readonly Target[],
  { start, count }: BufferRange,
  told: Omit<Told, "local">,
): void {
  targets.reserve(count);
  const hasBuffers = fillTargets(targets, bufs, { slot: 0, start, count });
  let bytes = 0;
  let isTruncated = false;
  for (let done = 0; done < count; ) {
    const segments = batch._segmentsFrom(from + done);
    const datagrams = Math.min(count - done, segments.datagrams);
    const copied = targets.scatter(segments, done, datagrams);
    bytes += copied;
    if (copied < Math.min(segments.length, datagrams * segments.stride)) isTruncated = true;
    done += datagrams;
  }
  told.counters.datagramsReceived += count;
  told.counters.bytesReceived += bytes;
  // Mostly the bytes are all that there is to know.
  if (hasBuffers || isTruncated || told.info !== undefined) {
    storeScattered(batch, from, bufs, { start, count }, told);
  }
}

/** Gives the targets of a range the datagrams that were copied to them. */
function storeScattered(
  batch: RecvBatch,
  from: number,
  bufs: readonly Target[],
  { start, count }: BufferRange,
  { info, counters }: Omit<Told, "local">,
): void {
  for (let i = 0; i < count; i++) {
    const buf = bufs[start + i] as Target;
    const datagramLength = batch.lengthAt(from + i);
    const isBuffer = buf instanceof DgramBuffer;
    const room = isBuffer ? buf._bytes.length - buf._end : buf.byteLength;
    const length = datagramLength < room ? datagramLength : room;
    if (isBuffer) buf._end += length;
    if (datagramLength > length) counters.datagramsTruncated++;
    const about = info?.[start + i];
    if (about !== undefined) batch.infoAt(from + i, about).length = length;
  }
}

/**
 * Makes messages of the payloads of a range: how many. `to` is one address for all, one each, or
 * none on a connected socket.
 *
 * @throws TypeError for what is no payload or no address.
 */
export function fillPayloads(
  builder: MessageBuilder,
  bufs: readonly Payload[],
  { start, count }: BufferRange,
  to: Destinations,
): number {
  builder.vector.reserve(count);
  const isOnePeer = !Array.isArray(to);
  for (let i = start; i < start + count; ) {
    const buf = bufs[i] as Payload;
    checkPayload("bufs[]", buf);
    builder.add(buf.length, destination(to, i));
    i++;
    if (buf instanceof DgramBuffer) {
      builder.piece(buf._bytes, buf._start, buf.length);
    } else {
      builder.piece(buf, 0, buf.length);
      if (isOnePeer) i += builder.addRun(bufs, i, start + count);
    }
  }
  return builder.finish();
}

/** Bytes of `count` payloads from `start` on. */
export function bytesOf(bufs: readonly Payload[], start: number, count: number): number {
  let bytes = 0;
  for (let i = start; i < start + count; i++) bytes += (bufs[i] as Payload).length;
  return bytes;
}
