/**
 * Steady-state send and receive allocate nothing per datagram. The tests are in
 * test/children/steady-state.ts. They detect allocations by garbage collections, whose frequency
 * depends on the size of the heap, so they run in a process of their own, which has a small heap.
 */

import { expect, test } from "bun:test";
import { CHILD_TIMEOUT_MS, runCommand } from "../tools/sockets.ts";

test(
  "the tests of steady-state allocation pass in a new process",
  async () => {
    const file = "./test/children/steady-state.ts";
    const { exitCode, stderr } = await runCommand([process.execPath, "test", file]);
    // Contains the names of the failed tests.
    if (exitCode !== 0) console.error(stderr);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/[4-9] pass/);
  },
  4 * CHILD_TIMEOUT_MS,
);
