/** The flow proxy and the promise layer on simulated networks: a thousand seeds. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { LOSS_REASONS } from "../../lib/testing/event.ts";
import { runCommand } from "../tools/sockets.ts";
import { failureText, runSeed, runSeeds } from "./seeds.ts";

const SEEDS = 1000;
const FAILURES_MAX = 3;
const TIMEOUT_MS = 120_000;
const MAIN = join(import.meta.dir, "main.ts");

/** The drops of the proxy that scenarios must cause in some seeds. */
const DROPS = [
  "ingress: oversize",
  "ingress: unknownFlow",
  "ingress: refused",
  "ingress: amplified",
  "ingress: stale",
  "ingress: closed",
  "egress: malformed",
  "egress: refused",
  "egress: amplified",
  "egress: stale",
  "egress: opening",
  "egress: blocked",
  "egress: failed",
];

describe("simulations", () => {
  test(
    `of ${SEEDS} seeds keep all invariants, and meet every kind of fault`,
    async () => {
      const lost: Record<string, number> = {};
      const drops: Record<string, number> = {};
      let refused = 0;
      const moved = { ingress: 0, egress: 0 };
      const failures = await runSeeds(1, SEEDS, {
        failuresMax: FAILURES_MAX,
        onRun: ({ proxy, promises }) => {
          refused += promises.refused;
          add(lost, proxy.report.lost);
          add(drops, proxy.drops);
          add(moved, proxy.moved);
        },
      });
      expect(failures.map(failureText)).toEqual([]);
      expect(refused).toBeGreaterThan(SEEDS / 10);
      // Every host of the scenarios exists.
      expect(LOSS_REASONS.filter((reason) => lost[reason] === 0)).toEqual(["no-host"]);
      expect(DROPS.filter((reason) => !drops[reason])).toEqual([]);
      expect([moved.ingress > 100, moved.egress > 100]).toEqual([true, true]);
    },
    TIMEOUT_MS,
  );

  test("of the same seed are the same run, also in another process", async () => {
    const digests: string[] = [];
    for (const seed of [1, 2, 3, 4, 5]) {
      const first = await runSeed(seed);
      expect(await runSeed(seed)).toEqual(first);
      digests.push(`seed ${seed}: ${first.proxy.digest} ${first.promises.digest}`);
    }
    expect(new Set(digests).size).toBe(5);
    const command = [process.execPath, MAIN, "--seeds", "5", "--digests"];
    const { exitCode, stdout } = await runCommand(command);
    expect([exitCode, stdout.split("\n").slice(0, 5)]).toEqual([0, digests]);
  });
});

function add(sums: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
}
