/** Resolves host names. */

import { isIP } from "./ip.ts";
import { SocketAddress } from "./socket-address.ts";

/**
 * Returns the address of `hostname`, an IP address or a name. If the name has several addresses,
 * returns the first.
 *
 * @throws Error of the resolver, with `code` `ENOTFOUND` or similar.
 */
export async function resolveAddress(hostname: string, port: number): Promise<SocketAddress> {
  if (isIP(hostname.split("%", 1)[0] as string)) return SocketAddress.ip(hostname, port);
  // Imported on demand: loading it takes longer than opening a socket.
  const { lookup } = await import("node:dns/promises");
  const { address } = await lookup(hostname);
  return SocketAddress.ip(address, port);
}
