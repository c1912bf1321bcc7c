/**
 * Network interfaces by name, index or address.
 *
 * The shim asks libc, which knows every device of the network namespace. `os.networkInterfaces()`
 * leaves out those that are down, have no carrier or have no address.
 */

import type { EncodedAddress } from "../../ffi/native.ts";
import { rangeError, show } from "../support/check.ts";
import { loadFunctions } from "../support/native.ts";
import { formatIPv4, formatIPv6, parseIPv4, parseIPv6 } from "./ip.ts";
import { AF_INET, AF_INET6, SOCKADDR_IN_BYTES, SOCKADDR_IN6_BYTES } from "./sockaddr.ts";

/**
 * A network interface: its name (`"eth0"`), its index (`2` or `"2"`), or one of its addresses
 * (`"192.0.2.1"`, `"2001:db8::1"`). An IPv6 address with a zone stands for the interface that the
 * zone names: `"::%eth0"`.
 */
export type NetworkInterface = string | number;

/** The maximum index: an `int` in the kernel. */
export const INTERFACE_INDEX_MAX: number = 2 ** 31 - 1;

/** The offset and length in bytes of the address in a `sockaddr_in` and a `sockaddr_in6`. */
const IPV4_BYTES = { offset: 4, length: 4 } as const;
const IPV6_BYTES = { offset: 8, length: 16 } as const;

/**
 * Returns the index of an interface. Returns 0 for the index 0 and for unspecified addresses
 * (`"0.0.0.0"`, `"::"`): the choice of the system. Whether an index exists is not checked.
 *
 * @param max the maximum index.
 * @throws TypeError if there is no such interface.
 * @throws RangeError for a number that is not an integer 0..`max`.
 */
export function interfaceIndex(
  name: string,
  value: unknown,
  max: number = INTERFACE_INDEX_MAX,
): number {
  const index = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof index === "number") {
    if (Number.isInteger(index) && index >= 0 && index <= max) return index;
    throw rangeError(name, `index 0..${max} of an interface`, value);
  }
  const found = typeof value === "string" ? find(value) : undefined;
  if (found !== undefined) return found;
  throw new TypeError(
    `"${name}" expected name, index or address of an interface, got ${show(value)}`,
  );
}

/** Returns the index of an interface by its name or address; `undefined` if there is none. */
function find(text: string): number | undefined {
  const percent = text.indexOf("%");
  const address = encode(percent === -1 ? text : text.slice(0, percent));
  if (address === undefined) return indexOfName(text);
  if (percent !== -1) return interfaceIndex("zone", text.slice(percent + 1));
  const { offset, length } = partOf(address);
  const words = address.words.subarray(offset / 4, (offset + length) / 4);
  return words.some((word) => word !== 0) ? indexOfAddress(address) : 0;
}

/** Returns the index of the device `name`; `undefined` if there is none. */
function indexOfName(name: string): number | undefined {
  if (name === "" || name.includes("\0")) return undefined;
  const loaded = loadFunctions("if_nametoindex");
  if ("reason" in loaded) return indexWithoutShim(name);
  const index = loaded.native.interfaceIndex(name);
  return index > 0 ? index : undefined;
}

function indexWithoutShim(name: string): number | undefined {
  if (process.platform === "linux" && !name.includes("/")) {
    const { readFileSync } = process.getBuiltinModule("node:fs");
    try {
      return Number(readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"));
    } catch {
      return undefined;
    }
  }
  const { networkInterfaces } = process.getBuiltinModule("node:os");
  // Link-local addresses have a zone, the index.
  return networkInterfaces()[name]?.find(({ scopeid }) => scopeid)?.scopeid;
}

/** Returns the index of the interface that has `address`; `undefined` if there is none. */
function indexOfAddress(address: EncodedAddress): number | undefined {
  const loaded = loadFunctions("if_nametoindex");
  const { offset, length } = partOf(address);
  if ("native" in loaded) {
    const index = loaded.native.interfaceOfAddress(address, offset, length);
    return index > 0 ? index : undefined;
  }
  const bytes = new Uint8Array(address.words.buffer);
  const text = length === IPV4_BYTES.length ? formatIPv4(bytes, offset) : formatIPv6(bytes, offset);
  const name = namesByAddress(text)[0];
  return name === undefined ? undefined : indexWithoutShim(name);
}

function namesByAddress(address: string): string[] {
  const { networkInterfaces } = process.getBuiltinModule("node:os");
  const entries = Object.entries(networkInterfaces());
  return entries
    .filter(([, addresses]) => addresses?.some((entry) => entry.address === address))
    .map(([name]) => name);
}

/** Returns an IP address without a zone and port; `undefined` for other text. */
function encode(text: string): EncodedAddress | undefined {
  const bytes = new Uint8Array(new ArrayBuffer(SOCKADDR_IN6_BYTES));
  const words = new Int32Array(bytes.buffer);
  if (parseIPv4(text, bytes, IPV4_BYTES.offset)) {
    words[0] = AF_INET;
    return { words, length: SOCKADDR_IN_BYTES };
  }
  if (!parseIPv6(text, bytes, IPV6_BYTES.offset)) return undefined;
  words[0] = AF_INET6;
  return { words, length: SOCKADDR_IN6_BYTES };
}

function partOf({ length }: EncodedAddress): { readonly offset: number; readonly length: number } {
  return length === SOCKADDR_IN_BYTES ? IPV4_BYTES : IPV6_BYTES;
}
