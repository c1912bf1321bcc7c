/** Destinations as callers write them, and their check against the connected peer. */

import { addressTypeError, SocketAddress } from "../address/socket-address.ts";
import { SocketError } from "../support/errors.ts";

/** An IP address as text, and a port. As in `rinfo` of `node:dgram`. */
export interface AddressAndPort {
  /** An IPv4 or IPv6 address, which may have a zone: `192.0.2.1`, `fe80::1%eth0`. No host name. */
  readonly address: string;
  /** 0..65535. */
  readonly port: number;
}

/** The destination of a datagram. */
export type Destination = SocketAddress | AddressAndPort;

/** The number of addresses to keep. */
const CACHED_MAX = 1024;

/** The addresses of recent objects by their text: parsing one takes 20 times as long as this. */
const cached = new Map<string, SocketAddress>();

/**
 * Returns the address of a destination: the same object for equal text, unless many others were used
 * since. Reads each property once.
 *
 * @throws TypeError if it is neither an address nor an object with an IP address.
 * @throws RangeError if the port is not an integer 0..65535.
 */
export function toAddress(name: string, value: unknown): SocketAddress {
  return SocketAddress._isGenuine(value) ? value : fromObject(name, value);
}

/**
 * Returns the address of a destination as it is now, because the caller may change an object while the
 * datagram waits. Returns an invalid destination itself, which is then refused when its turn comes.
 */
export function settledAddress(destination: Destination): Destination {
  try {
    return toAddress("address", destination);
  } catch {
    return destination;
  }
}

function fromObject(name: string, value: unknown): SocketAddress {
  if (typeof value !== "object" || value === null || !("address" in value && "port" in value)) {
    throw addressTypeError(name, "SocketAddress or { address, port }", value);
  }
  const { address, port } = value as AddressAndPort;
  const key = typeof address === "string" && typeof port === "number" ? `${address} ${port}` : "";
  const known = cached.get(key);
  if (known !== undefined) return known;
  const made = SocketAddress.ip(address, port);
  if (cached.size >= CACHED_MAX) cached.clear();
  cached.set(key, made);
  return made;
}

/** One destination for all datagrams, or one for each. Absent: the connected peer. */
export type Destinations = SocketAddress | readonly Destination[] | undefined;

/** Returns the destination of datagram `i`. @throws TypeError if it is not an address. */
export function destinationAt(to: Destinations, i: number): SocketAddress | undefined {
  if (!Array.isArray(to)) return to as SocketAddress | undefined;
  return toAddress("to[]", to[i]);
}

/**
 * Checks that a connected socket may send to `destination`. The kernel would send to the peer and
 * ignore the address.
 *
 * @throws SocketError with code `EISCONN` for any other address than the peer's, and with code
 * `EDESTADDRREQ` if the peer is unknown.
 */
export function checkPeer(peer: SocketAddress | undefined, destination: Destination): void {
  const address = toAddress("address", destination);
  if (peer === undefined) {
    throw new SocketError({
      code: "EDESTADDRREQ",
      errno: 0,
      syscall: "sendTo",
      address,
      detail: "this socket has no peer address to compare with",
    });
  }
  // The peer of a dual-stack socket may be the IPv4-mapped form of the same address.
  if (!peer.equals(address) && !peer.equals(address._toMapped())) {
    throw new SocketError({
      code: "EISCONN",
      errno: 0,
      syscall: "sendTo",
      address,
      detail: `the socket is connected to ${peer} and cannot send elsewhere`,
    });
  }
}
