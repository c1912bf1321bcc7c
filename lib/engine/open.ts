/** Opens sockets by the shim, and finds out where a host name leads. */

import type { Native } from "../../ffi/native.ts";
import { SocketAddress } from "../address/address.ts";
import { isIP } from "../address/ip.ts";
import { checkInteger } from "../support/check.ts";
import { checkResult } from "../support/errors.ts";
import { SOCK_DGRAM, SOL_SOCKET } from "../support/linux.ts";
import { SO_RCVBUF, SO_SNDBUF } from "./options.ts";

/** Sizes to ask the kernel for. */
export interface BufferSizes {
  /**
   * Bytes of the kernel's receive buffer to ask for (SO_RCVBUF). The kernel doubles it for its
   * own use and caps it at `net.core.rmem_max`.
   */
  readonly recvBufferBytes?: number | undefined;
  /** Bytes of the kernel's send buffer to ask for (SO_SNDBUF), as above with `wmem_max`. */
  readonly sendBufferBytes?: number | undefined;
}

/** Opens a socket, lets `setUp` bind it, and closes it again if that throws. */
export function openSocket(native: Native, domain: number, setUp: (fd: number) => void): number {
  const fd = checkResult(native.open(domain, SOCK_DGRAM, 0), "socket");
  closeOnThrow(native, fd, () => setUp(fd));
  return fd;
}

/** Answers what `use` does, or closes `fd` when it throws. */
export function closeOnThrow<T>(native: Native, fd: number, use: () => T): T {
  try {
    return use();
  } catch (error) {
    native.close(fd);
    throw error;
  }
}

/** Sets a socket option whose value is an int. */
export function setOption(
  native: Native,
  fd: number,
  [level, name]: readonly [number, number],
  value: number,
): void {
  checkResult(native.setIntOption(fd, level, name, value), "setsockopt");
}

/** @throws RangeError for a size that is none. */
export function checkBufferSizes(sizes: BufferSizes): void {
  for (const name of ["recvBufferBytes", "sendBufferBytes"] as const) {
    const bytes = sizes[name];
    if (bytes !== undefined) checkInteger(name, bytes, 1, 2 ** 31 - 1);
  }
}

/** Asks for the sizes that are given. */
export function setBufferSizes(native: Native, fd: number, sizes: BufferSizes): void {
  const { recvBufferBytes, sendBufferBytes } = sizes;
  if (recvBufferBytes !== undefined)
    setOption(native, fd, [SOL_SOCKET, SO_RCVBUF], recvBufferBytes);
  if (sendBufferBytes !== undefined)
    setOption(native, fd, [SOL_SOCKET, SO_SNDBUF], sendBufferBytes);
}

/**
 * The address of `hostname`, which is an IP address or a name to look up; of several the first.
 *
 * @throws Error of the resolver, with `code` `ENOTFOUND` or the like.
 */
export async function resolveAddress(hostname: string, port: number): Promise<SocketAddress> {
  if (isIP(hostname.split("%", 1)[0] as string)) return SocketAddress.ip(hostname, port);
  // Only where it is needed: loading it takes longer than opening a socket.
  const { lookup } = await import("node:dns/promises");
  const { address } = await lookup(hostname);
  return SocketAddress.ip(address, port);
}
