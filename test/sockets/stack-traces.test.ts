/** The stack traces of errors show the line of the call. */

import { describe, expect, test } from "bun:test";
import { UdpSocket } from "../../lib/index.ts";
import { BACKENDS, rejection, thrown } from "../tools/sockets.ts";

/** Returns the number of frames before the first one of this file. */
function framesBefore(error: unknown): number {
  const frames = (error as Error).stack?.split("\n    at ").slice(1) ?? [];
  return frames.findIndex((frame) => frame.includes("stack-traces.test.ts"));
}

/** Expects that an error has the line of the call, after at most `max` frames of the library. */
function expectOwnLine(error: unknown, max: number): void {
  const before = framesBefore(error);
  expect(before).toBeGreaterThanOrEqual(0);
  expect(before).toBeLessThanOrEqual(max);
}

const TOO_LONG = new Uint8Array(70_000);

describe.each(BACKENDS)("a call that fails at once, %s", (backend) => {
  const open = () => UdpSocket.bind({ hostname: "127.0.0.1", backend });

  test("has its line near the top of the trace", async () => {
    await using socket = await open();
    const to = socket.localAddr;
    expectOwnLine(await rejection(socket.send(TOO_LONG)), 5);
    expectOwnLine(await rejection(socket.sendTo(TOO_LONG, to)), 5);
    expectOwnLine(await rejection(socket.sendMany([TOO_LONG], { to })), 5);
    expectOwnLine(await rejection(socket.sendMany([TOO_LONG, TOO_LONG], { to: [to, to] })), 5);
    expectOwnLine(
      thrown(() => socket.trySendTo(TOO_LONG, to)),
      10,
    );
    socket.close();
    expectOwnLine(await rejection(socket.recv(new Uint8Array(1))), 5);
  });

  test("because of an argument has its line in the trace", async () => {
    await using socket = await open();
    expectOwnLine(await rejection(socket.recv("x" as never)), 16);
    expectOwnLine(await rejection(socket.send(5 as never)), 16);
    expectOwnLine(await rejection(socket.sendTo("x", "h" as never)), 16);
  });
});

test("a recv that gets an ICMP error has its line near the top of the trace", async () => {
  const closed = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const { address: hostname, port } = closed.localAddr;
  closed.close();
  await using socket = await UdpSocket.connect({ hostname, port });
  await socket.send("x");
  const error = await rejection(socket.recv(new Uint8Array(1)));
  expect(error).toMatchObject({ code: "ECONNREFUSED" });
  expectOwnLine(error, 5);
});

test("the limit of the program is restored", async () => {
  const before = Error.stackTraceLimit;
  try {
    for (const limit of [0, 3, 10]) {
      Error.stackTraceLimit = limit;
      await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
      expect(await rejection(socket.send(TOO_LONG))).toMatchObject({ syscall: "sendto" });
      expect(Error.stackTraceLimit).toBe(limit);
    }
  } finally {
    Error.stackTraceLimit = before;
  }
});
