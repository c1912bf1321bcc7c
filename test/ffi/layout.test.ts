/**
 * Everything that is ABI is written down twice: in the kernel's and libc's headers, and here in C
 * without headers and in TypeScript. Each compiler of the machine prints both; they must agree.
 */

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { IOVEC, MMSGHDR, READY, SHIM_ABI, SOCKETS_MAX } from "../../ffi/layout.ts";
import { type Shim, SYMBOLS } from "../../ffi/symbols.ts";
import { missing, output, ROOT, temporaryDirectory, testIf } from "./tools.ts";

const SHIM = readFileSync(join(ROOT, "c/shim.c"), "utf8");

/** Names of the shim's own, which no header knows. */
const OWN = new Set([
  "SHIM_ABI",
  "EINTR_RETRIES_MAX",
  "SOCKETS_MAX",
  "SQ_ENTRIES",
  "CQ_ENTRIES",
  "EPOLL_EVENTS_MAX",
]);

/** The shim's names for what the headers call otherwise. */
const RENAMED: { readonly [name: string]: string } = {
  SYS_RECVMMSG: "SYS_recvmmsg",
  SYS_SENDMMSG: "SYS_sendmmsg",
  SYS_IO_URING_SETUP: "SYS_io_uring_setup",
  SYS_IO_URING_ENTER: "SYS_io_uring_enter",
  PROT_READ_WRITE: "(PROT_READ | PROT_WRITE)",
  MAP_SHARED_POPULATE: "(MAP_SHARED | MAP_POPULATE)",
  MAP_PRIVATE_ANONYMOUS: "(MAP_PRIVATE | MAP_ANONYMOUS)",
};

/** The shim's structs and the headers'; and their fields, in pairs. */
const STRUCTS: readonly [own: string, real: string, fields: readonly [string, string][]][] = [
  [
    "struct msghdr",
    "struct msghdr",
    [
      ["name", "msg_name"],
      ["name_length", "msg_namelen"],
      ["vector", "msg_iov"],
      ["vector_length", "msg_iovlen"],
      ["control", "msg_control"],
      ["control_length", "msg_controllen"],
      ["flags", "msg_flags"],
    ],
  ],
  [
    "struct mmsghdr",
    "struct mmsghdr",
    [
      ["header", "msg_hdr"],
      ["length", "msg_len"],
    ],
  ],
  [
    "struct iovec",
    "struct iovec",
    [
      ["base", "iov_base"],
      ["length", "iov_len"],
    ],
  ],
  [
    "struct epoll_event",
    "struct epoll_event",
    [
      ["events", "events"],
      ["data", "data"],
    ],
  ],
  [
    "struct sqe",
    "struct io_uring_sqe",
    [
      ["opcode", "opcode"],
      ["flags", "flags"],
      ["priority", "ioprio"],
      ["fd", "fd"],
      ["offset", "off"],
      ["address", "addr"],
      ["length", "len"],
      ["operation_flags", "poll32_events"],
      ["operation_flags", "msg_flags"],
      ["user_data", "user_data"],
    ],
  ],
  [
    "struct cqe",
    "struct io_uring_cqe",
    [
      ["user_data", "user_data"],
      ["result", "res"],
      ["flags", "flags"],
    ],
  ],
  [
    "struct ring_parameters",
    "struct io_uring_params",
    [
      ["sq_entries", "sq_entries"],
      ["cq_entries", "cq_entries"],
      ["flags", "flags"],
      ["features", "features"],
      ["sq.head", "sq_off.head"],
      ["sq.tail", "sq_off.tail"],
      ["sq.ring_mask", "sq_off.ring_mask"],
      ["sq.ring_entries", "sq_off.ring_entries"],
      ["sq.flags", "sq_off.flags"],
      ["sq.array", "sq_off.array"],
      ["cq.head", "cq_off.head"],
      ["cq.tail", "cq_off.tail"],
      ["cq.ring_mask", "cq_off.ring_mask"],
      ["cq.overflow", "cq_off.overflow"],
      ["cq.cqes", "cq_off.cqes"],
    ],
  ],
];

