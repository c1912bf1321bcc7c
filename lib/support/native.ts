/**
 * Loads the native functions, and recognizes failures for lack of descriptors, memory or threads.
 * These are temporary: the call fails, nothing is concluded about the system, and a later call may
 * succeed.
 */

import { loadNative, type Native, type NativeResult } from "../../ffi/native.ts";
import { errnoCode, SocketError } from "./errors.ts";
import { sharedValue } from "./thread-state.ts";

/** As `loadNative` of ffi/native.ts. Further copies of the library call that of the first. */
export const loadThreadNative: () => NativeResult = sharedValue("loadNative", () => loadNative);

/** The native functions of a thread, or the permanent reason why there are none. */
export type FunctionsResult = { readonly native: Native } | { readonly reason: string };

/**
 * Returns the native functions of this thread, or the permanent reason why there are none.
 *
 * @param syscall the call that needs them.
 * @throws SocketError if the process is out of descriptors or memory.
 */
export function loadFunctions(syscall: string): FunctionsResult {
  const loaded = loadThreadNative();
  if ("native" in loaded || loaded.errno === 0) return loaded;
  throw new SocketError({ errno: loaded.errno, syscall, detail: loaded.reason });
}

/** ENOSPC: the limit of epoll registrations (epoll_ctl(2)); EAGAIN: that of threads. */
const LACK_CODES: ReadonlySet<unknown> = new Set([
  "EAGAIN",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
  "ENOSPC",
]);

/** Returns whether an errno means a lack of descriptors, memory or threads. */
export function isLack(errno: number): boolean {
  return errno !== 0 && LACK_CODES.has(errnoCode(errno));
}

/**
 * Returns the `SocketError` for an error that means such a lack; absent for other errors. An error
 * of Bun becomes a `SocketError` of `syscall`.
 */
export function lackError(error: unknown, syscall: string): SocketError | undefined {
  const { code, errno, message } = (error ?? {}) as Partial<Record<string, unknown>>;
  if (!LACK_CODES.has(code)) return undefined;
  if (error instanceof SocketError) return error;
  return new SocketError({
    errno: typeof errno === "number" ? Math.abs(errno) : 0,
    code: String(code),
    syscall,
    detail: String(message),
    cause: error,
  });
}
