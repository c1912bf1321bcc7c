/**
 * Simulates a network device that refuses GSO messages, with a seccomp filter that makes every
 * `sendmmsg` of exactly one message fail. Several datagrams that are sent as one GSO message are
 * then refused; several that are sent as separate messages are not. Works with every kernel:
 * Linux 6.11 and later accept GSO messages even for devices without checksum offload.
 */

import { dlopen, ptr } from "bun:ffi";

const isArm = process.arch === "arm64";
const SYS_SECCOMP = isArm ? 277 : 317;
const SYS_SENDMMSG = isArm ? 269 : 307;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
const SECCOMP_RET_ERRNO = 0x0005_0000;
const SECCOMP_RET_ALLOW = 0x7fff_0000;
/** The offset in `struct seccomp_data` of <linux/seccomp.h> of argument 3: the message count. */
const DATA_COUNT = 32;

/** Makes every `sendmmsg` of one message fail with `errno`. Cannot be undone in this process. */
export function refuseSingleMessages(errno: number): void {
  /** `struct sock_filter` of <linux/filter.h>: code, jump if true, jump if false, operand. */
  const program: readonly [code: number, yes: number, no: number, operand: number][] = [
    [0x20, 0, 0, 0], // load the system call number
    [0x15, 0, 3, SYS_SENDMMSG], // unless it is sendmmsg, allow
    [0x20, 0, 0, DATA_COUNT],
    [0x15, 0, 1, 1], // unless it is 1, allow
    [0x06, 0, 0, SECCOMP_RET_ERRNO | errno],
    [0x06, 0, 0, SECCOMP_RET_ALLOW],
  ];
  const filter = new DataView(new ArrayBuffer(program.length * 8));
  for (const [i, [code, yes, no, operand]] of program.entries()) {
    filter.setUint16(i * 8, code, true);
    filter.setUint8(i * 8 + 2, yes);
    filter.setUint8(i * 8 + 3, no);
    filter.setUint32(i * 8 + 4, operand, true);
  }
  /** `struct sock_fprog`: length, padding, address. */
  const fprog = new DataView(new ArrayBuffer(16));
  fprog.setUint16(0, program.length, true);
  fprog.setBigUint64(8, BigInt(ptr(filter)), true);
  const { symbols } = openLibc();
  symbols.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const flags = SECCOMP_FILTER_FLAG_TSYNC;
  const result = symbols.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, ptr(fprog));
  if (Number(result) !== 0) throw new Error(`seccomp expected 0, got ${result}`);
}

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
