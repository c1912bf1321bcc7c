/** Starts the server processes of the demonstration, and receives their reports. */

import { join } from "node:path";
import type { EchoCounts } from "./echo-server.ts";
import type { ServerConfig, ServerReport } from "./server.ts";

const PROGRAM = join(import.meta.dir, "server.ts");

/** A server process. */
export interface ServerProcess {
  /** The port, as soon as the process serves. */
  readonly port: Promise<number>;
  /** What it has done, when it has ended. Rejects if its exit code is not 0. */
  readonly counts: Promise<EchoCounts>;
  /** Makes it answer what it has received, and end. */
  stop(): void;
  kill(): void;
}

/** Starts a server process. */
export function startServer(config: ServerConfig): ServerProcess {
  const port = Promise.withResolvers<number>();
  let counts: EchoCounts | undefined;
  const child = Bun.spawn([process.execPath, PROGRAM, JSON.stringify(config)], {
    stdout: "inherit",
    stderr: "inherit",
    ipc(message: ServerReport) {
      if ("port" in message) port.resolve(message.port);
      else counts = message.counts;
    },
  });
  const ended = child.exited.then((code) => {
    const error = new Error(`a server expected to exit with its counts and code 0, got ${code}`);
    port.reject(error);
    if (code !== 0 || counts === undefined) throw error;
    return counts;
  });
  // They are awaited later, or not at all if the demonstration fails earlier.
  port.promise.catch(() => {});
  ended.catch(() => {});
  return {
    port: port.promise,
    counts: ended,
    stop: () => child.kill("SIGTERM"),
    kill: () => child.kill("SIGKILL"),
  };
}
