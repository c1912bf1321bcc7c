/** Texts about sends that the system refuses, the same on both backends. */

import type { SocketAddress } from "../address/socket-address.ts";

/** Returns the likely reason of a refused send by its error code; absent if it is not known. */
export function sendHint(code: string, address: SocketAddress | undefined): string | undefined {
  if (code === "EDESTADDRREQ") return "an unconnected socket needs a destination";
  if (address === undefined) return undefined;
  if (code === "EACCES" && address.family === "IPv4") {
    return "a broadcast address requires setBroadcast(true)";
  }
  return code === "EINVAL" ? destinationFault(address) : undefined;
}

/** Returns why a UDP socket cannot send to `address`; absent if it can. */
export function destinationFault(address: SocketAddress): string | undefined {
  if (address.family === "unix") return "a UDP socket sends to IP addresses only";
  return address.port === 0 ? "a destination requires a port of 1..65535" : undefined;
}
