/**
 * Runs the microbenchmarks: every `*.bench.ts` of this folder registers its groups when imported,
 * and mitata runs them all once.
 *
 *     bun bench/micro/main.ts [--json] [pattern]
 *
 * `--json` prints mitata's JSON instead of tables; `pattern` is a regular expression that the
 * names of the files must match. A file that checks its results throws before anything is timed.
 */

import { run } from "mitata";

const args = process.argv.slice(2);
const asJson = args.includes("--json");
const pattern = new RegExp(args.find((arg) => !arg.startsWith("--")) ?? "");

const files = await Array.fromAsync(new Bun.Glob("*.bench.ts").scan(import.meta.dir));
for (const file of files.sort()) {
  if (pattern.test(file)) await import(`./${file}`);
}

await run({ format: asJson ? "json" : "mitata" });
