/** IP addresses as numbers, and ranges of them. */

import { isIPv4, isIPv6 } from "node:net";

/** An address of one family. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** The addresses that share the first `prefix` bits of `base`. */
export interface IpRange {
  readonly base: IpAddress;
  readonly prefix: number;
}

/** The first 96 bits of IPv4-mapped addresses, ::ffff:0:0/96 (RFC 4291, section 2.5.5.2). */
const MAPPED_PREFIX = 0xffffn;

/**
 * Parses an IPv4 or IPv6 address. IPv4-mapped IPv6 addresses become IPv4 addresses, since the kernel
 * sends to those. Returns undefined for other text, and for addresses with a zone.
 */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, value: parseIPv4(text) };
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const value = parseIPv6(text);
  if (value >> 32n === MAPPED_PREFIX) return { family: 4, value: value & 0xffff_ffffn };
  return { family: 6, value };
}

/** Parses an address, or a range such as `10.0.0.0/8`. Returns undefined for other text. */
export function parseIpRange(text: string): IpRange | undefined {
  const [address = "", length, extra] = text.split("/");
  const base = parseIp(address);
  if (base === undefined || extra !== undefined) return undefined;
  const bits = bitsOf(base);
  if (length === undefined) return { base, prefix: bits };
  // The length of a mapped range counts the 96 bits before the IPv4 address.
  const isMapped = base.family === 4 && address.includes(":");
  const prefix = /^\d{1,3}$/.test(length) ? Number(length) - (isMapped ? 96 : 0) : -1;
  return prefix >= 0 && prefix <= bits ? { base, prefix } : undefined;
}

/** Returns whether a range contains an address. */
export function containsIp({ base, prefix }: IpRange, { family, value }: IpAddress): boolean {
  if (family !== base.family) return false;
  const shift = BigInt(bitsOf(base) - prefix);
  return value >> shift === base.value >> shift;
}

/** Returns whether all addresses of `inner` are in `outer`. */
export function containsRange(outer: IpRange, inner: IpRange): boolean {
  return inner.prefix >= outer.prefix && containsIp(outer, inner.base);
}

function bitsOf({ family }: IpAddress): number {
  return family === 4 ? 32 : 128;
}

function parseIPv4(text: string): bigint {
  return text.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

/** Parses the text of a valid IPv6 address. */
function parseIPv6(text: string): bigint {
  const [start = [], end = []] = text.split("::").map(groupsOf);
  const zeros = 8 - start.length - end.length;
  const groups = [...start, ...Array<bigint>(zeros).fill(0n), ...end];
  return groups.reduce((value, group) => (value << 16n) | group, 0n);
}

/** Returns the 16-bit groups of a part of an IPv6 address, which may end with an IPv4 address. */
function groupsOf(text: string): readonly bigint[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [BigInt(`0x${group}`)];
    const value = parseIPv4(group);
    return [value >> 16n, value & 0xffffn];
  });
}
