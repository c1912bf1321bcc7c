/** Runs the flow proxy's command as a process of its own, for the tests that want all of it. */

import { join } from "node:path";
import type { Subprocess } from "bun";

const MAIN = join(import.meta.dir, "../../examples/flow-proxy/main.ts");

/** A finished run. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command with `args`; `prefix` comes in front, such as `ip netns exec`. */
export function proxyCommand(args: readonly string[], prefix: readonly string[] = []): string[] {
  return [...prefix, process.execPath, MAIN, ...args];
}

/** Runs the command until it ends. */
export async function runProxy(
  args: readonly string[],
  { prefix, env }: { prefix?: readonly string[]; env?: Record<string, string> } = {},
): Promise<Finished> {
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

/** A part of the proxy that is running. */
export class RunningProxy implements AsyncDisposable {
  /** Where it listens, as it printed it. */
  readonly address: string;
  readonly #child: Subprocess<"ignore", "pipe", "pipe">;

  private constructor(child: Subprocess<"ignore", "pipe", "pipe">, address: string) {
    this.#child = child;
    this.address = address;
  }

  /** Starts `ingress`, `egress` or `origin`, and waits until it says where it listens. */
  static async start(
    args: readonly string[],
    prefix: readonly string[] = [],
  ): Promise<RunningProxy> {
    const child = Bun.spawn(proxyCommand([...args, "--json"], prefix), {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const lines = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let said = "";
    for (let part = await lines.read(); !part.done; part = await lines.read()) {
      said += part.value;
      const address = /^(?:ingress|egress|origin) on ([^\s,]+).*\n/m.exec(said)?.[1];
      if (address === undefined) continue;
      // It goes on writing: the pipe must stay open, and be emptied.
      void drain(lines);
      return new RunningProxy(child, address);
    }
    throw new Error(`${args.join(" ")} ended with ${await child.exited}: ${said}`);
  }

  /** The port of its address. */
  get port(): number {
    return Number(/\d+$/.exec(this.address)?.[0]);
  }

  /** Ends it by a signal: its exit code and what its summary says. */
  async stop(
    signal: "SIGINT" | "SIGTERM" = "SIGTERM",
  ): Promise<{ code: number; summary: unknown }> {
    this.#child.kill(signal);
    const text = await new Response(this.#child.stdout).text();
    return { code: await this.#child.exited, summary: JSON.parse(text) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

async function drain(reader: { read(): Promise<{ done: boolean }> }): Promise<void> {
  while (!(await reader.read()).done);
}
