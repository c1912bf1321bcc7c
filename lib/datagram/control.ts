/**
 * Control messages (cmsg(3)): what goes with a datagram beside its bytes and its address. The one
 * place that knows how they are laid out.
 *
 * Each is a header (length, level, type) and its data, and the next begins at a multiple of 8
 * bytes. Offsets are in words of 32 bits, as vectors have them.
 */

import { AF_INET, AF_INET6, knownAddresses, type SocketAddress } from "../address/address.ts";
import {
  IP_ORIGDSTADDR,
  IP_PKTINFO,
  IP_RECVERR,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_ORIGDSTADDR,
  IPV6_RECVERR,
  SO_RXQ_OVFL,
  SO_TIMESTAMPNS,
  SOL_SOCKET,
  UDP_GRO,
  UDP_SEGMENT,
} from "../support/linux.ts";
import type { DatagramInfo } from "./info.ts";
import type { SendMetadata } from "./metadata.ts";

/** `struct cmsghdr`: an 8-byte length, which counts the header, then level and type. */
const HEADER_BYTES = 16;
const LEVEL_WORD = 2;
const TYPE_WORD = 3;
const DATA_WORD = 4;

/** <linux/in.h>, <linux/in6.h>, <asm-generic/socket.h>. */
const IP_TOS = 1;
const IPV6_PKTINFO = 50;
const IPV6_TCLASS = 67;
const SO_MARK = 36;
const SCM_TXTIME = 61;

/** The ECN field: the low two bits of the TOS or traffic class octet (RFC 3168 section 5). */
const ECN_MASK = 3;

/** Room for all that a received datagram can have. */
export const RECV_CONTROL_CAPACITY = 256;
/** Room for all that a datagram to send can have: 24 + 24 + 40 + 24 bytes. */
export const SEND_CONTROL_CAPACITY = 112;

/** Writes control messages, one behind the other, into the room a vector has for them. */
export class ControlWriter {
  #words: Int32Array = new Int32Array(0);
  #start = 0;
  #end = 0;

  /** Starts anew at word `index` of `words`, where there is room for `SEND_CONTROL_CAPACITY`. */
  begin(words: Int32Array, index: number): void {
    this.#words = words;
    this.#start = this.#end = index;
  }

  /** Bytes written since `begin`: what `msg_controllen` must say. */
  get byteLength(): number {
    return (this.#end - this.#start) * 4;
  }

  /** Has the kernel cut the payload into datagrams of `bytes` (udp(7), UDP_SEGMENT: a u16). */
  segmentBytes(bytes: number): void {
    const data = this.#message(IPPROTO_UDP, UDP_SEGMENT, 2);
    this.#words[data] = bytes;
  }

  /** Says how to send; `isIPv4`: over IPv4, if only to a mapped address on an IPv6 socket. */
  metadata(metadata: SendMetadata, isIPv4: boolean): void {
    const { ecn, source, interfaceIndex = 0, transmitTimeNs } = metadata;
    if (ecn !== undefined) {
      const data = isIPv4
        ? this.#message(IPPROTO_IP, IP_TOS, 4)
        : this.#message(IPPROTO_IPV6, IPV6_TCLASS, 4);
      this.#words[data] = ecn;
    }
    if (source !== undefined || interfaceIndex !== 0) {
      if (isIPv4) this.#packetInfoIPv4(source, interfaceIndex);
      else this.#packetInfoIPv6(source, interfaceIndex);
    }
    if (transmitTimeNs !== undefined) {
      const data = this.#message(SOL_SOCKET, SCM_TXTIME, 8);
      this.#words[data] = Number(transmitTimeNs & 0xffff_ffffn) | 0;
      this.#words[data + 1] = Number(transmitTimeNs >> 32n) | 0;
    }
  }

  /** `struct in_pktinfo`: interface, the local address to send from, an unused one. */
  #packetInfoIPv4(source: SocketAddress | undefined, interfaceIndex: number): void {
    const data = this.#message(IPPROTO_IP, IP_PKTINFO, 12);
    this.#words[data] = interfaceIndex;
    // The last word of a mapped address is the IPv4 one.
    const word = source?.family === "IPv6" ? 5 : 1;
    this.#words[data + 1] = source?._encoded.words[word] ?? 0;
  }

  /** `struct in6_pktinfo`: the local address to send from, interface. */
  #packetInfoIPv6(source: SocketAddress | undefined, interfaceIndex: number): void {
    const data = this.#message(IPPROTO_IPV6, IPV6_PKTINFO, 20);
    for (let i = 0; i < 4; i++) this.#words[data + i] = source?._encoded.words[2 + i] ?? 0;
    // A link-local address is one of its interface alone.
    this.#words[data + 4] = interfaceIndex || (source?.scopeId ?? 0);
  }

  /** A header for `bytes` of data, which are cleared: the word where they start. */
  #message(level: number, type: number, bytes: number): number {
    const words = this.#words;
    const at = this.#end;
    words[at] = HEADER_BYTES + bytes;
    words[at + 1] = 0;
    words[at + LEVEL_WORD] = level;
    words[at + TYPE_WORD] = type;
    this.#end = at + DATA_WORD + 2 * Math.ceil(bytes / 8);
    words.fill(0, at + DATA_WORD, this.#end);
    return at + DATA_WORD;
  }
}

