/**
 * Runs a function of a test in a process of its own inside a network namespace. The function is
 * passed as source text: it may use its parameters only, not the variables around it.
 *
 *     const sent = await runIn(namespace, async ({ UdpSocket }, port) => { ... }, 53);
 */

import { join } from "node:path";

const LIB = join(import.meta.dir, "../../lib/index.ts");

/** How long a process may take. */
const TIMEOUT_MS = 20_000;

type Library = typeof import("../../lib/index.ts");

/** Options of the process. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** A command to prepend, such as `["strace", "-e", ...]`. */
  readonly prefix?: readonly string[];
}

/** Runs `run` in a namespace, and returns its result, which must be JSON. */
export async function runIn<Argument, Result>(
  namespace: string | undefined,
  run: (lib: Library, argument: Argument) => Promise<Result>,
  argument: Argument,
  { env = {}, prefix = [] }: RunOptions = {},
): Promise<Result> {
  const source = `
    const lib = await import(${JSON.stringify(LIB)});
    const result = await (${run})(lib, ${JSON.stringify(argument)});
    process.stdout.write("\\n" + JSON.stringify(result ?? null) + "\\n", () => process.exit(0));`;
  const enter = namespace === undefined ? [] : ["ip", "netns", "exec", namespace];
  const child = Bun.spawn([...enter, ...prefix, process.execPath, "-e", source], {
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: TIMEOUT_MS,
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const last = out.trim().split("\n").at(-1) ?? "";
  if (code !== 0) throw new Error(`process expected exit code 0, got ${code}: ${err}${out}`);
  return JSON.parse(last) as Result;
}
