/**
 * Compiles and links the shim: the only place that calls `cc` and `linkSymbols`.
 *
 * Loading is lazy, happens once a thread, and never throws: where it fails, `loadShim` says why
 * and the library goes on without (`backend: "portable"`).
 */

import { cc, type FFIFunction, type Library, linkSymbols, type Pointer } from "bun:ffi";
import importedPath from "../c/shim.c" with { type: "file" };
import { SHIM_ABI } from "./layout.ts";
import { type Shim, SYMBOLS } from "./symbols.ts";

/** The shim with the addresses of its destructors for `toArrayBuffer`. */
export interface LoadedShim {
  readonly shim: Shim;
  readonly reactorDestroy: Pointer;
  readonly memoryUnmap: Pointer;
  readonly descriptorsClose: Pointer;
}

/** The shim, or why there is none. */
export type ShimResult = LoadedShim | { readonly reason: string };

/** Absolute already, save in a bundle: there it is relative to the bundle, not to the process. */
const sourcePath = importedPath.startsWith("/")
  ? importedPath
  : `${import.meta.dir}/${importedPath}`;

/** Where a program made by `bun build --compile` finds its files: TinyCC cannot read there. */
const EMBEDDED_PREFIX = "/$bunfs/";

/**
 * An ar(5) archive without members. TinyCC insists on a `libc.so` or `libc.a` (development files,
 * which slim images leave out) and then finds the symbols in the running process anyway.
 */
const EMPTY_ARCHIVE = "!<arch>\n";

/** The one function that `cc` itself binds; it answers the addresses of all others. */
interface Entries {
  shim_entry(index: number): Pointer | null;
}

/**
 * What keeps the code and its wrappers alive. SAFETY: `linkSymbols` holds plain addresses into
 * the code that `cc` owns, so both live as long as the thread.
 */
const keepAlive: unknown[] = [];

let result: ShimResult | undefined;

/** The shim, compiled at the first call of each thread (5 to 25 ms). */
export function loadShim(): ShimResult {
  result ??= tryLoad();
  return result;
}

function tryLoad(): ShimResult {
  if (process.platform !== "linux") return { reason: `no shim for ${process.platform}` };
  if (process.arch !== "x64" && process.arch !== "arm64") {
    return { reason: `no shim for ${process.arch}` };
  }
  try {
    return compileAndLink();
  } catch (error) {
    return { reason: `bun:ffi cannot compile the shim: ${String(error)}` };
  }
}

function compileAndLink(): ShimResult {
  const compiled = compileAnywhere(sourcePath);
  const entries = compiled.symbols as unknown as Entries;
  const linkable = {} as Record<keyof Shim, FFIFunction & { ptr: Pointer }>;
  for (const [index, [name, types]] of Object.entries(SYMBOLS).entries()) {
    const address = entries.shim_entry(index);
    if (address === null) throw new Error(`shim entry ${index} (${name}) expected, got none`);
    linkable[name as keyof Shim] = { ...types, ptr: address };
  }
  const linked = linkSymbols(linkable);
  keepAlive.push(compiled, linked);
  const shim = linked.symbols as unknown as Shim;
  const abi = shim.shim_abi();
  if (abi !== SHIM_ABI) throw new Error(`shim ABI expected ${SHIM_ABI}, got ${abi}`);
  return {
    shim,
    reactorDestroy: linkable.reactor_destroy.ptr,
    memoryUnmap: linkable.memory_unmap.ptr,
    descriptorsClose: linkable.descriptors_close.ptr,
  };
}

type Compiled = Library<Record<string, { args: ["u32"]; returns: "ptr" }>>;

/** Compiles where the source lies, or else in a directory that has what TinyCC misses. */
function compileAnywhere(source: string): Compiled {
  if (!source.startsWith(EMBEDDED_PREFIX)) {
    try {
      return compile(source);
    } catch {
      // Tried again below, whose error is the one that tells.
    }
  }
  return compileInTemporaryDirectory(source);
}

function compileInTemporaryDirectory(source: string): Compiled {
  // Mostly not needed, and `node:fs` takes 2 ms to load.
  const { mkdtempSync, readFileSync, rmSync, writeFileSync } = process.getBuiltinModule("node:fs");
  const { tmpdir } = process.getBuiltinModule("node:os");
  const directory = mkdtempSync(`${tmpdir()}/datagram-socket-`);
  try {
    const copy = `${directory}/shim.c`;
    writeFileSync(copy, readFileSync(source));
    writeFileSync(`${directory}/libc.a`, EMPTY_ARCHIVE);
    // Quoted: the options are one text that TinyCC splits at spaces.
    return compile(copy, `-L${JSON.stringify(directory)}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function compile(source: string, flags?: string): Compiled {
  const symbols = { shim_entry: { args: ["u32"], returns: "ptr" } } as const;
  return cc({ source, symbols, ...(flags === undefined ? {} : { flags }) });
}
