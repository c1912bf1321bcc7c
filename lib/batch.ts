/**
 * Between buffers and the kernel's vectors: fills a vector from an array of buffers, and takes
 * what came out of it again. The only loops that run once a datagram; they allocate nothing.
 */

import type { ReceiveVector, SendVector } from "../ffi/native.ts";
import type { AddressCache, SocketAddress } from "./address.ts";
import { DgramBuffer } from "./buffer.ts";
import type { SocketCounters } from "./counters.ts";
import type { DatagramInfo, Payload, Target } from "./info.ts";
import { destination } from "./send.ts";

/** Bytes of a `sockaddr_un` without a name, which is that of an unbound socket (unix(7)). */
const UNNAMED_BYTES = 2;

/** Points slots 0 to `count - 1` of `vector` at the targets from `start` on, which are checked. */
export function fillTargets(
  vector: ReceiveVector,
  bufs: readonly Target[],
  start: number,
  count: number,
): void {
  vector.reserve(count);
  for (let i = 0; i < count; i++) {
    const buf = bufs[start + i] as Target;
    if (buf instanceof DgramBuffer) {
      vector.setBuffer(i, buf._bytes, buf._end, buf._bytes.length - buf._end);
    } else {
      vector.setBuffer(i, buf, 0, buf.byteLength);
    }
  }
}

/** Gives the targets from `start` on the `count` datagrams that a receive put into them. */
export function storeReceived(
  vector: ReceiveVector,
  bufs: readonly Target[],
  start: number,
  count: number,
  info: readonly DatagramInfo[] | undefined,
  addresses: AddressCache,
  counters: SocketCounters,
): void {
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const buf = bufs[start + i] as Target;
    const datagramLength = vector.lengthAt(i);
    let length: number;
    if (buf instanceof DgramBuffer) {
      length = Math.min(datagramLength, buf._bytes.length - buf._end);
      buf._end += length;
    } else {
      length = Math.min(datagramLength, buf.byteLength);
    }
    bytes += length;
    if (datagramLength > length) counters.datagramsTruncated++;
    const told = info?.[start + i];
    if (told !== undefined) told._set(length, datagramLength, peerAt(vector, i, addresses));
  }
  counters.datagramsReceived += count;
  counters.bytesReceived += bytes;
}

function peerAt(
  vector: ReceiveVector,
  i: number,
  addresses: AddressCache,
): SocketAddress | undefined {
  const length = vector.nameLengthAt(i);
  if (length <= UNNAMED_BYTES) return undefined;
  return addresses.get(vector.words, vector.nameIndex(i), length);
}

/**
 * Points slots 0 to `count - 1` of `vector` at the payloads from `start` on, which are checked,
 * and at their destinations.
 */
export function fillPayloads(
  vector: SendVector,
  bufs: readonly Payload[],
  start: number,
  count: number,
  to: SocketAddress | readonly SocketAddress[] | undefined,
  isIPv6: boolean,
): void {
  vector.reserve(count);
  for (let i = 0; i < count; i++) {
    const buf = bufs[start + i] as Payload;
    if (buf instanceof DgramBuffer) {
      vector.setBuffer(i, buf._bytes, buf._start, buf._end - buf._start);
    } else {
      vector.setBuffer(i, buf, 0, buf.byteLength);
    }
    const address = destination(to, start + i);
    vector.setDestination(i, isIPv6 ? address?._toMapped()._encoded : address?._encoded);
  }
}

/** Counts `count` datagrams from `start` on as sent. */
export function countSent(
  bufs: readonly Payload[],
  start: number,
  count: number,
  counters: SocketCounters,
): void {
  let bytes = 0;
  for (let i = start; i < start + count; i++) {
    const buf = bufs[i] as Payload;
    bytes += buf.length;
  }
  counters.datagramsSent += count;
  counters.bytesSent += bytes;
}
