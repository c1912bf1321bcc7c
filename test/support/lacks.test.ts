/** Errors that mean a lack of descriptors, memory or threads. */

import { expect, test } from "bun:test";
import { constants } from "node:os";
import { SocketError } from "../../lib/index.ts";
import { isLack, lackError } from "../../lib/support/native.ts";

const { EACCES, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENOSPC } = constants.errno;

test("isLack is true for the errors of a process or system without resources only", () => {
  for (const errno of [EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC]) {
    expect([errno, isLack(errno)]).toEqual([errno, true]);
  }
  for (const errno of [0, EACCES, ENOENT]) expect([errno, isLack(errno)]).toEqual([errno, false]);
});

test("lackError converts an error of Bun, whose errno is negative, and keeps it as the cause", () => {
  const cause = Object.assign(new Error("no memory"), { code: "ENOMEM", errno: -ENOMEM });
  const error = lackError(cause, "socket");
  expect(error).toBeInstanceOf(SocketError);
  expect(error).toMatchObject({ code: "ENOMEM", errno: ENOMEM, syscall: "socket", cause });
});

test("lackError returns a SocketError as it is, and undefined for other errors", () => {
  const lack = new SocketError({ errno: EMFILE, syscall: "socketpair" });
  expect(lackError(lack, "socket")).toBe(lack);
  expect(lackError(new SocketError({ errno: EACCES, syscall: "bind" }), "socket")).toBeUndefined();
  for (const other of [new Error("x"), undefined, null, "ENOMEM"]) {
    expect(lackError(other, "socket")).toBeUndefined();
  }
});
