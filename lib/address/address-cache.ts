/** A cache of addresses by their bytes, so that a known peer needs no new object. */

import type { ReceiveVector } from "../../ffi/native.ts";
import { sharedValue } from "../support/thread-state.ts";
import { hashSockaddr, sameWords, sockaddrLength, UNIX_PATH_OFFSET } from "./sockaddr.ts";
import { SocketAddress } from "./socket-address.ts";

/** The number of addresses in a cache: a power of two. About 200 bytes each, 0.8 MB when full. */
const CACHE_SLOTS = 4096;

/**
 * Returns the same `SocketAddress` for the same bytes as long as it is cached.
 *
 * Direct-mapped: two peers with the same slot evict each other, which costs an allocation per
 * lookup and never returns a wrong address.
 */
export class AddressCache {
  readonly #slots: (SocketAddress | undefined)[] = [];
  #last: SocketAddress | undefined;

  /** Returns the address at `index` of `words`, for which the kernel reported `reportedBytes`. */
  get(words: Int32Array, index: number, reportedBytes: number): SocketAddress {
    const length = sockaddrLength(reportedBytes);
    // The bytes after the end of a Unix name may belong to an earlier, longer name.
    const partial = length & 3;
    if (partial !== 0) {
      const end = index + (length >> 2);
      words[end] = (words[end] as number) & ((1 << (partial * 8)) - 1);
    }
    const last = this.#last;
    if (last !== undefined && matches(last, words, index, length)) return last;
    const slot = hashSockaddr(words, index, length) & (CACHE_SLOTS - 1);
    let address = this.#slots[slot];
    if (address === undefined || !matches(address, words, index, length)) {
      address = SocketAddress._decode(words, index, length);
      this.#slots[slot] = address;
    }
    this.#last = address;
    return address;
  }
}

function matches(
  address: SocketAddress,
  words: Int32Array,
  index: number,
  length: number,
): boolean {
  const encoded = address._encoded;
  if (encoded.length !== length) return false;
  return sameWords(encoded.words, words, index);
}

/** The cache of this thread, shared by all sockets and families. */
export const knownAddresses: AddressCache = sharedValue("knownAddresses", () => new AddressCache());

/** Returns the source address of message `i`; absent for a Unix socket without a name. */
export function addressAt(vector: ReceiveVector, i: number): SocketAddress | undefined {
  const length = vector.nameLengthAt(i);
  if (length <= UNIX_PATH_OFFSET) return undefined;
  return knownAddresses.get(vector.words, vector.nameIndex(i), length);
}
