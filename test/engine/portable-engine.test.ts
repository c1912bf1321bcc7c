/** The portable engine on a fake of Bun's socket, whose events the test controls. */

import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { PortableEngine } from "../../lib/engine/portable/portable-engine.ts";
import { isClosedError, SocketAddress } from "../../lib/index.ts";
import { Pending } from "../../lib/poll/poll.ts";
import { numbered, targets, thrown } from "../tools/sockets.ts";

const LOCAL = SocketAddress.ip("127.0.0.1", 1000);
const PEER = SocketAddress.ip("127.0.0.1", 2000);

interface Handlers {
  data(socket: unknown, bytes: Uint8Array, port: number, address: string): void;
  drain(): void;
  error(error: Error): void;
}

/** A socket without a kernel. It accepts a datagram if `hasRoom`. */
class FakeSocket {
  readonly address = { address: LOCAL.address, port: LOCAL.port };
  readonly remoteAddress: { address: string; port: number } | undefined;
  hasRoom = true;
  sends = 0;

  constructor(peer: SocketAddress | undefined) {
    this.remoteAddress = peer && { address: peer.address, port: peer.port };
  }

  send(): boolean {
    this.sends++;
    return this.hasRoom;
  }

  close(): void {}
}

const engines: PortableEngine[] = [];
afterEach(() => {
  for (const engine of engines.splice(0)) engine.close();
});

async function open(
  peer?: SocketAddress,
): Promise<{ engine: PortableEngine; socket: FakeSocket; handlers: Handlers }> {
  const socket = new FakeSocket(peer);
  let handlers: Handlers | undefined;
  const opening = spyOn(Bun, "udpSocket").mockImplementation((async (options: {
    socket: Handlers;
  }) => {
    handlers = options.socket;
    return socket;
  }) as never);
  try {
    const engine = await PortableEngine.open({ local: LOCAL, peer });
    engines.push(engine);
    return { engine, socket, handlers: handlers as Handlers };
  } finally {
    opening.mockRestore();
  }
}

test("a send to a full socket is retried although Bun never calls drain", async () => {
  const { engine, socket } = await open(PEER);
  socket.hasRoom = false;
  const { promise: woken, resolve } = Promise.withResolvers<void>();
  expect(engine.send(resolve, numbered(1), 0, 1, undefined)).toBe(Pending);
  expect(engine.counters.sendWouldBlocks).toBe(1);
  // The retry does not keep the process alive. The open socket would, and is a fake here.
  const isAlive = setInterval(() => {}, 1000);
  await woken;
  clearInterval(isAlive);
  socket.hasRoom = true;
  expect(engine.send(null, numbered(1), 0, 1, undefined)).toBe(1);
  expect(socket.sends).toBe(2);
}, 5000);

test("a send to a full socket is retried as soon as Bun calls drain", async () => {
  const { engine, socket, handlers } = await open(PEER);
  socket.hasRoom = false;
  let wakes = 0;
  expect(engine.send(() => wakes++, numbered(1), 0, 1, undefined)).toBe(Pending);
  handlers.drain();
  expect(wakes).toBe(1);
});

describe("close", () => {
  test("wakes the waiting receive, whose next poll throws ERR_SOCKET_CLOSED", async () => {
    const { engine } = await open();
    let wakes = 0;
    const receive = () => engine.receive(() => wakes++, targets(1), 0, 1, undefined);
    expect(receive()).toBe(Pending);
    engine.close();
    expect(wakes).toBe(1);
    expect(isClosedError(thrown(receive))).toBe(true);
  });

  test("wakes the waiting send, whose next poll throws ERR_SOCKET_CLOSED", async () => {
    const { engine, socket } = await open(PEER);
    socket.hasRoom = false;
    let wakes = 0;
    const send = () => engine.send(() => wakes++, numbered(1), 0, 1, undefined);
    expect(send()).toBe(Pending);
    engine.close();
    expect(wakes).toBe(1);
    expect(isClosedError(thrown(send))).toBe(true);
  });
});

/** An error as Bun passes it to the handler. */
function bunError(code: string, errno: number): Error {
  return Object.assign(new Error(`${code}: recv`), { code, errno: -errno });
}

test("an ICMP error is thrown by the next receive of a connected socket, once", async () => {
  const { engine, handlers } = await open(PEER);
  handlers.error(bunError("ECONNREFUSED", 111));
  const receive = () => engine.receive(null, targets(1), 0, 1, undefined);
  expect(thrown(receive)).toMatchObject({ code: "ECONNREFUSED", errno: 111 });
  expect(receive()).toBe(Pending);
  expect(engine.counters.receiveErrors).toBe(1);
});

test("an ICMP error is ignored by an unconnected socket, and another error is not", async () => {
  const { engine, handlers } = await open();
  const receive = () => engine.receive(null, targets(1), 0, 1, undefined);
  for (const [code, errno] of [
    ["ECONNREFUSED", 111],
    ["EHOSTUNREACH", 113],
    ["ENETUNREACH", 101],
  ] as const) {
    handlers.error(bunError(code, errno));
    expect([code, receive()]).toEqual([code, Pending]);
  }
  expect(engine.counters.receiveErrors).toBe(0);
  handlers.error(bunError("ENOMEM", 12));
  expect(thrown(receive)).toMatchObject({ code: "ENOMEM" });
});
