/** Resolves the host names of a socket: both of its ends must be addresses of one family. */

import { typeError } from "../support/check.ts";
import { SocketError } from "../support/errors.ts";
import { isIP } from "./ip.ts";
import { SocketAddress } from "./socket-address.ts";

/** A host and a port, as in `Bun.udpSocket`. */
export interface HostAndPort {
  /** An IP address, or a name to resolve. */
  readonly hostname: string;
  /** 1..65535. */
  readonly port: number;
}

/** What to resolve for a socket. */
export interface EndpointNames {
  /** The host to bind to. Default: every address of the family of the peer. */
  readonly hostname: string | undefined;
  readonly port: number;
  readonly connect: HostAndPort | SocketAddress | undefined;
  /** Whether an IPv6 socket is restricted to IPv6. */
  readonly ipv6Only: boolean;
}

/** The addresses of a socket. An IPv4 peer of an IPv6 socket is not IPv4-mapped yet. */
export interface Endpoints {
  readonly local: SocketAddress;
  readonly peer: SocketAddress | undefined;
}

/** @throws TypeError if `value` is not a non-empty string, or has a port or brackets. */
export function checkHostname(name: string, value: unknown): asserts value is string {
  if (typeof value !== "string" || value === "") throw typeError(name, "IP address or name", value);
  if (value.includes("[") || (value.includes(":") && !isIP(value.split("%", 1)[0] as string))) {
    throw typeError(name, "IP address or name, without brackets and port", value);
  }
}

/**
 * Returns the addresses to bind and to connect to. If names have addresses of both families,
 * returns the first pair that can exchange datagrams.
 *
 * @throws SocketError of syscall `getaddrinfo` with the code of the resolver (`ENOTFOUND`,
 * `EAI_AGAIN` ...), and with code `ENOTFOUND` if a name has no address in the socket's family.
 */
export async function resolveEndpoints(names: EndpointNames): Promise<Endpoints> {
  const { hostname, port, connect, ipv6Only } = names;
  const family = ipv6Only ? 6 : hostname?.includes(":") === false && isIP(hostname) ? 4 : 0;
  const locals = hostname === undefined ? undefined : await resolveAll(hostname, port, family);
  if (connect === undefined) {
    const local = locals?.[0] ?? SocketAddress.ip(ipv6Only ? "::" : "0.0.0.0", port);
    return { local, peer: undefined };
  }
  const isAddress = SocketAddress._isGenuine(connect);
  const peers = isAddress ? [connect] : await resolveAll(connect.hostname, connect.port, family);
  if (locals === undefined) {
    const [peer] = peers as [SocketAddress];
    const isIPv6 = ipv6Only || peer.family === "IPv6";
    return { local: SocketAddress.ip(isIPv6 ? "::" : "0.0.0.0", port), peer };
  }
  for (const local of locals) {
    // The resolver sorts addresses by reachability (RFC 6724).
    const isDualStack = local.address === "::" && !ipv6Only;
    const peer = isDualStack ? peers[0] : peers.find((other) => isSameFamily(local, other));
    if (peer !== undefined) return { local, peer };
  }
  const [local, peer] = [locals[0], peers[0]] as [SocketAddress, SocketAddress];
  // Of two addresses the system says which error it is.
  if (isAddress || isIP(connect.hostname.split("%", 1)[0] as string)) return { local, peer };
  throw resolverError(connect.hostname, "ENOTFOUND", {
    detail: `no address that ${local.address} can exchange datagrams with`,
  });
}

/** Returns whether packets between the addresses are all IPv4, or all IPv6. */
function isSameFamily(left: SocketAddress, right: SocketAddress): boolean {
  return isIPv4(left) === isIPv4(right);
}

function isIPv4(address: SocketAddress): boolean {
  return address.family === "IPv4" || address._isMapped;
}

/** Returns the addresses of a host, at least one. @param family 4, 6, or 0 for both. */
async function resolveAll(
  hostname: string,
  port: number,
  family: number,
): Promise<SocketAddress[]> {
  // An IPv6 address may have a zone.
  if (isIP(hostname.split("%", 1)[0] as string)) return [SocketAddress.ip(hostname, port)];
  // Imported on demand: loading it takes longer than opening a socket.
  const { lookup } = await import("node:dns/promises");
  const addresses = await lookup(hostname, { all: true, family }).catch((error: unknown) => {
    const { code } = error as { code?: unknown };
    throw resolverError(hostname, typeof code === "string" ? code : "ENOTFOUND", { cause: error });
  });
  if (addresses.length === 0) throw resolverError(hostname, "ENOTFOUND", {});
  return addresses.map(({ address }) => SocketAddress.ip(address, port));
}

function resolverError(
  hostname: string,
  code: string,
  more: { readonly detail?: string; readonly cause?: unknown },
): SocketError {
  return new SocketError({ errno: 0, code, syscall: "getaddrinfo", address: hostname, ...more });
}
