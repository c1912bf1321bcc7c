/** The reactor of this thread, created and probed when the first socket needs it. */

import type { Native } from "../../ffi/native.ts";
import { readVariable } from "../support/environment.ts";
import { lackError, loadFunctions } from "../support/native.ts";
import { sharedValue } from "../support/thread-state.ts";
import { useSystemClock } from "../support/timers.ts";
import { warn } from "../support/warn.ts";
import type { ReadinessMode } from "./notifier.ts";
import { Reactor } from "./reactor.ts";

/** The native functions and the reactor of a thread. */
export interface NativeThread {
  readonly native: Native;
  readonly reactor: Reactor;
}

/** The native functions and the reactor of a thread, or the reason why they are unavailable. */
export type NativeThreadResult = NativeThread | { readonly reason: string };

let result: Promise<NativeThreadResult> | undefined;

/**
 * Returns the reactor of this thread, which the first call creates, or the reason why that is not
 * possible. Both last as long as the thread, also for further copies of the library; an error does
 * not last.
 *
 * @throws SocketError if the process is out of descriptors, memory or threads; RangeError for an
 * invalid value of the environment variable `DATAGRAM_SOCKET_READINESS`.
 */
export const loadNativeThread: () => Promise<NativeThreadResult> = sharedValue(
  "loadNativeThread",
  () => load,
);

function load(): Promise<NativeThreadResult> {
  result ??= createReactor().catch((error) => {
    result = undefined;
    throw error;
  });
  return result;
}

async function createReactor(): Promise<NativeThreadResult> {
  const requested = readVariable("DATAGRAM_SOCKET_READINESS");
  const loaded = loadFunctions("cc");
  if ("reason" in loaded) return loaded;
  const { native } = loaded;
  useSystemClock(() => native.monotonicMs());
  const modes: ReadinessMode[] = requested === "thread" ? ["thread"] : ["loop", "thread"];
  const failures: string[] = [];
  for (const mode of modes) {
    try {
      const reactor = await Reactor.create(native, mode);
      if (failures.length > 0) warn(`readiness uses a helper thread: ${failures[0]}`);
      return { native, reactor };
    } catch (error) {
      const lack = lackError(error, "socket");
      if (lack !== undefined) throw lack;
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { reason: failures.join("; ") };
}
