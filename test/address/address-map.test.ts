/** Tests of `AddressMap`, whose keys are compared by value. */

import { describe, expect, test } from "bun:test";
import { AddressMap, SocketAddress } from "../../lib/index.ts";
import { allocates } from "../tools/allocation.ts";

/**
 * Returns two addresses with the same hash, which the map stores in the same chain.
 *
 * Hashes have 32 bits, so that about 77,000 random addresses contain such a pair with probability
 * 1/2. The probability that 2^20 addresses contain none is e^-128.
 */
function collidingPair(): [SocketAddress, SocketAddress] {
  const seen = new Map<number, SocketAddress>();
  const groups = new Uint16Array(6);
  for (let i = 0; i < 2 ** 20; i++) {
    const suffix = Array.from(crypto.getRandomValues(groups), (group) => group.toString(16));
    const address = SocketAddress.ip(`2001:db8:${suffix.join(":")}`, 53);
    const other = seen.get(address._hash);
    if (other !== undefined && !other.equals(address)) return [other, address];
    seen.set(address._hash, address);
  }
  throw new Error("expected two of 2^20 random addresses with the same hash");
}

/** Calls `action` while all addresses have the same hash, so that a map has one chain. */
function withEqualHashes(action: () => void): void {
  const { prototype } = SocketAddress;
  const hash = Object.getOwnPropertyDescriptor(prototype, "_hash") as PropertyDescriptor;
  Object.defineProperty(prototype, "_hash", { configurable: true, get: () => 7 });
  try {
    action();
  } finally {
    Object.defineProperty(prototype, "_hash", hash);
  }
}

describe("AddressMap", () => {
  test("finds a value by an equal address that is another object", () => {
    const map = new AddressMap<string>();
    map.set(SocketAddress.ip("192.0.2.1", 53), "v4");
    map.set(SocketAddress.ip("2001:db8::1", 53), "v6");
    map.set(SocketAddress.abstract("name"), "unix");
    expect(map.get(SocketAddress.ip("192.0.2.1", 53))).toBe("v4");
    expect(map.get(SocketAddress.ip("2001:db8::1", 53))).toBe("v6");
    expect(map.get(SocketAddress.abstract("name"))).toBe("unix");
    expect(map.size).toBe(3);
  });

  test("distinguishes addresses by host, port and family", () => {
    const map = new AddressMap<number>().set(SocketAddress.ip("192.0.2.1", 53), 1);
    expect(map.get(SocketAddress.ip("192.0.2.1", 54))).toBeUndefined();
    expect(map.get(SocketAddress.ip("192.0.2.2", 53))).toBeUndefined();
    expect(map.get(SocketAddress.ip("::ffff:192.0.2.1", 53))).toBeUndefined();
    expect(map.has(SocketAddress.ip("192.0.2.1", 53))).toBe(true);
  });

  test("set replaces the value of an existing key", () => {
    const map = new AddressMap<number>();
    map.set(SocketAddress.ip("192.0.2.1", 53), 1).set(SocketAddress.ip("192.0.2.1", 53), 2);
    expect([map.size, map.get(SocketAddress.ip("192.0.2.1", 53))]).toEqual([1, 2]);
  });

  test("has the same entries as a Map keyed by text after 10,000 sets and 5,000 deletes", () => {
    const map = new AddressMap<number>();
    const model = new Map<string, number>();
    const addressOf = (i: number) => SocketAddress.ip(`10.1.${i >> 8}.${i & 255}`, 1 + (i % 7));
    for (let i = 0; i < 10_000; i++) {
      map.set(addressOf(i), i);
      model.set(addressOf(i).toString(), i);
    }
    for (let i = 0; i < 10_000; i += 2) {
      expect(map.delete(addressOf(i))).toBe(true);
      expect(map.delete(addressOf(i))).toBe(false);
      model.delete(addressOf(i).toString());
    }
    expect(map.size).toBe(model.size);
    const texts = [...map].map(([address, value]) => [address.toString(), value] as const);
    expect(new Map(texts)).toEqual(model);
    map.clear();
    expect([map.size, [...map], map.get(addressOf(1))]).toEqual([0, [], undefined]);
  });

  test("distinguishes two addresses with the same hash, and deletes either of them", () => {
    const [a, b] = collidingPair();
    for (const [deleted, kept] of [
      [a, b],
      [b, a],
    ] as const) {
      const map = new AddressMap<SocketAddress>().set(a, a).set(b, b);
      expect([map.get(a), map.get(b), map.size]).toEqual([a, b, 2]);
      expect(map.delete(deleted)).toBe(true);
      expect([map.get(deleted), map.get(kept), map.size]).toEqual([undefined, kept, 1]);
    }
  });

  test("keeps the other entries of a chain, whichever of them is deleted", () => {
    withEqualHashes(() => {
      const addresses = [1, 2, 3, 4, 5].map((port) => SocketAddress.ip("192.0.2.1", port));
      for (const deleted of addresses) {
        const map = new AddressMap<number>();
        for (const address of addresses) map.set(address, address.port);
        expect(map.delete(deleted)).toBe(true);
        const kept = addresses.filter((address) => address !== deleted);
        expect(kept.map((address) => map.get(address))).toEqual(kept.map(({ port }) => port));
        expect([map.size, map.has(deleted)]).toEqual([4, false]);
        const entries = [...map].map(([{ port }, value]) => [port, value]);
        expect(entries.sort()).toEqual(kept.map(({ port }) => [port, port]));
      }
    });
  });

  test("throws TypeError if the key is not a SocketAddress", () => {
    const map = new AddressMap<number>();
    expect(() => map.get("192.0.2.1:53" as unknown as SocketAddress)).toThrow(TypeError);
    expect(() => map.set(undefined as unknown as SocketAddress, 1)).toThrow(TypeError);
  });

  test("get does not allocate", async () => {
    const map = new AddressMap<number>();
    const addresses = Array.from({ length: 64 }, (_, i) => SocketAddress.ip("192.0.2.1", i));
    for (const address of addresses) map.set(address, address.port);
    const copies = addresses.map((address) => SocketAddress.ip(address.address, address.port));
    let sum = 0;
    const lookUp = (i: number) => {
      sum += map.get(copies[i % 64] as SocketAddress) as number;
    };
    expect(await allocates(lookUp)).toBe(false);
    expect(sum).toBeGreaterThan(0);
  });
});
