/** Descriptors that a socket takes over: which ones it may. */

import { SO_TYPE } from "../engine/options.ts";
import type { ReactorResult } from "../readiness/load.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import { EEXIST, EINVAL, SOCK_DGRAM, SOL_SOCKET } from "../support/linux.ts";

/** Checks a descriptor to adopt, and makes it non-blocking. */
export function checkAdoptable(
  { native, reactor }: Extract<ReactorResult, { reactor: unknown }>,
  fd: number,
  families: readonly number[],
): void {
  if (reactor.has(fd)) {
    throw new SocketError({
      errno: EEXIST,
      syscall: "fromFd",
      address: `fd ${fd}`,
      detail: "it is a socket of this thread already",
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
}
