/**
 * Addresses that a proxy for the Internet must not reach: private networks, this host, multicast, and
 * others that are not globally reachable (RFC 9298, section 7; IANA IPv4 and IPv6 Special-Purpose
 * Address Registries, RFC 6890).
 */

import { networkInterfaces } from "node:os";
import {
  containsIp,
  containsRange,
  type IpAddress,
  type IpRange,
  parseIpRange,
} from "./ip-address.ts";

function ranges(...texts: readonly string[]): readonly IpRange[] {
  return texts.map((text) => parseIpRange(text) as IpRange);
}

/** Refused, unless an address or a range within them is allowed by name. */
const SPECIAL = ranges(
  "10.0.0.0/8", // private (RFC 1918)
  "100.64.0.0/10", // carrier-grade NAT (RFC 6598)
  "127.0.0.0/8", // loopback
  "169.254.0.0/16", // link-local, and metadata services of clouds
  "172.16.0.0/12", // private
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.88.99.0/24", // 6to4 relays (RFC 7526)
  "192.168.0.0/16", // private
  "198.18.0.0/15", // benchmarks (RFC 2544)
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "::1/128", // loopback
  "64:ff9b:1::/48", // local NAT64 (RFC 8215)
  "100::/64", // discard (RFC 6666)
  "2001::/23", // protocol assignments, Teredo
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4
  "3fff::/20", // documentation (RFC 9637)
  "5f00::/16", // segment routing (RFC 9602)
  "fc00::/7", // unique local (RFC 4193)
  "fec0::/10", // site-local, deprecated
);

/** Never a target of a tunnel: a connected socket receives no replies from these. */
const UNUSABLE = ranges(
  "0.0.0.0/8", // unspecified, this network
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, broadcast
  "::/128", // unspecified
  "fe80::/10", // link-local, which requires a zone
  "ff00::/8", // multicast
);

/** Globally reachable IPv6 addresses are in here (RFC 4291, section 2.4). */
const [GLOBAL_IPV6] = ranges("2000::/3") as [IpRange];
/** NAT64: the last 32 bits are an IPv4 address (RFC 6052). */
const [NAT64] = ranges("64:ff9b::/96") as [IpRange];

/** How an address may be used: by default, if a rule names it, or never. */
export type Reachability = "public" | "special" | "unusable";

/** Returns how an address may be used as a target. */
export function reachabilityOf(address: IpAddress): Reachability {
  if (UNUSABLE.some((range) => containsIp(range, address))) return "unusable";
  if (SPECIAL.some((range) => containsIp(range, address))) return "special";
  if (address.family === 4) return isOwnAddress(address) ? "special" : "public";
  if (containsIp(NAT64, address)) {
    return reachabilityOf({ family: 4, value: address.value & 0xffff_ffffn });
  }
  if (!containsIp(GLOBAL_IPV6, address)) return "special";
  return isOwnAddress(address) ? "special" : "public";
}

/**
 * Returns whether a rule for `range` names the special address: the range is not larger than the
 * special range, or than one address. So neither `0.0.0.0/0` nor `128.0.0.0/1` allows private ones.
 */
export function namesSpecial(range: IpRange, address: IpAddress): boolean {
  if (!containsIp(range, address)) return false;
  const special = SPECIAL.find((one) => containsIp(one, address));
  if (special !== undefined) return containsRange(special, range);
  // An address of this host, or a reserved IPv6 address.
  return range.prefix === (address.family === 4 ? 32 : 128);
}

/** Returns whether the address belongs to this host, which has services that are not for others. */
function isOwnAddress(address: IpAddress): boolean {
  for (const list of Object.values(networkInterfaces())) {
    for (const { address: text } of list ?? []) {
      const own = parseIpRange(text.split("%", 1)[0] as string);
      if (own !== undefined && containsIp(own, address)) return true;
    }
  }
  return false;
}
