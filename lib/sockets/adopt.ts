/** Checks of the descriptors that a socket adopts. */

import type { Native } from "../../ffi/native.ts";
import { AF_UNIX } from "../address/sockaddr.ts";
import {
  EEXIST,
  EINVAL,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  SO_PROTOCOL,
  SO_TYPE,
  SOCK_DGRAM,
  SOL_SOCKET,
  UDP_CORK,
  UDP_SEGMENT,
} from "../linux/constants.ts";
import type { NativeThread } from "../readiness/thread-reactor.ts";
import { checkInteger } from "../support/check.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import { loadThreadNative } from "../support/native.ts";

/**
 * Checks that `fd` is open. Before the first wait of a call: the first socket of a thread opens
 * descriptors for readiness, which may get the number of one that is not open.
 *
 * @throws RangeError for another number; SocketError with code `EBADF` if it is not open.
 */
export function checkOpenFd(fd: number, syscall: string): void {
  checkInteger("fd", fd, 0, 2 ** 31 - 1);
  const loaded = loadThreadNative();
  if ("native" in loaded) checkResult(loaded.native.flags(fd), syscall, `fd ${fd}`);
}

/**
 * Checks that `fd` is a datagram socket of one of `families`, makes it non-blocking, and returns its
 * family.
 *
 * @throws SocketError if it is not, or if a socket of this thread has it.
 */
export function checkAdoptable(
  { native, reactor }: NativeThread,
  fd: number,
  families: readonly number[],
): number {
  if (reactor.has(fd)) {
    throw new SocketError({
      errno: EEXIST,
      syscall: "fromFd",
      address: `fd ${fd}`,
      detail: "another socket of this thread has this descriptor",
    });
  }
  checkResult(native.getIntOption(fd, SOL_SOCKET, SO_TYPE), "getsockopt", `fd ${fd}`);
  const type = native.scratch[0];
  checkResult(native.name(fd), "getsockname", `fd ${fd}`);
  const family = (native.scratch[0] as number) & 0xffff;
  if (type !== SOCK_DGRAM || !families.includes(family)) {
    throw new SocketError({
      errno: EINVAL,
      syscall: "fromFd",
      address: `fd ${fd}`,
      detail: `datagram socket of family ${families.join(" or ")} expected, got type ${type} of family ${family}`,
    });
  }
  if (family !== AF_UNIX) checkProtocol(native, fd);
  checkResult(native.setNonblocking(fd), "fcntl");
  return family;
}

/** Checks that an IP socket is UDP: ICMP sockets (icmp(7), "ping sockets") have the same type. */
function checkProtocol(native: Native, fd: number): void {
  const protocol = protocolOf(native, fd);
  if (protocol === IPPROTO_UDP || protocol === IPPROTO_UDPLITE) return;
  throw new SocketError({
    errno: EINVAL,
    syscall: "fromFd",
    address: `fd ${fd}`,
    detail: `socket of protocol ${IPPROTO_UDP} (UDP) expected, got protocol ${protocol}`,
  });
}

function protocolOf(native: Native, fd: number): number {
  checkResult(native.getIntOption(fd, SOL_SOCKET, SO_PROTOCOL), "getsockopt", `fd ${fd}`);
  return native.scratch[0] as number;
}

/** Returns whether a socket is UDP-Lite (udplite(7)), whose datagrams the kernel cannot segment. */
export function isUdpLite(native: Native, fd: number): boolean {
  return protocolOf(native, fd) === IPPROTO_UDPLITE;
}

/**
 * Disables the options that change the boundaries of datagrams: a segment size for all messages
 * (UDP_SEGMENT), and the collection of several sends in one datagram (UDP_CORK, udp(7)).
 */
export function resetBoundaries(native: Native, fd: number): void {
  // Fails on kernels that do not know the option.
  native.setIntOption(fd, IPPROTO_UDP, UDP_SEGMENT, 0);
  native.setIntOption(fd, IPPROTO_UDP, UDP_CORK, 0);
}
