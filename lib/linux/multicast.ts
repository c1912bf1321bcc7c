/** Multicast options: memberships, interface, hop limit, loopback. ip(7), ipv6(7), RFC 3678. */

import { interfaceIndex, type NetworkInterface } from "../address/interfaces.ts";
import { parseIPv4 } from "../address/ip.ts";
import { SocketAddress } from "../address/socket-address.ts";
import type { Membership } from "../datagram/udp-interface.ts";
import { typeError } from "../support/check.ts";
import {
  IP_ADD_MEMBERSHIP,
  IP_ADD_SOURCE_MEMBERSHIP,
  IP_DROP_MEMBERSHIP,
  IP_DROP_SOURCE_MEMBERSHIP,
  IP_MULTICAST_ALL,
  IP_MULTICAST_IF,
  IP_MULTICAST_LOOP,
  IP_MULTICAST_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_JOIN_GROUP,
  IPV6_LEAVE_GROUP,
  IPV6_MULTICAST_ALL,
  IPV6_MULTICAST_HOPS,
  IPV6_MULTICAST_IF,
  IPV6_MULTICAST_LOOP,
  MCAST_JOIN_SOURCE_GROUP,
  MCAST_LEAVE_SOURCE_GROUP,
} from "./constants.ts";
import type { FdOptions } from "./fd-options.ts";

/** `struct group_source_req`: interface index, padding, two `sockaddr_storage` of 128 bytes. */
const GROUP_SOURCE_REQ_BYTES = 264;
const GROUP_OFFSET = 8;
const SOURCE_OFFSET = 136;

/** A socket option that joins or leaves a group. */
export type MembershipRequest = [level: number, name: number, request: Uint8Array];

/** Returns the option that joins (or leaves) the group of `membership`. */
export function membershipRequest(membership: Membership, join: boolean): MembershipRequest {
  const group = SocketAddress.ip(membership.group, 0);
  return group.family === "IPv4"
    ? requestIPv4(group, membership, join)
    : requestIPv6(group, membership, join);
}

/**
 * `struct ip_mreqn`: group, interface address, interface index. With a source: `struct
 * ip_mreq_source` (group, interface address, source), which has no index.
 */
function requestIPv4(
  group: SocketAddress,
  membership: Membership,
  join: boolean,
): MembershipRequest {
  const { source } = membership;
  const groupWord = ipv4Word("group", group);
  const [addressWord, index] = interfaceIPv4(membership.interface ?? 0);
  if (source === undefined) {
    const name = join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP;
    return [IPPROTO_IP, name, bytesOf(groupWord, addressWord, index)];
  }
  const from = SocketAddress.ip(source, 0);
  const sourceWord = ipv4Word("source", from);
  if (index !== 0) return sourceRequest(IPPROTO_IP, { group, source: from, index, join });
  const name = join ? IP_ADD_SOURCE_MEMBERSHIP : IP_DROP_SOURCE_MEMBERSHIP;
  return [IPPROTO_IP, name, bytesOf(groupWord, addressWord, sourceWord)];
}

/** `struct ipv6_mreq`: group, interface index. */
function requestIPv6(
  group: SocketAddress,
  membership: Membership,
  join: boolean,
): MembershipRequest {
  const { source } = membership;
  const index =
    membership.interface === undefined
      ? group.scopeId
      : interfaceIndex("interface", membership.interface);
  if (source === undefined) {
    const name = join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP;
    const groupWords = group._encoded.words.subarray(2, 6);
    return [IPPROTO_IPV6, name, bytesOf(...groupWords, index)];
  }
  const from = SocketAddress.ip(source, 0);
  if (from.family !== "IPv6") throw typeError("source", "IPv6 address", source);
  return sourceRequest(IPPROTO_IPV6, { group, source: from, index, join });
}

interface SourceMembership {
  readonly group: SocketAddress;
  readonly source: SocketAddress;
  readonly index: number;
  readonly join: boolean;
}

/** `struct group_source_req`, for both families. */
function sourceRequest(
  level: number,
  { group, source, index, join }: SourceMembership,
): MembershipRequest {
  const request = new Uint8Array(GROUP_SOURCE_REQ_BYTES);
  new DataView(request.buffer).setUint32(0, index, true);
  copyAddress(group, request, GROUP_OFFSET);
  copyAddress(source, request, SOURCE_OFFSET);
  return [level, join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP, request];
}

/**
 * Returns how IPv4 requests name an interface: an address (as the kernel stores it) or an index.
 * The kernel looks addresses up by itself.
 */
function interfaceIPv4(value: NetworkInterface): [addressWord: number, index: number] {
  const bytes = new Uint8Array(4);
  if (typeof value === "string" && parseIPv4(value, bytes, 0)) {
    return [new DataView(bytes.buffer).getInt32(0, true), 0];
  }
  return [0, interfaceIndex("interface", value)];
}

function bytesOf(...words: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(words).buffer);
}

function ipv4Word(name: string, address: SocketAddress): number {
  if (address.family !== "IPv4") throw typeError(name, "IPv4 address", address.address);
  return address._encoded.words[1] as number;
}

function copyAddress(address: SocketAddress, target: Uint8Array, offset: number): void {
  const { words, length } = address._encoded;
  target.set(new Uint8Array(words.buffer, words.byteOffset, length), offset);
}

/**
 * The multicast options of one socket. A dual-stack socket sends IPv4 multicast with the options of
 * level IPPROTO_IP, so each option is set for both families.
 */
export class MulticastOptions {
  readonly #options: FdOptions;
  readonly #isIPv6: boolean;

  constructor(options: FdOptions, isIPv6: boolean) {
    this.#options = options;
    this.#isIPv6 = isIPv6;
  }

  setTTL(ttl: number): void {
    this.#setBoth(IPV6_MULTICAST_HOPS, IP_MULTICAST_TTL, ttl);
  }

  setLoopback(enabled: boolean): void {
    this.#setBoth(IPV6_MULTICAST_LOOP, IP_MULTICAST_LOOP, Number(enabled));
  }

  setAll(enabled: boolean): void {
    this.#setBoth(IPV6_MULTICAST_ALL, IP_MULTICAST_ALL, Number(enabled));
  }

  setInterface(value: NetworkInterface): void {
    // Looked up first, so that a failure leaves both families as they are.
    const index = this.#isIPv6 ? interfaceIndex("interface", value) : 0;
    // `struct ip_mreqn`, whose group is ignored.
    this.#options.setBytes(IPPROTO_IP, IP_MULTICAST_IF, bytesOf(0, ...interfaceIPv4(value)));
    if (this.#isIPv6) this.#options.setInt(IPPROTO_IPV6, IPV6_MULTICAST_IF, index);
  }

  changeMembership(membership: Membership, join: boolean): void {
    const [level, name, request] = membershipRequest(membership, join);
    this.#options.setBytes(level, name, request, membership.group);
  }

  #setBoth(ipv6Name: number, ipv4Name: number, value: number): void {
    if (this.#isIPv6) this.#options.setInt(IPPROTO_IPV6, ipv6Name, value);
    this.#options.setInt(IPPROTO_IP, ipv4Name, value);
  }
}
