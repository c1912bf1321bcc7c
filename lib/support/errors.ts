/**
 * The one class for what the system refuses. Misuse of the library is a `TypeError` or
 * `RangeError` instead (check.ts), and would-block is a value (lib/traits/poll.ts).
 */

/** What a `SocketError` says. */
export interface SocketErrorInit {
  /** The system's error number, positive; 0 where the library itself refused. */
  readonly errno: number;
  /** The error's name where it is not the errno's. */
  readonly code?: string;
  /** The call that failed, such as `"bind"` or `"recvmmsg"`. */
  readonly syscall: string;
  /** The address it was about, printed. */
  readonly address?: string;
  /** What to say beyond code and call. */
  readonly detail?: string;
  readonly cause?: unknown;
}

/** A failed system call, or a call on a socket that is closed. */
export class SocketError extends Error {
  override readonly name: string = "SocketError";
  /** `"ECONNREFUSED"` and the like (errno(3)), or `"ERR_SOCKET_CLOSED"`. */
  readonly code: string;
  /** The system's error number, positive; 0 for `ERR_SOCKET_CLOSED` and other refusals. */
  readonly errno: number;
  /** The call that failed, such as `"bind"`. */
  readonly syscall: string;
  /** The address the call was about, absent where it had none. */
  readonly address: string | undefined;

  constructor(init: SocketErrorInit) {
    const code = init.code ?? errnoCode(init.errno);
    const about = init.address === undefined ? "" : ` ${init.address}`;
    const detail = init.detail === undefined ? "" : `: ${init.detail}`;
    super(`${init.syscall}${about} ${code}${detail}`, { cause: init.cause });
    this.code = code;
    this.errno = init.errno;
    this.syscall = init.syscall;
    this.address = init.address;
  }
}

/** The name of an error number: `"EAGAIN"` for 11 on Linux. */
export function errnoCode(errno: number): string {
  codes ??= readCodes();
  return codes.get(errno) ?? `errno ${errno}`;
}

let codes: ReadonlyMap<number, string> | undefined;

function readCodes(): ReadonlyMap<number, string> {
  const { constants } = process.getBuiltinModule("node:os");
  // Backwards, so that of two names for one number the first stays: EAGAIN, not EWOULDBLOCK.
  const entries = Object.entries(constants.errno).reverse();
  return new Map(entries.map(([code, errno]) => [errno, code]));
}

/** The error of a call on a closed socket. */
export function closedError(syscall: string): SocketError {
  return new SocketError({
    errno: 0,
    code: "ERR_SOCKET_CLOSED",
    syscall,
    detail: "the socket is closed",
  });
}

/** The error of something that this backend or platform has not. */
export function unsupportedError(syscall: string, reason: string): SocketError {
  return new SocketError({ errno: 0, code: "ERR_NOT_SUPPORTED", syscall, detail: reason });
}

/** Answers a result >= 0, throws a `SocketError` for -errno. */
export function checkResult(result: number, syscall: string, address?: string): number {
  if (result >= 0) return result;
  throw new SocketError({
    errno: -result,
    syscall,
    ...(address === undefined ? {} : { address }),
  });
}

/**
 * Whether `error` says that a datagram was longer than its way takes (EMSGSIZE): normal where a
 * transport probes for the path's MTU.
 */
export function isMessageSizeError(error: unknown): boolean {
  return error instanceof SocketError && error.code === "EMSGSIZE";
}

/** Whether `error` says that a socket was closed under its user. */
export function isClosedError(error: unknown): boolean {
  return error instanceof SocketError && error.code === "ERR_SOCKET_CLOSED";
}
