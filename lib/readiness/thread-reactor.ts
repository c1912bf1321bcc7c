/** The reactor of this thread, created and probed when the first socket needs it. */

import { loadNative, type Native } from "../../ffi/native.ts";
import { warn } from "../support/warn.ts";
import type { ReadinessMode } from "./notifier.ts";
import { Reactor } from "./reactor.ts";

/** The environment variable that selects a mode: `loop` or `thread`. */
const MODE_VARIABLE = "DATAGRAM_SOCKET_READINESS";

/** The native functions and the reactor of a thread. */
export interface NativeThread {
  readonly native: Native;
  readonly reactor: Reactor;
}

/** The native functions and the reactor of a thread, or the reason why they are unavailable. */
export type NativeThreadResult = NativeThread | { readonly reason: string };

let result: Promise<NativeThreadResult> | undefined;

/** Returns the reactor of this thread, which the first call creates. Never rejects. */
export function loadNativeThread(): Promise<NativeThreadResult> {
  result ??= createReactor();
  return result;
}

async function createReactor(): Promise<NativeThreadResult> {
  const loaded = loadNative();
  if ("reason" in loaded) return loaded;
  const requested = process.env[MODE_VARIABLE];
  const modes: ReadinessMode[] = requested === "thread" ? ["thread"] : ["loop", "thread"];
  const failures: string[] = [];
  for (const mode of modes) {
    try {
      const reactor = await Reactor.create(loaded.native, mode);
      if (failures.length > 0) warn(`readiness uses a helper thread: ${failures[0]}`);
      return { native: loaded.native, reactor };
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { reason: failures.join("; ") };
}
