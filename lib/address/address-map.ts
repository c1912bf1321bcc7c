/** A map whose keys are socket addresses, compared by value. */

import { inspectAs, show } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { type Destination, type SocketAddress, toAddress } from "./socket-address.ts";

/** An entry, and the next one with the same hash. */
interface Entry<V> {
  readonly address: SocketAddress;
  value: V;
  next: Entry<V> | undefined;
}

/** The maximum number of entries to print. */
const SHOWN_MAX = 8;

/**
 * Maps socket addresses to values. Equal addresses are the same key, even if they are different
 * objects. A lookup does not allocate.
 *
 * A `Map` would compare the objects, and lose entries: a socket reports a peer as the same object
 * only as long as the address is in its cache, which is limited in size.
 *
 * @example
 * ```ts
 * const sessions = new AddressMap<Session>();
 * sessions.set(SocketAddress.ip("192.0.2.1", 53), session);
 * const session = sessions.get(meta.peer);
 * ```
 */
export class AddressMap<V> {
  static {
    inspectAs(AddressMap.prototype, (map) => {
      const shown = [...map].slice(0, SHOWN_MAX).map(([key, value]) => `${key} => ${show(value)}`);
      if (map.size > SHOWN_MAX) shown.push(`... ${map.size - SHOWN_MAX} more`);
      return `AddressMap(${map.size}) { ${shown.join(", ")} }`;
    });
  }

  /** The first entry of each hash. */
  readonly #chains = new Map<number, Entry<V>>();
  #size = 0;

  /** The number of entries. */
  get size(): number {
    return this.#size;
  }

  /**
   * Returns the value for `address`, or `undefined` if there is none.
   *
   * @param address an address, or an object with an IP address and a port, as sends accept.
   * @throws TypeError or RangeError for other values, as do `has`, `set` and `delete`.
   */
  get(address: Destination): V | undefined {
    return this.#find(address)?.value;
  }

  /** Returns whether there is an entry for `address`. */
  has(address: Destination): boolean {
    return this.#find(address) !== undefined;
  }

  /** Adds an entry for the address `key`, or replaces its value. Returns the map. */
  set(key: Destination, value: V): this {
    const address = toAddress("address", key);
    const entry = this.#find(address);
    if (entry !== undefined) {
      entry.value = value;
      return this;
    }
    const next = this.#chains.get(address._hash);
    this.#chains.set(address._hash, { address, value, next });
    this.#size++;
    return this;
  }

  /** Removes the entry for the address `key`, and returns whether there was one. */
  delete(key: Destination): boolean {
    const address = toAddress("address", key);
    const entry = this.#find(address);
    if (entry === undefined) return false;
    const first = this.#chains.get(address._hash) as Entry<V>;
    if (first !== entry) {
      let before = first;
      while (before.next !== entry) before = before.next as Entry<V>;
      before.next = entry.next;
    } else if (entry.next !== undefined) {
      this.#chains.set(address._hash, entry.next);
    } else {
      this.#chains.delete(address._hash);
    }
    this.#size--;
    return true;
  }

  /** Removes all entries. */
  clear(): void {
    this.#chains.clear();
    this.#size = 0;
  }

  /** Returns what `JSON.stringify` prints: an object with the addresses as text. */
  toJSON(): Record<string, V> {
    return Object.fromEntries([...this].map(([address, value]) => [address.toString(), value]));
  }

  /** Iterates over the entries, in no particular order. */
  *[Symbol.iterator](): Generator<[SocketAddress, V], void, void> {
    for (const chain of this.#chains.values()) {
      for (let entry: Entry<V> | undefined = chain; entry !== undefined; entry = entry.next) {
        yield [entry.address, entry.value];
      }
    }
  }

  #find(key: Destination): Entry<V> | undefined {
    const address = toAddress("address", key);
    let entry = this.#chains.get(address._hash);
    while (entry !== undefined && entry.address !== address && !entry.address.equals(address)) {
      entry = entry.next;
    }
    return entry;
  }
}

if (isShared("AddressMap", AddressMap)) {
  // @ts-expect-error See `isShared`.
  AddressMap = sharedClass("AddressMap");
}
