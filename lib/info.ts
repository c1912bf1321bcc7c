/**
 * What comes with a datagram beside its bytes, and the buffers that sockets send and fill.
 */

import type { SocketAddress } from "./address.ts";
import { DgramBuffer } from "./buffer.ts";
import { checkBytes, rangeError, typeError } from "./check.ts";

/** Bytes to send: all of a `Uint8Array`, or the payload of a `DgramBuffer`. Not changed. */
export type Payload = Uint8Array | DgramBuffer;

/**
 * Where a datagram is put: a `Uint8Array` is filled from its start; a `DgramBuffer`, which must
 * have no payload yet, keeps its headroom and gets the datagram as its payload, as far as its
 * spare capacity goes.
 */
export type Target = Uint8Array | DgramBuffer;

/**
 * What was told of one received datagram. Plain fields: make as many as a batch has, once, and
 * hand them to every receive, which writes all of them.
 */
export class DatagramInfo {
  /** Bytes stored in the buffer. */
  length = 0;
  /** Bytes the datagram had. More than `length` when it did not fit: the rest is lost. */
  datagramLength = 0;
  /** Who sent it. Absent for a Unix peer without a name. */
  peer: SocketAddress | undefined = undefined;

  /** Whether the buffer was too small for it. */
  get truncated(): boolean {
    return this.datagramLength > this.length;
  }

  /** @internal */
  _set(length: number, datagramLength: number, peer: SocketAddress | undefined): void {
    this.length = length;
    this.datagramLength = datagramLength;
    this.peer = peer;
  }
}

/** Checks where to tell of a datagram, before one is taken that would be lost. */
export function checkInfo(name: string, value: unknown): asserts value is DatagramInfo {
  if (!(value instanceof DatagramInfo)) throw typeError(name, "DatagramInfo", value);
}

/** Checks a buffer to send from. */
export function checkPayload(name: string, value: unknown): asserts value is Payload {
  if (!(value instanceof DgramBuffer)) checkBytes(name, value);
}

/**
 * Checks a buffer to receive into.
 *
 * @throws RangeError when it is a `DgramBuffer` that has payload: receiving would overwrite it.
 */
export function checkTarget(name: string, value: unknown): asserts value is Target {
  if (!(value instanceof DgramBuffer)) checkBytes(name, value);
  else if (value._end !== value._start) {
    throw rangeError(name, "DgramBuffer without payload", `${value.length} bytes of payload`);
  }
}

/** The bytes of a payload, as a view. */
export function payloadBytes(payload: Payload): Uint8Array {
  return payload instanceof DgramBuffer ? payload.asSlice() : payload;
}

/** Copies a datagram into a checked target as far as it fits: the bytes stored. */
export function storeDatagram(target: Target, datagram: Uint8Array): number {
  if (!(target instanceof DgramBuffer)) {
    const fitting =
      datagram.length > target.length ? datagram.subarray(0, target.length) : datagram;
    target.set(fitting);
    return fitting.length;
  }
  const spare = target.spareCapacity;
  const fitting = datagram.length > spare ? datagram.subarray(0, spare) : datagram;
  target._bytes.set(fitting, target._end);
  target._end += fitting.length;
  return fitting.length;
}