/** C expressions that stand as numbers in ffi/layout.ts and in lib/, and those numbers. */
const NUMBERS: readonly [expression: string, value: number][] = [
  ["sizeof(struct mmsghdr)", MMSGHDR.size],
  ["offsetof(struct mmsghdr, msg_hdr.msg_name)", MMSGHDR.name],
  ["offsetof(struct mmsghdr, msg_hdr.msg_namelen)", MMSGHDR.nameLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_iov)", MMSGHDR.vector],
  ["offsetof(struct mmsghdr, msg_hdr.msg_iovlen)", MMSGHDR.vectorLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_control)", MMSGHDR.control],
  ["offsetof(struct mmsghdr, msg_hdr.msg_controllen)", MMSGHDR.controlLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_flags)", MMSGHDR.flags],
  ["offsetof(struct mmsghdr, msg_len)", MMSGHDR.length],
  ["sizeof(struct iovec)", IOVEC.size],
  ["offsetof(struct iovec, iov_base)", IOVEC.base],
  ["offsetof(struct iovec, iov_len)", IOVEC.length],
];

/** Constants of lib/ that stand for the size or place of something in C, by name. */
const LAYOUT_CONSTANTS: { readonly [name: string]: string } = {
  SOCKADDR_IN_BYTES: "sizeof(struct sockaddr_in)",
  SOCKADDR_IN6_BYTES: "sizeof(struct sockaddr_in6)",
  SOCKADDR_UN_BYTES: "sizeof(struct sockaddr_un)",
  UNIX_PATH_OFFSET: "offsetof(struct sockaddr_un, sun_path)",
  UNIX_PATH_BYTES_MAX: "(sizeof(((struct sockaddr_un *)0)->sun_path) - 1)",
  GROUP_SOURCE_REQ_BYTES: "sizeof(struct group_source_req)",
  GROUP_OFFSET: "offsetof(struct group_source_req, gsr_group)",
  SOURCE_OFFSET: "offsetof(struct group_source_req, gsr_source)",
  HEADER_BYTES: "sizeof(struct cmsghdr)",
  LEVEL_WORD: "(offsetof(struct cmsghdr, cmsg_level) / 4)",
  TYPE_WORD: "(offsetof(struct cmsghdr, cmsg_type) / 4)",
  DATA_WORD: "(sizeof(struct cmsghdr) / 4)",
};

/** What a constant of lib/ is called that stands for one of C. */
const C_NAME =
  /^(AF|SO|SOL|SOCK|IP|IPV6|IPPROTO|UDP|MCAST|MSG|SCM|F|O|POLL|SIG|TCP)_[A-Z0-9_]+$|^POLL[A-Z]+$|^E[A-Z]{3,}$/;

/** Names of that form which are the library's own. */
const NOT_IN_C = new Set(["IP_NAME_CAPACITY", "SO_MARK_BYTES", "SO_EE_ORIGIN_BYTE"]);

const HEADERS = `
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#endif
#if __has_include(<linux/errqueue.h>)
#include <linux/errqueue.h>
#endif
`;

