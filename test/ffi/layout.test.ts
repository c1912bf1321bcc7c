/**
 * Everything that is ABI is written down twice: in the kernel's and libc's headers, and here in C
 * without headers and in TypeScript. Each compiler of the machine prints both; they must agree.
 */

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { READY, SHIM_ABI } from "../../ffi/layout.ts";
import { type Shim, SYMBOLS } from "../../ffi/symbols.ts";
import {
  C_NAME,
  HEADERS,
  IN_OBJECTS,
  LAYOUT_CONSTANTS,
  NOT_IN_C,
  NUMBERS,
  OWN,
  RENAMED,
  STRUCTS,
} from "./abi-tables.ts";
import { missing, output, ROOT, temporaryDirectory, testIf } from "./tools.ts";

const SHIM = readFileSync(join(ROOT, "c/shim.c"), "utf8");

/** What the shim's file defines, by name and without values. */
const DEFINED = [...SHIM.matchAll(/^#define (\w+) /gm)].map((match) => match[1] as string);

interface Constant {
  readonly file: string;
  readonly name: string;
  readonly value: number;
}

/** Constants of ffi/ and lib/ that are numbers, by their source text. */
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
    return lines;
  });
}

/** The shim's constants by the names of the headers. */
function headerLine(name: string): string {
  const real = RENAMED[name];
  return real === undefined ? printIfDefined(name) : print(name, real);
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

    testWhere(
      "the constants in objects of lib/linux/socket-options.ts are those of the headers",
      () => {
        const text = readFileSync(join(ROOT, "lib/linux/socket-options.ts"), "utf8");
        for (const [source, names] of IN_OBJECTS) {
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

    testWhere("the constants of C in ffi/ and lib/ are those of the headers", () => {
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
