/** The errors of `node:dgram`: with the codes and messages that Node has. */

import { SocketError } from "../support/errors.ts";

/** The error of a failed system call, as Node has it. */
export interface ErrnoException extends Error {
  /** The error number of the system, negative. */
  errno: number;
  code: string;
  syscall: string;
  address?: string;
  port?: number;
}

export const EBADF = 9;
export const EINVAL = 22;
export const EEXIST = 17;
export const ECANCELED = 125;

/** Adds a code, and a name if the class has another one, as the errors of Node have them. */
export function withCode<E extends Error>(error: E, code: string, name: string = error.name): E {
  const text = `${name} [${code}]: ${error.message}`;
  error.stack = error.stack?.replace(`${error.name}: ${error.message}`, text) ?? text;
  const hidden = (value: unknown) => ({ value, writable: true, configurable: true });
  Object.assign(error, { code });
  Object.defineProperty(
    error,
    "toString",
    hidden(() => text),
  );
  if (name !== error.name) Object.defineProperty(error, "name", hidden(name));
  return error;
}

/** Returns an `Error` with a code. */
export function codedError(code: string, message: string): Error {
  return withCode(new Error(message), code);
}

export function codedTypeError(code: string, message: string): TypeError {
  return withCode(new TypeError(message), code);
}

export function codedRangeError(code: string, message: string): RangeError {
  return withCode(new RangeError(message), code);
}

/** Describes a value as the messages of Node do: `type number (1)`, `an instance of Map`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return `${value}`;
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value === "object") {
    const name = value.constructor?.name;
    if (name) return `an instance of ${name}`;
    return Bun.inspect(value, { depth: -1 } as Bun.BunInspectOptions);
  }
  if (typeof value === "string") {
    const text = value.length > 28 ? `${value.slice(0, 25)}...` : value;
    return text.includes("'") ? `type string (${JSON.stringify(text)})` : `type string ('${text}')`;
  }
  return `type ${typeof value} (${typeof value === "bigint" ? `${value}n` : String(value)})`;
}

/** @param expected what the argument must be, such as `"of type string"`. */
export function invalidArgType(name: string, expected: string, value: unknown): TypeError {
  const kind = name.includes(".") ? "property" : "argument";
  const message = `The "${name}" ${kind} must be ${expected}. Received ${describe(value)}`;
  return codedTypeError("ERR_INVALID_ARG_TYPE", message);
}

export function missingArgument(name: string): TypeError {
  return codedTypeError("ERR_MISSING_ARGS", `The "${name}" argument must be specified`);
}

export const notRunning = (): Error => codedError("ERR_SOCKET_DGRAM_NOT_RUNNING", "Not running");
export const isConnected = (): Error =>
  codedError("ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected");
export const notConnected = (): Error =>
  codedError("ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected");
export const alreadyBound = (): Error =>
  codedError("ERR_SOCKET_ALREADY_BOUND", "Socket is already bound");
export const badType = (): Error =>
  codedTypeError("ERR_SOCKET_BAD_TYPE", "Bad socket type specified. Valid types are: udp4, udp6");
export const blockedAddress = (ip: string): Error =>
  codedError("ERR_IP_BLOCKED", `IP(${ip}) is blocked by net.BlockList`);
export const invalidFdType = (type: string): Error =>
  codedTypeError("ERR_INVALID_FD_TYPE", `Unsupported fd type: ${type}`);

/** Returns the name of an error number, positive or negative. */
export function codeOf(errno: number): string {
  return process.getBuiltinModule("node:util").getSystemErrorName(-Math.abs(errno));
}

/** Returns the error of a system call. @param errno positive or negative. */
export function errnoException(errno: number, syscall: string): ErrnoException {
  const code = codeOf(errno);
  const fields = { errno: -Math.abs(errno), code, syscall };
  return Object.assign(new Error(`${syscall} ${code}`), fields);
}

/** Returns the error of a system call about an address. */
export function hostPortException(
  errno: number,
  syscall: string,
  address: unknown,
  port: unknown,
): ErrnoException {
  const code = codeOf(errno);
  let about = "";
  if (Number(port) > 0) about = ` ${address}:${port}`;
  else if (address) about = ` ${address}`;
  const fields = { errno: -Math.abs(errno), code, syscall, address: address as string };
  const error = Object.assign(new Error(`${syscall} ${code}${about}`), fields);
  return port ? Object.assign(error, { port: port as number }) : error;
}

/** Returns the error number, positive, of an error that the library or Bun has thrown. */
export function errnoOf(error: unknown): number {
  const { errno } = (error ?? {}) as { errno?: unknown };
  if (error instanceof SocketError && error.code === "ERR_SOCKET_CLOSED") return EBADF;
  if (typeof errno === "number" && errno !== 0) return Math.abs(errno);
  if (error instanceof TypeError || error instanceof RangeError) return EINVAL;
  throw error;
}

/** Returns the result of `call`. Errors of system calls are thrown as Node has them. */
export function asNode<T>(syscall: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw errnoException(errnoOf(error), syscall);
  }
}
