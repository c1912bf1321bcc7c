/**
 * Compiles and links the shim: the only file that calls `cc` and `linkSymbols`.
 *
 * Code compiled by `cc` is never freed, so a process compiles the shim once: the first thread
 * publishes its address, and the other threads link the same code. Each thread loads the shim on
 * first use. A failure is not thrown: `loadShim` returns the reason, and the library uses the
 * portable backend.
 */

import { cc, type FFIFunction, type Library, linkSymbols, type Pointer, ptr, read } from "bun:ffi";
import source from "../c/shim.c" with { type: "text" };
import { SHIM_ABI } from "./layout.ts";
import { Libc } from "./libc.ts";
import { type Shim, SYMBOLS } from "./symbols.ts";

/** The entries of the shim, and the addresses of its destructors for `toArrayBuffer`. */
export interface LoadedShim {
  readonly shim: Shim;
  readonly pollerDestroy: Pointer;
  readonly memoryUnmap: Pointer;
  readonly descriptorsDestroy: Pointer;
}

/** The reason why the shim is unavailable. */
export interface Unavailable {
  readonly reason: string;
  /**
   * EMFILE, ENFILE or ENOMEM (errno(3)) if the process is out of descriptors or memory, so that a
   * later call may succeed; 0 if the reason is permanent.
   */
  readonly errno: number;
}

/** The shim, or the reason why it is unavailable. */
export type ShimResult = LoadedShim | Unavailable;

/**
 * The oldest version whose `cc` is used. Versions 1.4.0 to 1.4.2 crash on slim systems, and 1.4.0
 * ignores `--no-ffi-cc`.
 */
const BUN_VERSION_MIN: readonly number[] = [1, 4, 3];

/**
 * An ar(5) archive without members. TinyCC requires a `libc.so` or `libc.a`, which slim images lack
 * as they are development files. It resolves the symbols in the running process.
 */
const EMPTY_ARCHIVE = "!<arch>\n";

/** Identifies the source: a process may load several versions of the library. */
const PUBLIC_NAME = `datagram-socket-${Bun.hash(source).toString(16)}`;

/** The size of a pointer in bytes. */
const POINTER_BYTES = 8;

/**
 * Keeps the code and its wrappers alive. SAFETY: `linkSymbols` has plain addresses of the code that
 * `cc` owns, and other threads use them after this thread has ended. Bun frees the code only on an
 * explicit `close()`, which is called only for code that was neither published nor linked.
 */
const keepAlive: unknown[] = [];

let result: ShimResult | undefined;

/**
 * Returns the shim, which the first call of each thread links (1 ms) and the first call of the
 * process compiles (5 to 25 ms). A failure for lack of descriptors or memory is not remembered.
 */
export function loadShim(): ShimResult {
  if (result !== undefined) return result;
  const loaded = tryLoad();
  if ("shim" in loaded || loaded.errno === 0) result = loaded;
  return loaded;
}

/** Returns whether the `cc` of that version of Bun can compile the shim. */
export function isSupportedBun(version: string): boolean {
  const numbers = version.split(/[.+-]/, 3).map(Number);
  for (const [i, min] of BUN_VERSION_MIN.entries()) {
    const number = numbers[i] ?? 0;
    if (number !== min) return number > min;
  }
  return true;
}

function tryLoad(): ShimResult {
  const { arch, platform } = process;
  const version = process.versions.bun;
  if (platform !== "linux") return unavailable(`no shim for ${platform}`);
  if (arch !== "x64" && arch !== "arm64") return unavailable(`no shim for ${arch}`);
  if (!isSupportedBun(version)) {
    const expected = `Bun ${BUN_VERSION_MIN.join(".")} or later expected`;
    return unavailable(`${expected} for the shim, got ${version}`);
  }
  // Without `using`: an older Bun must be able to parse the bundle, to warn about its version.
  const libc = Libc.open();
  try {
    return link(findEntries(libc));
  } catch (error) {
    const text = String(error).replace(/\.$/, "");
    const reason = `bun:ffi cannot compile the shim: ${text}${adviceFor(error)}`;
    return unavailable(reason, libc?.findLack());
  } finally {
    libc?.close();
  }
}

/** Returns what to change so that the shim can be loaded, or an empty string if it is not known. */
function adviceFor(error: unknown): string {
  const { code, syscall } = Object(error) as { code?: unknown; syscall?: unknown };
  if (code === "ERR_FFI_CC_DISABLED") return ". To use the native backend, remove --no-ffi-cc";
  // All system calls that fail here belong to the temporary directory.
  if (syscall === undefined) return "";
  return ". Mount /proc, or set TMPDIR to a writable directory";
}

