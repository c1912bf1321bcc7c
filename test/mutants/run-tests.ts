/** Runs test files in a copy of the checkout, with a time limit. */

import { chmodSync, mkdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Mutant } from "./mutant.ts";

/** What the tests said: `reason` is the first failed test, the signal, or the end of the output. */
export interface TestResult {
  readonly outcome: "passed" | "failed" | "timed out";
  readonly reason: string;
  readonly ms: number;
}

export interface TestRun extends Pick<Mutant, "tests" | "env"> {
  /** The root of the copy. */
  readonly root: string;
  readonly limitMs: number;
}

/** The limit of one test within a file, so that a test that hangs ends before its file. */
const TEST_TIMEOUT_MS = "20000";
const HARNESS = "shim-harness.c";
const REASON_CHARACTERS_MAX = 160;
const OUTPUT_BYTES_MAX = 2 ** 20;

/** Returns the command that runs all test files, and stops at the first failure. */
function commandOf(tests: readonly string[]): string[] {
  const files = tests.filter((file) => !file.endsWith(HARNESS)).map((file) => `'./${file}'`);
  const commands = tests
    .filter((file) => file.endsWith(HARNESS))
    .map((file) => `gcc -std=gnu11 -w -o "$TMPDIR/harness" '${file}' && "$TMPDIR/harness"`);
  if (files.length > 0) {
    const options = `--bail --timeout ${TEST_TIMEOUT_MS}`;
    commands.push(`'${process.execPath}' test ${options} ${files.join(" ")}`);
  }
  return ["bash", "-c", commands.join(" && ")];
}

/** Kills every process that runs in the copy: children of tests that were killed or that leaked. */
function killLeftovers(root: string): void {
  for (const pid of new Bun.Glob("[0-9]*").scanSync({ cwd: "/proc", onlyFiles: false })) {
    try {
      if (readlinkSync(`/proc/${pid}/cwd`).startsWith(root)) process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended, or belongs to another user.
    }
  }
}

function reasonOf(output: string, exitCode: number | null, signal: unknown): string {
  const failed = /^(?:\(fail\)|FAIL).*$/m.exec(output)?.[0];
  if (failed !== undefined) return failed.slice(0, REASON_CHARACTERS_MAX);
  if (signal !== null) return `signal ${signal}`;
  return `exit code ${exitCode}: ${output.trimEnd().slice(-REASON_CHARACTERS_MAX)}`;
}

/** Reads a stream to its end, and returns its start: a mutant may print without end. */
async function startOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    if (bytes < OUTPUT_BYTES_MAX) chunks.push(chunk);
    bytes += chunk.length;
  }
  return Buffer.concat(chunks).toString();
}

/** Runs the test files. A process that is killed by a signal has failed. */
export async function runTests({ root, tests, env = [], limitMs }: TestRun): Promise<TestResult> {
  const startMs = performance.now();
  const temporary = join(root, "tmp");
  mkdirSync(temporary, { recursive: true });
  // As /tmp: some tests run a child as another user.
  chmodSync(temporary, 0o1777);
  const child = Bun.spawn(commandOf(tests), {
    cwd: root,
    env: {
      ...process.env,
      NO_COLOR: "1",
      TMPDIR: temporary,
      ...Object.fromEntries(env.map((entry) => entry.split("=", 2) as [string, string])),
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    killLeftovers(root);
  }, limitMs);
  const outputs = Promise.all([startOf(child.stderr), startOf(child.stdout)]);
  await child.exited;
  clearTimeout(timer);
  // A leaked child would keep the pipes open.
  killLeftovers(root);
  rmSync(temporary, { recursive: true, force: true });
  const output = (await outputs).join("\n");
  const ms = performance.now() - startMs;
  if (isLate) return { outcome: "timed out", reason: `no result within ${limitMs} ms`, ms };
  if (child.exitCode === 0) return { outcome: "passed", reason: "", ms };
  return { outcome: "failed", reason: reasonOf(output, child.exitCode, child.signalCode), ms };
}
