/**
 * Flow IDs that contain the ID of a server, so that a load balancer that keeps no state forwards each
 * flow of a tunnel to the egress that has it.
 *
 * Such a flow ID is a varint of 8 bytes. The first two bits of its first byte, 11, are the length of
 * the varint (RFC 9000, section 16). The byte is also the first octet of a connection ID of QUIC-LB
 * (draft-ietf-quic-load-balancers-21): configuration 6, and 7 bytes follow. These are the server ID in
 * 2 bytes and a number of the flow in 5 bytes, which is the nonce. It is not random: the tunnel, unlike
 * a QUIC connection, hides nothing.
 */

import type { FlowId } from "./tunnel-datagram.ts";

/** The first byte of all flow IDs that contain a server ID. */
export const SERVER_FLOW_FIRST_BYTE = 0xc7;
/** The maximum server ID. */
export const SERVER_ID_MAX: number = 2 ** 16 - 1;
const NUMBER_BITS = 40n;
/** The first byte without the length of the varint. */
const FIRST_BITS = BigInt(SERVER_FLOW_FIRST_BYTE & 0x3f) << 56n;

/** Returns the flow ID of a server, 0 to `SERVER_ID_MAX`, and a flow number below 2^40. */
export function serverFlowId(serverId: number, flowNumber: number): FlowId {
  return FIRST_BITS | (BigInt(serverId) << NUMBER_BITS) | BigInt.asUintN(40, BigInt(flowNumber));
}

/**
 * The servers of an ingress: new flows are assigned to one after the other.
 *
 * @throws RangeError if the list is empty or an ID is out of range.
 */
export class ServerIds {
  readonly #ids: readonly number[];
  #next = 0;

  constructor(ids: readonly number[]) {
    const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id > SERVER_ID_MAX);
    if (wrong !== undefined || ids.length === 0) {
      throw new RangeError(`"serverIds" expected integers 0..${SERVER_ID_MAX}, got ${wrong}`);
    }
    this.#ids = ids;
  }

  /** Returns the server of the next flow. */
  next(): number {
    return this.#ids[this.#next++ % this.#ids.length] as number;
  }

  has(id: number): boolean {
    return this.#ids.includes(id);
  }
}
