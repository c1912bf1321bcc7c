/** The simulation finds planted faults: a test of the simulation itself. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { runCommand } from "../tools/sockets.ts";
import { MUTANTS } from "./mutants.ts";

const ROOT = join(import.meta.dir, "../..");
/** What the simulation consists of. */
const SOURCES = ["lib", "ffi", "c", "examples/flow-proxy", "test/sim", "package.json"];
/** The number of seeds within which a fault must be found. */
const SEEDS = "300";
/** A seed takes some ten milliseconds. */
const HANG_SECONDS = "3";
const TIMEOUT_MS = 60_000;

let copy = "";

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "datagram-socket-mutants-"));
  for (const path of SOURCES) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    cpSync(join(ROOT, path), join(copy, path), { recursive: true });
  }
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

/** Runs seeds with the sources of the copy. */
async function simulate(seeds: string) {
  const program = [process.execPath, join(copy, "test/sim/main.ts")];
  const options = ["--seeds", seeds, "--failures", "1", "--hang-seconds", HANG_SECONDS];
  return await runCommand([...program, ...options]);
}

describe("the simulation", () => {
  test("passes without a fault", async () => {
    const { exitCode, stdout } = await simulate("20");
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining("20 passed, 0 failed")]);
  });

  for (const { name, file, text, by } of MUTANTS) {
    test(
      `finds that ${name}, and prints the command that runs the seed again`,
      async () => {
        const path = join(copy, file);
        const source = readFileSync(path, "utf8");
        expect([file, source.includes(text)]).toEqual([file, true]);
        try {
          writeFileSync(
            path,
            source.replace(text, () => by),
          );
          const { exitCode, stderr } = await simulate(SEEDS);
          const command = /^replay: npm run test:sim -- --seed \d+$/m.exec(stderr)?.[0];
          // Without an exit code if it was killed because it hangs.
          expect([exitCode !== 0, command, stderr]).toEqual([true, expect.any(String), stderr]);
        } finally {
          writeFileSync(path, source);
        }
      },
      TIMEOUT_MS,
    );
  }
});
