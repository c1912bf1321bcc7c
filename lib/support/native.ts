/** Loads the native functions, or throws if that is not possible at the moment. */

import { loadNative, type Native, type NativeResult } from "../../ffi/native.ts";
import { SocketError } from "./errors.ts";
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
