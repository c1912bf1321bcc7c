/** Replaces a loaded server several times, and compares the counts of both sides. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SocketAddress } from "../../lib/index.ts";
import type { EchoCounts } from "./echo-server.ts";
import { type LoadCounts, runLoad } from "./load.ts";
import { type ServerProcess, startServer } from "./processes.ts";
import type { Way } from "./server.ts";

/** Options of `replaceServers`. */
export interface ReplaceOptions {
  readonly way: Way;
  readonly replacements: number;
  /** How long each server runs under load, in milliseconds. */
  readonly intervalMs: number;
}

/** The result of one way. */
export interface Outcome {
  readonly way: Way;
  readonly replacements: number;
  readonly load: LoadCounts;
  /** The sums of all servers. */
  readonly servers: EchoCounts;
  readonly seconds: number;
}

/** Returns what is wrong with the counts; empty if nothing is. */
export function faultsOf({ load, servers }: Outcome): string[] {
  const faults: string[] = [];
  const expectEqual = (what: string, got: number, expected: number) => {
    if (got !== expected) faults.push(`${what} expected ${expected}, got ${got}`);
  };
  if (load.requests === 0) faults.push("requests expected, got none");
  expectEqual("requests lost", load.lost, 0);
  expectEqual("requests answered twice", load.twice, 0);
  expectEqual("wrong replies", load.wrong, 0);
  expectEqual("requests that the servers received", servers.received, load.requests);
  expectEqual("replies that the servers sent", servers.answered, load.requests);
  expectEqual("requests that the servers dropped", servers.dropped, 0);
  return faults;
}

/** Starts a server, and replaces it `replacements` times while clients send requests. */
export async function replaceServers(options: ReplaceOptions): Promise<Outcome> {
  const { way, replacements, intervalMs } = options;
  const startMs = performance.now();
  // Created with mode 0700: no other user can ask for the sockets.
  const folder = mkdtempSync(join(tmpdir(), "restart-"));
  const controlPath = join(folder, "control");
  const stopLoad = new AbortController();
  const started: ServerProcess[] = [];
  try {
    let current = startServer({ way, controlPath });
    started.push(current);
    const port = await current.port;
    const load = runLoad(SocketAddress.parse(`127.0.0.1:${port}`), stopLoad.signal);
    const totals: EchoCounts[] = [];
    for (let i = 0; i < replacements; i++) {
      await Bun.sleep(intervalMs);
      const successor = startServer({ way, controlPath, replaces: port });
      started.push(successor);
      await successor.port;
      totals.push(await current.counts);
      current = successor;
    }
    await Bun.sleep(intervalMs);
    stopLoad.abort();
    const loadCounts = await load;
    current.stop();
    totals.push(await current.counts);
    const seconds = (performance.now() - startMs) / 1000;
    return { way, replacements, load: loadCounts, servers: sumOf(totals), seconds };
  } finally {
    stopLoad.abort();
    for (const server of started) server.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

function sumOf(counts: readonly EchoCounts[]): EchoCounts {
  const sum = (count: (of: EchoCounts) => number) =>
    counts.reduce((total, of) => total + count(of), 0);
  return {
    received: sum(({ received }) => received),
    answered: sum(({ answered }) => answered),
    answeredAfterStop: sum(({ answeredAfterStop }) => answeredAfterStop),
    dropped: sum(({ dropped }) => dropped),
  };
}
