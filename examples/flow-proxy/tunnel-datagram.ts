/**
 * The format of a datagram in the tunnel: `[flow ID][payload]`, with the flow ID as a QUIC varint
 * (RFC 9000, section 16). The proxy copies no payload: it sends the flow ID as the prefix of a
 * `SendBatch`, and parses it in the buffer that the datagram was received into.
 *
 * An ingress has a slot for each of its flows: the flow ID modulo `FLOW_SLOTS`. A flow with a new ID
 * ends the flow that had its slot. The egress therefore removes the flows that the ingress has
 * removed, without messages, and has no more flows of an ingress than the ingress has itself.
 */

import { decodeVarint, type RecvBatch, varintLengthOfFirstByte } from "../../lib/index.ts";

/** A flow ID: a `bigint` above 2^53 - 1. */
export type FlowId = number | bigint;

/** The number of slots, and the maximum number of flows of an ingress. */
export const FLOW_SLOTS: number = 2 ** 15;

/**
 * IDs from here on are 8 bytes long, and cannot be guessed if an ingress starts at a random one: a
 * datagram with the ID of a flow comes from its ingress, whatever its address.
 */
export const SECRET_FLOW_ID_MIN: number = 2 ** 30;

/**
 * Whether only the ingress of a flow knows its ID. IDs above 2^53 - 1 contain a server ID
 * (server-ids.ts), and too few other bits.
 */
export function isSecretFlowId(id: FlowId): boolean {
  return typeof id === "number" && id >= SECRET_FLOW_ID_MIN;
}

/** The maximum length of a flow ID in bytes (RFC 9000, section 16). */
export const FLOW_ID_BYTES_MAX = 8;

/**
 * Returns the length in bytes of the flow ID at the start of a datagram, or 0 if the datagram is
 * too short for it. The datagram is `length` bytes of `bytes` at `offset`.
 */
export function flowIdLength(bytes: Uint8Array, offset: number, length: number): number {
  if (length === 0) return 0;
  const idLength = varintLengthOfFirstByte(bytes[offset] as number);
  return idLength <= length ? idLength : 0;
}

/** Returns the slot of a flow. */
export function slotOf(id: FlowId): number {
  // The operator truncates to 32 bits, which keeps the low ones of any safe integer.
  return typeof id === "number" ? id & (FLOW_SLOTS - 1) : Number(id % BigInt(FLOW_SLOTS));
}

/** Parses tunnel datagrams. One object is reused for all, so that parsing allocates nothing. */
export class TunnelDatagram {
  /** The flow ID of the datagram that was parsed last. */
  flowId: FlowId = 0;
  /** Its payload: `payloadLength` bytes of the batch's memory at `payloadOffset`. */
  payloadOffset = 0;
  payloadLength = 0;

  /** Parses datagram `i` of `batch`. Returns false if it has no complete flow ID. */
  parse(batch: RecvBatch, i: number): boolean {
    const offset = batch.offsetAt(i);
    const length = batch.lengthAt(i);
    const idLength = flowIdLength(batch.bytes, offset, length);
    if (idLength === 0) return false;
    this.flowId = decodeVarint(batch.bytes, offset);
    this.payloadOffset = offset + idLength;
    this.payloadLength = length - idLength;
    return true;
  }
}
