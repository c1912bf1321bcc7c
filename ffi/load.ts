/**
 * Compiles and links the shim: the only file that calls `cc` and `linkSymbols`.
 *
 * Each thread does so once, on first use. A failure is not thrown: `loadShim` returns the reason,
 * and the library uses the portable backend.
 */

import { cc, type FFIFunction, type Library, linkSymbols, type Pointer } from "bun:ffi";
import importedPath from "../c/shim.c" with { type: "file" };
import { SHIM_ABI } from "./layout.ts";
import { type Shim, SYMBOLS } from "./symbols.ts";

/** The entries of the shim, and the addresses of its destructors for `toArrayBuffer`. */
export interface LoadedShim {
  readonly shim: Shim;
  readonly pollerDestroy: Pointer;
  readonly memoryUnmap: Pointer;
  readonly descriptorsClose: Pointer;
}

/** The shim, or the reason why it is unavailable. */
export type ShimResult = LoadedShim | { readonly reason: string };

/** The path is absolute, except in a bundle, where it is relative to the bundle. */
const sourcePath = importedPath.startsWith("/")
  ? importedPath
  : `${import.meta.dir}/${importedPath}`;

/** The file system embedded by `bun build --compile`, which TinyCC cannot read. */
const EMBEDDED_PREFIX = "/$bunfs/";

/**
 * An ar(5) archive without members. TinyCC requires a `libc.so` or `libc.a`, which slim images lack
 * as they are development files. It resolves the symbols in the running process.
 */
const EMPTY_ARCHIVE = "!<arch>\n";

/** The only function that `cc` binds. It returns the addresses of the others. */
interface Entries {
  shim_entry(index: number): Pointer | null;
}

/**
 * Keeps the code and its wrappers alive. SAFETY: `linkSymbols` has plain addresses of the code that
 * `cc` owns, so both must live as long as the thread.
 */
const keepAlive: unknown[] = [];

let result: ShimResult | undefined;

/** Returns the shim, which the first call of each thread compiles (5 to 25 ms). */
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
    pollerDestroy: linkable.poller_destroy.ptr,
    memoryUnmap: linkable.memory_unmap.ptr,
    descriptorsClose: linkable.descriptors_close.ptr,
  };
}

type Compiled = Library<Record<string, { args: ["u32"]; returns: "ptr" }>>;

/** Compiles the source in place or, if that fails, in a directory with an empty `libc.a`. */
function compileAnywhere(source: string): Compiled {
  if (!source.startsWith(EMBEDDED_PREFIX)) {
    try {
      return compile(source);
    } catch {
      // Retried below. Its error is more specific.
    }
  }
  return compileInTemporaryDirectory(source);
}

function compileInTemporaryDirectory(source: string): Compiled {
  // Loaded on demand: `node:fs` takes 2 ms to load.
  const { mkdtempSync, readFileSync, rmSync, writeFileSync } = process.getBuiltinModule("node:fs");
  const { tmpdir } = process.getBuiltinModule("node:os");
  const directory = mkdtempSync(`${tmpdir()}/datagram-socket-`);
  try {
    const copy = `${directory}/shim.c`;
    writeFileSync(copy, readFileSync(source));
    writeFileSync(`${directory}/libc.a`, EMPTY_ARCHIVE);
    // Quoted, because TinyCC splits the flags at spaces.
    return compile(copy, `-L${JSON.stringify(directory)}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function compile(source: string, flags?: string): Compiled {
  const symbols = { shim_entry: { args: ["u32"], returns: "ptr" } } as const;
  return cc({ source, symbols, ...(flags === undefined ? {} : { flags }) });
}
