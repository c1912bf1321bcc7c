/** The machine, software versions and commit of a benchmark run. */

import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import type { Results } from "./results.ts";

const ROOT = join(import.meta.dir, "..");
const BYTES_PER_GIB = 2 ** 30;

/** Returns the head of the results of a run. Call it when the run starts. */
export function describeRun(command: string): Omit<Results, "samples"> {
  return {
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      kernel: release(),
      memoryGiB: Math.round(totalmem() / BYTES_PER_GIB),
    },
    versions: versions(),
    commit: commit(),
    startedAt: new Date().toISOString(),
    command,
  };
}

/** Returns the command line that started this process through an npm script. */
export function commandLine(script: string): string {
  const options = process.argv.slice(2);
  return [`npm run ${script}`, ...(options.length > 0 ? ["--", ...options] : [])].join(" ");
}

/** Returns the path of a program that bench/package.json names. Undefined if not installed. */
export function installed(program: string): string | undefined {
  return Bun.which(program, { PATH: join(ROOT, "bench/node_modules/.bin") }) ?? undefined;
}

/** Returns the versions of the software that is installed. */
function versions(): Record<string, string> {
  const deno = installed("deno");
  const found: Record<string, string | undefined> = {
    bun: Bun.version,
    node: wordOf(["node", "--version"])?.slice(1),
    deno: deno && wordOf([deno, "--version"], 1),
    gcc: wordOf(["gcc", "-dumpfullversion"]),
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
  const head = wordOf(["git", "rev-parse", "HEAD"]);
  if (head === undefined) return "unknown";
  // Results of an earlier run do not change what is measured.
  const changes = ["git", "status", "--porcelain", "--", ".", ":!bench/results"];
  return wordOf(changes) === undefined ? head : `${head}-dirty`;
}

/** Returns a word of what a program prints. Undefined if it is missing, fails or prints nothing. */
function wordOf(command: string[], index = 0): string | undefined {
  try {
    const { exitCode, stdout } = Bun.spawnSync(command, { cwd: ROOT, stderr: "ignore" });
    return exitCode === 0 ? stdout.toString().trim().split(/\s+/)[index] || undefined : undefined;
  } catch {
    return undefined;
  }
}
