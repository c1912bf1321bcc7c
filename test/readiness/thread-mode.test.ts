/**
 * Runs the tests of waiting in readiness mode "thread", in a child process because the mode is
 * selected once per thread.
 */

import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT, testIf } from "../ffi/tools.ts";
import { BACKENDS, CHILD_TIMEOUT_MS, runCommand } from "../tools/sockets.ts";

const FILES = [
  "readiness/fairness",
  "sockets/descriptor-ownership",
  "sockets/lifetime",
  "sockets/udp-send-recv",
  "sockets/udp-errors",
  "sockets/unix",
  "sockets/unix-backpressure",
  "sockets/pending-operations",
  "sockets/worker",
];

// `bun test` ignores a path that does not exist.
test.each(FILES)("test/%s.test.ts exists", (name) => {
  expect(existsSync(join(ROOT, `test/${name}.test.ts`))).toBe(true);
});

// A process with a requested mode, as the child is, does not repeat them.
testIf(BACKENDS.length < 2 ? "DATAGRAM_SOCKET_READINESS is set" : undefined)(
  "the tests of waiting pass in readiness mode thread",
  async () => {
    const files = FILES.map((name) => `./test/${name}.test.ts`);
    const env = { DATAGRAM_SOCKET_READINESS: "thread" };
    const command = [process.execPath, "test", "--timeout", "60000", ...files];
    const { exitCode, stderr } = await runCommand(command, env);
    // Has the failures of the child.
    if (exitCode !== 0) console.error(stderr);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/\d{2,} pass/);
  },
  4 * CHILD_TIMEOUT_MS,
);
