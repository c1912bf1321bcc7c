/**
 * Finds the connection of a packet by its destination connection ID (RFC 9000 section 5.1), so that
 * one socket serves all connections, also those whose peer changes its address.
 */

import { encodeId } from "./quic-lb.ts";

/**
 * The length of the random part of the IDs that this endpoint chooses: 48 bits. It is an exact number,
 * so that the lookup of a packet allocates nothing. Without a server ID, it is the whole ID.
 */
export const ID_BYTES = 6;
/** The first Initial packets of a client have an ID of at least this length that it chose itself. */
const INITIAL_ID_BYTES_MIN = 8;
/** The maximum length of an ID in version 1 (RFC 9000 section 17.2). */
const ID_BYTES_MAX = 20;
const LONG_HEADER = 0x80;
/** Long headers: one byte of flags, four of the version, one of the length of the ID, the ID. */
const LONG_ID_OFFSET = 6;

/** Options of a `Router`. */
export interface RouterOptions {
  /**
   * The ID of this server among those of a load balancer, 1 to 13 bytes. The connection IDs contain it
   * as in QUIC-LB, not encrypted. Absent: the connection IDs are random.
   */
  readonly serverId?: Uint8Array | undefined;
  /** The number of the QUIC-LB configuration, 0 to 6. Default 0. */
  readonly configRotation?: number | undefined;
}

/** The connections of an endpoint by their connection IDs. */
export class Router<T> {
  /** The length of the IDs that this endpoint chooses. */
  readonly idBytes: number;
  /** What they all start with: the first octet of QUIC-LB and the server ID; or nothing. */
  readonly #prefix: Uint8Array;
  readonly #own = new Map<number, T>();
  /** IDs that clients chose for their first packets. */
  readonly #initial = new Map<string, T>();

  /** @throws RangeError if an option is out of range. */
  constructor({ serverId, configRotation = 0 }: RouterOptions = {}) {
    this.#prefix = serverId === undefined ? new Uint8Array() : prefixOf(serverId, configRotation);
    this.idBytes = this.#prefix.length + ID_BYTES;
  }

  /** The number of IDs. */
  get size(): number {
    return this.#own.size + this.#initial.size;
  }

  /** Returns the connection of a datagram, by the ID of its first packet. Absent if unknown. */
  find(datagram: Uint8Array): T | undefined {
    const { length } = datagram;
    if (length < 1 + this.idBytes) return undefined;
    if (((datagram[0] as number) & LONG_HEADER) === 0) return this.#findOwn(datagram, 1);
    const idBytes = datagram[LONG_ID_OFFSET - 1] as number;
    if (idBytes > ID_BYTES_MAX || LONG_ID_OFFSET + idBytes > length) return undefined;
    if (idBytes === this.idBytes) {
      const connection = this.#findOwn(datagram, LONG_ID_OFFSET);
      if (connection !== undefined) return connection;
    }
    if (idBytes < INITIAL_ID_BYTES_MIN) return undefined;
    return this.#initial.get(textOf(datagram.subarray(LONG_ID_OFFSET, LONG_ID_OFFSET + idBytes)));
  }

  /** Returns a new ID, random after the server ID, that no connection has. */
  newId(): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(new ArrayBuffer(this.idBytes));
    id.set(this.#prefix);
    do crypto.getRandomValues(id.subarray(this.#prefix.length));
    while (this.#own.has(keyAt(id, this.#prefix.length)) || this.#initial.has(textOf(id)));
    return id;
  }

  /** Adds an ID of `newId`. */
  add(id: Uint8Array, connection: T): void {
    this.#own.set(keyAt(id, this.#prefix.length), connection);
  }

  /** Adds the ID that a client chose for its first packets. */
  addInitial(id: Uint8Array, connection: T): void {
    this.#initial.set(textOf(id), connection);
  }

  /** Removes an ID of either kind. */
  delete(id: Uint8Array): void {
    // A client may choose an ID of the same length.
    if (this.#initial.delete(textOf(id)) || id.length !== this.idBytes) return;
    if (this.#hasPrefix(id, 0)) this.#own.delete(keyAt(id, this.#prefix.length));
  }

  #findOwn(bytes: Uint8Array, offset: number): T | undefined {
    if (!this.#hasPrefix(bytes, offset)) return undefined;
    return this.#own.get(keyAt(bytes, offset + this.#prefix.length));
  }

  #hasPrefix(bytes: Uint8Array, offset: number): boolean {
    const prefix = this.#prefix;
    for (let i = 0; i < prefix.length; i++) if (bytes[offset + i] !== prefix[i]) return false;
    return true;
  }
}

/** Returns the first octet and the server ID. */
function prefixOf(serverId: Uint8Array, rotation: number): Uint8Array {
  const config = { rotation, serverIdBytes: serverId.length, nonceBytes: ID_BYTES };
  return encodeId(config, serverId, new Uint8Array(ID_BYTES)).slice(0, 1 + serverId.length);
}

/** Returns the ID of `ID_BYTES` bytes at `offset` as a number. */
function keyAt(bytes: Uint8Array, offset: number): number {
  const high = ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
  const low =
    ((bytes[offset + 2] as number) << 24) |
    ((bytes[offset + 3] as number) << 16) |
    ((bytes[offset + 4] as number) << 8) |
    (bytes[offset + 5] as number);
  return high * 2 ** 32 + (low >>> 0);
}

function textOf(id: Uint8Array): string {
  return id.toHex();
}
