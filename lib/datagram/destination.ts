/** Destinations as callers write them, and their check against the connected peer. */

import {
  type AddressAndPort,
  type Destination,
  type SocketAddress,
  toAddress,
} from "../address/socket-address.ts";
import { SocketError } from "../support/errors.ts";

export type { AddressAndPort, Destination };
export { toAddress };

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