/** What the shim's file defines, by name and without values. */
const DEFINED = [...SHIM.matchAll(/^#define (\w+) /gm)].map((match) => match[1] as string);

interface Constant {
  readonly file: string;
  readonly name: string;
  readonly value: number;
}

/** Constants of lib/ that are numbers, by their source text. */
function libraryConstants(): Constant[] {
  const constants: Constant[] = [];
  for (const file of new Glob("lib/*.ts").scanSync(ROOT)) {
    const text = readFileSync(join(ROOT, file), "utf8");
    for (const [, name, literal] of text.matchAll(
      /^(?:export )?const ([A-Z][A-Z0-9_]+)(?:: number)? = ([0-9][0-9a-fox_]*);/gim,
    )) {
      constants.push({ file, name: name as string, value: Number(literal?.replaceAll("_", "")) });
    }
  }
  return constants;
}

interface Compiler {
  readonly name: string;
  /** Whether it has all headers, those of the kernel too. */
  readonly isComplete: boolean;
  readonly command: readonly string[];
  readonly launcher: readonly string[];
  readonly reason: string | undefined;
}

const COMPILERS: readonly Compiler[] = [
  {
    name: "gcc",
    isComplete: true,
    command: ["gcc"],
    launcher: [],
    reason: missing("gcc"),
  },
  {
    name: "musl-gcc",
    isComplete: false,
    command: ["musl-gcc", "-static"],
    launcher: [],
    reason: missing("musl-gcc"),
  },
  {
    name: "aarch64-linux-gnu-gcc",
    isComplete: true,
    command: ["aarch64-linux-gnu-gcc", "-static"],
    launcher: ["qemu-aarch64-static"],
    reason: missing("aarch64-linux-gnu-gcc", "qemu-aarch64-static"),
  },
];

/** Compiles a program of `lines`, each printing something, and answers what it prints. */
function probe(compiler: Compiler, prelude: string, lines: readonly string[]): Map<string, number> {
  using directory = temporaryDirectory();
  const source = join(directory.path, "probe.c");
  const program = join(directory.path, "probe");
  writeFileSync(source, `${prelude}\nint main(void) {\n${lines.join("\n")}\nreturn 0;\n}\n`);
  output([...compiler.command, "-w", "-o", program, source]);
  const printed = output([...compiler.launcher, program])
    .trim()
    .split("\n");
  return new Map(
    printed.map((line) => line.split("=") as [string, string]).map(([k, v]) => [k, Number(v)]),
  );
}

/** A line that prints the value of `expression` as `name`. */
function print(name: string, expression: string): string {
  return `printf("${name}=%lld\\n", (long long)(${expression}));`;
}

/** The same if a macro of that name is there. */
function printIfDefined(name: string): string {
  return `#ifdef ${name}\n${print(name, name)}\n#endif`;
}

function structLines(which: "own" | "real"): string[] {
  return STRUCTS.flatMap(([own, real, fields]) => {
    const type = which === "own" ? own : real;
    const lines = [print(own, `sizeof(${type})`)];
    for (const [ownField, realField] of fields) {
      const field = which === "own" ? ownField : realField;
      lines.push(
        print(`${own}.${ownField} (${realField})`, `__builtin_offsetof(${type}, ${field})`),
      );
    }
    if (!real.includes("io_uring") || which === "own") return lines;
    return ["#ifdef IORING_OFF_SQES", ...lines, "#endif"];
  });
}

/** The shim's constants by the names of the headers. */
function headerLine(name: string): string {
  const real = RENAMED[name];
  if (real !== undefined) return print(name, real);
  // These are an enum's, which #ifdef cannot see.
  if (!name.startsWith("IORING_OP_")) return printIfDefined(name);
  return `#ifdef IORING_OFF_SQES\n${print(name, name)}\n#endif`;
}

for (const compiler of COMPILERS) {
  describe(`by ${compiler.name}`, () => {
    const testWhere = testIf(compiler.reason);

    testWhere("the shim's constants and structs are those of the headers", () => {
      const names = DEFINED.filter((name) => !OWN.has(name));
      const shim = probe(
        compiler,
        `#include "${join(ROOT, "c/shim.c")}"\nextern int printf(const char *, ...);`,
        [...names.map((name) => print(name, name)), ...structLines("own")],
      );
      const real = probe(compiler, HEADERS, [...names.map(headerLine), ...structLines("real")]);
      for (const [name, value] of shim) {
        if (compiler.isComplete) expect([name, real.has(name)]).toEqual([name, true]);
        if (real.has(name)) expect([name, value]).toEqual([name, real.get(name) as number]);
      }
      expect(real.size).toBeGreaterThan(40);
    });

    testWhere("ffi/layout.ts and the layouts in lib/ are those of the headers", () => {
      const own = libraryConstants().filter(({ name }) => Object.hasOwn(LAYOUT_CONSTANTS, name));
      const names = Object.keys(LAYOUT_CONSTANTS).filter(
        (name) => compiler.isComplete || !LAYOUT_CONSTANTS[name]?.includes("sock_extended_err"),
      );
      const real = probe(compiler, HEADERS, [
        ...NUMBERS.map(([expression]) => print(expression, expression)),
        ...names.map((name) => print(name, LAYOUT_CONSTANTS[name] as string)),
      ]);
      for (const [expression, value] of NUMBERS) {
        expect([expression, value]).toEqual([expression, real.get(expression) as number]);
      }
      expect(own.length).toBeGreaterThanOrEqual(Object.keys(LAYOUT_CONSTANTS).length);
      for (const { file, name, value } of own) {
        if (real.has(name))
          expect([file, name, value]).toEqual([file, name, real.get(name) as number]);
      }
    });

    testWhere("the constants of C in lib/ are those of the headers", () => {
      const constants = libraryConstants().filter(
        ({ name }) => C_NAME.test(name) && !NOT_IN_C.has(name) && !(name in LAYOUT_CONSTANTS),
      );
      const real = probe(
        compiler,
        HEADERS,
        constants.map(({ name }) => printIfDefined(name)),
      );
      for (const { file, name, value } of constants) {
        if (compiler.isComplete) expect([file, name, real.has(name)]).toEqual([file, name, true]);
        if (real.has(name))
          expect([file, name, value]).toEqual([file, name, real.get(name) as number]);
      }
      expect(real.size).toBeGreaterThan(30);
    });
  });
}

describe("c/shim.c and ffi/", () => {
  const entries = SHIM.slice(SHIM.indexOf("entries[] = {"));
  const table = [...entries.slice(0, entries.indexOf("};")).matchAll(/\(void \*\)(\w+)/g)];
  const names = table.map((match) => match[1] as string);

  test("the shim includes no header", () => {
    expect(SHIM).not.toMatch(/^\s*#\s*include/m);
  });

  test("ABI version, limits and the ready struct are the same in both", () => {
    expect(defined("SHIM_ABI")).toBe(SHIM_ABI);
    expect(defined("SOCKETS_MAX")).toBe(SOCKETS_MAX);
    expect(READY).toEqual({ size: 16, tokenLow: 0, tokenHigh: 4, events: 8 });
    expect(SHIM).toMatch(/struct ready \{\s*u64 token;\s*u32 events;\s*u32 padding;\s*\};/);
  });

  test("the table of entries has the symbols in their order", () => {
    expect(names).toEqual(Object.keys(SYMBOLS));
    expect(names.length).toBeGreaterThan(20);
  });

  test("every symbol has the argument and result types of its C function", () => {
    for (const name of names) {
      const { args = [], returns } = SYMBOLS[name as keyof Shim];
      expect([name, ...args.map(String), String(returns)]).toEqual([name, ...prototype(name)]);
    }
  });
});

function defined(name: string): number {
  return Number(new RegExp(`^#define ${name} (\\d+)$`, "m").exec(SHIM)?.[1]);
}

/** The types of a C function as bun:ffi names them: its arguments', then its result's. */
function prototype(name: string): string[] {
  const match = new RegExp(`^([\\w ]+[ *])${name}\\(([^)]*)\\) \\{`, "m").exec(SHIM);
  if (match === null) throw new Error(`function ${name} expected in c/shim.c, got none`);
  const [, result, parameters] = match as unknown as [string, string, string];
  const types = parameters.trim() === "void" ? [] : parameters.split(",").map(ffiType);
  return [...types, ffiType(result)];
}

function ffiType(declaration: string): string {
  if (declaration.includes("*")) return "ptr";
  const type = /\b(u64|u32|i32|int|void)\b/.exec(declaration)?.[1] ?? declaration;
  return type === "int" ? "i32" : type;
}
