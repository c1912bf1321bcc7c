/** The processes of the network benchmarks: started, heard line by line, and ended. */

import { setPriority } from "node:os";
import { BYTES_VARIABLE } from "./datagrams.ts";
import { referencePath } from "./programs.ts";

/** What a program prints: a JSON object a line. */
export type Line = Record<string, number>;

/** A program that takes the roles of peers/peer.ts. */
export interface Program {
  /** What starts it, for datagrams of so many bytes. */
  readonly command: (bytes: number) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What a benchmark runs at, where it may: other programs of the machine disturb it less then. */
const NICE = -15;
/** What takes longer does not come: no role is silent for so long, no tool runs for so long. */
const TIMEOUT_MS = 30_000;

/** Lets this process and those it starts go before others, if it may: whether it may. */
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
  /** The next line it prints. @throws Error when it ends, or stays silent for too long. */
  next<Printed = Line>(): Promise<Printed>;
  /** Answers it, on its standard input. */
  answer(): void;
  /** Ends its standard input. */
  endInput(): void;
  /** Ends it, if it still runs, and waits until it is gone. */
  kill(): Promise<void>;
}

/** Those that run: some would do so for ever. */
const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill();
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

/** Starts a program that prints JSON objects, one a line. */
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
      if (done) throw new Error(`${command.slice(3).join(" ")} ended or hung without a result`);
      return JSON.parse(value) as Printed;
    },
    answer: () => {
      child.stdin.write("\n");
      child.stdin.flush();
    },
    endInput: () => void child.stdin.end(),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

/** Where something runs: contenders and loads have a half of the processors each. */
type Half = "contender" | "load";

/** Starts a program in a role, on its half of the processors. */
export function startRole(
  { command, env }: Program,
  { bytes, half = "contender" }: { readonly bytes: number; readonly half?: Half },
  ...role: (string | number)[]
): Running {
  const whole = [...on(half), ...command(bytes), ...role.map(String)];
  return start(whole, { [BYTES_VARIABLE]: String(bytes), ...env });
}

/** Starts a program that needs all processors. */
export function startEverywhere(
  { command, env = {} }: Program,
  bytes: number,
  ...role: (string | number)[]
): Running {
  return start([...command(bytes), ...role.map(String)], {
    [BYTES_VARIABLE]: String(bytes),
    ...env,
  });
}

/** Starts the C program as a tool that is a contender's load. */
export function startLoad(bytes: number, ...tool: (string | number)[]): Running {
  return startRole(REFERENCE, { bytes, half: "load" }, ...tool);
}

/** Runs the C program as a load to its end: what it printed. */
export function runLoad(bytes: number, ...tool: (string | number)[]): readonly Line[] {
  return run([...on("load"), referencePath(bytes), ...tool.map(String)]);
}

/** Microseconds that a fixed piece of work takes on this machine now. */
export function readGauge(): number {
  return run([referencePath(), "gauge"])[0]?.gaugeUs as number;
}

/** Microseconds that a process and all its threads, ended ones too, have had a processor. */
export function readProcessorClock(pid: number): number {
  return run([referencePath(), "clock", String(pid)])[0]?.cpuUs as number;
}

const REFERENCE: Program = { command: (bytes) => [referencePath(bytes)] };

function on(half: Half): readonly string[] {
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

/** Runs a program to its end: the JSON it printed. */
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
