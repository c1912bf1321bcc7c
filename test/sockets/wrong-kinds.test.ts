/**
 * Calls every public function and method with values of wrong kinds: errors name the argument, and
 * none comes from the inside of the library, such as "undefined is not an object".
 */

import { afterAll, describe, expect, test } from "bun:test";
import * as main from "../../lib/index.ts";
import * as masque from "../../lib/masque/index.ts";
import * as testing from "../../lib/testing/index.ts";
import { openDescriptors, until } from "../tools/sockets.ts";

/** Everything that the package exports, except the interfaces of other packages. */
const library = { ...main, ...masque, ...testing };

const {
  AddressMap,
  DatagramPair,
  DgramBuffer,
  DgramBufferPool,
  MaybeConnectedSocket,
  RecvBatch,
  RecvMeta,
  SendBatch,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
} = library;

/** One value of each kind. No number that is a valid descriptor. */
const KINDS: readonly unknown[] = [
  undefined,
  null,
  true,
  -1,
  1.5,
  Number.NaN,
  7n,
  "text",
  "",
  Symbol("symbol"),
  {},
  [],
  [null],
  { length: 3 },
  new Date(0),
  new Map(),
  new Uint16Array(2),
  new ArrayBuffer(2),
  Object.create(null),
];

/** What engines say when code meets a value that it does not expect. */
const INTERNAL =
  /is not an object|is not a function|is not iterable|not a constructor|Cannot (read|convert|access|mix)|undefined is not|null is not|private|incompatible|Invalid (typed )?array|out of range of/i;

/** Methods that end the object. */
const SKIPPED = new Set(["constructor", "close", "intoFd", "toString", "toJSON", "leaveReusePort"]);

const before = openDescriptors();
const udp = await UdpSocket.bind({ hostname: "127.0.0.1" });
const portable = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
const [unix, unixPeer] = await UnixDatagram.pair();
const [pair] = DatagramPair.create();

const received = new RecvBatch();
await udp.sendTo("datagram", udp.localAddr);
await udp.recvBatch(received);

const INSTANCES: Record<string, object> = {
  "UdpSocket, native": udp,
  "UdpSocket, portable": portable,
  UnixDatagram: unix,
  DatagramPair: pair,
  MaybeConnectedSocket: new MaybeConnectedSocket(pair),
  SendBatch: new SendBatch(),
  RecvBatch: received,
  DgramBuffer: DgramBuffer.fromSlice(new Uint8Array(8)),
  DgramBufferPool: new DgramBufferPool(),
  AddressMap: new AddressMap(),
  SocketAddress: SocketAddress.ip("192.0.2.1", 53),
  RecvMeta: new RecvMeta(),
};

afterAll(async () => {
  for (const socket of [udp, portable, unix, unixPeer, pair]) socket.close();
  // The event loop of Bun and the readiness of the thread keep a few.
  await until(() => openDescriptors() <= before + 10);
});

type Call = (...args: unknown[]) => unknown;

/** Returns the public methods of an object, with those that it inherits. */
function methodsOf(object: object): [name: string, method: (...args: unknown[]) => unknown][] {
  const names = new Set<string>();
  for (let at = object; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (typeof value === "function" && !name.startsWith("_")) names.add(name);
    }
  }
  return [...names]
    .filter((name) => !SKIPPED.has(name))
    .map((name) => [name, (...args) => (object as Record<string, Call>)[name]?.(...args)]);
}

/** A RangeError about a number, whose value was of another type: it should be a TypeError. */
const WRONG_TYPE =
  /expected (integer|number|milliseconds|probability|multiple|datagram of|message of)/;
const NUMBER_SHOWN = /, got -?(\d[\d.e+]*n?|NaN|Infinity)$/;

const isWrongClass = ({ message }: Error) =>
  WRONG_TYPE.test(message) && !NUMBER_SHOWN.test(message);

/** Closes what a call has returned: a socket, several, or a promise of them. */
function dispose(result: unknown): void {
  if (result instanceof Promise) result.then(dispose, () => {});
  else if (Array.isArray(result)) result.forEach(dispose);
  else if (result instanceof Object && Symbol.dispose in result) {
    (result as Disposable)[Symbol.dispose]();
  }
}

/** Returns the message of the error of a call, if it comes from the inside. */
async function messageOf(call: () => unknown): Promise<string | undefined> {
  try {
    const result = call();
    dispose(result);
    await Promise.race([result, Bun.sleep(2)]);
    return undefined;
  } catch (error) {
    if (error instanceof RangeError && isWrongClass(error)) return `RangeError: ${error.message}`;
    const isKnown =
      error instanceof TypeError ||
      error instanceof RangeError ||
      error instanceof library.SocketError;
    return isKnown && !INTERNAL.test(error.message) ? undefined : String(error);
  }
}

