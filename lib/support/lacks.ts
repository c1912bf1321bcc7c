/**
 * Failures for lack of descriptors, memory or threads. They are temporary: the call fails, nothing
 * is concluded about the system, and a later call may succeed.
 */

import { errnoCode, SocketError } from "./errors.ts";

/** ENOSPC: the limit of epoll registrations (epoll_ctl(2)); EAGAIN: that of threads. */
const LACK_CODES: ReadonlySet<unknown> = new Set([
  "EAGAIN",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
  "ENOSPC",
]);

/** Returns whether an errno means a lack of descriptors, memory or threads. */
export function isLack(errno: number): boolean {
  return errno !== 0 && LACK_CODES.has(errnoCode(errno));
}

/**
 * Returns the `SocketError` for an error that means such a lack; absent for other errors. An error
 * of Bun becomes a `SocketError` of `syscall`.
 */
export function lackError(error: unknown, syscall: string): SocketError | undefined {
  const { code, errno, message } = (error ?? {}) as Partial<Record<string, unknown>>;
  if (!LACK_CODES.has(code)) return undefined;
  if (error instanceof SocketError) return error;
  return new SocketError({
    errno: typeof errno === "number" ? Math.abs(errno) : 0,
    code: String(code),
    syscall,
    detail: String(message),
    cause: error,
  });
}
