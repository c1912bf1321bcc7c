/** Processes in network namespaces, and the calls from this process to them. */

import { join } from "node:path";

/** How long a call may take. */
const CALL_MS_MAX = 30_000;

/** The functions of a process, by name. Arguments and results must be JSON. */
// biome-ignore lint/suspicious/noExplicitAny: each function has its own types.
export type Functions = Record<string, (argument: any) => unknown>;

interface Call {
  readonly name: string;
  readonly argument: unknown;
}

type Result = { readonly value: unknown } | { readonly error: string };

/** A process that serves functions. Calls are made one after the other. */
export class Child<F extends Functions> implements Disposable {
  readonly #process: Bun.Subprocess;
  #pending: PromiseWithResolvers<unknown> | undefined;

  /** Starts the program `file` of this folder in a namespace. */
  constructor(namespace: string, file: string) {
    const command = [process.execPath, join(import.meta.dir, file)];
    this.#process = Bun.spawn(["ip", "netns", "exec", namespace, ...command], {
      stdout: "inherit",
      stderr: "inherit",
      ipc: (result: Result) => {
        if ("error" in result) this.#pending?.reject(new Error(result.error));
        else this.#pending?.resolve(result.value);
      },
      onExit: (_, code) => this.#pending?.reject(new Error(`${file} has ended with code ${code}`)),
    });
  }

  /**
   * Calls a function.
   *
   * @throws Error if it throws, takes too long, or if the process ends.
   */
  async call<Name extends keyof F & string>(
    name: Name,
    argument: Parameters<F[Name]>[0],
  ): Promise<Awaited<ReturnType<F[Name]>>> {
    this.#pending = Promise.withResolvers();
    const { promise, reject } = this.#pending;
    const timer = setTimeout(() => reject(new Error(`${name}: no result`)), CALL_MS_MAX);
    this.#process.send({ name, argument } satisfies Call);
    return (await promise.finally(() => clearTimeout(timer))) as Awaited<ReturnType<F[Name]>>;
  }

  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL");
  }
}

/** Serves functions to the process that has started this one, and ends with it. */
export function serveFunctions(functions: Functions): void {
  process.on("message", async ({ name, argument }: Call) => {
    let result: Result;
    try {
      result = { value: (await functions[name]?.(argument)) ?? null };
    } catch (error) {
      result = { error: `${name}: ${(error as Error).message}` };
    }
    process.send?.(result);
  });
  process.on("disconnect", () => process.exit(1));
}
