/**
 * What the network says about datagrams that were sent (onTransportError): told as events that
 * fail no call, close no socket and keep nobody busy. Those of routers are in net/.
 */

import { describe, expect, test } from "bun:test";
import {
  SocketAddress,
  sendmmsg,
  type TransportError,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { closedPort, HAS_IPV6, nextTurn, numbered, thrown, until } from "../tools/sockets.ts";

/** Where a refusal comes from, how the sender reaches it, and how ICMP says it. */
interface Refusal {
  readonly name: string;
  readonly sender: string;
  readonly to: string;
  /** The host as the socket names it: an IPv6 socket has mapped addresses. */
  readonly host: string;
  readonly said: Pick<TransportError, "origin" | "icmpType" | "icmpCode">;
}

/** Port unreachable: RFC 792, RFC 4443 section 3.1. */
const V4_SAYS = { origin: "icmp", icmpType: 3, icmpCode: 3 } as const;
const V6_SAYS = { origin: "icmp6", icmpType: 1, icmpCode: 4 } as const;

const V4 = "127.0.0.1";
const V6 = "::1";
const MAPPED = "::ffff:127.0.0.1";
const REFUSALS: readonly Refusal[] = [
  { name: "IPv4", sender: V4, to: V4, host: V4, said: V4_SAYS },
  { name: "IPv6", sender: V6, to: V6, host: V6, said: V6_SAYS },
  { name: "dual stack to IPv6", sender: "::", to: V6, host: V6, said: V6_SAYS },
  { name: "dual stack to IPv4", sender: "::", to: V4, host: MAPPED, said: V4_SAYS },
  { name: "mapped", sender: "::", to: MAPPED, host: MAPPED, said: V4_SAYS },
].filter(({ sender }) => HAS_IPV6 || sender === V4);

/** A socket, what it is told, and where nobody listens. */
interface Told extends Disposable {
  readonly socket: UdpSocket;
  readonly errors: TransportError[];
  /** Absent where it is connected there. */
  readonly to: SocketAddress | undefined;
  readonly port: number;
}

async function openTold(refusal: Refusal, isConnected: boolean): Promise<Told> {
  const port = await closedPort();
  const { sender: hostname, to } = refusal;
  const connect = isConnected ? { hostname: to, port } : undefined;
  const socket = await UdpSocket.bind({ hostname, connect, backend: "native" });
  const errors: TransportError[] = [];
  socket.onTransportError((error) => errors.push(error));
  return {
    socket,
    errors,
    to: isConnected ? undefined : SocketAddress.ip(to, port),
    port,
    [Symbol.dispose]: () => socket.close(),
  };
}

const IPV4 = REFUSALS[0] as Refusal;
const one = new Uint8Array(1);

describe.each(REFUSALS)("a closed port, $name", (refusal) => {
  test.each([false, true])(
    "is told with who said it and about which destination, connected: %p",
    async (isConnected) => {
      using told = await openTold(refusal, isConnected);
      const { socket, errors, to, port } = told;
      expect(await socket.sendMany([one], { to })).toBe(1);
      await until(() => errors.length > 0);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatchObject({
        code: "ECONNREFUSED",
        errno: 111,
        mtu: undefined,
        ...refusal.said,
      });
      const [error] = errors as [TransportError];
      expect(error.destination?.equals(SocketAddress.ip(refusal.host, port))).toBe(true);
      expect(error.offender?.equals(SocketAddress.ip(refusal.host, 0))).toBe(true);
    },
  );

  test.each([false, true])(
    "fails no send, receive or batch, connected: %p",
    async (isConnected) => {
      using told = await openTold(refusal, isConnected);
      const { socket, errors, to } = told;
      for (let round = 1; round <= 3; round++) {
        const payloads = numbered(round, 0, 100);
        expect(await socket.sendMany(payloads, { to })).toBe(round);
        const before = errors.length;
        await until(() => errors.length > before);
        expect(socket.tryRecv(one)).toBe(WouldBlock);
      }
      expect(socket.isClosed).toBe(false);
      expect(socket.counters).toMatchObject({ datagramsSent: 6, sendErrors: 0, receiveErrors: 0 });
    },
  );
});

test("a connected socket's sends go though one before was just refused: tries and batches", async () => {
  using told = await openTold(IPV4, true);
  const { socket, errors } = told;
  // In one turn, so that each finds the refusal of the one before.
  for (let i = 0; i < 10; i++) expect(socket.trySend(one)).toBe(1);
  for (let i = 0; i < 10; i++) expect(socket.trySendMany([one, one])).toBe(2);
  expect(socket.tryRecv(one)).toBe(WouldBlock);
  await until(() => errors.length === 20);
  expect(socket.counters).toMatchObject({ datagramsSent: 30, sendErrors: 0, receiveErrors: 0 });
});

test("errors about several destinations each name their own", async () => {
  using told = await openTold(IPV4, false);
  const ports = [await closedPort(), await closedPort(), await closedPort()];
  const to = ports.map((port) => SocketAddress.ip(V4, port));
  expect(await told.socket.sendMany([one, one, one], { to })).toBe(3);
  await until(() => told.errors.length === 3);
  expect(told.errors.map(({ destination }) => destination?.port)).toEqual(ports);
});

test("a receive that waits goes on waiting, and gets the next datagram", async () => {
  using told = await openTold(IPV4, false);
  const { socket, errors, to } = told;
  const received = socket.recv(new Uint8Array(10));
  await socket.sendMany([one], { to });
  await until(() => errors.length === 1);
  await socket.sendTo(new Uint8Array(7), socket.localAddr);
  expect(await received).toBe(7);
});

test("an error that was told keeps nobody busy: no system call follows", async () => {
  using told = await openTold(IPV4, true);
  const { socket, errors } = told;
  const received = socket.recv(one).catch(() => {});
  await socket.send(one);
  await until(() => errors.length === 1);
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  const before = socket.counters.receiveCalls;
  for (let turn = 0; turn < 1000; turn++) await nextTurn();
  expect(socket.counters.receiveCalls - before).toBeLessThan(5);
  expect(errors).toHaveLength(1);
  socket.close();
  await received;
});

test("a storm of refusals is told whole, and the socket goes on", async () => {
  using told = await openTold(IPV4, false);
  const { socket, errors, to } = told;
  const count = 500;
  for (let i = 0; i < count; i += 50) {
    // Growing lengths: each is a message of its own, and has an answer of its own.
    const payloads = Array.from({ length: 50 }, (_, j) => new Uint8Array(j + 1));
    expect(await socket.sendMany(payloads, { to })).toBe(50);
    await until(() => errors.length === i + 50);
  }
  await socket.sendTo(one, socket.localAddr);
  expect(await socket.recv(one)).toBe(1);
  expect(errors).toHaveLength(count);
});

test("the handler may close the socket", async () => {
  using told = await openTold(IPV4, false);
  const { socket, to } = told;
  let calls = 0;
  socket.onTransportError(() => {
    calls++;
    socket.close();
  });
  await socket.sendMany([one], { to });
  await until(() => socket.isClosed);
  for (let turn = 0; turn < 10; turn++) await nextTurn();
  expect(calls).toBe(1);
});

test("another handler takes the place of the first", async () => {
  using told = await openTold(IPV4, false);
  const { socket, errors, to } = told;
  const others: TransportError[] = [];
  socket.onTransportError((error) => others.push(error));
  await socket.sendMany([one], { to });
  await until(() => others.length === 1);
  expect(errors).toEqual([]);
});

test("with the handler taken back a connected socket throws again, another hears nothing", async () => {
  using connected = await openTold(IPV4, true);
  using other = await openTold(IPV4, false);
  for (const { socket, to } of [connected, other]) {
    socket.onTransportError(undefined);
    expect(await socket.sendMany([one], { to })).toBe(1);
  }
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  const refused = { code: "ECONNREFUSED" };
  expect(thrown(() => connected.socket.tryRecv(one))).toMatchObject(refused);
  expect(other.socket.tryRecv(one)).toBe(WouldBlock);
  expect([connected.errors, other.errors]).toEqual([[], []]);
});

test("what is no handler is a TypeError; a closed socket and the portable backend take none", async () => {
  using told = await openTold(IPV4, false);
  for (const wrong of [null, 1, "f", {}]) {
    const set = () => told.socket.onTransportError(wrong as never);
    expect(thrown(set)).toBeInstanceOf(TypeError);
  }
  told.socket.close();
  expect(thrown(() => told.socket.onTransportError(() => {}))).toMatchObject({
    code: "ERR_SOCKET_CLOSED",
  });
  await using portable = await UdpSocket.bind({ hostname: V4, backend: "portable" });
  expect(thrown(() => portable.onTransportError(() => {}))).toMatchObject({
    code: "ERR_NOT_SUPPORTED",
  });
});

describe("a handler that uses sockets while it is told", () => {
  /** Tells of refusals at `ports`, in this order. */
  const portsOf = (errors: readonly TransportError[]) =>
    errors.map(({ destination }) => destination?.port);

  /** Sends a datagram to each behind the socket's back, so that all errors wait in its queue. */
  function provoke(socket: UdpSocket, ports: readonly number[]): void {
    const fd = socket.asRawIo() as number;
    for (const port of ports) {
      const send = () => sendmmsg(fd, [one], SocketAddress.ip(V4, port));
      // The refusal of the one before fails the next, once.
      if (port !== ports[0]) expect(thrown(send)).toMatchObject({ code: "ECONNREFUSED" });
      expect(send()).toBe(1);
    }
  }

  async function closedPorts(count: number): Promise<number[]> {
    const ports: number[] = [];
    while (ports.length < count) ports.push(await closedPort());
    return ports;
  }

  test("hears of all its errors, though each time another socket hears of its own", async () => {
    using first = await UdpSocket.bind({ hostname: V4, backend: "native" });
    using other = await UdpSocket.bind({ hostname: V4, backend: "native" });
    const live = first.localAddr;
    const [ports, otherPorts] = [await closedPorts(6), await closedPorts(6)];
    const errors: TransportError[] = [];
    const otherErrors: TransportError[] = [];
    other.onTransportError((error) => otherErrors.push(error));
    first.onTransportError((error) => {
      if (errors.length === 0) provoke(other, otherPorts);
      errors.push(error);
      // Finds what is queued there.
      if (errors.length === 1)
        expect(other.trySendTo(one, SocketAddress.ip(V4, live.port))).toBe(1);
    });
    provoke(first, ports);
    await until(() => errors.length >= 6 && otherErrors.length >= 6);
    expect(portsOf(errors)).toEqual(ports);
    expect(portsOf(otherErrors)).toEqual(otherPorts);
  });

  test("that closes the socket is told no more, and nobody else's errors", async () => {
    const closing = await UdpSocket.bind({ hostname: V4, backend: "native" });
    const ports = await closedPorts(12);
    let told = 0;
    closing.onTransportError(() => {
      told++;
      closing.close();
    });
    provoke(closing, ports);
    // The call finds the errors, and goes through before any of them is told.
    expect(closing.trySendTo(one, closing.localAddr)).toBe(1);
    expect([told, closing.isClosed]).toEqual([0, false]);
    await until(() => told > 0);
    // This one gets the number of the descriptor that was closed.
    using next = await UdpSocket.bind({ hostname: V4, backend: "native" });
    const errors: TransportError[] = [];
    next.onTransportError((error) => errors.push(error));
    provoke(next, ports.slice(0, 3));
    await until(() => errors.length >= 3);
    expect(portsOf(errors)).toEqual(ports.slice(0, 3));
    expect(told).toBe(1);
  });
});
