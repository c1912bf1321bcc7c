/** The environment variables of the library. */

import { afterEach, describe, expect, test } from "bun:test";
import { UdpSocket } from "../../lib/index.ts";
import { readVariable } from "../../lib/support/environment.ts";
import { openDescriptors, rejection, runScript } from "../tools/sockets.ts";

const VARIABLES = {
  DATAGRAM_SOCKET_BACKEND: ["native", "portable"],
  DATAGRAM_SOCKET_READINESS: ["loop", "thread"],
  DATAGRAM_SOCKET_OFFLOAD: ["on", "off"],
} as const;

type Name = keyof typeof VARIABLES;

const names = Object.keys(VARIABLES) as Name[];
const before = names.map((name) => [name, process.env[name]] as const);

afterEach(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

describe.each(names)("%s", (name) => {
  test("is absent if it is unset or empty", () => {
    process.env[name] = "";
    expect(readVariable(name)).toBeUndefined();
    delete process.env[name];
    expect(readVariable(name)).toBeUndefined();
  });

  test.each(VARIABLES[name])("may be %p", (value) => {
    process.env[name] = value;
    expect(readVariable(name)).toBe(value);
  });

  test.each(["Native", "threads", "loop ", "0", "toString"])("may not be %p", async (value) => {
    process.env[name] = value;
    const [first, second] = VARIABLES[name];
    const message = `"${name}" expected "${first}" or "${second}", got "${value}"`;
    expect(() => readVariable(name)).toThrow(new RangeError(message));
    // Even if an option takes precedence.
    for (const options of [{}, { backend: "portable", offload: false }] as const) {
      const error = await rejection(UdpSocket.bind({ hostname: "127.0.0.1", ...options }));
      expect(error).toBeInstanceOf(RangeError);
      expect((error as RangeError).message).toBe(message);
    }
  });
});

test("an invalid readiness mode is an error of every kind of socket, until it is corrected", async () => {
  const child = await runScript("invalid-readiness.ts", {
    env: { DATAGRAM_SOCKET_READINESS: "trhead" },
  });
  const message = '"DATAGRAM_SOCKET_READINESS" expected "loop" or "thread", got "trhead"';
  expect(JSON.parse(child.stdout)).toEqual({
    errors: Array.from({ length: 4 }, () => `RangeError: ${message}`),
    backend: "native",
  });
});

test("an invalid DATAGRAM_SOCKET_OFFLOAD leaves no descriptor open", async () => {
  (await UdpSocket.bind({ hostname: "127.0.0.1" })).close();
  const before = openDescriptors();
  process.env.DATAGRAM_SOCKET_OFFLOAD = "of";
  for (let i = 0; i < 3; i++) {
    const error = await rejection(UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" }));
    expect(error).toBeInstanceOf(RangeError);
  }
  // Fewer, if sockets of earlier tests have been closed meanwhile.
  expect(openDescriptors()).toBeLessThanOrEqual(before);
});

test("a socket that is open is not affected by an invalid variable", async () => {
  await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  process.env.DATAGRAM_SOCKET_OFFLOAD = "of";
  await socket.sendTo(new Uint8Array(2), socket.localAddr);
  expect(await socket.recv(new Uint8Array(9))).toBe(2);
});
