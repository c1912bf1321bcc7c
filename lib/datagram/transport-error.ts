/** Errors that the network reports about datagrams that were sent earlier. */

import type { SocketAddress } from "../address/socket-address.ts";

/** An error about a datagram that was sent earlier, reported by ICMP. */
export interface TransportError {
  /** The name of the error, such as `"ECONNREFUSED"`, `"EHOSTUNREACH"` or `"EMSGSIZE"`. */
  readonly code: string;
  /** The error number of the system, positive. */
  readonly errno: number;
  /** The protocol of the message: ICMP for IPv4, or ICMPv6. */
  readonly origin: "icmp" | "icmp6";
  /** The type of the ICMP message (RFC 792, RFC 4443). */
  readonly icmpType: number;
  /** The code of the ICMP message. */
  readonly icmpCode: number;
  /** The path MTU in bytes, IP header included. Present if `code` is `"EMSGSIZE"`. */
  readonly mtu: number | undefined;
  /** The host that sent the ICMP message, with port 0. */
  readonly offender: SocketAddress | undefined;
  /** The destination of the datagram. */
  readonly destination: SocketAddress | undefined;
  /**
   * The start of the payload of the datagram, as far as the ICMP message quotes it: at least 8 bytes
   * of the UDP packet by RFC 792, so possibly empty. A transport that compares it with what it sent
   * can ignore forged messages (RFC 9000 section 14.2.1).
   */
  readonly payload: Uint8Array;
}
