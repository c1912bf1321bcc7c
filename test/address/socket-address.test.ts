/** Tests of `SocketAddress`, and of the cache that returns one object for equal addresses. */

import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import fc from "fast-check";
import { AddressCache } from "../../lib/address/address-cache.ts";
import { AddressMap } from "../../lib/address/address-map.ts";
import { checkAddress } from "../../lib/address/socket-address.ts";
import { SocketAddress } from "../../lib/index.ts";
import { allocates } from "../tools/allocation.ts";
import { numberErrorOf } from "../tools/errors.ts";
import { thrown } from "../tools/sockets.ts";

/** The maximum length of a Unix socket name in bytes: sun_path without its NUL (unix(7)). */
const NAME_BYTES_MAX = 107;

/** Returns the address in the kernel's representation, as in a receive vector. */
function encodedOf(address: SocketAddress): { words: Int32Array; length: number } {
  return { words: address._encoded.words, length: address._encoded.length };
}

/** Returns words that contain `address` at `index` and `filling` everywhere else. */
function memoryWith(address: SocketAddress, index: number, filling: number): Int32Array {
  const { words, length } = encodedOf(address);
  const memory = new Int32Array(index + 40).fill(filling);
  const bytes = new Uint8Array(words.buffer, words.byteOffset, length);
  new Uint8Array(memory.buffer).set(bytes, index * 4);
  return memory;
}

