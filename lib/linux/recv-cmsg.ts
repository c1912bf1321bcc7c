/** Decodes the control messages of received datagrams and of the error queue. */

import { knownAddresses } from "../address/address-cache.ts";
import { AF_INET, AF_INET6 } from "../address/sockaddr.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import { CmsgReader } from "./cmsg.ts";
import {
  IP_ORIGDSTADDR,
  IP_PKTINFO,
  IP_RECVERR,
  IP_TOS,
  IP_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_HOPLIMIT,
  IPV6_ORIGDSTADDR,
  IPV6_PKTINFO,
  IPV6_RECVERR,
  IPV6_TCLASS,
  SO_MARK,
  SO_RXQ_OVFL,
  SO_TIMESTAMPNS,
  SOL_SOCKET,
  UDP_GRO,
} from "./constants.ts";
import { ECN_BITS, ECN_MASK } from "./traffic-class.ts";

const reader = new CmsgReader();

/** An entry of the error queue: `struct sock_extended_err` of <linux/errqueue.h>. */
export interface ExtendedError {
  readonly errno: number;
  readonly origin: number;
  readonly type: number;
  readonly code: number;
  /** For EMSGSIZE the path MTU in bytes. */
  readonly info: number;
  /** The host that reported the error, with port 0. */
  readonly offender: SocketAddress | undefined;
}

/** Returns the error in the `bytes` of control messages at `index` of `words`, if there is one. */
export function readExtendedError(
  words: Int32Array,
  index: number,
  bytes: number,
): ExtendedError | undefined {
  reader.begin(words, index, bytes);
  while (reader.next()) {
    const isError =
      reader.is(IPPROTO_IP, IP_RECVERR, 16) || reader.is(IPPROTO_IPV6, IPV6_RECVERR, 16);
    if (!isError) continue;
    const kinds = reader.word(1);
    return {
      errno: reader.word(0),
      origin: kinds & 0xff,
      type: (kinds >>> 8) & 0xff,
      code: (kinds >>> 16) & 0xff,
      info: reader.word(2) >>> 0,
      offender: readOffender(),
    };
  }
  return undefined;
}

/** Returns the address that follows the error (SO_EE_OFFENDER); its family is 0 if unknown. */
function readOffender(): SocketAddress | undefined {
  if (reader.is(reader.level, reader.type, 32)) {
    const family = reader.word(4) & 0xffff;
    if (family === AF_INET) return addressIPv4(AF_INET, reader.word(5));
    if (family === AF_INET6 && reader.is(reader.level, reader.type, 44)) {
      return addressIPv6(AF_INET6, 6, reader.word(10));
    }
  }
  return undefined;
}

/**
 * Returns the stride in bytes from the `bytes` of control messages at `index` of `words` (udp(7),
 * UDP_GRO: an int). Returns 0 if there is none: the message is a single datagram.
 */
export function readStride(words: Int32Array, index: number, bytes: number): number {
  reader.begin(words, index, bytes);
  while (reader.next()) {
    if (reader.is(IPPROTO_UDP, UDP_GRO, 4)) return Math.max(0, reader.word(0));
  }
  return 0;
}

/**
 * Decodes the `bytes` of control messages at `index` of `words` into `meta`. `local` is the bound
 * address of the socket, whose port the destination has.
 */
export function readMetadata(
  words: Int32Array,
  index: number,
  bytes: number,
  meta: RecvMeta,
  local: SocketAddress,
): void {
  reader.begin(words, index, bytes);
  while (reader.next()) readMessage(meta, local);
}

function readMessage(meta: RecvMeta, local: SocketAddress): void {
  const localPort = (local._encoded.words[0] as number) & ~0xffff;
  if (reader.is(IPPROTO_IP, IP_TOS, 1) || reader.is(IPPROTO_IPV6, IPV6_TCLASS, 4)) {
    const octet = reader.word(0) & 0xff;
    meta.ecn = (octet & ECN_MASK) as RecvMeta["ecn"];
    meta.dscp = octet >> ECN_BITS;
  } else if (reader.is(IPPROTO_IP, IP_PKTINFO, 12)) {
    meta.interfaceIndex = reader.word(0);
    // ipi_addr, the destination in the IP header.
    meta.destination = addressIPv4(localPort | AF_INET, reader.word(2));
    // ipi_spec_dst, which is 0 if the kernel found no local address.
    const source = reader.word(1);
    if (source === reader.word(2)) meta.replySource = meta.destination;
    else meta.replySource = source === 0 ? undefined : addressIPv4(localPort | AF_INET, source);
  } else if (reader.is(IPPROTO_IPV6, IPV6_PKTINFO, 20)) {
    meta.interfaceIndex = reader.word(4);
    meta.destination = addressIPv6(localPort | AF_INET6, 0, meta.interfaceIndex);
    // ff00::/8 is multicast (RFC 4291 section 2.7).
    meta.replySource = (reader.word(0) & 0xff) === 0xff ? undefined : meta.destination;
  } else if (reader.is(IPPROTO_IP, IP_ORIGDSTADDR, 16)) {
    meta.originalDestination = addressIPv4(reader.word(0), reader.word(1));
  } else if (reader.is(IPPROTO_IPV6, IPV6_ORIGDSTADDR, 28)) {
    meta.originalDestination = addressIPv6(reader.word(0), 2, reader.word(6));
  } else if (reader.is(IPPROTO_IP, IP_TTL, 4) || reader.is(IPPROTO_IPV6, IPV6_HOPLIMIT, 4)) {
    meta.hopLimit = reader.word(0);
  } else if (reader.is(SOL_SOCKET, SO_TIMESTAMPNS, 16)) {
    // `struct timespec`: two 64-bit numbers. The seconds fit into 53 bits.
    meta.timestampSeconds = (reader.word(1) | 0) * 2 ** 32 + (reader.word(0) >>> 0);
    meta.timestampNanoseconds = reader.word(2) >>> 0;
  } else if (reader.is(SOL_SOCKET, SO_MARK, 4)) {
    meta.mark = reader.word(0) >>> 0;
  } else if (reader.is(SOL_SOCKET, SO_RXQ_OVFL, 4)) {
    meta.socketDrops = reader.word(0) >>> 0;
  }
}

/** The first two bytes of fe80::/10, in network byte order. */
const LINK_LOCAL = 0x80fe;
const LINK_LOCAL_MASK = 0xc0ff;

/** A `sockaddr` assembled for a lookup in the address cache. */
const scratch = new Int32Array(7);

function addressIPv4(familyAndPort: number, address: number): SocketAddress {
  scratch.fill(0);
  scratch[0] = familyAndPort;
  scratch[1] = address;
  return knownAddresses.get(scratch, 0, 16);
}

/** Reads the address at `firstWord`. A link-local one gets `interfaceIndex` as its zone. */
function addressIPv6(
  familyAndPort: number,
  firstWord: number,
  interfaceIndex: number,
): SocketAddress {
  scratch.fill(0);
  scratch[0] = familyAndPort;
  for (let i = 0; i < 4; i++) scratch[2 + i] = reader.word(firstWord + i);
  if (((scratch[2] as number) & LINK_LOCAL_MASK) === LINK_LOCAL) scratch[6] = interfaceIndex;
  return knownAddresses.get(scratch, 0, 28);
}
