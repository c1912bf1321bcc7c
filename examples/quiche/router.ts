/**
 * Finds the connection of a packet by its destination connection ID (RFC 9000 section 5.1), so that
 * one socket serves all connections, also those whose peer changes its address.
 */

/**
 * The length of the IDs that this endpoint chooses: 48 bits. Such an ID is an exact number, so that
 * the lookup of a packet allocates nothing.
 */
export const ID_BYTES = 6;
/** The first Initial packets of a client have an ID of at least this length that it chose itself. */
const INITIAL_ID_BYTES_MIN = 8;
/** The maximum length of an ID in version 1 (RFC 9000 section 17.2). */
const ID_BYTES_MAX = 20;
const LONG_HEADER = 0x80;
/** Long headers: one byte of flags, four of the version, one of the length of the ID, the ID. */
const LONG_ID_OFFSET = 6;

/** The connections of an endpoint by their connection IDs. */
export class Router<T> {
  readonly #own = new Map<number, T>();
  /** IDs that clients chose for their first packets. */
  readonly #initial = new Map<string, T>();

  /** The number of IDs. */
  get size(): number {
    return this.#own.size + this.#initial.size;
  }

  /** Returns the connection of a datagram, by the ID of its first packet. Absent if unknown. */
  find(datagram: Uint8Array): T | undefined {
    const { length } = datagram;
    if (length < 1 + ID_BYTES) return undefined;
    if (((datagram[0] as number) & LONG_HEADER) === 0) return this.#own.get(keyAt(datagram, 1));
    const idBytes = datagram[LONG_ID_OFFSET - 1] as number;
    if (idBytes > ID_BYTES_MAX || LONG_ID_OFFSET + idBytes > length) return undefined;
    if (idBytes === ID_BYTES) return this.#own.get(keyAt(datagram, LONG_ID_OFFSET));
    if (idBytes < INITIAL_ID_BYTES_MIN) return undefined;
    return this.#initial.get(textOf(datagram.subarray(LONG_ID_OFFSET, LONG_ID_OFFSET + idBytes)));
  }

  /** Returns a random ID that no connection has. */
  newId(): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(new ArrayBuffer(ID_BYTES));
    do crypto.getRandomValues(id);
    while (this.#own.has(keyAt(id, 0)));
    return id;
  }

  /** Adds an ID of `newId`. */
  add(id: Uint8Array, connection: T): void {
    this.#own.set(keyAt(id, 0), connection);
  }

  /** Adds the ID that a client chose for its first packets. */
  addInitial(id: Uint8Array, connection: T): void {
    this.#initial.set(textOf(id), connection);
  }

  /** Removes an ID of either kind. */
  delete(id: Uint8Array): void {
    if (id.length === ID_BYTES) this.#own.delete(keyAt(id, 0));
    else this.#initial.delete(textOf(id));
  }
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
