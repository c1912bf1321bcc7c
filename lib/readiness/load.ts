/** The reactor of a thread: made and probed when the first socket needs it. */

import { loadNative, type Native } from "../../ffi/native.ts";
import { warn } from "../support/warn.ts";
import type { ReadinessMode } from "./bell.ts";
import { Reactor } from "./reactor.ts";

/** Environment variable that asks for one way: `loop` or `thread`. */
const MODE_VARIABLE = "DATAGRAM_SOCKET_READINESS";

/** The reactor of a thread, or why it has none. */
export type ReactorResult =
  | { readonly native: Native; readonly reactor: Reactor }
  | { readonly reason: string };

let result: Promise<ReactorResult> | undefined;

/** The thread's reactor, made and probed at the first call; never rejects. */
export function loadReactor(): Promise<ReactorResult> {
  result ??= makeReactor();
  return result;
}

async function makeReactor(): Promise<ReactorResult> {
  const loaded = loadNative();
  if ("reason" in loaded) return loaded;
  const asked = process.env[MODE_VARIABLE];
  const modes: ReadinessMode[] = asked === "thread" ? ["thread"] : ["loop", "thread"];
  const failures: string[] = [];
  for (const mode of modes) {
    try {
      const reactor = await Reactor.create(loaded.native, mode);
      if (failures.length > 0) warn(`readiness by a helper thread, as ${failures[0]}`);
      return { native: loaded.native, reactor };
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { reason: failures.join("; ") };
}
