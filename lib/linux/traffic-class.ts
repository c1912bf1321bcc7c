/**
 * The TOS octet of IPv4 and the traffic class octet of IPv6. Both consist of the DSCP, 6 bits (RFC
 * 2474), and the ECN field, 2 bits (RFC 3168).
 */

import { IP_TOS, IPPROTO_IP, IPPROTO_IPV6, IPV6_TCLASS } from "./constants.ts";
import type { FdOptions } from "./fd-options.ts";

/** The number of bits of the ECN field, and their mask. */
export const ECN_BITS = 2;
export const ECN_MASK = 3;

/** The fields of the octet that a datagram sets. */
export interface TrafficFields {
  readonly dscp?: number | undefined;
  readonly ecn?: number | undefined;
}

/**
 * The octets of one socket: for IPv4 packets and for IPv6 packets, of which an IPv6 socket can send
 * both.
 *
 * A control message replaces the whole octet (ip(7), IP_TOS), so a datagram that sets one field
 * needs the other from the socket. The octets are read on first use and cached: reading one takes
 * 0.2 us, a fifth of a send. A change by other means than `setDscp` and `setOption` is not noticed
 * after that.
 */
export class TrafficClass {
  readonly #options: FdOptions;
  readonly #isIPv6: boolean;
  /** The octets of the socket; -1 if not read yet. */
  #ipv4 = -1;
  #ipv6 = -1;

  constructor(options: FdOptions, isIPv6: boolean) {
    this.#options = options;
    this.#isIPv6 = isIPv6;
  }

  /** Returns the octet of a datagram: fields that it does not set are those of the socket. */
  octet({ dscp, ecn }: TrafficFields, isIPv4: boolean): number {
    if (dscp !== undefined && ecn !== undefined) return (dscp << ECN_BITS) | ecn;
    const own = isIPv4 ? this.#ownIPv4() : this.#ownIPv6();
    if (dscp !== undefined) return (dscp << ECN_BITS) | (own & ECN_MASK);
    return ecn === undefined ? own : (own & ~ECN_MASK) | ecn;
  }

  #ownIPv4(): number {
    if (this.#ipv4 === -1) this.#ipv4 = this.#options.getInt(IPPROTO_IP, IP_TOS);
    return this.#ipv4;
  }

  #ownIPv6(): number {
    if (this.#ipv6 === -1) this.#ipv6 = this.#options.getInt(IPPROTO_IPV6, IPV6_TCLASS);
    return this.#ipv6;
  }

  /** Reads the octets again on their next use: the options of the socket have changed. */
  invalidate(): void {
    this.#ipv4 = this.#ipv6 = -1;
  }

  /** Sets the DSCP of the socket for both families. The ECN fields stay as they are. */
  setDscp(dscp: number): void {
    this.invalidate();
    const fields = { dscp };
    if (this.#isIPv6) {
      this.#options.setInt(IPPROTO_IPV6, IPV6_TCLASS, this.octet(fields, false));
    }
    this.#options.setInt(IPPROTO_IP, IP_TOS, this.octet(fields, true));
    this.invalidate();
  }
}
