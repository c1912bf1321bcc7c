/** Where and of what a run of the benchmarks was: the head of its results. */

import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import type { Results } from "./results.ts";

const ROOT = join(import.meta.dir, "..");
const BYTES_A_GIB = 2 ** 30;

/** What Results say beside the samples; to be called when the run starts. */
export function describeRun(command: string): Omit<Results, "samples"> {
  return {
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      kernel: release(),
      memoryGiB: Math.round(totalmem() / BYTES_A_GIB),
    },
    versions: versions(),
    commit: commit(),
    startedAt: new Date().toISOString(),
    command,
  };
}

/** The command line that started this, as one types it. */
export function commandLine(script: string): string {
  const rest = process.argv.slice(2);
  return [`npm run ${script}`, ...(rest.length > 0 ? ["--", ...rest] : [])].join(" ");
}

/** The path of a program that bench/package.json names; undefined where it is not installed. */
export function installed(program: string): string | undefined {
  return Bun.which(program, { PATH: join(ROOT, "bench/node_modules/.bin") }) ?? undefined;
}

/** Of what takes part, as far as it is there. */
function versions(): Record<string, string> {
  const deno = installed("deno");
  const found: Record<string, string | undefined> = {
    bun: Bun.version,
    node: firstWord(["node", "--version"])?.slice(1),
    deno: deno && firstWord([deno, "--version"], 1),
    gcc: firstWord(["gcc", "-dumpfullversion"]),
    "unix-dgram": packageVersion("bench/node_modules/unix-dgram"),
    mitata: packageVersion("node_modules/mitata"),
    library: packageVersion("."),
  };
  return Object.fromEntries(
    Object.entries(found).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function packageVersion(folder: string): string | undefined {
  try {
    return (require(join(ROOT, folder, "package.json")) as { version: string }).version;
  } catch {
    return undefined;
  }
}

function commit(): string {
  const head = firstWord(["git", "rev-parse", "HEAD"]);
  if (head === undefined) return "unknown";
  // Results that an earlier run has written change nothing that is measured.
  const changes = ["git", "status", "--porcelain", "--", ".", ":!bench/results"];
  return firstWord(changes) === undefined ? head : `${head}-dirty`;
}

/** A word of what a program prints, undefined where it is not there, fails or prints nothing. */
function firstWord(command: string[], index = 0): string | undefined {
  try {
    const { exitCode, stdout } = Bun.spawnSync(command, { cwd: ROOT, stderr: "ignore" });
    return exitCode === 0 ? stdout.toString().trim().split(/\s+/)[index] || undefined : undefined;
  } catch {
    return undefined;
  }
}
