/** The kind of a descriptor, by the names that Node has for them. */

import type { Native } from "../../ffi/native.ts";
import { AF_INET, AF_INET6, AF_UNIX } from "../address/sockaddr.ts";
import { SO_TYPE, SOCK_DGRAM, SOL_SOCKET } from "../linux/constants.ts";

export type FdType = "UDP" | "TCP" | "PIPE" | "TTY" | "FILE" | "UNKNOWN";

/** Returns the kind of a descriptor. */
export function guessFdType(native: Native, fd: number): FdType {
  if (native.getIntOption(fd, SOL_SOCKET, SO_TYPE) < 0) return guessFileType(fd);
  const isDatagram = native.scratch[0] === SOCK_DGRAM;
  if (native.name(fd) < 0) return "UNKNOWN";
  const family = (native.scratch[0] as number) & 0xffff;
  if (family === AF_UNIX) return isDatagram ? "UNKNOWN" : "PIPE";
  if (family !== AF_INET && family !== AF_INET6) return "UNKNOWN";
  return isDatagram ? "UDP" : "TCP";
}

function guessFileType(fd: number): FdType {
  if (process.getBuiltinModule("node:tty").isatty(fd)) return "TTY";
  try {
    const stats = process.getBuiltinModule("node:fs").fstatSync(fd);
    if (stats.isFIFO()) return "PIPE";
    return stats.isFile() || stats.isCharacterDevice() ? "FILE" : "UNKNOWN";
  } catch {
    return "UNKNOWN";
  }
}
