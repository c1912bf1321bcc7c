/**
 * The layout of the kernel's structs: offsets and sizes in bytes.
 *
 * It is the same on x86-64 and arm64 (both little-endian, with 8-byte pointers), for glibc and
 * musl. `c/shim.c` asserts the sizes, and test/ffi/layout.test.ts compares with the C headers.
 */

/** `struct mmsghdr` of <sys/socket.h>: a `msghdr`, and the number of bytes transferred. */
export const MMSGHDR = {
  size: 64,
  name: 0,
  nameLength: 8,
  vector: 16,
  vectorLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
} as const;

/** `struct iovec` of <sys/uio.h>. */
export const IOVEC = { size: 16, base: 0, length: 8 } as const;

/** `struct sock_fprog` of <linux/filter.h>: a classic BPF program. */
export const SOCK_FPROG = { size: 16, length: 0, filter: 8 } as const;
/** `struct sock_filter`: an instruction of it. */
export const SOCK_FILTER = { size: 8 } as const;

/** `struct ready` of c/shim.c. */
export const READY = { size: 16, tokenLow: 0, tokenHigh: 4, events: 8 } as const;

/** `SHIM_ABI` of c/shim.c: incremented when the interface between TypeScript and C changes. */
export const SHIM_ABI = 13;
