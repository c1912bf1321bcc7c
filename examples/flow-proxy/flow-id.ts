/**
 * What goes through the tunnel: `[flow ID][datagram]`, the flow ID as a QUIC varint (RFC 9000,
 * section 16). It is written into the headroom and taken off the front; the datagram stays where
 * it was received.
 */

import type { DgramBuffer } from "../../lib/index.ts";

/** A flow's number: a `bigint` only beyond 2^53. */
export type FlowId = number | bigint;

/** Puts the flow ID in front of a datagram, whose buffer has headroom for it. */
export function addFlowId(buffer: DgramBuffer, id: FlowId): void {
  if (!buffer.tryAddVarintPrefix(id)) {
    throw new RangeError(`headroom expected for flow ID ${id}, got ${buffer.headroom} bytes`);
  }
}

/** Takes the flow ID off the front; absent, and nothing changed, when there is no whole one. */
export function takeFlowId(buffer: DgramBuffer): FlowId | undefined {
  try {
    return buffer.readVarint();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
