/**
 * Preloaded into a child process: forbids io_uring by a seccomp filter, as container runtimes do.
 * `FORBID_ERRNO` is the error that io_uring_setup then gives (default 1, EPERM).
 */

import { dlopen, ptr } from "bun:ffi";

const isArm = process.arch === "arm64";
const SYS_SECCOMP = isArm ? 277 : 317;
const SYS_IO_URING_SETUP = 425;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;

/** `struct sock_filter` of <linux/filter.h>: code, jump if true, jump if false, operand. */
const PROGRAM: readonly [code: number, yes: number, no: number, operand: number][] = [
  [0x20, 0, 0, 0], // load the system call's number
  [0x15, 0, 1, SYS_IO_URING_SETUP],
  [0x06, 0, 0, 0x0005_0000 | Number(process.env.FORBID_ERRNO ?? 1)], // SECCOMP_RET_ERRNO
  [0x06, 0, 0, 0x7fff_0000], // SECCOMP_RET_ALLOW
];

const filter = new DataView(new ArrayBuffer(PROGRAM.length * 8));
for (const [i, [code, yes, no, operand]] of PROGRAM.entries()) {
  filter.setUint16(i * 8, code, true);
  filter.setUint8(i * 8 + 2, yes);
  filter.setUint8(i * 8 + 3, no);
  filter.setUint32(i * 8 + 4, operand, true);
}
/** `struct sock_fprog`: length, padding, address. */
const program = new DataView(new ArrayBuffer(16));
program.setUint16(0, PROGRAM.length, true);
program.setBigUint64(8, BigInt(ptr(filter)), true);

const { symbols } = openLibc();
symbols.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
const result = symbols.syscall(
  SYS_SECCOMP,
  SECCOMP_SET_MODE_FILTER,
  SECCOMP_FILTER_FLAG_TSYNC,
  ptr(program),
);
if (Number(result) !== 0) throw new Error(`seccomp expected 0, got ${result}`);

function openLibc() {
  const number = "i64";
  const types = {
    prctl: { args: ["i32", number, number, number, number], returns: "i32" },
    syscall: { args: [number, number, number, "ptr"], returns: number },
  } as const;
  try {
    return dlopen("libc.so.6", types);
  } catch {
    return dlopen(`libc.musl-${isArm ? "aarch64" : "x86_64"}.so.1`, types);
  }
}
