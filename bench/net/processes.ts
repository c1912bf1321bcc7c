/** The processes of the network benchmarks: started, heard line by line, and ended. */

import { mkdtempSync, rmSync } from "node:fs";
import { setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { DATAGRAM_BYTES } from "./datagrams.ts";

/** What a program prints: a JSON object a line. */
export type Line = Record<string, number>;

/** A program that takes the roles of peers/peer.ts. */
export interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const REFERENCE_VARIABLE = "DATAGRAM_BENCH_REFERENCE";
const REFERENCE_FILES = ["reference.c", "collect.c", "contender.c"];

/** What a benchmark runs at, where it may: other programs of the machine disturb it less then. */
const NICE = -15;

/** Lets this process and those it starts go before others, if it may: whether it may. */
export function raisePriority(): boolean {
  try {
    setPriority(NICE);
    return true;
  } catch {
    return false;
  }
}

/** Compiles the C program, which is removed at exit: its path, which peers learn as well. */
export function compileReference(): string {
  const folder = mkdtempSync(join(tmpdir(), "datagram-bench-"));
  process.on("exit", () => {
    // Some would wait for ever.
    for (const child of running) child.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  const path = join(folder, "reference");
  const files = REFERENCE_FILES.map((file) => join(import.meta.dir, file));
  run(["gcc", "-O2", `-DDATAGRAM_BYTES=${DATAGRAM_BYTES}`, "-o", path, ...files]);
  process.env[REFERENCE_VARIABLE] = path;
  return path;
}

/** The path of the C program that a parent compiled. */
export function referencePath(): string {
  const path = process.env[REFERENCE_VARIABLE];
  if (path === undefined) throw new Error(`${REFERENCE_VARIABLE} is not set`);
  return path;
}

/** The command of a peer in TypeScript. */
export function peer(file: string): readonly string[] {
  return [process.execPath, join(import.meta.dir, "peers", file)];
}

/** A running process. */
export interface Running {
  /** The next line it prints. */
  next<Printed = Line>(): Promise<Printed>;
  /** Ends its standard input. */
  endInput(): void;
  /** Ends it, if it still runs, and waits until it is gone. */
  kill(): Promise<void>;
}

/** Those that run. */
const running = new Set<Bun.Subprocess>();

/** Starts a program that prints JSON objects, one a line. */
export function start(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Running {
  const child = Bun.spawn([...command], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, ...env, NODE_NO_WARNINGS: "1" },
  });
  running.add(child);
  void child.exited.then(() => running.delete(child));
  const lines = readLines(child.stdout);
  return {
    async next<Printed>() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${command.join(" ")} ended without a result`);
      return JSON.parse(value) as Printed;
    },
    endInput: () => void child.stdin.end(),
    async kill() {
      child.kill();
      await child.exited;
    },
  };
}

/** Starts a contender in a role. */
export function startContender({ command, env }: Contender, ...role: (string | number)[]): Running {
  return start([...command, ...role.map(String)], env);
}

/** Starts a contender in a role, on processors that no load gets. */
export function startApart(contender: Contender, ...role: (string | number)[]): Running {
  const command = [referencePath(), "on", "contender", ...contender.command];
  return startContender({ ...contender, command }, ...role);
}

/** Starts the C program as a tool that is a contender's load, on processors of its own. */
export function startLoad(...tool: (string | number)[]): Running {
  return start([referencePath(), "on", "load", referencePath(), ...tool.map(String)]);
}

async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

/** Runs a program to its end: the JSON it printed, if any. */
export function run(command: readonly string[]): Line {
  const { exitCode, stdout } = Bun.spawnSync([...command], { stderr: "inherit" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} expected exit code 0, got ${exitCode}`);
  const text = stdout.toString().trim();
  return text === "" ? {} : (JSON.parse(text) as Line);
}
