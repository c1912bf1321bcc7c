/** The layout of the kernel's socket addresses: `sockaddr_in`, `sockaddr_in6`, `sockaddr_un`. */

/** Address families: <bits/socket.h>. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;

/** The sizes of the structures in bytes: ip(7), ipv6(7), unix(7). */
export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;
export const SOCKADDR_UN_BYTES = 110;

/** The offset of `sun_path` in bytes. */
export const UNIX_PATH_OFFSET = 2;

/** The maximum length in bytes of a Unix path (`sun_path` minus the NUL) or an abstract name. */
export const UNIX_PATH_BYTES_MAX = 107;

/**
 * Returns the length in bytes of an address for which the kernel reported `reportedBytes`. For a
 * path that fills `sun_path` the kernel counts a NUL that does not fit, and then refuses that
 * length on send (unix(7), BUGS).
 */
export function sockaddrLength(reportedBytes: number): number {
  return Math.min(reportedBytes, SOCKADDR_UN_BYTES);
}

/** Returns whether `other` contains `words` at `index`. */
export function sameWords(words: Int32Array, other: Int32Array, index: number): boolean {
  for (let i = 0; i < words.length; i++) if (words[i] !== other[index + i]) return false;
  return true;
}

/** Random per process: peers choose their addresses, and could otherwise make them all collide. */
const HASH_SEED = crypto.getRandomValues(new Int32Array(1))[0] as number;

/** Returns a hash of the `length` bytes of `words` at `index`. */
export function hashSockaddr(words: Int32Array, index: number, length: number): number {
  let value = length ^ HASH_SEED;
  const count = (length + 3) >> 2;
  for (let i = 0; i < count; i++) {
    value = Math.imul(value ^ (words[index + i] as number), 0x9e37_79b1);
    value ^= value >>> 15;
  }
  return value;
}
