/** Errors that the network reports about datagrams that were sent earlier. */

import type { SocketAddress } from "../address/socket-address.ts";

/** An error about a datagram that was sent earlier, reported by ICMP or by this host. */
export interface TransportError {
  /** The name of the error, such as `"ECONNREFUSED"`, `"EHOSTUNREACH"` or `"EMSGSIZE"`. */
  readonly code: string;
  /** The error number of the system, positive. */
  readonly errno: number;
  /** The origin of the report: an ICMP message, or this host. */
  readonly origin: "icmp" | "icmp6" | "local";
  /** The type of the ICMP message (RFC 792, RFC 4443); 0 if the origin is local. */
  readonly icmpType: number;
  /** The code of the ICMP message; 0 if the origin is local. */
  readonly icmpCode: number;
  /** The path MTU in bytes, IP header included. Present if `code` is `"EMSGSIZE"`. */
  readonly mtu: number | undefined;
  /** The host that sent the ICMP message, with port 0. */
  readonly offender: SocketAddress | undefined;
  /** The destination of the datagram. */
  readonly destination: SocketAddress | undefined;
}
