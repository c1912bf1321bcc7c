/** Misuse that a new user tries: it is refused, and the error says what to write instead. */

import { describe, expect, test } from "bun:test";
import { DatagramPair, SocketAddress, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { BACKENDS, rejection, thrown } from "../tools/sockets.ts";

const bind = (...args: unknown[]) =>
  (UdpSocket.bind as (...args: unknown[]) => Promise<UdpSocket>)(...args);
const connect = (...args: unknown[]) =>
  (UdpSocket.connect as (...args: unknown[]) => Promise<UdpSocket>)(...args);

/** Expects a TypeError whose message includes `text`. */
async function expectRefused(call: () => unknown, text: string): Promise<void> {
  const error = await rejection((async () => call())());
  expect(error).toBeInstanceOf(TypeError);
  expect((error as Error).message).toInclude(text);
}

describe("objects that are no options", () => {
  const [socket] = DatagramPair.create();
  const wait = (options: unknown) => socket.recv(new Uint8Array(1), options as never);

  test("an AbortSignal and its controller are refused, with the right form", async () => {
    await expectRefused(() => wait(AbortSignal.timeout(20)), "{ signal }");
    await expectRefused(() => wait(new AbortController()), "{ signal: controller.signal }");
    await expectRefused(
      () => socket.send("a", new AbortController() as never),
      "controller.signal",
    );
    await expectRefused(() => socket.recvMany([], AbortSignal.abort() as never), "{ signal }");
  });

  test("instances of built-in classes are refused, even without names", async () => {
    for (const value of [new Map([["hostname", "::1"]]), new Date(), [], new Set(), /x/, () => 1]) {
      await expectRefused(() => bind(value), '"options" expected object, got');
    }
  });

  test("inherited names are checked as own ones", async () => {
    await expectRefused(
      () => bind(Object.create({ host: "127.0.0.1" })),
      'did you mean "hostname"',
    );
    class Options {
      hostname = "127.0.0.1";
      method() {}
    }
    for (const options of [new Options(), Object.create({ hostname: "127.0.0.1" })]) {
      using bound = await bind(options);
      expect(bound.localAddr.address).toBe("127.0.0.1");
    }
  });

  test("names of Object.prototype are ignored", async () => {
    Object.defineProperty(Object.prototype, "polluted", {
      value: 1,
      enumerable: true,
      configurable: true,
    });
    try {
      using bound = await bind({ hostname: "127.0.0.1" });
      expect(bound.localAddr.address).toBe("127.0.0.1");
    } finally {
      Reflect.deleteProperty(Object.prototype, "polluted");
    }
  });

  test("further arguments and a second peer are refused", async () => {
    const peer = { hostname: "127.0.0.1", port: 9 };
    await expectRefused(() => bind({}, { foo: 1 }), "an argument too many");
    await expectRefused(() => connect(peer, {}, 1), "an argument too many");
    await expectRefused(() => connect(peer, { connect: peer }), "no second peer");
  });

  test("batches refuses its options at the call", () => {
    expect(thrown(() => socket.batches({ size: 5 } as never))).toBeInstanceOf(TypeError);
    expect(thrown(() => socket.batches(64 as never))).toBeInstanceOf(TypeError);
    expect(thrown(() => socket.batches({ count: 0 }))).toBeInstanceOf(RangeError);
  });
});

describe("hosts and ports in other forms", () => {
  const form = '{ hostname: "127.0.0.1", port: 53 }';
  test.each([
    ["bind, text", () => bind("localhost:9"), form],
    ["connect, text", () => connect("h:9"), form],
    ["bind, address", () => bind({ address: "127.0.0.1" }), 'did you mean "hostname"'],
    ["connect, host", () => connect({ host: "h", port: 9 }), 'did you mean "hostname"'],
    ["bind, with port", () => bind({ hostname: "127.0.0.1:80" }), "without brackets and port"],
    ["bind, with brackets", () => bind({ hostname: "[::1]" }), "without brackets and port"],
    ["from, a promise", () => UdpSocket.from(Promise.resolve() as never), "await the promise"],
  ])("%s", async (_, call, text) => {
    await expectRefused(call, text);
  });
});

describe.each(BACKENDS)("destinations, %s", (backend) => {
  const open = () => UdpSocket.bind({ hostname: "127.0.0.1", backend });

  test("in other forms are refused with the right one", async () => {
    await using socket = await open();
    const sendTo = (...args: unknown[]) =>
      (socket.sendTo as (...args: unknown[]) => unknown).call(socket, "x", ...args);
    await expectRefused(() => sendTo({ address: "localhost", port: 5 }), "connect resolves host");
    await expectRefused(() => sendTo({ hostname: "h", port: 5 }), "the field is called address");
    await expectRefused(() => sendTo(9, "127.0.0.1"), "sendTo(data, { address, port })");
    const error = await rejection(socket.sendMany(["a", "b"], { to: [socket.localAddr] }));
    expect(error).toBeInstanceOf(RangeError);
    expect((error as Error).message).toInclude("one for each datagram");
  });

  test("that the kernel refuses have a reason", async () => {
    await using socket = await open();
    const refused: [SocketAddress, string, string][] = [
      [SocketAddress.ip("127.0.0.1", 0), "EINVAL", "a port of 1..65535"],
      [SocketAddress.unix("/run/x"), "EINVAL", "IP addresses only"],
    ];
    for (const [to, code, text] of refused) {
      const error = await rejection(socket.sendTo("x", to));
      expect(error).toMatchObject({ code });
      expect((error as Error).message).toInclude(text);
    }
    await using any = await UdpSocket.bind({ backend });
    const error = await rejection(any.sendTo("x", { address: "255.255.255.255", port: 9 }));
    expect(error).toMatchObject({ code: "EACCES" });
    expect((error as Error).message).toInclude("setBroadcast(true)");
  });
});

test("sendMany of a Unix socket names the function that makes an address of a path", async () => {
  await using socket = await UnixDatagram.unbound();
  const send = () => socket.sendMany(["x"], { to: "/run/x" as never });
  await expectRefused(send, "SocketAddress.unix(path)");
});
