/** Opens native sockets and sets their buffer sizes. */

import type { Native } from "../../../ffi/native.ts";
import { SO_RCVBUF, SO_SNDBUF, SOCK_DGRAM, SOL_SOCKET } from "../../linux/constants.ts";
import { checkInteger } from "../../support/check.ts";
import { checkResult } from "../../support/errors.ts";

/** The sizes of the kernel's buffers. */
export interface BufferSizes {
  /**
   * The size in bytes to request for the receive buffer (SO_RCVBUF). The kernel doubles it for its
   * own overhead and limits it to `net.core.rmem_max` (socket(7)).
   */
  readonly receiveBufferBytes?: number | undefined;
  /** The size in bytes to request for the send buffer (SO_SNDBUF), limited to `wmem_max`. */
  readonly sendBufferBytes?: number | undefined;
}

/** Opens a socket and calls `setUp` to bind it. Closes the socket if `setUp` throws. */
export function openSocket(native: Native, domain: number, setUp: (fd: number) => void): number {
  const fd = checkResult(native.open(domain, SOCK_DGRAM, 0), "socket");
  closeOnThrow(native, fd, () => setUp(fd));
  return fd;
}

/** Returns the result of `use`. Closes `fd` if it throws. */
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

/** @throws RangeError for a size that is not an integer 1..2^31-1. */
export function checkBufferSizes(sizes: BufferSizes): void {
  for (const name of ["receiveBufferBytes", "sendBufferBytes"] as const) {
    const bytes = sizes[name];
    if (bytes !== undefined) checkInteger(name, bytes, 1, 2 ** 31 - 1);
  }
}

/** Requests the sizes that are given. */
export function setBufferSizes(native: Native, fd: number, sizes: BufferSizes): void {
  const { receiveBufferBytes, sendBufferBytes } = sizes;
  if (receiveBufferBytes !== undefined)
    setOption(native, fd, [SOL_SOCKET, SO_RCVBUF], receiveBufferBytes);
  if (sendBufferBytes !== undefined)
    setOption(native, fd, [SOL_SOCKET, SO_SNDBUF], sendBufferBytes);
}
