/** Addresses: text, kernel structures, and the map with addresses as keys. */

import { isIP } from "node:net";
import fc from "fast-check";
import { AddressMap } from "../../lib/address/address-map.ts";
import { isIP as isIPText } from "../../lib/address/ip.ts";
import { SocketAddress } from "../../lib/address/socket-address.ts";
import { errorOf, type FuzzProperty, property, require, requireEqual } from "./property.ts";

const ip = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV6().map((text) => text.toUpperCase()),
);
const port = fc.nat(65_535);

/** Text that is nearly an address: one character is replaced, inserted or removed. */
const nearAddress = fc
  .record({
    text: ip,
    at: fc.nat(40),
    removed: fc.nat(2),
    inserted: fc.constantFrom("", "0", ":", "::", ".", "f", "g", "00", "[", " ", "255", "1e3"),
  })
  .map(({ text, at, removed, inserted }) => {
    const start = at % (text.length + 1);
    return text.slice(0, start) + inserted + text.slice(start + removed);
  });

const textAddresses = property({
  name: "addresses: text is accepted exactly if node:net accepts it",
  weight: 4,
  inputs: fc.oneof({ weight: 6, arbitrary: nearAddress }, ip, fc.string()),
  check: (text) => {
    if (text.includes("%")) return;
    requireEqual(isIPText(text), isIP(text) !== 0, `isIP of ${JSON.stringify(text)}`);
    const error = errorOf(() => SocketAddress.ip(text, 1), TypeError);
    requireEqual(
      error === undefined,
      isIP(text) !== 0,
      `SocketAddress.ip(${JSON.stringify(text)})`,
    );
  },
});

const roundTrips = property({
  name: "addresses: text and structure are converted without loss",
  weight: 3,
  inputs: fc.record({ text: ip, port }),
  check: ({ text, port }) => {
    const address = SocketAddress.ip(text, port);
    requireEqual(address.port, port, "port");
    const again = SocketAddress.parse(`${address}`);
    require(again.equals(address), () => `${address} is not ${again}`);
    requireEqual(again._hash, address._hash, "hash");
    const { words, length } = address._encoded;
    const padded = new Int32Array(40).fill(-1);
    padded.set(words, 5);
    const decoded = SocketAddress._decode(padded, 5, length);
    require(decoded.equals(address), () => `${address} is decoded as ${decoded}`);
  },
});

const arbitraryText = property({
  name: "addresses: parse throws TypeError or RangeError only",
  weight: 2,
  inputs: fc.oneof(
    fc.string(),
    fc.tuple(nearAddress, fc.string({ maxLength: 6 })).map(([a, b]) => `[${a}]:${b}`),
    fc.tuple(nearAddress, fc.nat(99_999)).map(([a, b]) => `${a}:${b}`),
  ),
  check: (text) => {
    const error = errorOf(() => SocketAddress.parse(text), TypeError, RangeError);
    if (error !== undefined) return;
    const address = SocketAddress.parse(text);
    require(SocketAddress.parse(`${address}`).equals(address), () => text);
  },
});

const structures = property({
  name: "addresses: any bytes and length that the kernel may report are decoded",
  weight: 3,
  inputs: fc.record({
    family: fc.constantFrom(0, 1, 2, 10, 16, 0xffff),
    bytes: fc.uint8Array({ minLength: 110, maxLength: 110 }),
    length: fc.oneof(fc.constantFrom(0, 2, 3, 16, 28, 110, 111), fc.nat(128)),
  }),
  check: ({ family, bytes, length }) => {
    const memory = new Uint8Array(160).fill(0x5a);
    memory.set(bytes, 8);
    const words = new Int32Array(memory.buffer);
    // Families other than Unix have structures of a fixed length.
    const reported = family === 2 ? 16 : family === 10 ? 28 : length;
    new DataView(memory.buffer).setUint16(8, family, true);
    const address = SocketAddress._decode(words, 2, reported);
    const text = `${address}`;
    memory.fill(0xa5, 8 + Math.min(reported, 110));
    const again = SocketAddress._decode(words, 2, reported);
    requireEqual(`${again}`, text, "text depends on bytes outside");
    require(again.equals(address), () => `${text}: differs by bytes outside`);
    if (family === 2 || family === 10) {
      const parsed = SocketAddress.parse(text);
      requireEqual(parsed.port, address.port, "port");
    }
  },
});

/** Few addresses, so that operations meet the same ones. */
const keys = Array.from({ length: 12 }, (_, i) => [
  SocketAddress.ip(`192.0.2.${i}`, 1 + (i % 3)),
  SocketAddress.ip(`192.0.2.${i}`, 1 + (i % 3)),
]);

const maps = property({
  name: "AddressMap: behaves like a Map of texts",
  weight: 2,
  inputs: fc.array(
    fc.record({
      key: fc.nat(keys.length - 1),
      copy: fc.nat(1),
      operation: fc.constantFrom("set", "set", "delete", "get", "has", "clear"),
      value: fc.nat(),
    }),
    { maxLength: 30 },
  ),
  check: (steps) => {
    const map = new AddressMap<number>();
    const model = new Map<string, number>();
    for (const { key, copy, operation, value } of steps) {
      const address = keys[key]?.[copy] as SocketAddress;
      const name = `${address}`;
      if (operation === "set") {
        map.set(address, value);
        model.set(name, value);
      } else if (operation === "delete") {
        requireEqual(map.delete(address), model.delete(name), "delete");
      } else if (operation === "get") {
        requireEqual(map.get(address), model.get(name), "get");
      } else if (operation === "has") {
        requireEqual(map.has(address), model.has(name), "has");
      } else if (value % 8 === 0) {
        map.clear();
        model.clear();
      }
      requireEqual(map.size, model.size, "size");
    }
    const entries = [...map].map(([address, value]) => `${address}=${value}`).sort();
    const expected = [...model].map(([name, value]) => `${name}=${value}`).sort();
    requireEqual(entries.join(), expected.join(), "entries");
  },
});

export const addresses: readonly FuzzProperty[] = [
  textAddresses,
  roundTrips,
  arbitraryText,
  structures,
  maps,
];
