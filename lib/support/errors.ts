/**
 * `SocketError`, the class of all failures of system calls. Misuse of the library is a `TypeError`
 * or `RangeError` instead (check.ts), and would-block is a value (lib/poll/poll.ts).
 */

import { typeError } from "./check.ts";
import { raiseStackLimit, restoreStackLimit } from "./stack.ts";
import { isShared, sharedClass } from "./thread-state.ts";

/** The address of a socket, as far as errors need it: a `SocketAddress`. */
export interface ErrorAddress {
  readonly family: string;
  readonly address: string;
  readonly port: number;
}

/** The fields of a `SocketError`. */
export interface SocketErrorInit {
  /** The error number of the system, positive; 0 if the library itself reports the error. */
  readonly errno: number;
  /** The code. Default: the name of `errno`. */
  readonly code?: string;
  /** The call that failed, such as `"bind"` or `"recvmmsg"`. */
  readonly syscall: string;
  /** The address that the call was about, or a text such as a host name. */
  readonly address?: string | ErrorAddress | undefined;
  /** Text to append to the message. */
  readonly detail?: string;
  readonly cause?: unknown;
}

/** The property of the prototype that marks the errors of all versions of the library. */
const BRAND: unique symbol = Symbol.for("datagram-socket.SocketError");

/**
 * A failed system call, or a call on a socket that is closed.
 *
 * `instanceof SocketError` is true also for the errors of other copies and versions of the library in
 * the process.
 */
export class SocketError extends Error {
  static {
    Object.defineProperty(SocketError.prototype, BRAND, { value: true });
    Object.defineProperty(SocketError, Symbol.hasInstance, {
      value(this: unknown, error: unknown): boolean {
        if (Function.prototype[Symbol.hasInstance].call(this, error)) return true;
        // Subclasses inherit this function.
        return this === SocketError && isBranded(error);
      },
    });
  }

  override readonly name: string = "SocketError";
  /**
   * `"ECONNREFUSED"` and the like (errno(3)); a code of the resolver, such as `"ENOTFOUND"`; or a
   * code of the library: `"ERR_SOCKET_CLOSED"`, `"ERR_NOT_SUPPORTED"`, or `"ERR_NESTED_CALL"` for a
   * call that a getter of another call on the same socket has made.
   */
  readonly code: string;
  /** The error number of the system, positive; 0 for errors of the library itself. */
  readonly errno: number;
  /** The call that failed, such as `"bind"`. */
  readonly syscall: string;
  /**
   * What the call was about: the IP address, the path or name of a Unix socket as `unix:...`, the
   * host name, or the descriptor as `fd 7`. Absent if the call was about none of them.
   */
  readonly address: string | undefined;
  /** The port that belongs to an IP address; absent if `address` is none. */
  readonly port: number | undefined;
  /**
   * The number of datagrams that `sendMany` or `sendBatch` sent before the one that was refused.
   * Absent for errors of other calls.
   */
  sent: number | undefined;
  /** The index of the refused datagram in the arrays of `sendMany`. Absent for other calls. */
  index: number | undefined;

  constructor(init: SocketErrorInit) {
    if (typeof init !== "object" || init === null) throw typeError("init", "object", init);
    const code = init.code ?? errnoCode(init.errno);
    const { address } = init;
    const about = address === undefined ? "" : ` ${address}`;
    const detail = init.detail === undefined ? "" : `: ${init.detail}`;
    const limit = raiseStackLimit();
    super(`${init.syscall}${about} ${code}${detail}`, { cause: init.cause });
    restoreStackLimit(limit);
    this.code = code;
    this.errno = init.errno;
    this.syscall = init.syscall;
    const isIP = typeof address === "object" && address.family !== "unix";
    this.address = isIP ? address.address : address?.toString();
    this.port = isIP ? address.port : undefined;
  }
}

if (isShared("SocketError", SocketError)) {
  // @ts-expect-error See `isShared`.
  SocketError = sharedClass("SocketError");
}

/** Returns whether `value` is an error, and inherits the mark: an own property is no mark. */
function isBranded(value: unknown): boolean {
  if (!Error.isError(value) || Object.hasOwn(value, BRAND)) return false;
  return (value as { [BRAND]?: unknown })[BRAND] === true;
}

/** Returns the name of an error number: `"EAGAIN"` for 11 on Linux. */
export function errnoCode(errno: number): string {
  codes ??= readCodes();
  return codes.get(errno) ?? `errno ${errno}`;
}

// Errors of Linux that `node:os` has no names for, or another name first: <asm-generic/errno.h>.
const ENONET = 64;
const EOPNOTSUPP = 95;
const ESHUTDOWN = 108;
const ETOOMANYREFS = 109;
const EHOSTDOWN = 112;
const LINUX_CODES = { ENONET, EOPNOTSUPP, ESHUTDOWN, ETOOMANYREFS, EHOSTDOWN };

let codes: ReadonlyMap<number, string> | undefined;

function readCodes(): ReadonlyMap<number, string> {
  const { constants } = process.getBuiltinModule("node:os");
  // Reversed, so that the first of two names for a number wins: EAGAIN, not EWOULDBLOCK.
  const entries: [string, number][] = Object.entries(constants.errno).reverse();
  if (process.platform === "linux") entries.push(...Object.entries(LINUX_CODES));
  return new Map(entries.map(([code, errno]) => [errno, code]));
}

/** Returns the error of a call on a closed socket. */
export function closedError(syscall: string): SocketError {
  return new SocketError({
    errno: 0,
    code: "ERR_SOCKET_CLOSED",
    syscall,
    detail: "the socket is closed",
  });
}

/**
 * Returns the error of a call that is made by code that another call on the same socket runs, such
 * as a getter of its arguments.
 */
export function nestedCallError(syscall: string): SocketError {
  return new SocketError({
    errno: 0,
    code: "ERR_NESTED_CALL",
    syscall,
    detail: "called by a getter or setter that another call on this socket runs",
  });
}

/** Returns the error for a feature that the backend or platform lacks. */
export function unsupportedError(syscall: string, reason: string): SocketError {
  return new SocketError({ errno: 0, code: "ERR_NOT_SUPPORTED", syscall, detail: reason });
}

/** Returns `result` if it is >= 0. @throws SocketError if it is -errno. */
export function checkResult(
  result: number,
  syscall: string,
  address?: string | ErrorAddress,
): number {
  if (result >= 0) return result;
  throw new SocketError({ errno: -result, syscall, address });
}

/**
 * Returns whether `error` means that a datagram was longer than the path MTU (EMSGSIZE), which is
 * expected when a transport probes the path MTU.
 */
export function isMessageSizeError(error: unknown): boolean {
  return error instanceof SocketError && error.code === "EMSGSIZE";
}

/** The errors that the kernel derives from ICMP messages about earlier datagrams (icmp(7)). */
const TRANSPORT_ERROR_CODES: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "EMSGSIZE",
  "ENETUNREACH",
  "ENONET",
  "ENOPROTOOPT",
  "EOPNOTSUPP",
  "EPROTO",
]);

/** Returns whether `error` may be about an earlier datagram, as reported by ICMP. */
export function mayBeTransportError(error: unknown): boolean {
  return TRANSPORT_ERROR_CODES.has((error as { code?: unknown } | undefined)?.code);
}

/** Returns whether `error` means that the socket was closed. */
export function isClosedError(error: unknown): boolean {
  return error instanceof SocketError && error.code === "ERR_SOCKET_CLOSED";
}
