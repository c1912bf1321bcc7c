/** `bun --hot`: each reload evaluates the library again, which must not accumulate anything. */

import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Holdings } from "../children/hot-reload.ts";
import { CHILD_TIMEOUT_MS, endedWell, runCommand } from "../tools/sockets.ts";

const RELOADS = 50;

/** The reloads after which Bun has started its threads. */
const WARM_UP = 10;

/** Less than one for each reload, as Bun may start a thread or map memory at any time. */
const GROWTH_MAX = (RELOADS - WARM_UP) / 2;

const LIBRARY = join(import.meta.dir, "../../lib/index.ts");
const PROGRAM = join(import.meta.dir, "../children/hot-reload.ts");

/** Runs the program, which is reloaded when it writes its file: a copy. */
async function runHot(mode: string): Promise<{ copies: number; holdings: Holdings[] }> {
  const directory = mkdtempSync(join(tmpdir(), "datagram-socket-hot-"));
  try {
    const path = join(directory, "main.ts");
    const program = readFileSync(PROGRAM, "utf8");
    writeFileSync(path, program.replace("../../lib/index.ts", LIBRARY));
    // An exception does not end a program that runs with --hot.
    const command = [process.execPath, "--hot", "--no-clear-screen", path];
    const readiness = mode === "loop" ? {} : { DATAGRAM_SOCKET_READINESS: mode };
    const env = { RELOADS: String(RELOADS), ...readiness };
    const child = await runCommand(command, env, { timeoutMs: 40_000 });
    const lines = endedWell(child).trim().split("\n");
    return JSON.parse(lines.at(-1) as string);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test.concurrent.each(["loop", "thread"])(
  "50 reloads keep descriptors, threads and mappings, and sockets of all loads work: mode %s",
  async (mode) => {
    const { copies, holdings } = await runHot(mode);
    // Each load has evaluated the library again.
    expect(copies).toBe(RELOADS + 1);
    expect(holdings.length).toBe(RELOADS + 1);
    const [first] = holdings as [Holdings];
    const warm = holdings[WARM_UP] as Holdings;
    for (const { descriptors, epolls, threads, mappings } of holdings.slice(WARM_UP)) {
      expect([descriptors, epolls]).toEqual([warm.descriptors, first.epolls]);
      expect(threads - warm.threads).toBeLessThan(GROWTH_MAX);
      expect(mappings - warm.mappings).toBeLessThan(GROWTH_MAX);
    }
  },
  CHILD_TIMEOUT_MS,
);
