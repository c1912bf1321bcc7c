/** What is kept of each peer, by its address. */

import { checkAddress, type SocketAddress } from "./socket-address.ts";

interface Entry<V> {
  readonly address: SocketAddress;
  value: V;
  next: Entry<V> | undefined;
}

/**
 * A map by address: equal addresses are one key, whichever objects they are.
 *
 * The same peer mostly comes as the same object, but not for ever (sockets remember a bounded
 * number of them), so a `Map` by the object would lose peers. Looking one up allocates nothing.
 *
 * @example
 * ```ts
 * const sessions = new AddressMap<Session>();
 * sessions.set(SocketAddress.ip("192.0.2.1", 53), session);
 * const session = sessions.get(meta.peer);
 * ```
 */
export class AddressMap<V> {
  readonly #chains = new Map<number, Entry<V>>();
  #size = 0;

  /** How many addresses there are. */
  get size(): number {
    return this.#size;
  }

  /** The value of `address`; absent when there is none. */
  get(address: SocketAddress): V | undefined {
    return this.#find(address)?.value;
  }

  /** Whether `address` has a value. */
  has(address: SocketAddress): boolean {
    return this.#find(address) !== undefined;
  }

  /** Gives `address` a value, its first or another. */
  set(address: SocketAddress, value: V): this {
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

  /** Forgets `address`: whether it had a value. */
  delete(address: SocketAddress): boolean {
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

  /** Forgets all. */
  clear(): void {
    this.#chains.clear();
    this.#size = 0;
  }

  /** Addresses and values, in no particular order. */
  *[Symbol.iterator](): Generator<[SocketAddress, V], void, void> {
    for (const chain of this.#chains.values()) {
      for (let entry: Entry<V> | undefined = chain; entry !== undefined; entry = entry.next) {
        yield [entry.address, entry.value];
      }
    }
  }

  #find(address: SocketAddress): Entry<V> | undefined {
    checkAddress("address", address);
    let entry = this.#chains.get(address._hash);
    while (entry !== undefined && entry.address !== address && !entry.address.equals(address)) {
      entry = entry.next;
    }
    return entry;
  }
}