function unavailable(reason: string, errno = 0): Unavailable {
  return { reason, errno };
}

/** A table of the addresses of the entries, which ends with 0, and the code if it is new. */
interface Entries {
  readonly table: Pointer;
  readonly compiled: Compiled | undefined;
}

/** Returns the entries that the process has, or compiles them. */
function findEntries(libc: Libc | undefined): Entries {
  const published = libc?.findPublished(PUBLIC_NAME);
  if (published !== undefined) return { table: published, compiled: undefined };
  const compiled = compile(libc);
  // Threads that start at the same time compile at the same time. One copy is enough.
  const other = libc?.findPublished(PUBLIC_NAME);
  if (other !== undefined) {
    compiled.close();
    return { table: other, compiled: undefined };
  }
  const { shim_entries } = compiled.symbols as unknown as EntrySymbols;
  return { table: shim_entries(), compiled };
}

function link({ table, compiled }: Entries): LoadedShim {
  const linkable = {} as Record<keyof Shim, FFIFunction & { ptr: Pointer }>;
  for (const [index, [name, types]] of Object.entries(SYMBOLS).entries()) {
    // SAFETY: every address before has been tested, so that the table has this element.
    const address = read.ptr(table, index * POINTER_BYTES) as Pointer;
    if (!address) throw new Error(`shim entry ${index} (${name}) expected, got none`);
    linkable[name as keyof Shim] = { ...types, ptr: address };
  }
  const linked = linkSymbols(linkable);
  keepAlive.push(compiled, linked);
  const shim = linked.symbols as unknown as Shim;
  const abi = shim.shim_abi();
  if (abi !== SHIM_ABI) throw new Error(`shim ABI expected ${SHIM_ABI}, got ${abi}`);
  // If that fails, other threads compile the shim for themselves.
  if (compiled !== undefined) shim.shim_publish(ptr(Buffer.from(`${PUBLIC_NAME}\0`)));
  return {
    shim,
    pollerDestroy: linkable.poller_destroy.ptr,
    memoryUnmap: linkable.memory_unmap.ptr,
    descriptorsDestroy: linkable.descriptors_destroy.ptr,
  };
}

/** The only function that `cc` binds. */
interface EntrySymbols {
  shim_entries(): Pointer;
}

type Compiled = Library<Record<string, { args: []; returns: "ptr" }>>;

/**
 * Compiles the source: from memory, or from a temporary directory if that is not possible, for
 * instance because /proc/self/fd is not accessible.
 */
function compile(libc: Libc | undefined): Compiled {
  if (libc === undefined) return compileInTemporaryDirectory();
  try {
    return compileInMemory(libc);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_FFI_CC_DISABLED") throw error;
    // A directory takes descriptors as well.
    if (libc.findLack() !== 0) throw error;
    return compileInTemporaryDirectory();
  }
}

/** If a Worker is terminated meanwhile, the memory file stays open. */
function compileInMemory(libc: Libc): Compiled {
  const file = libc.createMemoryFile(source);
  const [, directory, name] = /^(.*)\/([^/]+)$/.exec(libc.path) as RegExpExecArray;
  // With libc itself TinyCC needs neither a `libc.so` nor a `libc.a`.
  const flags = `-nostdlib -L${JSON.stringify(directory)}`;
  try {
    return compileFile(file.path, { flags, library: [`:${name}`] });
  } finally {
    file.close();
  }
}

function compileInTemporaryDirectory(): Compiled {
  // Loaded on demand: `node:fs` takes 2 ms to load.
  const { mkdtempSync, rmdirSync, rmSync, writeFileSync } = process.getBuiltinModule("node:fs");
  const { tmpdir } = process.getBuiltinModule("node:os");
  const directory = mkdtempSync(`${tmpdir()}/datagram-socket-`);
  const path = `${directory}/shim.c`;
  const archive = `${directory}/libc.a`;
  try {
    writeFileSync(path, source);
    writeFileSync(archive, EMPTY_ARCHIVE);
    // Quoted, because TinyCC splits the flags at spaces.
    return compileFile(path, { flags: `-L${JSON.stringify(directory)}` });
  } finally {
    // Without `recursive`, which takes a descriptor.
    rmSync(path, { force: true });
    rmSync(archive, { force: true });
    rmdirSync(directory);
  }
}

function compileFile(path: string, options: { flags: string; library?: string[] }): Compiled {
  const symbols = { shim_entries: { args: [], returns: "ptr" } } as const;
  return cc({ source: path, symbols, ...options });
}
