/**
 * c/shim.c and the TypeScript code declare the kernel's structs and constants without using its
 * headers. These tests compile programs that print the values of the shim and of the headers, with
 * each compiler that is installed, and compare them with each other and with the TypeScript code.
 */

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { READY, SHIM_ABI } from "../../ffi/layout.ts";
import { type Shim, SYMBOLS } from "../../ffi/symbols.ts";
import {
  C_CONSTANT_NAME,
  HEADERS,
  LAYOUT_CONSTANTS,
  LAYOUT_NUMBERS,
  NOT_IN_C,
  OBJECT_CONSTANTS,
  RENAMED,
  SHIM_ONLY,
  STRUCTS,
} from "./abi-tables.ts";
import { missing, output, ROOT, temporaryDirectory, testIf } from "./tools.ts";

const SHIM = readFileSync(join(ROOT, "c/shim.c"), "utf8");

/** The names of the macros that c/shim.c defines. */
const DEFINED = [...SHIM.matchAll(/^#define (\w+) /gm)].map((match) => match[1] as string);

interface Constant {
  readonly file: string;
  readonly name: string;
  readonly value: number;
}

/** Returns the numeric constants of ffi/ and lib/, parsed from the source text. */
function libraryConstants(): Constant[] {
  const constants: Constant[] = [];
  for (const file of new Glob("{ffi,lib}/**/*.ts").scanSync(ROOT)) {
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
  /** Whether it has all headers, including the kernel's. */
  readonly isComplete: boolean;
  readonly command: readonly string[];
  /** The command that runs a compiled program; empty: none is needed. */
  readonly launcher: readonly string[];
  /** Why it cannot be used on this machine. */
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

/** Compiles and runs a program of `lines` that each print `name=value`. Returns the values. */
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

/** Returns a line of C that prints the value of `expression` as `name`. */
function print(name: string, expression: string): string {
  return `printf("${name}=%lld\\n", (long long)(${expression}));`;
}

/** Returns lines of C that print the value of the macro `name` if it is defined. */
function printIfDefined(name: string): string {
  return `#ifdef ${name}\n${print(name, name)}\n#endif`;
}

/** Returns lines of C that print the struct sizes and field offsets that one side declares. */
function structLines(side: "shim" | "header"): string[] {
  return STRUCTS.flatMap(([shimType, headerType, fields]) => {
    const type = side === "shim" ? shimType : headerType;
    const lines = [print(shimType, `sizeof(${type})`)];
    for (const [shimField, headerField] of fields) {
      const field = side === "shim" ? shimField : headerField;
      lines.push(
        print(`${shimType}.${shimField} (${headerField})`, `__builtin_offsetof(${type}, ${field})`),
      );
    }
    return lines;
  });
}

/** Returns a line of C that prints the header's value of the shim's constant `name`. */
function headerLine(name: string): string {
  const expression = RENAMED[name];
  return expression === undefined ? printIfDefined(name) : print(name, expression);
}

for (const compiler of COMPILERS) {
  describe(`compiled with ${compiler.name}`, () => {
    const testWithCompiler = testIf(compiler.reason);

    testWithCompiler("constants and structs of c/shim.c equal those of the headers", () => {
      const names = DEFINED.filter((name) => !SHIM_ONLY.has(name));
      const shim = probe(
        compiler,
        `#include "${join(ROOT, "c/shim.c")}"\nextern int printf(const char *, ...);`,
        [...names.map((name) => print(name, name)), ...structLines("shim")],
      );
      const real = probe(compiler, HEADERS, [...names.map(headerLine), ...structLines("header")]);
      for (const [name, value] of shim) {
        if (compiler.isComplete) expect([name, real.has(name)]).toEqual([name, true]);
        if (real.has(name)) expect([name, value]).toEqual([name, real.get(name) as number]);
      }
      expect(real.size).toBeGreaterThan(40);
    });

    testWithCompiler(
      "ffi/layout.ts and layout constants of lib/ equal the headers' layouts",
      () => {
        const own = libraryConstants().filter(({ name }) => Object.hasOwn(LAYOUT_CONSTANTS, name));
        const names = Object.keys(LAYOUT_CONSTANTS);
        const real = probe(compiler, HEADERS, [
          ...LAYOUT_NUMBERS.map(([expression]) => print(expression, expression)),
          ...names.map((name) => print(name, LAYOUT_CONSTANTS[name] as string)),
        ]);
        for (const [expression, value] of LAYOUT_NUMBERS) {
          expect([expression, value]).toEqual([expression, real.get(expression) as number]);
        }
        expect(own.length).toBeGreaterThanOrEqual(Object.keys(LAYOUT_CONSTANTS).length);
        for (const { file, name, value } of own) {
          if (real.has(name))
            expect([file, name, value]).toEqual([file, name, real.get(name) as number]);
        }
      },
    );

    testWithCompiler(
      "constants in objects of lib/linux/socket-options.ts equal those of the headers",
      () => {
        const text = readFileSync(join(ROOT, "lib/linux/socket-options.ts"), "utf8");
        for (const [source, names] of OBJECT_CONSTANTS) {
          const values = source.exec(text)?.slice(1).map(Number);
          const real = probe(
            compiler,
            HEADERS,
            names.map((name) => print(name, name)),
          );
          expect([names, values]).toEqual([names, names.map((name) => real.get(name) as number)]);
        }
      },
    );

    testWithCompiler("copies of C constants in ffi/ and lib/ equal those of the headers", () => {
      const constants = libraryConstants().filter(
        ({ name }) =>
          C_CONSTANT_NAME.test(name) && !NOT_IN_C.has(name) && !(name in LAYOUT_CONSTANTS),
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

describe("the interface between c/shim.c and ffi/", () => {
  const entries = SHIM.slice(SHIM.indexOf("entries[] = {"));
  const table = [...entries.slice(0, entries.indexOf("};")).matchAll(/\(void \*\)(\w+)/g)];
  const names = table.map((match) => match[1] as string);

  test("c/shim.c includes no header", () => {
    expect(SHIM).not.toMatch(/^\s*#\s*include/m);
  });

  test("both declare the same ABI version and the same struct ready", () => {
    expect(defined("SHIM_ABI")).toBe(SHIM_ABI);
    expect(READY).toEqual({ size: 16, tokenLow: 0, tokenHigh: 4, events: 8 });
    expect(SHIM).toMatch(/struct ready \{\s*u64 token;\s*u32 events;\s*u32 padding;\s*\};/);
  });

  test("the entry table of the shim has the order of SYMBOLS", () => {
    expect(names).toEqual(Object.keys(SYMBOLS));
    expect(names.length).toBeGreaterThan(20);
  });

  test("every symbol has the argument and return types of its C function", () => {
    for (const name of names) {
      const { args = [], returns } = SYMBOLS[name as keyof Shim];
      expect([name, ...args.map(String), String(returns)]).toEqual([name, ...prototype(name)]);
    }
  });
});

/** Returns the value of a macro that c/shim.c defines as a decimal number. */
function defined(name: string): number {
  return Number(new RegExp(`^#define ${name} (\\d+)$`, "m").exec(SHIM)?.[1]);
}

/** Returns the bun:ffi types of a C function: those of its arguments, then that of its result. */
function prototype(name: string): string[] {
  const match = new RegExp(`^([\\w ]+[ *])${name}\\(([^)]*)\\) \\{`, "m").exec(SHIM);
  if (match === null) throw new Error(`function ${name} expected in c/shim.c, got none`);
  const [, result, parameters] = match as unknown as [string, string, string];
  const types = parameters.trim() === "void" ? [] : parameters.split(",").map(ffiType);
  return [...types, ffiType(result)];
}

function ffiType(declaration: string): string {
  if (declaration.includes("*")) return "ptr";
  const type = /\b(u64|u32|i32|int|double|void)\b/.exec(declaration)?.[1] ?? declaration;
  return { int: "i32", double: "f64" }[type] ?? type;
}
