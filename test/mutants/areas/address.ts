/** Mistakes in lib/address/. */

import type { Mutant } from "../mutant.ts";

const MAP = { file: "lib/address/address-map.ts", tests: ["test/address/address-map.test.ts"] };
const IP = {
  file: "lib/address/ip.ts",
  tests: ["test/address/ip.test.ts", "test/address/socket-address.test.ts"],
};
const ADDRESS = {
  file: "lib/address/socket-address.ts",
  tests: ["test/address/socket-address.test.ts"],
};
const SOCKADDR = {
  file: "lib/address/sockaddr.ts",
  tests: [
    "test/address/address-cache.test.ts",
    "test/address/socket-address.test.ts",
    "test/sockets/unix.test.ts",
  ],
};
const CACHE = {
  file: "lib/address/address-cache.ts",
  tests: ["test/address/address-cache.test.ts"],
};

export const mutants: readonly Mutant[] = [
  {
    ...MAP,
    name: "removing from the middle of a collision chain loses the entries after it",
    find: "before.next = entry.next;",
    replace: "before.next = undefined;",
  },
  {
    ...MAP,
    name: "removing the first entry of a collision chain removes the whole chain",
    find: "this.#chains.set(address._hash, entry.next);",
    replace: "this.#chains.delete(address._hash);",
  },
  {
    ...MAP,
    name: "an address map counts removed entries",
    find: "this.#size--;",
    replace: "",
  },
  {
    ...MAP,
    name: "clearing an address map keeps its size",
    find: "this.#chains.clear();\n    this.#size = 0;",
    replace: "this.#chains.clear();",
  },
  {
    ...MAP,
    name: "iterating over an address map yields only the first entry of a chain",
    find: "entry !== undefined; entry = entry.next) {\n        yield",
    replace: "entry !== undefined; entry = undefined) {\n        yield",
  },
  {
    ...MAP,
    name: "a lookup finds the wrong address of the same hash",
    find: "entry.address !== address && !entry.address.equals(address)",
    replace: "entry.address._hash !== address._hash",
  },
  {
    ...IP,
    name: "an IPv4 part with leading zeros is accepted",
    find: "/^(0|[1-9]\\d{0,2})$/",
    replace: "/^\\d{1,3}$/",
  },
  {
    ...IP,
    name: "an IPv4 part of 256 is accepted",
    find: "Number(part) > 255",
    replace: "Number(part) > 256",
  },
  {
    ...IP,
    name: "an IPv6 address where :: stands for no group is accepted",
    find: "zeros < 2) return false",
    replace: "zeros < 0) return false",
  },
  {
    ...IP,
    name: "an IPv4 address in front of :: is accepted",
    find: "parseGroups(halves[0] as string, halves.length === 1)",
    replace: "parseGroups(halves[0] as string, true)",
  },
  {
    ...IP,
    name: "an IPv4 address that is not the last group is accepted",
    find: "allowIPv4 && index === groups.length - 1 && group.includes",
    replace: "allowIPv4 && group.includes",
  },
  {
    ...IP,
    name: "the zeros of :: keep the earlier bytes",
    find: "  bytes.fill(0, offset + head.length, offset + head.length + zeros);\n",
    replace: "",
  },
  {
    ...IP,
    name: "of two equal runs of zeros the last one is shortened",
    find: "if (length > best.length) best",
    replace: "if (length >= best.length && length > 0) best",
  },
  {
    ...IP,
    name: "a single zero group is shortened to ::",
    find: "if (run.length < 2) return hex(groups);",
    replace: "if (run.length < 1) return hex(groups);",
  },
  {
    ...IP,
    name: "an address in ::fffe:0:0/96 is taken for IPv4-mapped",
    find: "bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff",
    replace: "bytes[offset + 10] === 0xff",
  },
  {
    ...IP,
    name: "an address with bits before ::ffff is taken for IPv4-mapped",
    find: "for (let i = 0; i < 10; i++) if (bytes",
    replace: "for (let i = 0; i < 8; i++) if (bytes",
  },
  {
    ...ADDRESS,
    name: "an IPv4-mapped address with a zone is accepted",
    find: '      if (isMappedIPv4(bytes, 8)) throw typeError("zone", "none for an IPv4-mapped address", zone);\n',
    replace: "",
  },
  {
    ...ADDRESS,
    name: "the zone is written in network byte order",
    find: 'interfaceIndex("zone", zone, SCOPE_ID_MAX), true)',
    replace: 'interfaceIndex("zone", zone, SCOPE_ID_MAX), false)',
  },
  {
    ...ADDRESS,
    name: "the port is written in host byte order",
    find: "view.setUint16(2, port);",
    replace: "view.setUint16(2, port, true);",
  },
  {
    ...ADDRESS,
    name: "the largest zone is refused",
    find: "const SCOPE_ID_MAX = 2 ** 32 - 1;",
    replace: "const SCOPE_ID_MAX = 2 ** 31 - 1;",
  },
  {
    ...ADDRESS,
    name: "a large zone is reported as a negative number",
    find: "(this._encoded.words[6] as number) >>> 0 : 0",
    replace: "(this._encoded.words[6] as number) : 0",
  },
  {
    ...ADDRESS,
    name: "the port drops its high byte",
    find: "((word >>> 8) & 0xff00) | (word >>> 24)",
    replace: "word >>> 24",
  },
  {
    ...ADDRESS,
    name: "a decoded Unix name keeps bytes of an earlier, longer name",
    find: "if (lastBytes > 0)",
    replace: "if (lastBytes > 4)",
  },
  {
    ...ADDRESS,
    name: "an IPv4-mapped address is not recognized",
    find: "words[4] === MAPPED_WORD",
    replace: "words[4] === MAPPED_WORD - 1",
  },
  {
    ...ADDRESS,
    name: "the length of a path omits its NUL",
    find: "UNIX_PATH_OFFSET + name.length + 1);",
    replace: "UNIX_PATH_OFFSET + name.length);",
  },
  {
    ...ADDRESS,
    name: "the length of an abstract name includes a NUL after it",
    find: "UNIX_PATH_OFFSET + 1 + encoded.length);",
    replace: "UNIX_PATH_OFFSET + 2 + encoded.length);",
  },
  {
    ...ADDRESS,
    name: "addresses of different lengths with the same first words are equal",
    find: "length === encoded.length && sameWords",
    replace: "sameWords",
  },
  {
    ...ADDRESS,
    name: "the mapped form loses the port",
    find: "SocketAddress.ip(`::ffff:${this.address}`, this.port)",
    replace: "SocketAddress.ip(`::ffff:${this.address}`, 0)",
  },
  {
    ...SOCKADDR,
    name: "the NUL that does not fit in sun_path is kept in the length",
    find: "Math.min(reportedBytes, SOCKADDR_UN_BYTES)",
    replace: "reportedBytes",
  },
  {
    ...SOCKADDR,
    name: "the hash leaves out the last, partial word",
    find: "const count = (length + 3) >> 2;",
    replace: "const count = length >> 2;",
  },
  {
    ...SOCKADDR,
    name: "the hash of an address is the same in every process",
    find: "let value = length ^ HASH_SEED;",
    replace: "let value = length;",
  },
  {
    ...CACHE,
    name: "the cache compares the bytes after the end of a Unix name",
    find: "if (partial !== 0) {",
    replace: "if (partial > 4) {",
  },
  {
    ...CACHE,
    name: "the cache returns an address of another length",
    find: "  if (encoded.length !== length) return false;\n",
    replace: "",
  },
  {
    ...CACHE,
    name: "the cache returns whatever is in the slot of the hash",
    find: "if (address === undefined || !matches(address, words, index, length)) {",
    replace: "if (address === undefined) {",
  },
  {
    ...CACHE,
    name: "the cache stores no address",
    find: "      this.#slots[slot] = address;\n",
    replace: "",
  },
  {
    ...CACHE,
    name: "an unnamed Unix sender is reported as an address",
    find: "if (length <= UNIX_PATH_OFFSET) return undefined;",
    replace: "if (length < UNIX_PATH_OFFSET) return undefined;",
  },
];
