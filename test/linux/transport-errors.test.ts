/**
 * `onTransportError`: ICMP errors about earlier datagrams are delivered to the handler. They fail
 * no call, close no socket and cause no busy loop. Errors from routers are tested in test/net/.
 */

import { describe, expect, test } from "bun:test";
import {
  SocketAddress,
  sendmmsg,
  type TransportError,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { closedPort, HAS_IPV6, nextTick, numbered, thrown, until } from "../tools/sockets.ts";

/** A closed port, the addresses to reach it, and the ICMP error that reports it. */
interface Refusal {
  readonly name: string;
  readonly sender: string;
  readonly to: string;
  /** The host as the socket reports it: IPv4-mapped on an IPv6 socket. */
  readonly host: string;
  readonly report: Pick<TransportError, "origin" | "icmpType" | "icmpCode">;
}

/** Port unreachable: RFC 792, RFC 4443 section 3.1. */
const ICMP_PORT_UNREACHABLE = { origin: "icmp", icmpType: 3, icmpCode: 3 } as const;
const ICMP6_PORT_UNREACHABLE = { origin: "icmp6", icmpType: 1, icmpCode: 4 } as const;

const V4 = "127.0.0.1";
const V6 = "::1";
const MAPPED = "::ffff:127.0.0.1";
const REFUSALS: readonly Refusal[] = [
  { name: "IPv4", sender: V4, to: V4, host: V4, report: ICMP_PORT_UNREACHABLE },
  { name: "IPv6", sender: V6, to: V6, host: V6, report: ICMP6_PORT_UNREACHABLE },
  { name: "dual stack to IPv6", sender: "::", to: V6, host: V6, report: ICMP6_PORT_UNREACHABLE },
  { name: "dual stack to IPv4", sender: "::", to: V4, host: MAPPED, report: ICMP_PORT_UNREACHABLE },
  {
    name: "dual stack to IPv4-mapped",
    sender: "::",
    to: MAPPED,
    host: MAPPED,
    report: ICMP_PORT_UNREACHABLE,
  },
].filter(({ sender }) => HAS_IPV6 || sender === V4);

/** A socket, the errors that its handler received, and a closed port to send to. */
interface TestSender extends Disposable {
  readonly socket: UdpSocket;
  readonly errors: TransportError[];
  /** The address of the closed port. Absent if the socket is connected to it. */
  readonly to: SocketAddress | undefined;
  readonly port: number;
}

/** Opens a socket that sends to a closed port, and records the errors that are reported. */
async function openSender(refusal: Refusal, isConnected: boolean): Promise<TestSender> {
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

describe.each(REFUSALS)("a closed port over $name", (refusal) => {
  test.each([false, true])(
    "is reported with its offender and destination, connected: %p",
    async (isConnected) => {
      using sender = await openSender(refusal, isConnected);
      const { socket, errors, to, port } = sender;
      expect(await socket.sendMany([one], { to })).toBe(1);
      await until(() => errors.length > 0);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatchObject({
        code: "ECONNREFUSED",
        errno: 111,
        mtu: undefined,
        ...refusal.report,
      });
      const [error] = errors as [TransportError];
      expect(error.destination?.equals(SocketAddress.ip(refusal.host, port))).toBe(true);
      expect(error.offender?.equals(SocketAddress.ip(refusal.host, 0))).toBe(true);
    },
  );

  test.each([false, true])(
    "fails no send, receive or batch, connected: %p",
    async (isConnected) => {
      using sender = await openSender(refusal, isConnected);
      const { socket, errors, to } = sender;
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

test("sends of a connected socket succeed although the previous datagram was refused", async () => {
  using sender = await openSender(IPV4, true);
  const { socket, errors } = sender;
  // In the same tick, so that each send meets the error of the previous datagram.
  for (let i = 0; i < 10; i++) expect(socket.trySend(one)).toBe(1);
  for (let i = 0; i < 10; i++) expect(socket.trySendMany([one, one])).toBe(2);
  expect(socket.tryRecv(one)).toBe(WouldBlock);
  await until(() => errors.length === 20);
  expect(socket.counters).toMatchObject({ datagramsSent: 30, sendErrors: 0, receiveErrors: 0 });
});

test("each transport error is reported with the destination of its datagram", async () => {
  using sender = await openSender(IPV4, false);
  const ports = [await closedPort(), await closedPort(), await closedPort()];
  const to = ports.map((port) => SocketAddress.ip(V4, port));
  expect(await sender.socket.sendMany([one, one, one], { to })).toBe(3);
  await until(() => sender.errors.length === 3);
  expect(sender.errors.map(({ destination }) => destination?.port)).toEqual(ports);
});

test("a waiting receive is not ended by a transport error", async () => {
  using sender = await openSender(IPV4, false);
  const { socket, errors, to } = sender;
  const received = socket.recv(new Uint8Array(10));
  await socket.sendMany([one], { to });
  await until(() => errors.length === 1);
  await socket.sendTo(new Uint8Array(7), socket.localAddr);
  expect(await received).toBe(7);
});

test("a delivered transport error causes no further system calls", async () => {
  using sender = await openSender(IPV4, true);
  const { socket, errors } = sender;
  const received = socket.recv(one).catch(() => {});
  await socket.send(one);
  await until(() => errors.length === 1);
  for (let tick = 0; tick < 100; tick++) await nextTick();
  const before = socket.counters.receiveCalls;
  for (let tick = 0; tick < 1000; tick++) await nextTick();
  expect(socket.counters.receiveCalls - before).toBeLessThan(5);
  expect(errors).toHaveLength(1);
  socket.close();
  await received;
});

test("500 transport errors are all delivered, and the socket remains usable", async () => {
  using sender = await openSender(IPV4, false);
  const { socket, errors, to } = sender;
  const count = 500;
  for (let i = 0; i < count; i += 50) {
    // Increasing lengths rule out GSO, so that each datagram causes an ICMP error of its own.
    const payloads = Array.from({ length: 50 }, (_, j) => new Uint8Array(j + 1));
    expect(await socket.sendMany(payloads, { to })).toBe(50);
    await until(() => errors.length === i + 50);
  }
  await socket.sendTo(one, socket.localAddr);
  expect(await socket.recv(one)).toBe(1);
  expect(errors).toHaveLength(count);
});

test("a transport error handler may close the socket", async () => {
  using sender = await openSender(IPV4, false);
  const { socket, to } = sender;
  let calls = 0;
  socket.onTransportError(() => {
    calls++;
    socket.close();
  });
  await socket.sendMany([one], { to });
  await until(() => socket.isClosed);
  for (let tick = 0; tick < 10; tick++) await nextTick();
  expect(calls).toBe(1);
});

test("a new transport error handler replaces the previous one", async () => {
  using sender = await openSender(IPV4, false);
  const { socket, errors, to } = sender;
  const others: TransportError[] = [];
  socket.onTransportError((error) => others.push(error));
  await socket.sendMany([one], { to });
  await until(() => others.length === 1);
  expect(errors).toEqual([]);
});

test("without a handler, transport errors fail calls of connected sockets only", async () => {
  using connected = await openSender(IPV4, true);
  using other = await openSender(IPV4, false);
  for (const { socket, to } of [connected, other]) {
    socket.onTransportError(undefined);
    expect(await socket.sendMany([one], { to })).toBe(1);
  }
  for (let tick = 0; tick < 100; tick++) await nextTick();
  const refused = { code: "ECONNREFUSED" };
  expect(thrown(() => connected.socket.tryRecv(one))).toMatchObject(refused);
  expect(other.socket.tryRecv(one)).toBe(WouldBlock);
  expect([connected.errors, other.errors]).toEqual([[], []]);
});

test("onTransportError refuses other types, closed sockets and the portable backend", async () => {
  using sender = await openSender(IPV4, false);
  for (const wrong of [null, 1, "f", {}]) {
    const set = () => sender.socket.onTransportError(wrong as never);
    expect(thrown(set)).toBeInstanceOf(TypeError);
  }
  sender.socket.close();
  expect(thrown(() => sender.socket.onTransportError(() => {}))).toMatchObject({
    code: "ERR_SOCKET_CLOSED",
  });
  await using portable = await UdpSocket.bind({ hostname: V4, backend: "portable" });
  expect(thrown(() => portable.onTransportError(() => {}))).toMatchObject({
    code: "ERR_NOT_SUPPORTED",
  });
});

describe("a transport error handler that uses sockets", () => {
  /** Returns the destination ports of `errors`, in order. */
  const portsOf = (errors: readonly TransportError[]) =>
    errors.map(({ destination }) => destination?.port);

  /**
   * Sends a datagram to each port through the descriptor, without the socket, so that all errors
   * remain in the error queue.
   */
  function provoke(socket: UdpSocket, ports: readonly number[]): void {
    const fd = socket.asRawIo() as number;
    for (const port of ports) {
      const send = () => sendmmsg(fd, [one], SocketAddress.ip(V4, port));
      // The error of the previous datagram fails the next call, once.
      if (port !== ports[0]) expect(thrown(send)).toMatchObject({ code: "ECONNREFUSED" });
      expect(send()).toBe(1);
    }
  }

  async function closedPorts(count: number): Promise<number[]> {
    const ports: number[] = [];
    while (ports.length < count) ports.push(await closedPort());
    return ports;
  }

  test("receives all errors, while another socket drains its own queue", async () => {
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
      // This call drains the error queue of the other socket.
      if (errors.length === 1)
        expect(other.trySendTo(one, SocketAddress.ip(V4, live.port))).toBe(1);
    });
    provoke(first, ports);
    await until(() => errors.length >= 6 && otherErrors.length >= 6);
    expect(portsOf(errors)).toEqual(ports);
    expect(portsOf(otherErrors)).toEqual(otherPorts);
  });

  test("receives no more errors after close, even if the descriptor is reused", async () => {
    const closing = await UdpSocket.bind({ hostname: V4, backend: "native" });
    const ports = await closedPorts(12);
    let calls = 0;
    closing.onTransportError(() => {
      calls++;
      closing.close();
    });
    provoke(closing, ports);
    // The call drains the errors, and returns before any of them is delivered.
    expect(closing.trySendTo(one, closing.localAddr)).toBe(1);
    expect([calls, closing.isClosed]).toEqual([0, false]);
    await until(() => calls > 0);
    // This socket reuses the number of the closed descriptor.
    using next = await UdpSocket.bind({ hostname: V4, backend: "native" });
    const errors: TransportError[] = [];
    next.onTransportError((error) => errors.push(error));
    provoke(next, ports.slice(0, 3));
    await until(() => errors.length >= 3);
    expect(portsOf(errors)).toEqual(ports.slice(0, 3));
    expect(calls).toBe(1);
  });
});
