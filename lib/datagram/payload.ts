/** The buffers that sockets send from and receive into, and their checks. */

import { DgramBuffer } from "../buffer/buffer.ts";
import { checkBytes, rangeError } from "../support/check.ts";

/** The bytes to send: a whole `Uint8Array`, or the payload of a `DgramBuffer`. Never modified. */
export type Payload = Uint8Array | DgramBuffer;

/**
 * A buffer to receive into. A `Uint8Array` is filled from its start. A `DgramBuffer`, which must
 * not have a payload yet, keeps its headroom and receives the datagram as its payload; its spare
 * capacity is the limit.
 */
export type Target = Uint8Array | DgramBuffer;

/**
 * Checks a buffer to send from.
 *
 * @throws TypeError for another type.
 * @throws RangeError if its memory was transferred: an empty datagram would be sent instead.
 */
export function checkPayload(name: string, value: unknown): asserts value is Payload {
  if (value instanceof DgramBuffer) return;
  checkBytes(name, value);
  if (value.length === 0 && (value.buffer as ArrayBuffer).detached) {
    throw rangeError(name, "memory", "memory that was transferred");
  }
}

/**
 * Checks a buffer to receive into. A `Uint8Array` whose memory was transferred has a length of 0
 * and is accepted: the datagram is reported as truncated.
 *
 * @throws TypeError for another type.
 * @throws RangeError for a `DgramBuffer` that has a payload, which would be overwritten, or whose
 * memory was transferred.
 */
export function checkTarget(name: string, value: unknown): asserts value is Target {
  if (!(value instanceof DgramBuffer)) checkBytes(name, value);
  else if (value._end !== value._start) {
    throw rangeError(name, "DgramBuffer without payload", `${value.length} bytes of payload`);
  } else if (value._end > value._bytes.length) {
    throw rangeError(name, "memory", "memory that was transferred");
  }
}

/** Returns the bytes of a payload as a view. */
export function payloadBytes(payload: Payload): Uint8Array {
  return payload instanceof DgramBuffer ? payload.asSlice() : payload;
}

/** Copies a datagram into a checked target, and returns the number of bytes that fit. */
export function storeDatagram(target: Target, datagram: Uint8Array): number {
  if (!(target instanceof DgramBuffer)) {
    const fitting =
      datagram.length > target.length ? datagram.subarray(0, target.length) : datagram;
    // `set` throws on transferred memory even if there is nothing to copy.
    if (fitting.length > 0) target.set(fitting);
    return fitting.length;
  }
  const spare = target.spareCapacity;
  const fitting = datagram.length > spare ? datagram.subarray(0, spare) : datagram;
  if (fitting.length > 0) target._bytes.set(fitting, target._end);
  target._end += fitting.length;
  return fitting.length;
}
