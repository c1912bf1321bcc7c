/** The destinations of a batch, and the check of a destination against the connected peer. */

import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { SocketError } from "../support/errors.ts";

/** One destination for all datagrams, or one for each. Absent: the connected peer. */
export type Destinations = SocketAddress | readonly SocketAddress[] | undefined;

/** Returns the destination of datagram `i`. @throws TypeError if it is not an address. */
export function destinationAt(to: Destinations, i: number): SocketAddress | undefined {
  if (!Array.isArray(to)) return to as SocketAddress | undefined;
  const address: unknown = to[i];
  checkAddress("to[]", address);
  return address;
}

/**
 * Checks that a connected socket may send to `address`. The kernel would send to the peer and
 * ignore the address.
 *
 * @throws SocketError with code `EISCONN` for any other address than the peer's, and with code
 * `EDESTADDRREQ` if the peer is unknown.
 */
export function checkPeer(peer: SocketAddress | undefined, address: SocketAddress): void {
  checkAddress("address", address);
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
