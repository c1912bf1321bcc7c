/** Runs the flow proxy's command in a child process. */

import { join } from "node:path";
import type { Subprocess } from "bun";

const MAIN = join(import.meta.dir, "../../examples/flow-proxy/main.ts");

/** The exit code and the output of a process. */
export interface ProxyResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Returns the command line with `args`, after a `prefix` such as `ip netns exec NAME`. */
export function proxyCommand(args: readonly string[], prefix: readonly string[] = []): string[] {
  return [...prefix, process.execPath, MAIN, ...args];
}

/** Runs the command, and waits until it exits. */
export async function runProxy(
  args: readonly string[],
  { prefix, env }: { prefix?: readonly string[]; env?: Record<string, string> } = {},
): Promise<ProxyResult> {
  const child = Bun.spawn(proxyCommand(args, prefix), {
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

/** A running process of an ingress, an egress, an origin or a demo. */
export class RunningProxy implements AsyncDisposable {
  /** The address that it listens on, as printed by the process. */
  readonly address: string;
  readonly #child: Subprocess<"ignore", "pipe", "pipe">;

  private constructor(child: Subprocess<"ignore", "pipe", "pipe">, address: string) {
    this.#child = child;
    this.address = address;
  }

  /** Starts the command with `args`, and waits until it prints the address that it listens on. */
  static async start(
    args: readonly string[],
    prefix: readonly string[] = [],
  ): Promise<RunningProxy> {
    const child = Bun.spawn(proxyCommand([...args, "--json"], prefix), {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let output = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      output += part.value;
      const address = /^(?:ingress|egress|origin) on ([^\s,]+).*\n/m.exec(output)?.[1];
      if (address === undefined) continue;
      // The process continues to write: the pipe must not be closed, nor fill up.
      void drain(reader);
      return new RunningProxy(child, address);
    }
    throw new Error(`${args.join(" ")} exited with ${await child.exited}: ${output}`);
  }

  /** The port of `address`. */
  get port(): number {
    return Number(/\d+$/.exec(this.address)?.[0]);
  }

  /** Stops the process with a signal, and returns its exit code and its summary. */
  async stop(
    signal: "SIGINT" | "SIGTERM" = "SIGTERM",
  ): Promise<{ code: number; summary: unknown }> {
    this.#child.kill(signal);
    const text = await new Response(this.#child.stdout).text();
    return { code: await this.#child.exited, summary: JSON.parse(text) };
  }

  /** Sends a signal. */
  kill(signal: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

async function drain(reader: { read(): Promise<{ done: boolean }> }): Promise<void> {
  while (!(await reader.read()).done);
}
