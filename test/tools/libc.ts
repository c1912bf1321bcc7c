/** Functions of libc that the library does not need. */

import { dlopen } from "bun:ffi";

const ARCHITECTURE = process.arch === "arm64" ? "aarch64" : "x86_64";

function openLibc() {
  const symbols = {
    shutdown: { args: ["i32", "i32"], returns: "i32" },
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  } as const;
  for (const name of ["libc.so.6", `libc.musl-${ARCHITECTURE}.so.1`]) {
    try {
      return dlopen(name, symbols);
    } catch {
      // Tried under its next name.
    }
  }
  throw new Error("libc not found");
}

const libc = openLibc();

/** The halves of a socket to shut down: shutdown(2). */
export const SHUT_RD = 0;
export const SHUT_RDWR = 2;

/** Shuts down one or both halves of a socket. An unconnected one fails, and is shut down anyway. */
export function shutdown(fd: number, how: number): void {
  libc.symbols.shutdown(fd, how);
}

/** Opens a socket in blocking mode, which the caller closes. Returns -1 if that fails. */
export function openBlocking(domain: number, type: number): number {
  return libc.symbols.socket(domain, type, 0);
}
