/** Sockets under the fake timers of a test runner, which stop the timers and clocks of the engine. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { loadNative } from "../../ffi/native.ts";
import { CHILD_TIMEOUT_MS, runCommand } from "../tools/sockets.ts";

const TEST = "./test/children/fake-timers.ts";
const PRELOAD = join(import.meta.dir, "../ffi/children/suppress-udp-handler.ts");

test.skipIf(!("native" in loadNative())).each([
  ["loop", "", [], {}],
  ["thread", "thread", [], {}],
  ["thread", "", ["--preload", PRELOAD], { SUPPRESSED_HANDLER: "error" }],
  ["thread", "", ["--preload", PRELOAD], { SUPPRESSED_HANDLER: "drain" }],
] as const)(
  "sockets work in mode %s (DATAGRAM_SOCKET_READINESS=%p, %p)",
  async (mode, requested, flags, env) => {
    const command = [process.execPath, "test", ...flags, TEST];
    const { exitCode, stderr } = await runCommand(command, {
      ...env,
      EXPECTED_MODE: mode,
      DATAGRAM_SOCKET_READINESS: requested,
    });
    if (exitCode !== 0) console.error(stderr);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/\b3 pass/);
  },
  CHILD_TIMEOUT_MS,
);