describe("SocketAddress.ip", () => {
  test("keeps port and family, and is restored from its text by parse", () => {
    const port = fc.integer({ min: 0, max: 65_535 });
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), port, (text, number) => {
        const address = SocketAddress.ip(text, number);
        expect(address.port).toBe(number);
        expect(address.family).toBe(text.includes(":") ? "IPv6" : "IPv4");
        expect(address.equals(SocketAddress.ip(address.address, number))).toBe(true);
        expect(SocketAddress.parse(address.toString()).equals(address)).toBe(true);
        const other = SocketAddress.ip(text, number ^ 1);
        expect(address.equals(other) || other.equals(address)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  test("accepts ports 0 to 65535, and throws RangeError for others", () => {
    for (const port of [0, 1, 255, 256, 65_535]) {
      expect(SocketAddress.ip("192.0.2.1", port).port).toBe(port);
      expect(SocketAddress.ip("2001:db8::1", port).port).toBe(port);
    }
    for (const port of [-1, 65_536, 1.5, Number.NaN, "53", null, undefined, 53n]) {
      expect(() => SocketAddress.ip("192.0.2.1", port as number)).toThrow(numberErrorOf(port));
    }
    expect(() => SocketAddress.ip("192.0.2.1", 70_000)).toThrow(
      '"port" expected integer 0..65535, got 70000',
    );
  });

  test("throws TypeError that contains the value if it is not an IP address", () => {
    for (const text of ["", "localhost", "1.2.3", "1.2.3.4%1", "::1%", "[::1]", "1.2.3.4:5"]) {
      expect(() => SocketAddress.ip(text, 1)).toThrow(TypeError);
    }
    for (const value of [undefined, null, 1, {}, new Uint8Array(4)]) {
      expect(() => SocketAddress.ip(value as string, 1)).toThrow(TypeError);
    }
    expect(() => SocketAddress.ip("localhost", 1)).toThrow(
      '"address" expected IP address, got "localhost"',
    );
  });

  test("encodes addresses as sockaddr_in and sockaddr_in6 (ip(7), ipv6(7))", () => {
    const v4 = encodedOf(SocketAddress.ip("192.0.2.1", 0x1234));
    expect(new Uint8Array(v4.words.buffer).toHex().slice(0, 32)).toBe(
      "02001234c00002010000000000000000",
    );
    expect(v4.length).toBe(16);
    const v6 = encodedOf(SocketAddress.ip("2001:db8::1%7", 0x1234));
    expect(new Uint8Array(v6.words.buffer).toHex()).toBe(
      "0a0012340000000020010db800000000000000000000000107000000",
    );
    expect(v6.length).toBe(28);
  });

  test("keeps a numeric zone 0..2^32-1, and throws TypeError for others that are no interface", () => {
    expect(SocketAddress.ip("fe80::1", 1).scopeId).toBe(0);
    expect(SocketAddress.ip("fe80::1%0", 1).scopeId).toBe(0);
    expect(SocketAddress.ip("fe80::1%999999999", 1).scopeId).toBe(999_999_999);
    const largest = SocketAddress.ip("fe80::1%4294967295", 1);
    expect([largest.scopeId, `${largest}`]).toEqual([2 ** 32 - 1, "[fe80::1%4294967295]:1"]);
    expect(() => SocketAddress.ip("fe80::1%4294967296", 1)).toThrow(RangeError);
    const zoned = SocketAddress.ip("fe80::1%12", 5);
    expect([zoned.scopeId, zoned.address, zoned.toString()]).toEqual([
      12,
      "fe80::1%12",
      "[fe80::1%12]:5",
    ]);
    expect(SocketAddress.parse("[fe80::1%12]:5").equals(zoned)).toBe(true);
    expect(zoned.equals(SocketAddress.ip("fe80::1%13", 5))).toBe(false);
    for (const zone of ["%no-such-interface", "%", "%lo\0", "%-1", "%1%2", "%%"]) {
      expect(() => SocketAddress.ip(`fe80::1${zone}`, 1)).toThrow(TypeError);
    }
  });

  test("throws TypeError for an IPv4-mapped address with a zone: IPv4 has none", () => {
    const message = '"zone" expected none for an IPv4-mapped address, got "1"';
    expect(() => SocketAddress.ip("::ffff:192.0.2.1%1", 53)).toThrow(new TypeError(message));
    expect(() => SocketAddress.parse("[::ffff:c000:201%lo]:53")).toThrow(TypeError);
  });

  test("converts an interface name in the zone to its index", () => {
    const named = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
      (addresses ?? [])
        .filter((address) => address.family === "IPv6" && address.scopeid)
        .map((address) => ({ name, scopeid: (address as { scopeid: number }).scopeid })),
    );
    const [first] = named;
    if (first === undefined) {
      console.log("skipped: no interface of this machine has a link-local IPv6 address");
      return;
    }
    expect(SocketAddress.ip(`fe80::1%${first.name}`, 1).scopeId).toBe(first.scopeid);
  });

  test("creates the IPv4-mapped form once, and for IPv4 only", () => {
    const v4 = SocketAddress.ip("192.0.2.1", 53);
    expect(v4._toMapped().toString()).toBe("[::ffff:192.0.2.1]:53");
    expect(v4._toMapped()).toBe(v4._toMapped());
    const v6 = SocketAddress.ip("2001:db8::1", 53);
    expect(v6._toMapped()).toBe(v6);
    expect(v4.equals(v4._toMapped())).toBe(false);
  });
});

describe("SocketAddress.parse", () => {
  test("throws TypeError for text other than address:port or [address]:port", () => {
    const bad = ["", ":", "1.2.3.4", "1.2.3.4:", ":53", "::1:53", "[::1]", "[::1]53", "[]:53"];
    for (const text of [...bad, "[1.2.3.4]:53", "1.2.3.4:5\n", " 1.2.3.4:5", "1.2.3.4:-1"]) {
      expect(() => SocketAddress.parse(text)).toThrow(TypeError);
    }
    for (const value of [undefined, null, 5, {}]) {
      expect(() => SocketAddress.parse(value as string)).toThrow(TypeError);
    }
    expect(() => SocketAddress.parse("1.2.3.4:65536")).toThrow(RangeError);
    expect(() => SocketAddress.parse("1.2.3.4:123456")).toThrow(TypeError);
  });
});

describe("SocketAddress of a Unix socket", () => {
  test("accepts names of 1 to 107 bytes of UTF-8, and throws RangeError for others", () => {
    const names = ["x", "a".repeat(NAME_BYTES_MAX), `${"é".repeat(53)}x`, "日".repeat(35), "😀"];
    for (const name of names) {
      const path = SocketAddress.unix(name);
      expect([path.address, path.family, path.port, path.isUnnamed]).toEqual([
        name,
        "unix",
        0,
        false,
      ]);
      const abstract = SocketAddress.abstract(name);
      expect([abstract.address, abstract.isUnnamed]).toEqual([`\0${name}`, false]);
      expect(path.equals(abstract)).toBe(false);
    }
    for (const name of ["", "a".repeat(NAME_BYTES_MAX + 1), "é".repeat(54), "日".repeat(36)]) {
      expect(() => SocketAddress.unix(name)).toThrow(RangeError);
      expect(() => SocketAddress.abstract(name)).toThrow(RangeError);
    }
    expect(() => SocketAddress.unix("a".repeat(108))).toThrow(
      '"path" expected 1..107 bytes of UTF-8, got 108',
    );
  });

  test("throws TypeError for values other than strings, and for a NUL in a path", () => {
    for (const value of [undefined, null, 1, new Uint8Array(3)]) {
      expect(() => SocketAddress.unix(value as unknown as string)).toThrow(TypeError);
      expect(() => SocketAddress.abstract(value as unknown as string)).toThrow(TypeError);
    }
    expect(() => SocketAddress.unix("a\0b")).toThrow(TypeError);
    expect(SocketAddress.abstract("a\0b").address).toBe("\0a\0b");
  });

  test("is encoded as sockaddr_un (unix(7))", () => {
    const path = encodedOf(SocketAddress.unix("/ab"));
    expect(path.length).toBe(2 + 3 + 1);
    expect(new Uint8Array(path.words.buffer, 0, 6).toHex()).toBe("01002f616200");
    const abstract = encodedOf(SocketAddress.abstract("ab"));
    expect(abstract.length).toBe(2 + 1 + 2);
    expect(new Uint8Array(abstract.words.buffer, 0, 5).toHex()).toBe("0100006162");
  });

  test("is formatted with unix: and @, which parse accepts", () => {
    expect(`${SocketAddress.unix("/run/x.sock")}`).toBe("unix:/run/x.sock");
    expect(`${SocketAddress.abstract("x")}`).toBe("unix:@x");
    expect(SocketAddress.parse("unix:/run/x.sock").address).toBe("/run/x.sock");
    expect(SocketAddress.parse("unix:@x").address).toBe("\0x");
  });

  test("is decoded from a path that fills sun_path without a terminating NUL", () => {
    const bytes = new Uint8Array(112).fill(97);
    bytes.set([1, 0]);
    const full = SocketAddress._decode(new Int32Array(bytes.buffer), 0, 110);
    expect(full.address).toBe("a".repeat(108));
  });

  test("is unnamed if decoded from an address without a name", () => {
    for (const length of [0, 2]) {
      const unnamed = SocketAddress._decode(new Int32Array([1]), 0, length);
      expect([unnamed.isUnnamed, unnamed.family, unnamed.address, `${unnamed}`]).toEqual([
        true,
        "unix",
        "",
        "unix:",
      ]);
    }
    expect(SocketAddress.ip("0.0.0.0", 0).isUnnamed).toBe(false);
  });
});

describe("SocketAddress of any family", () => {
  test("is printed by Bun.inspect, and is the only type that checkAddress accepts", () => {
    expect(Bun.inspect(SocketAddress.ip("192.0.2.1", 53))).toBe("SocketAddress(192.0.2.1:53)");
    expect(() => checkAddress("to", SocketAddress.abstract("x"))).not.toThrow();
    for (const value of [undefined, null, "192.0.2.1:53", { address: "192.0.2.1", port: 53 }]) {
      expect(() => checkAddress("to", value)).toThrow(TypeError);
    }
    const remedy = "create one with SocketAddress.ip, parse, unix or abstract";
    for (const [value, message] of [
      ["localhost:9", `got "localhost:9" (${remedy}; connect resolves host names)`],
      [{ port: 9 }, `got an instance of Object (${remedy})`],
      [undefined, "got undefined"],
    ] as const) {
      expect(`${thrown(() => checkAddress("to", value))}`).toBe(
        `TypeError: "to" expected SocketAddress, ${message}`,
      );
    }
  });

  test("with an abstract name differs from one with an additional NUL", () => {
    const [a, b] = [SocketAddress.abstract("a"), SocketAddress.abstract("a\0")];
    expect([a.equals(b), b.equals(a), a.equals(SocketAddress.abstract("a"))]).toEqual([
      false,
      false,
      true,
    ]);
  });

  test("is decoded without the bytes that follow it in memory", () => {
    for (const name of ["a", "ab", "abc", "abcd"]) {
      for (const address of [SocketAddress.unix(name), SocketAddress.abstract(name)]) {
        const memory = memoryWith(address, 2, -1);
        const decoded = SocketAddress._decode(memory, 2, encodedOf(address).length);
        expect(decoded.equals(address) && address.equals(decoded)).toBe(true);
        expect([decoded._hash, decoded.address]).toEqual([address._hash, address.address]);
      }
    }
  });

  test("has the same hash as an equal address that was decoded", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(65_535), (text, port) => {
        const address = SocketAddress.ip(text, port);
        const decoded = SocketAddress._decode(
          memoryWith(address, 3, -1),
          3,
          encodedOf(address).length,
        );
        expect(decoded.equals(address)).toBe(true);
        expect(decoded._hash).toBe(address._hash);
      }),
    );
  });
});

