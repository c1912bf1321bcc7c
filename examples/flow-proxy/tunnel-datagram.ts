/**
 * What goes through the tunnel: `[flow ID][datagram]`, the flow ID as a QUIC varint (RFC 9000,
 * section 16). It is sent as a piece of its own, and read where it was received; the datagram
 * behind it stays where it is.
 */

import { varintLengthOfFirstByte } from "../../lib/index.ts";

/** A flow's number: a `bigint` only beyond 2^53. */
export type FlowId = number | bigint;

/** Bytes of a flow ID, at the most (RFC 9000, section 16). */
export const FLOW_ID_BYTES_MAX = 8;

/**
 * How many bytes the flow ID takes in front of the datagram that is `length` bytes of `bytes` from
 * `offset` on: 0 when there is no whole one, so nothing for `decodeVarint`.
 */
export function flowIdLength(bytes: Uint8Array, offset: number, length: number): number {
  if (length === 0) return 0;
  const idLength = varintLengthOfFirstByte(bytes[offset] as number);
  return idLength <= length ? idLength : 0;
}
