/** Requests to join or leave multicast groups: ip(7), ipv6(7), RFC 3678. */

import { SocketAddress } from "../address/socket-address.ts";
import type { Membership } from "../datagram/udp-interface.ts";
import { typeError } from "../support/check.ts";
import {
  IP_ADD_MEMBERSHIP,
  IP_ADD_SOURCE_MEMBERSHIP,
  IP_DROP_MEMBERSHIP,
  IP_DROP_SOURCE_MEMBERSHIP,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_JOIN_GROUP,
  IPV6_LEAVE_GROUP,
  MCAST_JOIN_SOURCE_GROUP,
  MCAST_LEAVE_SOURCE_GROUP,
} from "./constants.ts";

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

/** `struct ip_mreq`: group, interface. `struct ip_mreq_source` appends the source. */
function requestIPv4(
  group: SocketAddress,
  { source, interfaceAddress = "0.0.0.0" }: Membership,
  join: boolean,
): MembershipRequest {
  const words = [
    ipv4Word("group", group),
    ipv4Word("interfaceAddress", SocketAddress.ip(interfaceAddress, 0)),
  ];
  if (source !== undefined) words.push(ipv4Word("source", SocketAddress.ip(source, 0)));
  const request = new Uint8Array(Int32Array.from(words).buffer);
  if (source === undefined) {
    return [IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, request];
  }
  return [IPPROTO_IP, join ? IP_ADD_SOURCE_MEMBERSHIP : IP_DROP_SOURCE_MEMBERSHIP, request];
}

/** `struct ipv6_mreq`: group, interface index. With a source: `struct group_source_req`. */
function requestIPv6(
  group: SocketAddress,
  { source, interfaceAddress }: Membership,
  join: boolean,
): MembershipRequest {
  const index =
    interfaceAddress === undefined
      ? group.scopeId
      : interfaceIndex(SocketAddress.ip(interfaceAddress, 0));
  if (source === undefined) {
    const request = new Int32Array(5);
    request.set(group._encoded.words.subarray(2, 6));
    request[4] = index;
    const name = join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP;
    return [IPPROTO_IPV6, name, new Uint8Array(request.buffer)];
  }
  const request = new Uint8Array(GROUP_SOURCE_REQ_BYTES);
  new DataView(request.buffer).setUint32(0, index, true);
  copyAddress(group, request, GROUP_OFFSET);
  copyAddress(SocketAddress.ip(source, 0), request, SOURCE_OFFSET);
  return [IPPROTO_IPV6, join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP, request];
}

function ipv4Word(name: string, address: SocketAddress): number {
  if (address.family !== "IPv4") throw typeError(name, "IPv4 address", address.address);
  return address._encoded.words[1] as number;
}

function copyAddress(address: SocketAddress, target: Uint8Array, offset: number): void {
  const { words, length } = address._encoded;
  target.set(new Uint8Array(words.buffer, words.byteOffset, length), offset);
}

/** Returns the index of the interface that has `address`, or that its zone names (`::%eth0`). */
export function interfaceIndex(address: SocketAddress): number {
  if (address.scopeId !== 0) return address.scopeId;
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const { networkInterfaces } = process.getBuiltinModule("node:os");
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (!addresses?.some((entry) => entry.address === address.address)) continue;
    return Number(readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"));
  }
  throw typeError("interfaceAddress", "address of an interface", address.address);
}
