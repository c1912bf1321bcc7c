/** Where datagrams go: which destination one of many has, and whether a socket may send there. */

import { checkAddress, type SocketAddress } from "../address/address.ts";
import { SocketError } from "../support/errors.ts";

/** One destination for all datagrams, or one each. None: where the socket is connected to. */
export type Destinations = SocketAddress | readonly SocketAddress[] | undefined;

/** Where datagram `i` goes. @throws TypeError when that is no address. */
export function destination(to: Destinations, i: number): SocketAddress | undefined {
  if (!Array.isArray(to)) return to as SocketAddress | undefined;
  const address: unknown = to[i];
  checkAddress("to[]", address);
  return address;
}

/** Refuses a destination other than `peer`: a datagram to the wrong peer is lost unseen. */
export function checkPeer(peer: SocketAddress | undefined, address: SocketAddress): void {
  checkAddress("address", address);
  if (peer === undefined) {
    throw new SocketError({
      code: "EDESTADDRREQ",
      errno: 0,
      syscall: "sendTo",
      address: address.toString(),
      detail: "this socket has no peer address to compare with",
    });
  }
  // The peer of a dual-stack socket may be an IPv4 one in its mapped form: the same peer.
  if (!peer.equals(address) && !peer.equals(address._toMapped())) {
    throw new SocketError({
      code: "EISCONN",
      errno: 0,
      syscall: "sendTo",
      address: address.toString(),
      detail: `connected to ${peer}, which takes no other destination`,
    });
  }
}
