/**
 * The capsule protocol (RFC 9297, section 3): a sequence of capsules on the data stream of a request.
 *
 *     type (varint) | length (varint) | value
 *
 * A DATAGRAM capsule carries an HTTP Datagram where QUIC DATAGRAM frames are not available. Its value
 * is the context ID and the payload, without a stream ID.
 */

import { DgramBuffer } from "../buffer/buffer.ts";
import { varintLength, writeVarint } from "../buffer/varint.ts";
import { checkBytes, checkInteger, typeError } from "../support/check.ts";

/** The type of DATAGRAM capsules (RFC 9297, section 3.5). */
export const DATAGRAM_CAPSULE = 0x00;

/** Type and length of a capsule: two varints of at most 8 bytes. */
const HEADER_BYTES_MAX = 16;

const scratch = new Uint8Array(HEADER_BYTES_MAX);
const scratchViews = Array.from({ length: HEADER_BYTES_MAX + 1 }, (_, length) =>
  scratch.subarray(0, length),
);

/** Encodes the header of a capsule in `scratch`, and returns its length in bytes. */
function encodeHeader(type: number | bigint, valueLength: number): number {
  const first = varintLength(type);
  const second = varintLength(valueLength);
  writeVarint(scratch, 0, type, first);
  writeVarint(scratch, first, valueLength, second);
  return first + second;
}

/**
 * Returns the type and the length that precede a value of `valueLength` bytes. The caller owns the
 * memory.
 *
 * @throws RangeError if `type` is not an integer 0..2^62-1, or `valueLength` not one of 0..2^53-1.
 */
export function capsuleHeader(type: number | bigint, valueLength: number): Uint8Array {
  checkInteger("valueLength", valueLength, 0, Number.MAX_SAFE_INTEGER);
  return scratch.slice(0, encodeHeader(type, valueLength));
}

/**
 * Makes the payload of `buffer` the value of a capsule: writes type and length in front of it, into
 * the headroom. Returns false, and changes nothing, if the headroom is too small. Allocates nothing.
 *
 * @throws RangeError if `type` is not an integer 0..2^62-1.
 */
export function tryAddCapsuleHeader(buffer: DgramBuffer, type: number | bigint): boolean {
  if (!DgramBuffer._isGenuine(buffer)) throw typeError("buffer", "DgramBuffer", buffer);
  return buffer.tryAddPrefix(scratchViews[encodeHeader(type, buffer.length)] as Uint8Array);
}

/**
 * Returns a capsule, in new memory.
 *
 * @throws RangeError if `type` is not an integer 0..2^62-1.
 */
export function encodeCapsule(type: number | bigint, value: Uint8Array): Uint8Array {
  checkBytes("value", value);
  const length = encodeHeader(type, value.length);
  const capsule = new Uint8Array(length + value.length);
  capsule.set(scratchViews[length] as Uint8Array);
  capsule.set(value, length);
  return capsule;
}