describe("AddressCache", () => {
  test("returns the same object for the same bytes, at any index", () => {
    const cache = new AddressCache();
    const peers = [
      SocketAddress.ip("192.0.2.1", 53),
      SocketAddress.ip("2001:db8::1%3", 53),
      SocketAddress.unix("/run/peer"),
      SocketAddress.abstract("peer"),
    ];
    const first = peers.map((peer) => cache.get(memoryWith(peer, 0, 0), 0, encodedOf(peer).length));
    const again = peers.map((peer) =>
      cache.get(memoryWith(peer, 9, -1), 9, encodedOf(peer).length),
    );
    expect(first.map(String)).toEqual(peers.map(String));
    for (const [index, address] of first.entries()) {
      expect(again[index]).toBe(address);
      expect(address.equals(peers[index] as SocketAddress)).toBe(true);
    }
  });

  test("distinguishes Unix names that are prefixes of each other, in a reused slot", () => {
    const name = "abcdefghijklmnop";
    const lengths = Array.from({ length: name.length }, (_, i) => name.length - i);
    for (const make of [SocketAddress.unix, SocketAddress.abstract]) {
      const cache = new AddressCache();
      // A slot of a receive vector, to which the kernel writes shorter names each time.
      const slot = new Int32Array(28);
      const bytes = new Uint8Array(slot.buffer);
      const seen = lengths.map((length) => {
        const peer = make(name.slice(0, length));
        const { words, length: encodedLength } = encodedOf(peer);
        bytes.set(new Uint8Array(words.buffer, words.byteOffset, encodedLength));
        const cached = cache.get(slot, 0, encodedLength);
        expect(cached.toString()).toBe(peer.toString());
        expect(cached.equals(peer)).toBe(true);
        // The bytes after the name are not part of the address.
        bytes.fill(0xee, encodedLength);
        expect(cache.get(slot, 0, encodedLength)).toBe(cached);
        return cached;
      });
      expect(new Set(seen).size).toBe(lengths.length);
    }
  });

  test("returns an address that does not change with the bytes it was decoded from", () => {
    const cache = new AddressCache();
    const memory = memoryWith(SocketAddress.ip("192.0.2.1", 53), 0, 0);
    const peer = cache.get(memory, 0, 16);
    memory.fill(-1);
    expect(peer.toString()).toBe("192.0.2.1:53");
  });

  test("returns the right addresses for ten times as many peers as slots", () => {
    const cache = new AddressCache();
    const peers = Array.from({ length: 40_960 }, (_, i) =>
      SocketAddress.ip(`10.0.${i >> 8}.${i & 255}`, 1 + (i % 5)),
    );
    for (let round = 0; round < 2; round++) {
      for (const peer of peers) {
        const { words, length } = encodedOf(peer);
        const cached = cache.get(words, 0, length);
        if (!cached.equals(peer)) throw new Error(`expected ${peer}, got ${cached}`);
      }
    }
  });

  test("returns the right addresses for two peers that evict each other from a slot", () => {
    const cache = new AddressCache();
    const [a, b] = peersInOneSlot();
    const get = (peer: SocketAddress) =>
      cache.get(encodedOf(peer).words, 0, encodedOf(peer).length);
    const first = get(a);
    expect(get(b).equals(b)).toBe(true);
    const second = get(a);
    expect(second.equals(a)).toBe(true);
    // The other peer evicted the first object; the new object is cached.
    expect(second).not.toBe(first);
    expect(get(a)).toBe(second);
  });

  test("does not allocate for a cached peer", async () => {
    const cache = new AddressCache();
    const peers = Array.from({ length: 8 }, (_, i) => encodedOf(SocketAddress.ip("192.0.2.1", i)));
    let ports = 0;
    const lookUp = (i: number) => {
      const { words, length } = peers[i % 8] as { words: Int32Array; length: number };
      ports += cache.get(words, 0, length).port;
    };
    expect(await allocates(lookUp)).toBe(false);
    expect(ports).toBeGreaterThan(0);
  });
});

