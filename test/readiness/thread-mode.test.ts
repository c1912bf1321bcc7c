/**
 * The fallback of readiness, the helper thread: every test that has to do with waiting passes with
 * it as it does with Bun's loop. They run in a process of their own, as the choice is made once.
 */

import { expect, test } from "bun:test";
import { BACKENDS, CHILD_TIMEOUT_MS, runCommand } from "../tools/sockets.ts";

const FILES = [
  "readiness/fairness",
  "sockets/descriptors",
  "sockets/lifetime",
  "sockets/udp-data",
  "sockets/udp-errors",
  "sockets/unix",
  "sockets/unix-flow",
  "sockets/wait",
  "sockets/worker",
];

// In that process itself there is nothing to repeat.
test.skipIf(BACKENDS.length < 2)(
  "with a helper thread for readiness the tests of waiting pass",
  async () => {
    const files = FILES.map((name) => `./test/${name}.test.ts`);
    const env = { DATAGRAM_SOCKET_READINESS: "thread" };
    const command = [process.execPath, "test", "--timeout", "60000", ...files];
    const { exitCode, stderr } = await runCommand(command, env);
    // What failed is told there.
    if (exitCode !== 0) console.error(stderr);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/\d{2,} pass/);
  },
  4 * CHILD_TIMEOUT_MS,
);
