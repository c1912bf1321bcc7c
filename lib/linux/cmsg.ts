/**
 * Control messages (cmsg(3)): the ancillary data of a datagram.
 *
 * Each message is a header (length, level, type) followed by its data, and starts at a multiple of
 * 8 bytes. Offsets are in 32-bit words.
 */

import type { SocketAddress } from "../address/socket-address.ts";
import type { CheckedSendMeta } from "../datagram/send-meta.ts";
import {
  IP_PKTINFO,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  SCM_RIGHTS,
  SCM_TXTIME,
  SOL_SOCKET,
  UDP_SEGMENT,
} from "./constants.ts";
import { ECN_BITS, type TrafficClass } from "./traffic-class.ts";

/** `struct cmsghdr`: a length of 8 bytes, which includes the header, then level and type. */
const HEADER_BYTES = 16;
const LEVEL_WORD = 2;
const TYPE_WORD = 3;
const DATA_WORD = 4;

/**
 * The space in bytes for all control messages of a received datagram. A dual-stack socket gets the
 * most, for an IPv4 packet: 216 bytes of IPv4, and 40 of IPV6_PKTINFO.
 */
export const RECV_CONTROL_CAPACITY = 256;
/** The space in bytes for all control messages of a datagram to send: 24 + 24 + 40 + 24. */
export const SEND_CONTROL_CAPACITY = 112;

/** Returns the space in bytes for a control message that passes `count` descriptors. */
export function rightsCapacity(count: number): number {
  return HEADER_BYTES + 8 * Math.ceil(count / 2);
}

/** Writes consecutive control messages into the space that a vector reserves for them. */
export class CmsgWriter {
  #words: Int32Array = new Int32Array(0);
  #start = 0;
  #end = 0;

  /** Starts at `index` of `words`, where there is space for all messages that will be written. */
  begin(words: Int32Array, index: number): void {
    this.#words = words;
    this.#start = this.#end = index;
  }

  /** The number of bytes written since `begin`: the value of `msg_controllen`. */
  get byteLength(): number {
    return (this.#end - this.#start) * 4;
  }

  /** Makes the kernel split the payload into datagrams of `bytes` (udp(7), UDP_SEGMENT: u16). */
  segmentBytes(bytes: number): void {
    const data = this.#message(IPPROTO_UDP, UDP_SEGMENT, 2);
    this.#words[data] = bytes;
  }

  /** Passes descriptors to the receiver (unix(7), SCM_RIGHTS). Needs `rightsCapacity` bytes. */
  rights(fds: readonly number[]): void {
    this.#words.set(fds, this.#message(SOL_SOCKET, SCM_RIGHTS, 4 * fds.length));
  }

  /**
   * Writes send metadata.
   *
   * @param isIPv4 whether the packet is IPv4, even if the address is IPv4-mapped.
   * @param socket the source of the DSCP or ECN field that the metadata does not set. Default: 0.
   */
  sendMeta(meta: CheckedSendMeta, isIPv4: boolean, socket?: TrafficClass): void {
    const { ecn, dscp, source, interfaceIndex = 0, transmitTimeNs } = meta;
    if (ecn !== undefined || dscp !== undefined) {
      const data = isIPv4
        ? this.#message(IPPROTO_IP, IP_TOS, 4)
        : this.#message(IPPROTO_IPV6, IPV6_TCLASS, 4);
      this.#words[data] =
        socket === undefined ? ((dscp ?? 0) << ECN_BITS) | (ecn ?? 0) : socket.octet(meta, isIPv4);
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

  /** `struct in_pktinfo`: interface index, source address, and a field that send ignores. */
  #packetInfoIPv4(source: SocketAddress | undefined, interfaceIndex: number): void {
    const data = this.#message(IPPROTO_IP, IP_PKTINFO, 12);
    this.#words[data] = interfaceIndex;
    // The last word of an IPv4-mapped address is the IPv4 address.
    const word = source?.family === "IPv6" ? 5 : 1;
    this.#words[data + 1] = source?._encoded.words[word] ?? 0;
  }

  /** `struct in6_pktinfo`: source address, interface index. */
  #packetInfoIPv6(source: SocketAddress | undefined, interfaceIndex: number): void {
    const data = this.#message(IPPROTO_IPV6, IPV6_PKTINFO, 20);
    for (let i = 0; i < 4; i++) this.#words[data + i] = source?._encoded.words[2 + i] ?? 0;
    // A link-local source address is valid on its own interface only.
    this.#words[data + 4] = interfaceIndex || (source?.scopeId ?? 0);
  }

  /** Writes a header for `bytes` of data, clears the data, and returns its word index. */
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

/** Iterates over received control messages. Never reads past the end, whatever the lengths say. */
export class CmsgReader {
  #words: Int32Array = new Int32Array(0);
  #next = 0;
  #end = 0;
  #data = 0;
  #dataBytes = 0;
  level = 0;
  type = 0;

  /** Starts at `index` of `words`, where there are `bytes` of control messages. */
  begin(words: Int32Array, index: number, bytes: number): void {
    this.#words = words;
    this.#next = index;
    this.#end = Math.min(index + (bytes >> 2), words.length);
  }

  /** Moves to the next message. Returns false at the end, or if the message is incomplete. */
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

  /** Returns whether the message has this level and type, and at least `bytes` of data. */
  is(level: number, type: number, bytes: number): boolean {
    return this.level === level && this.type === type && this.#dataBytes >= bytes;
  }

  /** Returns word `i` of the data. */
  word(i: number): number {
    return this.#words[this.#data + i] as number;
  }
}
