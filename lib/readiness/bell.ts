/**
 * How Bun's event loop learns that a socket of the reactor's is ready. The reactor has an epoll
 * instance of its own for its sockets, and needs the thread woken when that has something.
 *
 * - "loop": Bun's loop watches the instance itself. Bun is given an empty UDP socket, and the
 *   instance takes over its descriptor's number (`watch_find`, `loop_open` of c/shim.c): Bun
 *   finds it readable, fails to read it, and reports that as an error of the socket. One wake-up,
 *   and no system call but the failed one. It rests on how Bun's loop is made, so the reactor
 *   probes it before it is used.
 * - "thread": a helper thread waits for the instance and sends a byte to a socket that Bun
 *   watches. Two wake-ups, and nothing that Bun does not document.
 *
 * Idle round trips of 1200 bytes took 1.0 times as long as `Bun.udpSocket`'s with "loop", 2.4
 * times with "thread", and 1.2 times with a poll request of io_uring linked to a send, which was
 * here before: its request ends in the sleeping thread, which so wakes up twice.
 */

import type { Native, NativeReactor } from "../../ffi/native.ts";
import { AF_INET, AF_UNIX } from "../address/address.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import { SOCK_DGRAM } from "../support/linux.ts";

const SOCK_STREAM = 1;

/** How long Bun's loop may take to look at a new socket. */
const CREATION_TIMEOUT_MS = 250;

/** How the event loop learns of it. */
export type ReadinessMode = "loop" | "thread";

/** What Bun's event loop watches for the reactor. */
export interface Bell {
  /** Keeps the process alive. */
  ref(): void;
  unref(): void;
  close(): void;
}

/** Makes what calls `onRing` when something of `kernel`'s is ready. @throws SocketError, Error */
export function openBell(
  native: Native,
  kernel: NativeReactor,
  mode: ReadinessMode,
  onRing: () => void,
): Promise<Bell> {
  return mode === "loop"
    ? openLoopBell(native, kernel, onRing)
    : openThreadBell(native, kernel, onRing);
}

async function openLoopBell(
  native: Native,
  kernel: NativeReactor,
  onRing: () => void,
): Promise<Bell> {
  const fd = checkResult(native.open(AF_INET, SOCK_DGRAM, 0), "socket");
  const created = Promise.withResolvers<void>();
  const handlers = { error: onRing, drain: () => created.resolve(), data() {} };
  let socket: Bun.udp.Socket<"buffer">;
  try {
    // It adopts descriptors, though its types do not say so.
    socket = await Bun.udpSocket({ fd, socket: handlers } as object);
  } catch (error) {
    native.close(fd);
    throw error;
  }
  native.disown(fd);
  try {
    // A new socket is watched for room first, until the loop has looked at it once.
    await within(CREATION_TIMEOUT_MS, created.promise, "Bun's event loop looked at no new socket");
    const opened = kernel.openInLoop(fd);
    if (opened < 0) {
      const detail = `Bun's event loop cannot watch for "loop"`;
      throw new SocketError({ errno: -opened, syscall: "epoll_ctl", detail });
    }
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

/** Waits for `promise`. @throws Error with `message` when that takes longer than `limitMs`. */
export async function within<T>(limitMs: number, promise: Promise<T>, message: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${message} in ${limitMs} ms`)), limitMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function openThreadBell(
  native: Native,
  kernel: NativeReactor,
  onRing: () => void,
): Promise<Bell> {
  checkResult(native.pair(AF_UNIX, SOCK_STREAM), "socketpair");
  const [rung, heard] = [native.scratch[0] as number, native.scratch[1] as number];
  let socket: Bun.Socket;
  try {
    socket = await connectDescriptor(heard, onRing);
  } catch (error) {
    native.close(heard);
    native.close(rung);
    throw error;
  }
  native.disown(heard);
  const opened = kernel.openWithHelper(rung);
  if (opened < 0) {
    native.close(rung);
    socket.end();
    throw new SocketError({ errno: -opened, syscall: "pthread_create" });
  }
  return { ref: () => socket.ref(), unref: () => socket.unref(), close: () => socket.end() };
}

/** `Bun.connect` takes descriptors over (`FdSocketOptions`); its overloads leave that out. */
function connectDescriptor(fd: number, onData: () => void): Promise<Bun.Socket> {
  const connect = Bun.connect as unknown as (options: object) => Promise<Bun.Socket>;
  return connect({ fd, socket: { data: onData, open() {}, close() {}, error() {} } });
}
