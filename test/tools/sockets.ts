/** What the tests of sockets share: backends, payloads, waiting, descriptors, child processes. */

import { readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { type Backend, type DatagramSocket, UdpSocket } from "../../lib/index.ts";

/**
 * The backends to test: both, save where a run is about the shim's fallback for readiness, of
 * which the portable one has none.
 */
export const BACKENDS: readonly Backend[] =
  process.env.DATAGRAM_SOCKET_READINESS === undefined ? ["native", "portable"] : ["native"];

/** Whether this machine has IPv6 on loopback; tests that need it are skipped with this reason. */
export const HAS_IPV6: boolean = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1"),
);
if (!HAS_IPV6) console.warn("IPv6 tests are skipped: no interface has ::1");

/** A host that does not exist: its name is too long for one (RFC 1035), so no server is asked. */
export const NO_HOST: string = `${"x".repeat(64)}.invalid`;

/** A port of loopback that refuses datagrams: one that was just free. */
export async function closedPort(): Promise<number> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  socket.close();
  return socket.localAddr.port;
}

/** A socket on 127.0.0.1 and another that is connected to it. */
export async function connectedPair(
  backend: Backend,
): Promise<{ receiver: UdpSocket; sender: UdpSocket }> {
  const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
  const { address, port } = receiver.localAddr;
  return { receiver, sender: await UdpSocket.connect({ hostname: address, port }, { backend }) };
}

/** Datagrams that say their number in their first four bytes; each is `bytes` long. */
export function numbered(count: number, first = 0, bytes = 4): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const payload = new Uint8Array(bytes).fill(first + i);
    new DataView(payload.buffer).setUint32(0, first + i);
    return payload;
  });
}

/** The number in a datagram made by `numbered`. */
export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/** Room for datagrams. */
export function targets(count: number, bytes = 4): Uint8Array[] {
  return Array.from({ length: count }, () => new Uint8Array(bytes));
}

/** Receives until `count` datagrams came, and answers their numbers. */
export async function receiveNumbers(socket: DatagramSocket, count: number): Promise<number[]> {
  const numbers: number[] = [];
  const bufs = targets(64, 1500);
  while (numbers.length < count) {
    const got = await socket.recvMany(bufs);
    for (let i = 0; i < got; i++) numbers.push(numberOf(bufs[i] as Uint8Array));
  }
  return numbers;
}

/** `[first, first + 1, ...]` */
export function sequence(count: number, first = 0): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** One turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Turns of the event loop until something is true; the test's timeout ends it otherwise. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await nextTurn();
}

/** What a promise settled with by now, or "pending" when it has not. */
export function stateOf<T>(promise: Promise<T>): Promise<T | "pending"> {
  return Promise.race([promise, Promise.resolve("pending" as const)]);
}

/** What `promise` rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("a rejection expected, got a result");
}

/** What `call` throws. */
export function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("an exception expected, got a result");
}

/** Descriptors that this process has open. */
export function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** For a test that starts processes, on a machine that is busy. */
export const CHILD_TIMEOUT_MS = 60_000;

/** How a child process ended. */
export interface ChildResult {
  readonly exitCode: number | null;
  readonly signal: string | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a child process is started with. */
export interface ChildOptions {
  readonly args?: readonly string[];
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a script of test/children/ in a process of its own. */
export function runScript(name: string, options: ChildOptions = {}): Promise<ChildResult> {
  const { args = [], flags = [], env = {} } = options;
  const script = join(import.meta.dir, "../children", name);
  return runCommand([process.execPath, ...flags, script, ...args], env);
}

/** A child's result, if it ended by itself; what it wrote to stderr is shown if not. */
export function endedWell({ exitCode, signal, stdout, stderr }: ChildResult): string {
  if (exitCode === 0) return stdout;
  throw new Error(`exit code 0 expected, got ${exitCode} by signal ${signal}: ${stderr}`);
}

/** Runs a command to its end. */
export async function runCommand(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ChildResult> {
  const child = Bun.spawn([...command], {
    cwd: join(import.meta.dir, "../.."),
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr };
}
