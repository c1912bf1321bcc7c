/** Helpers of the tests of ffi/: the loaded shim, child processes, and skipping with a reason. */

import { test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { loadShim } from "../../ffi/load.ts";
import { loadNative, type Native } from "../../ffi/native.ts";
import type { Shim } from "../../ffi/symbols.ts";

/** The root of the repository. */
export const ROOT: string = resolve(import.meta.dir, "../..");

/** Returns `test` if there is no `reason` to skip. Otherwise prints it and returns `test.skip`. */
export function testIf(reason: string | undefined): typeof test {
  if (reason === undefined) return test;
  console.warn(`skipped: ${reason}`);
  return test.skip as unknown as typeof test;
}

/** Returns which of `programs` are not installed, as a reason to skip; `undefined` if all are. */
export function missing(...programs: string[]): string | undefined {
  const absent = programs.filter((program) => Bun.which(program) === null);
  return absent.length === 0 ? undefined : `${absent.join(", ")} not installed`;
}

/** Creates a directory that is removed at the end of the scope. */
export function temporaryDirectory(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "datagram-socket-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** The result of a child process. */
export interface Run {
  /** The exit code; `null` if a signal ended the process. */
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Options of `run`. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** When to kill the process. */
  readonly timeoutMs?: number;
}

/** Runs a command, and waits for its end. */
export function run(command: string[], options: RunOptions = {}): Run {
  const { cwd = ROOT, env = {}, timeoutMs } = options;
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, {
    cwd,
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
  });
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
}

/**
 * Runs a command, and returns its output.
 *
 * @throws Error if the exit code is not 0.
 */
export function output(command: string[], options?: RunOptions): string {
  const { code, out, err } = run(command, options);
  if (code !== 0) throw new Error(`${command.join(" ")} expected exit code 0, got ${code}\n${err}`);
  return out;
}

/**
 * Returns the system calls.
 *
 * @throws Error if the shim cannot be loaded.
 */
export function loadedNative(): Native {
  const loaded = loadNative();
  if ("reason" in loaded) throw new Error(loaded.reason);
  return loaded.native;
}

/**
 * Returns the entries of the shim.
 *
 * @throws Error if it cannot be loaded.
 */
export function loadedShim(): Shim {
  const loaded = loadShim();
  if ("reason" in loaded) throw new Error(loaded.reason);
  return loaded.shim;
}

/** Opens two connected Unix sockets of a type, which are closed at the end of the scope. */
export function openPair(
  native: Native,
  type: number,
): { readonly left: number; readonly right: number } & Disposable {
  const result = native.pair(1, type);
  if (result < 0) throw new Error(`socketpair expected 0, got ${result}`);
  const [left, right] = [native.scratch[0] as number, native.scratch[1] as number];
  const close = () => {
    native.close(left);
    native.close(right);
  };
  return { left, right, [Symbol.dispose]: close };
}
