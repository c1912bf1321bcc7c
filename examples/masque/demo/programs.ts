/** The programs of the demonstration: server, client, and dnsmasq, each in a process of its own. */

import { join } from "node:path";
import { UdpSocket } from "../../../lib/index.ts";

const MAIN = join(import.meta.dir, "../main.ts");
const START_MS_MAX = 10_000;

/** A running program. */
export interface Program extends AsyncDisposable {
  readonly port: number;
  /** Ends the program, and returns what it prints then: its counters. */
  end(): Promise<string>;
}

/**
 * Starts the proxy or a client with `--listen`, and waits until it is ready.
 *
 * @throws Error if it exits, or is not ready in time.
 */
export function startMasque(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const isClient = args[0] === "client";
  const pattern = isClient
    ? /client on [^\n]*?:(\d+), [\s\S]*connected to the proxy/
    : /server on [^\n]*:(\d+)\n/;
  return start([process.execPath, MAIN, ...args, "--json"], pattern, undefined, environment);
}

/** Starts dnsmasq, which resolves `name` to `address`. */
export async function startDnsmasq(name: string, address: string): Promise<Program> {
  // A port that was free just now: `--port=0` disables DNS (dnsmasq(8)).
  const probe = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const { port } = probe.localAddr;
  probe.close();
  const options = ["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"];
  const binding = ["--bind-interfaces", "--listen-address=127.0.0.1", `--port=${port}`];
  const command = ["dnsmasq", ...options, ...binding, `--address=/${name}/${address}`];
  return start(command, /started/, port);
}

async function start(
  command: readonly string[],
  isReady: RegExp,
  fixedPort?: number,
  environment: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...environment },
  });
  const kill = () => child.kill("SIGKILL");
  // Also if the demonstration is interrupted.
  process.once("exit", kill);
  const stop = async () => {
    kill();
    await child.exited;
    process.off("exit", kill);
  };
  const timer = setTimeout(kill, START_MS_MAX);
  let output = "";
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    output += part.value;
    const match = isReady.exec(output);
    if (match === null) continue;
    clearTimeout(timer);
    // Keep reading, so that the program does not block on a full pipe.
    void (async () => {
      while (!(await reader.read()).done);
    })();
    const end = async () => {
      child.kill();
      return (await new Response(child.stdout).text()).trim();
    };
    return { port: fixedPort ?? Number(match[1]), end, [Symbol.asyncDispose]: stop };
  }
  clearTimeout(timer);
  throw new Error(
    `${command.slice(0, 3).join(" ")} has ended: ${output.trim().split("\n").at(-1)}`,
  );
}
