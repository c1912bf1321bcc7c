/**
 * A Worker that creates its reactor, as its first socket does, and reports when the main thread may
 * terminate it: `"random"` before the call, `"adopted"` when Bun has adopted the descriptor of the
 * notifier, a state that then lasts until the end.
 */

import { loadNativeThread } from "../../lib/readiness/thread-reactor.ts";

declare const self: Worker;

type Adopt = (options: { fd?: number }) => Promise<unknown>;

/** Makes the adoption of a descriptor by `Bun[name]` report itself and never resolve. */
function stopAfter(name: "udpSocket" | "connect"): void {
  const adopt = Bun[name] as unknown as Adopt;
  const replacement: Adopt = (options) => {
    const adopted = adopt(options);
    if (options.fd === undefined) return adopted;
    self.postMessage("adopted");
    return new Promise(() => {});
  };
  Object.assign(Bun, { [name]: replacement });
}

self.onmessage = ({ data }: MessageEvent<"random" | "adopted">) => {
  if (data === "random") self.postMessage("opening");
  else for (const name of ["udpSocket", "connect"] as const) stopAfter(name);
  loadNativeThread().catch(() => {});
};
