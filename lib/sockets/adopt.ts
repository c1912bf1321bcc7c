/** Checks of the descriptors that a socket adopts. */

import { EEXIST, EINVAL, SO_TYPE, SOCK_DGRAM, SOL_SOCKET } from "../linux/constants.ts";
import type { NativeThread } from "../readiness/thread-reactor.ts";
import { checkResult, SocketError } from "../support/errors.ts";

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
  checkResult(native.setNonblocking(fd), "fcntl");
  return family;
}
