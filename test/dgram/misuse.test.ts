/** Misuse of `node:dgram` throws the errors that Bun's own module throws. */

import { expect, test } from "bun:test";
import builtin from "node:dgram";
import dgram from "../../lib/dgram/index.ts";

type Dgram = typeof dgram;
type Call = [method: string, ...args: unknown[]];

/** Calls on a socket that is not bound. */
const CALLS: Call[] = [
  ["send"],
  ["send", 1, 2],
  ["send", {}, 2],
  ["send", null, 2],
  ["send", Symbol("x"), 2],
  ["send", () => {}, 2],
  ["send", [1], 2],
  ["send", ["a", null], 2],
  ["send", "abc", 1, 5, 80],
  ["send", "abc", 4, 0, 80],
  ["send", "abc", 0, 1, 80, 1],
  ["send", "abc", 80, {}],
  ["send", "abc", 80, true],
  ["sendto"],
  ["sendto", "a", "b"],
  ["sendto", "a", 1, "b"],
  ["sendto", "a", 1, 1, "c"],
  ["sendto", "a", 1, 1, 1, 2],
  ["connect", 1, 2],
  ["connect", 1, null],
  ["disconnect"],
  ["address"],
  ["setTTL", "a"],
  ["setTTL", 1],
  ["setMulticastTTL", null],
  ["setMulticastTTL", 1],
  ["setBroadcast", true],
  ["setMulticastLoopback", true],
  ["setMulticastInterface", 1],
  ["addMembership"],
  ["addMembership", ""],
  ["addMembership", "256.1.1.1"],
  ["dropMembership"],
  ["addSourceSpecificMembership", 1],
  ["addSourceSpecificMembership", "1.1.1.1", 2],
  ["addSourceSpecificMembership", "224.0.0.1x", "1.1.1.1"],
  ["dropSourceSpecificMembership"],
  ["setRecvBufferSize", -1],
  ["setRecvBufferSize", "a"],
  ["setRecvBufferSize", 1],
  ["getSendBufferSize"],
];

/** Arguments of `createSocket`. */
const OPTIONS: unknown[] = [
  "udp5",
  null,
  undefined,
  ["udp4"],
  { type: "udp4", lookup: 1 },
  { type: "udp4", lookup: null },
  { type: "udp4", recvBufferSize: "a" },
  { type: "udp4", recvBufferSize: 2 ** 33 },
  { type: "udp4", sendBufferSize: 1.5 },
  { type: "udp4", sendBufferSize: -1 },
];

/** Returns what `call` throws, without the stack. */
function failureOf(call: () => unknown): object {
  try {
    call();
  } catch (error) {
    const { name, code, message, errno, syscall } = error as Error & Record<string, unknown>;
    return { name, code, message, errno, syscall, text: String(error) };
  }
  return {};
}

test("of the methods", () => {
  for (const [method, ...args] of CALLS) {
    const [expected, actual] = [builtin, dgram].map(({ createSocket }) => {
      const socket = createSocket("udp4").on("error", () => {});
      const methods = socket as unknown as Record<string, (...args: unknown[]) => unknown>;
      const failure = failureOf(() => methods[method]?.(...args));
      failureOf(() => socket.close());
      return { method, args, failure };
    });
    expect(expected?.failure).not.toEqual({});
    expect(actual as object).toEqual(expected as object);
  }
});

test("of a closed socket", () => {
  for (const method of ["bind", "address", "close", "remoteAddress"]) {
    const [expected, actual] = [builtin, dgram].map(({ createSocket }) => {
      const socket = createSocket("udp4");
      socket.close();
      return failureOf(() => (socket as unknown as Record<string, () => unknown>)[method]?.());
    });
    expect(expected).toMatchObject({ code: "ERR_SOCKET_DGRAM_NOT_RUNNING" });
    expect(actual as object).toEqual(expected as object);
  }
});

test("of createSocket", () => {
  for (const options of OPTIONS) {
    const create = ({ createSocket }: Dgram) => failureOf(() => createSocket(options as never));
    expect(create(builtin)).not.toEqual({});
    expect({ options, failure: create(dgram) }).toEqual({ options, failure: create(builtin) });
  }
});

test("ports", () => {
  for (const port of [0, -1, 65_536, 1.5, "", "a", null, {}, true, undefined]) {
    const socket = dgram.createSocket("udp4");
    for (const call of [
      () => socket.connect(port as never),
      () => socket.send("x", port as never),
    ]) {
      expect(failureOf(call)).toMatchObject({
        name: "RangeError",
        code: "ERR_SOCKET_BAD_PORT",
        message: expect.stringMatching(/^Port should be > 0 and < 65536\. Received .*\.$/),
      });
    }
    socket.close();
  }
});
