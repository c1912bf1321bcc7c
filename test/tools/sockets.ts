/** Helpers of the socket tests: backends, payloads, promises, descriptors, child processes. */

import { readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { type Backend, type DatagramSocket, UdpSocket } from "../../lib/index.ts";

/**
 * The backends to test: only the native one if a readiness mode is requested for this process, as
 * the portable backend does not use it.
 */
export const BACKENDS: readonly Backend[] =
  process.env.DATAGRAM_SOCKET_READINESS === undefined ? ["native", "portable"] : ["native"];

/** Whether this machine has IPv6 on loopback. If not, tests that need it are skipped. */
export const HAS_IPV6: boolean = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1"),
);
if (!HAS_IPV6) console.warn("IPv6 tests are skipped: no interface has ::1");

/** An invalid host name (its label exceeds 63 bytes, RFC 1035), for which no server is queried. */
export const NO_HOST: string = `${"x".repeat(64)}.invalid`;

/** Returns a port of 127.0.0.1 that refuses datagrams: its socket has just been closed. */
export async function closedPort(): Promise<number> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  socket.close();
  return socket.localAddr.port;
}

/** Opens a receiver on 127.0.0.1, and a sender that is connected to it. */
export async function connectedPair(
  backend: Backend,
): Promise<{ receiver: UdpSocket; sender: UdpSocket }> {
  const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
  const { address, port } = receiver.localAddr;
  return { receiver, sender: await UdpSocket.connect({ hostname: address, port }, { backend }) };
}

/** Returns datagrams of `bytes` bytes whose first four bytes are their number. */
export function numbered(count: number, first = 0, bytes = 4): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const payload = new Uint8Array(bytes).fill(first + i);
    new DataView(payload.buffer).setUint32(0, first + i);
    return payload;
  });
}

/** Returns the number of a datagram made by `numbered`. */
export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/** Returns buffers of `bytes` bytes to receive into. */
export function targets(count: number, bytes = 4): Uint8Array[] {
  return Array.from({ length: count }, () => new Uint8Array(bytes));
}

/** Receives until at least `count` datagrams have arrived, and returns their numbers. */
export async function receiveNumbers(socket: DatagramSocket, count: number): Promise<number[]> {
  const numbers: number[] = [];
  const bufs = targets(64, 1500);
  while (numbers.length < count) {
    const got = await socket.recvMany(bufs);
    for (let i = 0; i < got; i++) numbers.push(numberOf(bufs[i] as Uint8Array));
  }
  return numbers;
}

/** Returns `count` numbers: `first`, `first + 1`, and so on. */
export function sequence(count: number, first = 0): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Waits for the next tick of the event loop. */
export function nextTick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Calls `isTrue` in every tick of the event loop until it returns true, or the test times out. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await nextTick();
}

/** Returns the value of a promise that is already fulfilled, or "pending". Rejects as it does. */
export function stateOf<T>(promise: Promise<T>): Promise<T | "pending"> {
  return Promise.race([promise, Promise.resolve("pending" as const)]);
}

/** Returns the reason that `promise` is rejected with. Throws if it is fulfilled. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("a rejection expected, got a result");
}

/** Returns the error that `call` throws. Throws if it returns. */
export function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("an exception expected, got a result");
}

/** Returns the number of open descriptors of this process, without those that are garbage. */
export function openDescriptors(): number {
  // Such as the pipes of a child of an earlier test, which the collector closes in several steps.
  let count = Number.POSITIVE_INFINITY;
  for (;;) {
    Bun.gc(true);
    const open = readdirSync("/proc/self/fd").length;
    if (open >= count) return open;
    count = open;
  }
}

/** The timeout of a test that starts processes, which may be slow on a busy machine. */
export const CHILD_TIMEOUT_MS = 60_000;

/** The result of a child process. */
export interface ChildResult {
  readonly exitCode: number | null;
  readonly signal: string | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of `runScript`. */
export interface ChildOptions {
  /** The arguments of the script. */
  readonly args?: readonly string[];
  /** The options of Bun. */
  readonly flags?: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a script of test/children/ in a child process. */
export function runScript(name: string, options: ChildOptions = {}): Promise<ChildResult> {
  const { args = [], flags = [], env = {} } = options;
  const script = join(import.meta.dir, "../children", name);
  return runCommand([process.execPath, ...flags, script, ...args], env);
}

/**
 * Returns the output of a child process.
 *
 * @throws Error with the contents of stderr if the exit code is not 0.
 */
export function endedWell({ exitCode, signal, stdout, stderr }: ChildResult): string {
  if (exitCode === 0) return stdout;
  throw new Error(`exit code 0 expected, got ${exitCode} by signal ${signal}: ${stderr}`);
}

/** Runs a command in the root of the repository, and waits for its end, or ends it after a time. */
export async function runCommand(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  { timeoutMs }: { readonly timeoutMs?: number } = {},
): Promise<ChildResult> {
  const child = Bun.spawn([...command], {
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
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
