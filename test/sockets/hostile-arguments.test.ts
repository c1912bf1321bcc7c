/**
 * Hostile arguments: accessors that transfer memory or use the socket, arrays that lie about their
 * memory. The tests run in a child process, which a failure may crash.
 */

import { expect, test } from "bun:test";
import { CHILD_TIMEOUT_MS, endedWell, runCommand, runScript } from "../tools/sockets.ts";

const TESTS_MIN = 60;
const FUZZ_RUNS = 150;

test(
  "hostile arguments neither crash the process, nor write to foreign memory, nor lose datagrams",
  async () => {
    const path = "./test/children/hostile-arguments.ts";
    const { exitCode, stderr } = await runCommand([process.execPath, "test", path]);
    const failures = stderr.split("\n").filter((line) => !line.startsWith("(pass)"));
    expect([exitCode, exitCode === 0 ? "" : failures.join("\n")]).toEqual([0, ""]);
    expect(Number(/(\d+) pass/.exec(stderr)?.[1])).toBeGreaterThan(TESTS_MIN);
  },
  2 * CHILD_TIMEOUT_MS,
);

test(
  "random calls with random hostile arguments neither crash nor lose or duplicate a datagram",
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const child = await runScript("hostile-fuzz.ts", { args: [String(seed), String(FUZZ_RUNS)] });
    // A crash prints no counterexample: the seed repeats it.
    if (child.exitCode !== 0) console.error(`hostile-fuzz.ts ${seed} ${FUZZ_RUNS}`);
    expect(JSON.parse(endedWell(child)).made).toBeGreaterThan(FUZZ_RUNS);
  },
  2 * CHILD_TIMEOUT_MS,
);
