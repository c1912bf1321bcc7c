/** ICMP errors, as a socket reports them. */

import { SocketAddress } from "../address/socket-address.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import type { SimDatagram } from "./event.ts";

/** Error numbers of Linux: <asm-generic/errno.h>. The same on every machine. */
export const ERRNO = {
  EINVAL: 22,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  ECONNREFUSED: 111,
} as const;

/** The source of errors of routers: addresses for documentation (RFC 5737, RFC 3849). */
const ROUTER_IPV4 = SocketAddress.ip("192.0.2.254", 0);
const ROUTER_IPV6 = SocketAddress.ip("2001:db8::fe", 0);

/**
 * The number of payload bytes that an ICMP message quotes: it is at most 576 bytes long for IPv4
 * (RFC 1812 section 4.3.2.3) and 1280 for IPv6 (RFC 4443 section 3.1), with two IP headers, its own
 * header and that of UDP.
 */
const QUOTED_BYTES_IPV4 = 576 - 20 - 8 - 20 - 8;
const QUOTED_BYTES_IPV6 = 1280 - 40 - 8 - 40 - 8;

/** The header bytes of a UDP packet in the family of `address`: IP and UDP. */
export function headerBytes(address: SocketAddress): number {
  return address.family === "IPv6" ? 48 : 28;
}

/** Returns the error that the destination has no socket with that port. */
export function portUnreachable(datagram: SimDatagram): TransportError {
  const isIPv6 = datagram.to.family === "IPv6";
  return {
    code: "ECONNREFUSED",
    errno: ERRNO.ECONNREFUSED,
    origin: isIPv6 ? "icmp6" : "icmp",
    // Destination unreachable, port unreachable: RFC 792, RFC 4443 section 3.1.
    icmpType: isIPv6 ? 1 : 3,
    icmpCode: isIPv6 ? 4 : 3,
    mtu: undefined,
    offender: SocketAddress.ip(datagram.to.address, 0),
    destination: datagram.to,
    payload: quoted(datagram),
  };
}

/** Returns the error that a packet is longer than `mtu` and must not be fragmented. */
export function packetTooBig(datagram: SimDatagram, mtu: number): TransportError {
  const isIPv6 = datagram.to.family === "IPv6";
  return {
    code: "EMSGSIZE",
    errno: ERRNO.EMSGSIZE,
    origin: isIPv6 ? "icmp6" : "icmp",
    // Fragmentation needed (RFC 1191 section 4), packet too big (RFC 4443 section 3.2).
    icmpType: isIPv6 ? 2 : 3,
    icmpCode: isIPv6 ? 0 : 4,
    mtu,
    offender: isIPv6 ? ROUTER_IPV6 : ROUTER_IPV4,
    destination: datagram.to,
    payload: quoted(datagram),
  };
}

function quoted({ to, payload }: SimDatagram): Uint8Array {
  return payload.slice(0, to.family === "IPv6" ? QUOTED_BYTES_IPV6 : QUOTED_BYTES_IPV4);
}
