/** Tests of `AddressCache`, and of the hash of addresses. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { ReceiveVector } from "../../ffi/native.ts";
import { AddressCache, addressAt } from "../../lib/address/address-cache.ts";
import { SocketAddress } from "../../lib/address/socket-address.ts";
import { endedWell, runCommand } from "../tools/sockets.ts";

/** The number of addresses in a cache. */
const CACHE_SLOTS = 4096;

/** Returns memory like that of a vector: the address at word 3, and `after` in all other bytes. */
function received(address: SocketAddress, after: number): { words: Int32Array; bytes: number } {
  const { words, length } = address._encoded;
  const memory = new Uint8Array(4 * 40).fill(after);
  memory.set(new Uint8Array(words.buffer, words.byteOffset, length), 12);
  return { words: new Int32Array(memory.buffer), bytes: length };
}

function lookUp(cache: AddressCache, address: SocketAddress, after = 0): SocketAddress {
  const { words, bytes } = received(address, after);
  return cache.get(words, 3, bytes);
}

const udp = (port: number) => SocketAddress.ip("192.0.2.1", port);
const slotOf = (address: SocketAddress) => address._hash & (CACHE_SLOTS - 1);

describe("AddressCache", () => {
  test("returns the same object for the same bytes, also after other addresses", () => {
    const cache = new AddressCache();
    const first = udp(1);
    const other = [2, 3, 4, 5].map(udp).find((one) => slotOf(one) !== slotOf(first));
    const found = lookUp(cache, first);
    expect(lookUp(cache, first)).toBe(found);
    expect(lookUp(cache, other as SocketAddress).equals(other as SocketAddress)).toBe(true);
    expect(lookUp(cache, first)).toBe(found);
    expect(found.equals(first)).toBe(true);
  });

  test("returns the right one of two addresses with the same slot", () => {
    const cache = new AddressCache();
    const bySlot = new Map<number, SocketAddress>();
    let pair: [SocketAddress, SocketAddress] | undefined;
    // More addresses than slots: two must share one.
    for (let port = 1; port <= CACHE_SLOTS + 1 && pair === undefined; port++) {
      const address = udp(port);
      const other = bySlot.get(slotOf(address));
      if (other === undefined) bySlot.set(slotOf(address), address);
      else pair = [other, address];
    }
    for (const address of [...(pair ?? []), ...(pair ?? [])]) {
      expect(lookUp(cache, address).port).toBe(address.port);
    }
    expect(pair).toBeDefined();
  });

  test("ignores the bytes after the end of a Unix name", () => {
    for (const name of ["a", "ab", "abc", "abcd", "abcde"]) {
      const cache = new AddressCache();
      const address = SocketAddress.abstract(name);
      const found = lookUp(cache, address, 0);
      expect(lookUp(cache, address, 0xff)).toBe(found);
      expect(lookUp(cache, address, 0x7f)).toBe(found);
      expect(found.address).toBe(`\0${name}`);
    }
  });

  test("distinguishes abstract names that differ in a NUL at their end", () => {
    const cache = new AddressCache();
    const names = ["a", "a\0", "a", "a\0"].map((name) => SocketAddress.abstract(name));
    const found = names.map((name) => lookUp(cache, name).address);
    expect(found).toEqual(["\0a", "\0a\0", "\0a", "\0a\0"]);
  });
});

describe("addressAt", () => {
  /** A vector whose only message has an address of `bytes` bytes. */
  const vectorWith = (address: SocketAddress, bytes: number) => {
    const { words } = received(address, 0);
    const vector = { words, nameLengthAt: () => bytes, nameIndex: () => 3 };
    return vector as unknown as ReceiveVector;
  };

  test("returns no address for a message without one, or with a family only", () => {
    const address = SocketAddress.abstract("name");
    expect(addressAt(vectorWith(address, 0), 0)).toBeUndefined();
    expect(addressAt(vectorWith(address, 2), 0)).toBeUndefined();
    expect(addressAt(vectorWith(address, 7), 0)?.address).toBe("\0name");
  });
});

describe("the hash of an address", () => {
  test("depends on the last bytes of a Unix name", () => {
    for (const prefix of ["", "a", "ab", "abc"]) {
      const names = Array.from({ length: 26 }, (_, i) => prefix + String.fromCharCode(97 + i));
      const hashes = new Set(names.map((name) => SocketAddress.abstract(name)._hash));
      // A good hash has 26 values, and 2^-24 is the chance of a collision.
      expect(hashes.size).toBeGreaterThan(20);
    }
  });

  test("differs between processes, so that peers cannot choose it", async () => {
    const file = join(import.meta.dir, "../../lib/address/socket-address.ts");
    const program = `import { SocketAddress } from ${JSON.stringify(file)};
      console.log(SocketAddress.ip("192.0.2.1", 53)._hash);`;
    const run = () => runCommand([process.execPath, "-e", program]);
    const hashes = (await Promise.all([run(), run()])).map(endedWell);
    expect(hashes[0]).toMatch(/^-?\d+\n$/);
    // Equal once in 2^32 times.
    expect(hashes[0]).not.toBe(hashes[1] as string);
  });
});
