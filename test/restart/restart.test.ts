/** The example in examples/restart: replacing a server loses no request and answers none twice. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passSockets, requestSockets } from "../../examples/restart/control.ts";
import { EchoServer } from "../../examples/restart/echo-server.ts";
import { faultsOf, type Outcome, replaceServers } from "../../examples/restart/replace.ts";
import { type SocketAddress, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { temporaryDirectory } from "../ffi/tools.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import {
  CHILD_TIMEOUT_MS,
  numbered,
  openDescriptors,
  receiveNumbers,
  sequence,
  targets,
} from "../tools/sockets.ts";

describe("a loaded echo server", () => {
  test.each(["descriptors", "reuseport"] as const)(
    "that is replaced by %s twice answers every request once",
    async (way) => {
      const outcome = await replaceServers({ way, replacements: 2, intervalMs: 50 });
      expect(faultsOf(outcome)).toEqual([]);
      expect(outcome.load.requests).toBeGreaterThan(100);
    },
    CHILD_TIMEOUT_MS,
  );
});

test("faultsOf names every count that is wrong", () => {
  const load = { requests: 9, answered: 9, lost: 0, twice: 0, wrong: 0, longestPauseMs: 1 };
  const servers = { received: 9, answered: 9, answeredAfterStop: 1, dropped: 0 };
  const outcome: Outcome = { way: "descriptors", replacements: 1, seconds: 1, load, servers };
  expect(faultsOf(outcome)).toEqual([]);
  const changed: [string, Partial<Outcome>][] = [
    ["requests lost expected 0, got 2", { load: { ...load, lost: 2 } }],
    ["requests answered twice expected 0, got 3", { load: { ...load, twice: 3 } }],
    ["wrong replies expected 0, got 1", { load: { ...load, wrong: 1 } }],
    [
      "requests that the servers dropped expected 0, got 4",
      { servers: { ...servers, dropped: 4 } },
    ],
    [
      "requests that the servers received expected 9, got 8",
      { servers: { ...servers, received: 8 } },
    ],
    ["replies that the servers sent expected 9, got 10", { servers: { ...servers, answered: 10 } }],
  ];
  for (const [fault, change] of changed)
    expect(faultsOf({ ...outcome, ...change })).toEqual([fault]);
  const empty = { ...outcome, load: { ...load, requests: 0 } };
  expect(faultsOf(empty)).toContain("requests expected, got none");
});

test("a server that stops answers what GRO has merged, and its successor the remaining requests", async () => {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  await using client = await UdpSocket.connect(socket.localAddr);
  await client.sendMany(numbered(200));
  // With GRO, the socket then has more datagrams than it has returned.
  expect(await socket.recvMany(targets(50))).toBeGreaterThan(0);
  const taken = socket.counters.datagramsReceived;
  const unread = socket.unreadDatagrams;
  if (NO_OFFLOAD_REASON === undefined) expect(unread).toBeGreaterThan(0);
  await client.sendMany(numbered(10, 200));
  const server = new EchoServer(socket);
  await server.serve(AbortSignal.abort());
  expect([socket.unreadDatagrams, server.counts.answeredAfterStop]).toEqual([0, unread]);
  const fd = socket.asRawIo() as number;
  const [left, right] = await UnixDatagram.pair();
  await left.sendFds(new Uint8Array(1), [fd]);
  socket.close();
  using received = await right.recvFds(new Uint8Array(1));
  await using adopted = await UdpSocket.fromFd(received.intoFds()[0] as number);
  const successor = new EchoServer(adopted);
  await successor.drain(5);
  const remaining = 210 - taken;
  expect(await receiveNumbers(client, remaining)).toEqual(sequence(remaining, taken));
  expect(server.counts.answered + successor.counts.answered).toBe(remaining);
  expect(server.counts).toMatchObject({ received: taken + unread, dropped: 0 });
  left.close();
  right.close();
});

describe("a server that passes its sockets", () => {
  async function open(path: string) {
    const control = await UnixDatagram.bind(path);
    const own = await UnixDatagram.bind(`${path}.old`);
    const udp = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
    return { control, own, udp };
  }

  test("closes them when its successor has confirmed, and leaves the file of the control socket", async () => {
    using folder = temporaryDirectory();
    const path = join(folder.path, "control");
    const sockets = await open(path);
    const before = openDescriptors();
    const requested = requestSockets(path);
    const { peer } = await sockets.control.recvFrom(new Uint8Array(10));
    expect(await passSockets(sockets, peer as SocketAddress)).toBe(true);
    expect([sockets.udp.isClosed, sockets.control.isClosed]).toEqual([true, true]);
    await using successor = (await requested).udp;
    await using client = await UdpSocket.connect(successor.localAddr);
    await client.sendMany(numbered(3));
    expect(await receiveNumbers(successor, 3)).toEqual(sequence(3));
    const { control, own } = await requested;
    await using sender = await UnixDatagram.unbound();
    await sender.sendTo(new Uint8Array(1), path);
    expect(await control.recv(new Uint8Array(10))).toBe(1);
    for (const socket of [control, own, successor, client, sender, sockets.own]) socket.close();
    // Three sockets were open, and nothing but their number has changed.
    expect(openDescriptors()).toBe(before - 3);
  });

  test("continues if its successor ends without a confirmation", async () => {
    using folder = temporaryDirectory();
    const sockets = await open(join(folder.path, "control"));
    const successor = await UnixDatagram.bind(join(folder.path, "successor"));
    expect(await passSockets(sockets, successor.localAddr, 20)).toBe(false);
    successor.close();
    expect(await passSockets(sockets, successor.localAddr, 20)).toBe(false);
    await using client = await UdpSocket.connect(sockets.udp.localAddr);
    await client.sendMany(numbered(3));
    expect(await receiveNumbers(sockets.udp, 3)).toEqual(sequence(3));
    for (const socket of [sockets.udp, sockets.control, sockets.own]) socket.close();
  });
});

test(
  "a program started with LISTEN_FDS adopts the socket of the service manager",
  async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
    const program = join(import.meta.dir, "../children/activated.ts");
    // As systemd does: the descriptors from 3 on, and the process ID of the service itself.
    const command = `LISTEN_PID=$$ LISTEN_FDS=1 exec "${process.execPath}" "${program}"`;
    const child = Bun.spawn(["sh", "-c", command], {
      stdio: ["ignore", "inherit", "inherit", socket.asRawIo() as number],
    });
    await using client = await UdpSocket.connect(socket.localAddr);
    await client.send(Uint8Array.of(1, 2, 3));
    expect(await client.recv(new Uint8Array(10))).toBe(3);
    expect(await child.exited).toBe(0);
  },
  CHILD_TIMEOUT_MS,
);