/** Walks over received control messages; never past `bytes`, whatever they say. */
export class ControlReader {
  #words: Int32Array = new Int32Array(0);
  #next = 0;
  #end = 0;
  #data = 0;
  #dataBytes = 0;
  level = 0;
  type = 0;

  /** Starts at word `index` of `words`, where there are `bytes` of control messages. */
  begin(words: Int32Array, index: number, bytes: number): void {
    this.#words = words;
    this.#next = index;
    this.#end = Math.min(index + (bytes >> 2), words.length);
  }

  /** Goes to the next message: whether there is one, whole. */
  next(): boolean {
    const words = this.#words;
    const at = this.#next;
    if (at + DATA_WORD > this.#end) return false;
    const length = words[at] as number;
    const end = at + Math.ceil(length / 4);
    if (length < HEADER_BYTES || words[at + 1] !== 0 || end > this.#end) return false;
    this.level = words[at + LEVEL_WORD] as number;
    this.type = words[at + TYPE_WORD] as number;
    this.#data = at + DATA_WORD;
    this.#dataBytes = length - HEADER_BYTES;
    this.#next = at + 2 * Math.ceil(length / 8);
    return true;
  }

  /** Whether it is a message of that kind, with `bytes` of data at least. */
  is(level: number, type: number, bytes: number): boolean {
    return this.level === level && this.type === type && this.#dataBytes >= bytes;
  }

  /** The `i`th word of its data. */
  word(i: number): number {
    return this.#words[this.#data + i] as number;
  }
}

const reader = new ControlReader();

/** What `struct sock_extended_err` and the address behind it say: <linux/errqueue.h>. */
export interface ExtendedError {
  readonly errno: number;
  readonly origin: number;
  readonly type: number;
  readonly code: number;
  /** For EMSGSIZE the path's MTU. */
  readonly info: number;
  /** Who reported it; port 0. */
  readonly offender: SocketAddress | undefined;
}

/** The error in the `bytes` of control messages from word `index` on, if there is one. */
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

/** The address behind the error: of family 0 when the kernel knows none. */
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
 * The stride in the `bytes` of control messages from word `index` on (udp(7), UDP_GRO: an int);
 * 0 when there is none: the message is one datagram.
 */
export function segmentBytesOf(words: Int32Array, index: number, bytes: number): number {
  reader.begin(words, index, bytes);
  while (reader.next()) {
    if (reader.is(IPPROTO_UDP, UDP_GRO, 4)) return Math.max(0, reader.word(0));
  }
  return 0;
}

/** The first two bytes of fe80::/10, in the order of the wire. */
const LINK_LOCAL = 0x80fe;
const LINK_LOCAL_MASK = 0xc0ff;

/** An address put together from a control message, for the cache to look up. */
const scratch = new Int32Array(7);

/** Tells `info` what the `bytes` of control messages from word `index` on say. */
export function readMetadata(
  words: Int32Array,
  index: number,
  bytes: number,
  info: DatagramInfo,
  local: SocketAddress,
): void {
  reader.begin(words, index, bytes);
  while (reader.next()) readMessage(info, local);
}

function readMessage(info: DatagramInfo, local: SocketAddress): void {
  const localWord = (local._encoded.words[0] as number) & ~0xffff;
  if (reader.is(IPPROTO_IP, IP_TOS, 1) || reader.is(IPPROTO_IPV6, IPV6_TCLASS, 4)) {
    info.ecn = (reader.word(0) & ECN_MASK) as DatagramInfo["ecn"];
  } else if (reader.is(IPPROTO_IP, IP_PKTINFO, 12)) {
    info.interfaceIndex = reader.word(0);
    // The third word is the header's destination, the second the local address of the route.
    info.destination = addressIPv4(localWord | AF_INET, reader.word(2));
  } else if (reader.is(IPPROTO_IPV6, IPV6_PKTINFO, 20)) {
    info.interfaceIndex = reader.word(4);
    info.destination = addressIPv6(localWord | AF_INET6, 0, info.interfaceIndex);
  } else if (reader.is(IPPROTO_IP, IP_ORIGDSTADDR, 16)) {
    info.originalDestination = addressIPv4(reader.word(0), reader.word(1));
  } else if (reader.is(IPPROTO_IPV6, IPV6_ORIGDSTADDR, 28)) {
    info.originalDestination = addressIPv6(reader.word(0), 2, reader.word(6));
  } else if (reader.is(SOL_SOCKET, SO_TIMESTAMPNS, 16)) {
    // `struct timespec`: two 64-bit numbers; the seconds fit 53 bits for good.
    info.timestampSeconds = (reader.word(1) | 0) * 2 ** 32 + (reader.word(0) >>> 0);
    info.timestampNanoseconds = reader.word(2) >>> 0;
  } else if (reader.is(SOL_SOCKET, SO_MARK, 4)) {
    info.mark = reader.word(0) >>> 0;
  } else if (reader.is(SOL_SOCKET, SO_RXQ_OVFL, 4)) {
    info.socketDrops = reader.word(0) >>> 0;
  }
}

function addressIPv4(familyAndPort: number, address: number): SocketAddress {
  scratch.fill(0);
  scratch[0] = familyAndPort;
  scratch[1] = address;
  return knownAddresses.get(scratch, 0, 16);
}

/** `interfaceIndex`: what a link-local address, fe80::/10, gets as its zone. */
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
