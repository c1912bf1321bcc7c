/** Tests of `SocketError` for errors of system calls and of the library itself. */

import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { isClosedError, SocketAddress } from "../../lib/index.ts";
import {
  checkResult,
  closedError,
  errnoCode,
  mayBeTransportError,
  SocketError,
  unsupportedError,
} from "../../lib/support/errors.ts";

describe("SocketError", () => {
  test("has code, errno, syscall and address, and a message that contains them", () => {
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

  test("leaves absent details out of its message", () => {
    const error = new SocketError({ errno: constants.errno.EMSGSIZE, syscall: "send" });
    expect([error.message, error.address, error.cause]).toEqual([
      "send EMSGSIZE",
      undefined,
      undefined,
    ]);
  });

  test("keeps a code that is given without an errno, and the cause", () => {
    const cause = new Error("below");
    const error = new SocketError({ errno: 0, code: "EISCONN", syscall: "sendTo", cause });
    expect([error.code, error.errno, error.cause]).toEqual(["EISCONN", 0, cause]);
  });
});

describe("SocketError about a socket address", () => {
  const { ECONNREFUSED } = constants.errno;

  test("has IP address and port as separate fields, and both in its message", () => {
    for (const [address, text] of [
      [SocketAddress.ip("192.0.2.1", 53), "192.0.2.1:53"],
      [SocketAddress.ip("2001:db8::1", 0), "[2001:db8::1]:0"],
    ] as const) {
      const error = new SocketError({ errno: ECONNREFUSED, syscall: "connect", address });
      expect([error.address, error.port]).toEqual([address.address, address.port]);
      expect(error.message).toBe(`connect ${text} ECONNREFUSED`);
    }
  });

  test("has the text of a Unix address, and no port", () => {
    for (const address of [SocketAddress.unix("/run/x"), SocketAddress.abstract("x")]) {
      const error = new SocketError({ errno: ECONNREFUSED, syscall: "connect", address });
      expect([error.address, error.port]).toEqual([`${address}`, undefined]);
    }
  });
});

describe("errnoCode", () => {
  test("returns a name for each error number of the system", () => {
    const names = constants.errno as Record<string, number>;
    for (const errno of Object.values(names)) expect(names[errnoCode(errno)]).toBe(errno);
  });

  test("returns EAGAIN, not its alias EWOULDBLOCK", () => {
    expect(errnoCode(constants.errno.EAGAIN)).toBe("EAGAIN");
    expect(errnoCode(109)).toBe("ETOOMANYREFS");
  });

  test("returns the number of an unknown error", () => {
    expect(errnoCode(0)).toBe("errno 0");
    expect(errnoCode(4095)).toBe("errno 4095");
  });
});

describe("checkResult", () => {
  test("returns results of 0 or more, and throws SocketError for negative ones", () => {
    expect(checkResult(0, "bind")).toBe(0);
    expect(checkResult(2 ** 31 - 1, "bind")).toBe(2 ** 31 - 1);
    expect(() => checkResult(-constants.errno.EADDRINUSE, "bind", "127.0.0.1:9")).toThrow(
      "bind 127.0.0.1:9 EADDRINUSE",
    );
    expect(() => checkResult(-1, "bind")).toThrow(SocketError);
  });
});

describe("isClosedError", () => {
  test("is true for the error of a closed socket only", () => {
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

describe("mayBeTransportError", () => {
  test("is true for the errors that ICMP messages cause, and no others", () => {
    const icmp = ["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENONET"];
    for (const code of [...icmp, "EMSGSIZE", "EPROTO", "ENOPROTOOPT", "EOPNOTSUPP"]) {
      expect([code, mayBeTransportError({ code })]).toEqual([code, true]);
    }
    for (const other of [{ code: "EAGAIN" }, { code: "ENOBUFS" }, { code: "EPERM" }, {}, null]) {
      expect(mayBeTransportError(other)).toBe(false);
    }
  });
});

describe("unsupportedError", () => {
  test("returns an error with the code ERR_NOT_SUPPORTED and the reason", () => {
    const error = unsupportedError("UnixDatagram.bind", "cc is switched off");
    expect([error.code, error.message]).toEqual([
      "ERR_NOT_SUPPORTED",
      "UnixDatagram.bind ERR_NOT_SUPPORTED: cc is switched off",
    ]);
  });
});

test("all errors that Linux derives from ICMP may be transport errors", () => {
  // icmp_err_convert of net/ipv4/icmp.c: ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, ECONNREFUSED,
  // EMSGSIZE, EOPNOTSUPP, EHOSTDOWN, ENONET; and EPROTO for IPv6 (net/ipv6/icmp.c).
  for (const errno of [101, 113, 92, 111, 90, 95, 112, 64, 71]) {
    const error = new SocketError({ errno, syscall: "recvmmsg" });
    expect([error.code, mayBeTransportError(error)]).toEqual([error.code, true]);
  }
});