/** Calls with each kind as each of the first three arguments. Returns the errors from the inside. */
async function internalErrors(call: (...args: unknown[]) => unknown): Promise<string[]> {
  const found: string[] = [];
  for (const position of [0, 1, 2]) {
    for (const value of KINDS) {
      const args: unknown[] = new Array(position).fill(undefined);
      args[position] = value;
      const message = await messageOf(() => call(...args));
      if (message !== undefined) {
        const shown = Bun.inspect(value).slice(0, 40);
        found.push(`argument ${position + 1} ${shown}: ${message}`);
      }
    }
  }
  return found;
}

describe("a value of the wrong type is a TypeError, a number out of range a RangeError", () => {
  const to = udp.localAddr;
  const bind = (options: object) => UdpSocket.bind(options as never);
  const calls: [string, (value: never) => unknown][] = [
    ["bind({ port })", (port) => bind({ port })],
    ["connect({ port })", (port) => UdpSocket.connect({ hostname: "127.0.0.1", port })],
    ["bind({ dscp })", (dscp) => bind({ dscp })],
    ["bind({ receiveBufferBytes })", (receiveBufferBytes) => bind({ receiveBufferBytes })],
    ["setTTL", (ttl) => udp.setTTL(ttl)],
    ["fromFd", (fd) => UdpSocket.fromFd(fd)],
    ["trySendTo", (port) => udp.trySendTo("x", { address: "127.0.0.1", port })],
    ["SocketAddress.ip", (port) => SocketAddress.ip("127.0.0.1", port)],
    ["putU16", (value) => new DgramBuffer().putU16(value)],
    ["putU64", (value) => new DgramBuffer().putU64(value)],
    ["encodeVarint", (value) => library.encodeVarint(value, new Uint8Array(8))],
    ["SendBatch.push", (dscp) => new SendBatch().push("x", to).meta({ dscp })],
    ["trySendMany", (start) => udp.trySendMany(["x"], { to, start })],
    ["payload", (i) => received.payload(i)],
  ];
  test.each(calls)("%s", async (_, call) => {
    const errorOf = async (value: unknown) => {
      try {
        dispose(await call(value as never));
      } catch (error) {
        return (error as Error).constructor;
      }
      return undefined;
    };
    for (const value of ["3", true, {}]) expect(await errorOf(value)).toBe(TypeError);
    for (const value of [-2, 1.5, Number.NaN]) expect(await errorOf(value)).toBe(RangeError);
  });
});

describe.each(Object.entries(INSTANCES))("%s", (_, object) => {
  test.each(methodsOf(object))("%s", async (_, method) => {
    expect(await internalErrors(method)).toEqual([]);
  });
});

describe("functions", () => {
  const functions = Object.entries(library).filter(
    ([name, value]) => typeof value === "function" && /^[a-z]/.test(name),
  );
  test.each(functions)("%s", async (_, value) => {
    expect(await internalErrors(value as (...args: unknown[]) => unknown)).toEqual([]);
  });
});

describe("static methods", () => {
  const classes = Object.entries(library).filter(
    ([name, value]) => typeof value === "function" && /^[A-Z]/.test(name),
  );
  const methods = classes.flatMap(([name, type]) =>
    Object.getOwnPropertyNames(type)
      .filter((key) => !/^(length|name|prototype|_.*)$/.test(key))
      .filter((key) => typeof (type as never)[key] === "function")
      .map((key): [string, (...args: unknown[]) => unknown] => [
        `${name}.${key}`,
        (...args) =>
          (type as unknown as Record<string, (...a: unknown[]) => unknown>)[key]?.(...args),
      ]),
  );
  test.each(methods)("%s", async (_, method) => {
    expect(await internalErrors(method)).toEqual([]);
  });
});

/** Classes whose constructors the library alone calls. They are not documented. */
const UNDOCUMENTED = new Set(["CapsuleError", "SimulationError", "SimSocket", "SimTimer"]);

describe("constructors", () => {
  const classes = Object.entries(library).filter(
    ([name, value]) =>
      typeof value === "function" && /^[A-Z]/.test(name) && !UNDOCUMENTED.has(name),
  );
  test.each(classes)("%s", async (_, type) => {
    const construct = type as unknown as new (...args: unknown[]) => unknown;
    expect(await internalErrors((...args) => new construct(...args))).toEqual([]);
  });
});
