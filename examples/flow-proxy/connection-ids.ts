/**
 * The flows of an ingress by QUIC connection ID. A client keeps the destination connection ID when a
 * NAT chooses another port for it, since it does not notice (RFC 9000, section 9). A client that
 * changes its path itself also changes the ID, so that nobody can link the two (section 9.5): it
 * gets a new flow.
 *
 * Only packets with a short header count: their IDs were chosen by the server (section 17.3.1).
 */

/** A datagram that is shorter is no packet with a short header (RFC 9000, section 10.3). */
const PACKET_BYTES_MIN = 21;
const LONG_HEADER = 0x80;

/** The minimum and maximum length of connection IDs in bytes. Shorter ones could be guessed. */
export const CONNECTION_ID_BYTES_MIN = 4;
export const CONNECTION_ID_BYTES_MAX = 20;

/** A flow that can be found by the latest connection ID of its client. */
export interface IdentifiedFlow {
  /** The latest ID; absent before the first packet with a short header. */
  connectionId: Uint8Array | undefined;
}

/** The flows with a connection ID. */
export class ConnectionIds<F extends IdentifiedFlow> {
  readonly #idBytes: number;
  readonly #flows = new Map<string, F>();

  /** Creates an index for IDs of `idBytes` bytes, `CONNECTION_ID_BYTES_MIN` to `_MAX`. */
  constructor(idBytes: number) {
    this.#idBytes = idBytes;
  }

  /** Returns the flow with the ID of a datagram: `length` bytes of `bytes` at `offset`. */
  find(bytes: Uint8Array, offset: number, length: number): F | undefined {
    if (!isShortPacket(bytes, offset, length)) return undefined;
    return this.#flows.get(this.#idAt(bytes, offset).toHex());
  }

  /**
   * Records the ID of a datagram that came from the address of `flow`. One that another flow has is
   * ignored: otherwise any client could take it.
   */
  learn(flow: F, bytes: Uint8Array, offset: number, length: number): void {
    if (!isShortPacket(bytes, offset, length)) return;
    const { connectionId } = flow;
    if (connectionId !== undefined && isEqualAt(connectionId, bytes, offset + 1)) return;
    const id = this.#idAt(bytes, offset);
    const key = id.toHex();
    if (this.#flows.has(key)) return;
    this.forget(flow);
    this.#flows.set(key, flow);
    flow.connectionId = id.slice();
  }

  /** Removes the ID of a flow. */
  forget(flow: F): void {
    if (flow.connectionId !== undefined) this.#flows.delete(flow.connectionId.toHex());
    flow.connectionId = undefined;
  }

  #idAt(bytes: Uint8Array, offset: number): Uint8Array {
    return bytes.subarray(offset + 1, offset + 1 + this.#idBytes);
  }
}

function isShortPacket(bytes: Uint8Array, offset: number, length: number): boolean {
  return length >= PACKET_BYTES_MIN && ((bytes[offset] as number) & LONG_HEADER) === 0;
}

function isEqualAt(id: Uint8Array, bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < id.length; i++) if (id[i] !== bytes[offset + i]) return false;
  return true;
}
