/** A queue of received datagrams with their senders, in memory that is allocated once. */

import type { RecvMeta, SocketAddress, Target } from "../../lib/index.ts";
import { TUNNEL_DATAGRAM_BYTES_MAX } from "./forwarder.ts";

const SLOT_BYTES = TUNNEL_DATAGRAM_BYTES_MAX;

/** A first in, first out queue. */
export class DatagramRing {
  readonly #capacity: number;
  readonly #bytes: Uint8Array;
  readonly #lengths: Uint16Array;
  readonly #peers: (SocketAddress | undefined)[];
  #first = 0;
  #length = 0;

  /** Allocates the memory for `capacity` datagrams. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#bytes = new Uint8Array(new ArrayBuffer(capacity * SLOT_BYTES));
    this.#lengths = new Uint16Array(capacity);
    this.#peers = new Array(capacity).fill(undefined);
  }

  /** The number of datagrams. */
  get length(): number {
    return this.#length;
  }

  /** Appends a copy of a datagram. Returns false if there is no room for it. */
  push(bytes: Uint8Array, peer: SocketAddress | undefined): boolean {
    if (this.#length === this.#capacity || bytes.length > SLOT_BYTES) return false;
    const i = (this.#first + this.#length++) % this.#capacity;
    this.#bytes.set(bytes, i * SLOT_BYTES);
    this.#lengths[i] = bytes.length;
    this.#peers[i] = peer;
    return true;
  }

  /** Moves the first datagram to `target`. Returns its length there; absent if there is none. */
  shift(target: Target, meta: RecvMeta): number | undefined {
    if (this.#length === 0) return undefined;
    const i = this.#first;
    this.#first = (i + 1) % this.#capacity;
    this.#length--;
    const datagramLength = this.#lengths[i] as number;
    const isArray = target instanceof Uint8Array;
    const length = Math.min(datagramLength, isArray ? target.length : target.spareCapacity);
    const start = i * SLOT_BYTES;
    const bytes = this.#bytes.subarray(start, start + length);
    if (isArray) target.set(bytes);
    else target.putSlice(bytes);
    meta.length = length;
    meta.datagramLength = datagramLength;
    meta.peer = this.#peers[i];
    return length;
  }
}
