/**
 * A preload that forbids system calls to the process, as the seccomp profile of a container does:
 * io_uring (EPERM) and, with FORBID_THREADS=1, new threads (EPERM; clone3 returns ENOSYS, as it
 * passes its flags in memory). Bun aborts if it cannot start its own threads: those of its pool and
 * of the garbage collector are started before, and seccomp.sh disables the others.
 */

import { dlopen, ptr } from "bun:ffi";

/** The numbers of the system calls: x86-64, arm64. */
const CLONE = process.arch === "x64" ? 56 : 220;
const [CLONE3, IO_URING_SETUP] = [435, 425];
const SECCOMP = process.arch === "x64" ? 317 : 277;
const [PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC] = [38, 1, 1];
const [ALLOW, ERRNO] = [0x7fff_0000, 0x0005_0000];
const [EPERM, ENOSYS] = [1, 38];
const CLONE_THREAD = 0x0001_0000;
/** The offsets of the number and the first argument in struct seccomp_data. */
const [NUMBER, FIRST_ARGUMENT] = [0, 16];
/** Instructions of classic BPF (linux/bpf_common.h). */
const [LOAD_WORD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN] = [0x20, 0x15, 0x45, 0x06];

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

const io: Instruction[] = [
  [LOAD_WORD, 0, 0, NUMBER],
  [JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP],
  [RETURN, 0, 0, ERRNO | EPERM],
];
const threads: Instruction[] = [
  [JUMP_IF_EQUAL, 0, 1, CLONE3],
  [RETURN, 0, 0, ERRNO | ENOSYS],
  [JUMP_IF_EQUAL, 0, 3, CLONE],
  [LOAD_WORD, 0, 0, FIRST_ARGUMENT],
  [JUMP_IF_SET, 0, 1, CLONE_THREAD],
  [RETURN, 0, 0, ERRNO | EPERM],
];
const filter = [...io, ...(process.env.FORBID_THREADS ? threads : [])];
filter.push([RETURN, 0, 0, ALLOW]);

if (process.env.FORBID_THREADS) {
  await Bun.file(import.meta.path).text();
  Bun.gc(true);
  // Enough work for the compiler threads, and garbage for a collection.
  let sum = 0;
  for (let round = 0; round < 300; round++) {
    const numbers = Array.from({ length: 1000 }, (_, i) => ({ i }));
    for (const { i } of numbers) sum += (i * 7) % 13;
  }
  Bun.gc(true);
  await Bun.sleep(sum > 0 ? 10 : 0);
}

const libc = dlopen("libc.so.6", {
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  syscall: { args: ["i64", "u64", "u64", "ptr"], returns: "i64" },
}).symbols;

// struct sock_filter: u16 code, u8 jt, u8 jf, u32 k. struct sock_fprog: u16 len, pointer.
const instructions = new DataView(new ArrayBuffer(8 * filter.length));
for (const [i, [code, ifTrue, ifFalse, value]] of filter.entries()) {
  instructions.setUint16(8 * i, code, true);
  instructions.setUint8(8 * i + 2, ifTrue);
  instructions.setUint8(8 * i + 3, ifFalse);
  instructions.setUint32(8 * i + 4, value >>> 0, true);
}
const program = new DataView(new ArrayBuffer(16));
program.setUint16(0, filter.length, true);
program.setBigUint64(8, BigInt(ptr(instructions)), true);

libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
const flags = SECCOMP_FILTER_FLAG_TSYNC;
const result = libc.syscall(SECCOMP, SECCOMP_SET_MODE_FILTER, flags, ptr(program));
// Names the instructions as well: `ptr` does not keep them alive.
if (Number(result) !== 0 || instructions.byteLength === 0) {
  console.error("skip: seccomp filters are not permitted");
  process.exit(77);
}