/** Returns two addresses whose hashes have the same low 12 bits, which select one of 4096 slots. */
function peersInOneSlot(): [SocketAddress, SocketAddress] {
  const seen = new Map<number, SocketAddress>();
  for (let port = 0; port < 65_536; port++) {
    const address = SocketAddress.ip("192.0.2.1", port);
    const other = seen.get(address._hash & 4095);
    if (other !== undefined) return [other, address];
    seen.set(address._hash & 4095, address);
  }
  throw new Error("expected two of 65536 addresses in one of 4096 slots");
}

test("equals and AddressMap accept what sends accept, and refuse other values", () => {
  const address = SocketAddress.ip("192.0.2.1", 53);
  expect(address.equals({ address: "192.0.2.1", port: 53 })).toBe(true);
  expect(address.equals({ address: "192.0.2.1", port: 54 })).toBe(false);
  expect(address.equals(undefined)).toBe(false);
  const map = new AddressMap<number>().set({ address: "192.0.2.1", port: 53 }, 1);
  expect(map.get(address)).toBe(1);
  expect(map.delete({ address: "192.0.2.1", port: 53 })).toBe(true);
  for (const value of ["192.0.2.1:53", null, 5, {}, { hostname: "192.0.2.1", port: 53 }]) {
    expect(() => address.equals(value as never)).toThrow(TypeError);
    expect(() => map.get(value as never)).toThrow(TypeError);
  }
});

test.each([
  ["::ffff:192.0.2.1", true],
  ["::ffff:0.0.0.0", true],
  ["::fffe:192.0.2.1", false],
  ["1::ffff:192.0.2.1", false],
  ["::1:0:ffff:192.0.2.1", false],
  ["192.0.2.1", false],
])("%s is an IPv4-mapped address: %p", (text, isMapped) => {
  const address = SocketAddress.ip(text, 53);
  const { words, length } = address._encoded;
  expect(address._isMapped).toBe(isMapped);
  expect(SocketAddress._decode(words, 0, length)._isMapped).toBe(isMapped);
});
