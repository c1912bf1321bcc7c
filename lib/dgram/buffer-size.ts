/** The sizes of a socket's buffers in the kernel. */

import { codedTypeError, codeOf, errnoOf, withCode } from "./errors.ts";
import { openHandle } from "./state.ts";

/**
 * Sets the size of a buffer if `bytes` is not 0, and returns it.
 *
 * @throws TypeError for another number than 0..2^32-1; Error with code `ERR_SOCKET_BUFFER_SIZE` if
 * the system refuses, or before the socket is bound.
 */
export function bufferSize(socket: object, bytes: number, isReceive: boolean): number {
  if (bytes >>> 0 !== bytes) {
    const message = "Buffer size must be a positive integer";
    throw codedTypeError("ERR_SOCKET_BAD_BUFFER_SIZE", message);
  }
  try {
    return openHandle(socket).driver.bufferBytes(isReceive, bytes);
  } catch (error) {
    throw bufferSizeError(
      errnoOf(error),
      isReceive ? "uv_recv_buffer_size" : "uv_send_buffer_size",
    );
  }
}

/** The texts of libuv for the errors that the calls return. */
const MESSAGES: Readonly<Record<string, string>> = {
  EBADF: "bad file descriptor",
  EINVAL: "invalid argument",
  ENOBUFS: "no buffer space available",
};

/** Returns a `SystemError`, as Node calls it. */
function bufferSizeError(errno: number, syscall: string): Error {
  const code = codeOf(errno);
  const message = MESSAGES[code] ?? "unknown error";
  const info = { errno: -errno, code, message, syscall };
  const text = `Could not get or set buffer size: ${syscall} returned ${code} (${message})`;
  const error = withCode(new Error(text), "ERR_SOCKET_BUFFER_SIZE", "SystemError");
  Object.assign(error, { info });
  for (const name of ["errno", "syscall"] as const) {
    Object.defineProperty(error, name, {
      enumerable: true,
      configurable: true,
      get: () => info[name],
      set: (value) => Object.assign(info, { [name]: value }),
    });
  }
  const { inspect } = process.getBuiltinModule("node:util");
  Object.defineProperty(error, inspect.custom, {
    value: (_depth: number, options: object) =>
      inspect(error, { ...options, getters: true, customInspect: false }),
  });
  return error;
}
