/** Starts the processes of the network benchmarks, reads what they print, and ends them. */

import { setPriority } from "node:os";
import { BYTES_VARIABLE } from "./datagrams.ts";
import { referencePath } from "./programs.ts";

/** A JSON object that a program prints on a line. */
export type Line = Record<string, number>;

/** A program that has the roles of peers/run-peer.ts. */
export interface Program {
  /** Returns the command that starts it for datagrams of `bytes` bytes. */
  readonly command: (bytes: number) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The priority of a benchmark, if permitted, so that other programs disturb it less. */
const NICE = -15;
/** A program that prints nothing for this long is killed. */
const TIMEOUT_MS = 30_000;

/** Raises the priority of this process and its children. Returns whether that is permitted. */
export function raisePriority(): boolean {
  try {
    setPriority(NICE);
    return true;
  } catch {
    return false;
  }
}

/** A running process. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /**
   * Waits for the next line that it prints.
   *
   * @throws Error if it exits, or prints nothing for `TIMEOUT_MS`.
   */
  next<Printed = Line>(): Promise<Printed>;
  /** Writes a line to its standard input. */
  resume(): void;
  /** Closes its standard input. */
  endInput(): void;
  /** Kills it, unless it has exited, and waits for its end. */
  kill(): Promise<void>;
}

/** The running processes. Killed when this process exits, since some would never exit. */
const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill();
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

/** Starts a program that prints JSON objects, one per line. */
function start(command: readonly string[], env: Readonly<Record<string, string>>): Running {
  const child = Bun.spawn([...command], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, NODE_NO_WARNINGS: "1", NO_COLOR: "1", ...env },
  });
  running.add(child);
  void child.exited.then(() => running.delete(child));
  const lines = readLines(child.stdout);
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return {
    pid: child.pid,
    async next<Printed>() {
      const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
      const { value, done } = await lines.next();
      clearTimeout(timer);
      if (done) throw new Error(`${command.slice(3).join(" ")} exited or hung without a result`);
      return JSON.parse(value) as Printed;
    },
    resume: () => {
      child.stdin.write("\n");
      child.stdin.flush();
    },
    endInput: () => void child.stdin.end(),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

/** The half of the processors that a program runs on. */
type Half = "contender" | "load";

/** Starts a program in a role, on one half of the processors. */
export function startRole(
  { command, env }: Program,
  { bytes, half = "contender" }: { readonly bytes: number; readonly half?: Half },
  ...role: (string | number)[]
): Running {
  const pinned = [...pinnedTo(half), ...command(bytes), ...role.map(String)];
  return start(pinned, { [BYTES_VARIABLE]: String(bytes), ...env });
}

/** Starts a program in a role, on all processors. */
export function startOnAllProcessors(
  { command, env = {} }: Program,
  bytes: number,
  ...role: (string | number)[]
): Running {
  return start([...command(bytes), ...role.map(String)], {
    [BYTES_VARIABLE]: String(bytes),
    ...env,
  });
}

/** Starts the C program as the load of a contender. */
export function startLoad(bytes: number, ...role: (string | number)[]): Running {
  return startRole(REFERENCE, { bytes, half: "load" }, ...role);
}

/** Runs the C program as the load of a contender until it exits, and returns what it printed. */
export function runLoad(bytes: number, ...role: (string | number)[]): readonly Line[] {
  return run([...pinnedTo("load"), referencePath(bytes), ...role.map(String)]);
}

/** Returns the time that a fixed amount of work takes on this machine now, in microseconds. */
export function readGauge(): number {
  return run([referencePath(), "gauge"])[0]?.gaugeUs as number;
}

/** Returns the CPU time of all threads of a process, including exited ones, in microseconds. */
export function readProcessorClock(pid: number): number {
  return run([referencePath(), "clock", String(pid)])[0]?.cpuUs as number;
}

const REFERENCE: Program = { command: (bytes) => [referencePath(bytes)] };

function pinnedTo(half: Half): readonly string[] {
  return [referencePath(), "on", half];
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

/** Runs a program until it exits, and returns the JSON objects that it printed. */
function run(command: readonly string[]): readonly Line[] {
  const { exitCode, stdout } = Bun.spawnSync([...command], {
    stderr: "inherit",
    timeout: TIMEOUT_MS,
  });
  if (exitCode !== 0) {
    throw new Error(`${command.slice(3).join(" ")} expected exit code 0, got ${exitCode}`);
  }
  const lines = stdout.toString().split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Line);
}
