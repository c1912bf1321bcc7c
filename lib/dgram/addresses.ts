/** Addresses in the form of `node:dgram`, and the addresses that datagrams are sent to. */

import { SocketAddress } from "../address/socket-address.ts";
import type { AddressRecord } from "./driver.ts";

/** The number of destinations that a socket remembers. */
const DESTINATIONS_MAX = 1024;

/** Returns a new record of an address, with the name of the interface as the zone. */
export function recordOf(address: SocketAddress): AddressRecord {
  return {
    address: textOf(address),
    family: address.family === "IPv6" ? "IPv6" : "IPv4",
    port: address.port,
  };
}

/** Returns the address as text, with the name of the interface as the zone. */
export function textOf(address: SocketAddress): string {
  const { scopeId } = address;
  if (scopeId === 0) return address.address;
  const plain = address.address.slice(0, address.address.indexOf("%"));
  return `${plain}%${interfaceName(scopeId) ?? scopeId}`;
}

function interfaceName(index: number): string | undefined {
  const { networkInterfaces } = process.getBuiltinModule("node:os");
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    for (const each of addresses) {
      if (each.family === "IPv6" && each.scopeid === index) return name;
    }
  }
  return undefined;
}

/**
 * The destinations of one socket. Datagrams to the same destination get the same `SocketAddress`, so
 * that the engine can combine them.
 */
export class Destinations {
  readonly #family: SocketAddress["family"];
  readonly #known: Map<string, SocketAddress> = new Map();
  #lastIp: string | undefined;
  #lastPort = 0;
  #last: SocketAddress | undefined;

  constructor(isIPv6: boolean) {
    this.#family = isIPv6 ? "IPv6" : "IPv4";
  }

  /** Returns an address; absent if `ip` is none of the family of the socket. */
  get(ip: string, port: number): SocketAddress | undefined {
    if (ip === this.#lastIp && port === this.#lastPort) return this.#last;
    const key = `${ip} ${port}`;
    const address = this.#known.get(key) ?? this.#parse(ip, port);
    if (address === undefined) return undefined;
    if (this.#known.size >= DESTINATIONS_MAX) this.#known.clear();
    this.#known.set(key, address);
    this.#lastIp = ip;
    this.#lastPort = port;
    this.#last = address;
    return address;
  }

  #parse(ip: string, port: number): SocketAddress | undefined {
    const address = parseAddress(ip, port);
    return address?.family === this.#family ? address : undefined;
  }
}

/** Returns an address; absent if `ip` is none. */
export function parseAddress(ip: string, port: number): SocketAddress | undefined {
  try {
    return SocketAddress.ip(ip, port);
  } catch {
    return undefined;
  }
}
