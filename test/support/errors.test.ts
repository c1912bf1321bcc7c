/** `SocketError`: what the system's failures, and the library's own refusals, say. */

import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { isClosedError } from "../../lib/index.ts";
import {
  checkResult,
  closedError,
  errnoCode,
  SocketError,
  unsupportedError,
} from "../../lib/support/errors.ts";

describe("SocketError", () => {
  test("has code, errno, call and address, and a message of all of them", () => {
    const { ECONNREFUSED } = constants.errno;
    const error = new SocketError({
      errno: ECONNREFUSED,
      syscall: "sendmmsg",
      address: "192.0.2.1:53",
      detail: "datagram of 9 bytes",
    });
    expect(error).toBeInstanceOf(Error);
    expect([error.name, error.code, error.errno, error.syscall, error.address]).toEqual([
      "SocketError",
      "ECONNREFUSED",
      ECONNREFUSED,
      "sendmmsg",
      "192.0.2.1:53",
    ]);
    expect(error.message).toBe("sendmmsg 192.0.2.1:53 ECONNREFUSED: datagram of 9 bytes");
  });

  test("says no more than it knows", () => {
    const error = new SocketError({ errno: constants.errno.EMSGSIZE, syscall: "send" });
    expect([error.message, error.address, error.cause]).toEqual([
      "send EMSGSIZE",
      undefined,
      undefined,
    ]);
  });

  test("keeps a code that is not the errno's, and its cause", () => {
    const cause = new Error("below");
    const error = new SocketError({ errno: 0, code: "EISCONN", syscall: "sendTo", cause });
    expect([error.code, error.errno, error.cause]).toEqual(["EISCONN", 0, cause]);
  });
});

describe("errnoCode", () => {
  test("names every error number of the system by one of its names", () => {
    const names = constants.errno as Record<string, number>;
    for (const errno of Object.values(names)) expect(names[errnoCode(errno)]).toBe(errno);
  });

  test("calls would-block EAGAIN, though it has a second name", () => {
    expect(errnoCode(constants.errno.EAGAIN)).toBe("EAGAIN");
  });

  test("prints the number of one it does not know", () => {
    expect(errnoCode(0)).toBe("errno 0");
    expect(errnoCode(4095)).toBe("errno 4095");
  });
});

describe("checkResult", () => {
  test("answers results from zero on and throws what is below", () => {
    expect(checkResult(0, "bind")).toBe(0);
    expect(checkResult(2 ** 31 - 1, "bind")).toBe(2 ** 31 - 1);
    expect(() => checkResult(-constants.errno.EADDRINUSE, "bind", "127.0.0.1:9")).toThrow(
      "bind 127.0.0.1:9 EADDRINUSE",
    );
    expect(() => checkResult(-1, "bind")).toThrow(SocketError);
  });
});

describe("isClosedError", () => {
  test("is true of the error of a closed socket and of no other", () => {
    const closed = closedError("recv");
    expect([closed.code, closed.errno, closed.message]).toEqual([
      "ERR_SOCKET_CLOSED",
      0,
      "recv ERR_SOCKET_CLOSED: the socket is closed",
    ]);
    expect(isClosedError(closed)).toBe(true);
    const lookalike = Object.assign(new Error("x"), { code: "ERR_SOCKET_CLOSED" });
    for (const other of [unsupportedError("open", "no shim"), lookalike, undefined, null, "x"]) {
      expect(isClosedError(other)).toBe(false);
    }
  });
});

describe("unsupportedError", () => {
  test("gives the reason", () => {
    const error = unsupportedError("UnixDatagram.bind", "cc is switched off");
    expect([error.code, error.message]).toEqual([
      "ERR_NOT_SUPPORTED",
      "UnixDatagram.bind ERR_NOT_SUPPORTED: cc is switched off",
    ]);
  });
});
