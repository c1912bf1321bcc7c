/** Mutants: edits of the sources, each a plausible mistake that the tests must notice. */

/** One edit. The name states the mistake in plain words. */
export interface Mutant {
  readonly name: string;
  /** The file to edit, relative to the root. */
  readonly file: string;
  /** The text to replace, which must occur exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /**
   * The test files that must notice it, relative to the root: files of `bun test`, or the C harness
   * `test/native/shim-harness.c`, which is compiled and run.
   */
  readonly tests: readonly string[];
  /** Environment variables for the tests: "DATAGRAM_SOCKET_READINESS=thread". */
  readonly env?: readonly string[];
}

/** The mutants of one file in areas/. */
export interface Area {
  readonly name: string;
  readonly mutants: readonly Mutant[];
}

/**
 * Returns the source with the mistake.
 *
 * @throws Error that starts with "stale mutant" unless `find` occurs exactly once, and if the edit
 * changes nothing.
 */
export function mutated(source: string, { name, file, find, replace }: Mutant): string {
  const count = find === "" ? 0 : source.split(find).length - 1;
  if (count !== 1) {
    const text = JSON.stringify(find);
    throw new Error(`stale mutant "${name}": ${text} occurs ${count} times in ${file}, not once`);
  }
  if (find === replace) throw new Error(`stale mutant "${name}": replaces a text by itself`);
  return source.replace(find, () => replace);
}

/**
 * Returns why tests cannot judge the mutated source; absent if they can. A mistake that no compiler
 * accepts proves nothing about the tests.
 */
export function syntaxError(file: string, source: string): string | undefined {
  if (file.endsWith(".ts")) {
    try {
      new Bun.Transpiler({ loader: "ts" }).transformSync(source);
    } catch (error) {
      return String(error);
    }
  } else if (file.endsWith(".c") && Bun.which("gcc") !== null) {
    const { exitCode, stderr } = Bun.spawnSync(["gcc", "-std=gnu11", "-fsyntax-only", "-xc", "-"], {
      stdin: Buffer.from(source),
      stderr: "pipe",
    });
    if (exitCode !== 0) return stderr.toString();
  }
  return undefined;
}
