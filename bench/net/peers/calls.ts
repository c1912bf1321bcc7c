/** What this library's sockets count. */

import type { SocketCounters } from "../../../lib/index.ts";

/** The system calls of sockets so far, together. */
export function callsOf(...sockets: readonly { readonly counters: SocketCounters }[]) {
  return (): number =>
    sockets.reduce((sum, { counters }) => sum + counters.receiveCalls + counters.sendCalls, 0);
}
