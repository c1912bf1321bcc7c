/**
 * Steady-state sending and receiving allocates nothing per datagram. Judged by the garbage
 * collector, whose habits depend on the heap: so in a process of its own, which has a small one.
 */

import { expect, test } from "bun:test";
import { CHILD_TIMEOUT_MS, runCommand } from "../tools/sockets.ts";

test(
  "in a fresh process, the tests of what is allocated pass",
  async () => {
    const file = "./test/children/steady-state.ts";
    const { exitCode, stderr } = await runCommand([process.execPath, "test", file]);
    // What failed is told there.
    if (exitCode !== 0) console.error(stderr);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/[4-9] pass/);
  },
  4 * CHILD_TIMEOUT_MS,
);
