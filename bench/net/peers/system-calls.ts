/** Counts the system calls of this library's sockets. */

import type { SocketCounters } from "../../../lib/index.ts";

/** Returns a function that returns the total number of system calls of `sockets` so far. */
export function systemCallsOf(...sockets: readonly { readonly counters: SocketCounters }[]) {
  return (): number =>
    sockets.reduce((sum, { counters }) => sum + counters.receiveCalls + counters.sendCalls, 0);
}
