/** `sendFds` and `recvFds`: descriptors that Unix datagrams pass (unix(7), SCM_RIGHTS). */

import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import {
  DgramBuffer,
  Pending,
  ReceivedFds,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import { loadedNative } from "../ffi/tools.ts";
import { openDescriptors, rejection, runCommand, stateOf, thrown } from "../tools/sockets.ts";

const FDS_MAX = 253;
const SOL_SOCKET = 1;
const SO_PASSCRED = 16;
const SO_PASSPIDFD = 76;
const IP_TOS = 1;

const SCARCE = join(import.meta.dir, "../children/scarce-fd-receiver.ts");

const native = loadedNative();
const self = openSync(import.meta.path, "r");
afterAll(() => closeSync(self));

const buffer = new Uint8Array(16);
const payload = Uint8Array.of(1, 2, 3);

/** Opens a pair that is closed at the end of the scope. */
async function openPair(): Promise<{ a: UnixDatagram; b: UnixDatagram } & Disposable> {
  const [a, b] = await UnixDatagram.pair();
  const dispose = () => {
    a.close();
    b.close();
  };
  return { a, b, [Symbol.dispose]: dispose };
}

/** Returns whether both descriptors refer to the same file. */
function areSame(left: number, right: number): boolean {
  const [one, other] = [fstatSync(left), fstatSync(right)];
  return one.dev === other.dev && one.ino === other.ino;
}

/** Returns whether child processes would inherit a descriptor. */
function isInherited(fd: number): boolean {
  const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
  return (Number.parseInt(flags as string, 8) & 0o2000000) === 0;
}

describe("recvFds", () => {
  test("receives the payload and descriptors of the same file, closed on exec", async () => {
    using pair = await openPair();
    const before = openDescriptors();
    expect(await pair.a.sendFds(payload, [self, self])).toBe(3);
    const received = await pair.b.recvFds(buffer);
    expect(received).toBeInstanceOf(ReceivedFds);
    expect([received.length, received.fds.length, received.fdsTruncated]).toEqual([3, 2, false]);
    expect(buffer.subarray(0, 3)).toEqual(payload);
    for (const fd of received.fds) {
      expect(fd).not.toBe(self);
      expect(areSame(fd, self)).toBe(true);
      expect(isInherited(fd)).toBe(false);
    }
    expect(Bun.inspect(received)).toBe(
      `ReceivedFds { length: 3, fds: [${received.fds.join(", ")}], fdsTruncated: false }`,
    );
    received.close();
    received.close();
    expect([received.fds.length, openDescriptors()]).toEqual([0, before]);
    expect(pair.b.counters).toMatchObject({ datagramsReceived: 1, controlTruncated: 0 });
    expect(pair.a.counters).toMatchObject({ datagramsSent: 1, bytesSent: 3, sendCalls: 1 });
  });

  test.each([1, 2, 3, FDS_MAX])("receives %d descriptors in one datagram", async (count) => {
    using pair = await openPair();
    const before = openDescriptors();
    await pair.a.sendFds(payload, Array(count).fill(self));
    {
      using received = await pair.b.recvFds(buffer);
      expect([received.fds.length, received.fdsTruncated]).toEqual([count, false]);
      expect(openDescriptors()).toBe(before + count);
    }
    expect(openDescriptors()).toBe(before);
  });

  test.each([
    [1, 2],
    [1, 3],
    [2, FDS_MAX],
    [20, 21],
  ])("accepts %d of %d descriptors, closes and counts the others", async (fdsMax, count) => {
    using pair = await openPair();
    const before = openDescriptors();
    await pair.a.sendFds(payload, Array(count).fill(self));
    {
      using received = await pair.b.recvFds(buffer, { fdsMax });
      expect([received.fds.length, received.fdsTruncated]).toEqual([fdsMax, true]);
      expect(openDescriptors()).toBe(before + fdsMax);
    }
    expect(openDescriptors()).toBe(before);
    expect(pair.b.counters.controlTruncated).toBe(1);
  });

  test("receives datagrams without descriptors, empty and truncated ones", async () => {
    using pair = await openPair();
    await pair.a.send(payload);
    using none = await pair.b.recvFds(buffer);
    expect([none.length, none.fds.length, none.fdsTruncated]).toEqual([3, 0, false]);
    await pair.a.sendFds(new Uint8Array(0), [self]);
    using empty = await pair.b.recvFds(buffer);
    expect([empty.length, empty.fds.length]).toEqual([0, 1]);
    await pair.a.sendFds(new Uint8Array(20), [self]);
    using cut = await pair.b.recvFds(buffer);
    expect([cut.length, cut.meta.datagramLength, cut.meta.truncated]).toEqual([16, 20, true]);
    expect(cut.fds.length).toBe(1);
  });

  test("receives into a DgramBuffer after its headroom, and sends its payload", async () => {
    using pair = await openPair();
    await pair.a.sendFds(DgramBuffer.fromVecWithHeadroom(Uint8Array.of(9, 9, 5, 6), 2), [self]);
    const target = DgramBuffer.withCapacityAndHeadroom(20, 4);
    using received = await pair.b.recvFds(target);
    expect([received.length, ...target.asSlice()]).toEqual([2, 5, 6]);
  });

  test("SO_PASSCRED and SO_PASSPIDFD take no space from descriptors, and leave none open", async () => {
    using pair = await openPair();
    pair.b.setOption(SOL_SOCKET, SO_PASSCRED, 1);
    try {
      pair.b.setOption(SOL_SOCKET, SO_PASSPIDFD, 1);
    } catch (error) {
      // Before Linux 6.5.
      expect(error).toMatchObject({ code: "ENOPROTOOPT" });
    }
    const before = openDescriptors();
    await pair.a.sendFds(payload, [self, self]);
    {
      using received = await pair.b.recvFds(buffer, { fdsMax: 2 });
      expect([received.fds.length, received.fdsTruncated]).toEqual([2, false]);
      expect(openDescriptors()).toBe(before + 2);
    }
    expect(openDescriptors()).toBe(before);
  });

  test("reports the sender, and sends to a path and to an abstract name", async () => {
    const name = SocketAddress.abstract(`passed-fds-${process.pid}`);
    await using server = await UnixDatagram.bind(name);
    await using client = await UnixDatagram.bind(SocketAddress.abstract(`${process.pid}-client`));
    await client.sendFds(payload, [self], { to: name });
    using received = await server.recvFds(buffer);
    expect(received.meta.peer?.equals(client.localAddr)).toBe(true);
    const path = `/tmp/passed-fds-${process.pid}.sock`;
    await using file = await UnixDatagram.bind(path);
    expect(client.trySendFds(payload, [self], path)).toBe(3);
    using other = await file.recvFds(buffer);
    expect(other.fds.length).toBe(1);
  });

  test("waits for a datagram, is served in order, and can be aborted", async () => {
    using pair = await openPair();
    const abort = new AbortController();
    const aborted = pair.b.recvFds(buffer, { signal: abort.signal });
    const first = pair.b.recv(new Uint8Array(4));
    const second = pair.b.recvFds(buffer);
    expect(await stateOf(second)).toBe("pending");
    expect(pair.b.tryRecvFds(buffer)).toBe(WouldBlock);
    abort.abort(new Error("stopped"));
    expect(await rejection(aborted)).toMatchObject({ message: "stopped" });
    await pair.a.sendFds(payload, [self]);
    await pair.a.sendFds(payload, [self, self]);
    expect(await first).toBe(3);
    using received = await second;
    expect(received.fds.length).toBe(2);
    // The first datagram was received without descriptors.
    expect(pair.b.counters.controlTruncated).toBe(1);
  });

  test("polls call the waker", async () => {
    using pair = await openPair();
    const woken = Promise.withResolvers<void>();
    expect(pair.b.pollRecvFds(woken.resolve, buffer)).toBe(Pending);
    expect(pair.a.pollSendFds(null, payload, [self])).toBe(3);
    await woken.promise;
    using received = pair.b.pollRecvFds(null, buffer, 1) as ReceivedFds;
    expect(received.fds.length).toBe(1);
    expect(pair.b.pollRecvFds(null, buffer)).toBe(Pending);
  });

  test("closes the descriptors if the target throws after the receive", async () => {
    using pair = await openPair();
    const target = DgramBuffer.withCapacity(20);
    let end = 0;
    let sets = 0;
    Object.defineProperty(target, "_end", {
      get: () => end,
      set(value: number) {
        // The first assignment checks that the object is not frozen.
        if (++sets === 2) throw new Error("refused");
        end = value;
      },
    });
    const before = openDescriptors();
    await pair.a.sendFds(payload, [self, self]);
    expect(await rejection(pair.b.recvFds(target))).toMatchObject({ message: "refused" });
    expect(openDescriptors()).toBe(before);
    await pair.a.sendFds(payload, [self]);
    using received = await pair.b.recvFds(buffer);
    expect(received.fds.length).toBe(1);
  });

  test("intoFds transfers the ownership, and fromFd takes it", async () => {
    using pair = await openPair();
    await using udp = await UdpSocket.bind({ hostname: "127.0.0.1" });
    await pair.a.sendFds(payload, [udp.asRawIo() as number]);
    const received = await pair.b.recvFds(buffer);
    const [fd] = received.intoFds();
    received.close();
    udp.close();
    await using successor = await UdpSocket.fromFd(fd as number);
    await using client = await UdpSocket.connect(successor.localAddr);
    await client.send(payload);
    expect(await successor.recv(buffer)).toBe(3);
  });

  test("a socket that is passed keeps its peer, options, memberships and datagrams", async () => {
    using pair = await openPair();
    const group = "239.7.1.1";
    await using udp = await UdpSocket.bind({ hostname: group, multicastAll: false });
    udp.addMembership({ group, interface: "lo" });
    udp.setDscp(46);
    await using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    sender.setMulticastInterface("127.0.0.1");
    await sender.sendTo(payload, udp.localAddr);
    await using connected = await UdpSocket.connect(sender.localAddr);
    await pair.a.sendFds(payload, [udp.asRawIo() as number, connected.asRawIo() as number]);
    udp.close();
    connected.close();
    const received = await pair.b.recvFds(buffer);
    const [first, second] = received.intoFds();
    await using member = await UdpSocket.fromFd(first as number);
    expect([await member.recv(buffer), member.getOption(0, IP_TOS) >> 2]).toEqual([3, 46]);
    await sender.sendTo(payload.subarray(1), member.localAddr);
    expect(await member.recv(buffer)).toBe(2);
    await using same = await UdpSocket.fromFd(second as number);
    expect(same.peerAddr?.equals(sender.localAddr)).toBe(true);
  });

  test("fails with ERR_SOCKET_CLOSED after close, also if it waits", async () => {
    using pair = await openPair();
    const waiting = pair.b.recvFds(buffer);
    pair.b.close();
    expect(await rejection(waiting)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    expect(thrown(() => pair.b.tryRecvFds(buffer))).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    pair.a.close();
    expect(await rejection(pair.a.sendFds(payload, [self]))).toMatchObject({
      code: "ERR_SOCKET_CLOSED",
    });
  });
});

describe("sendFds", () => {
  test("waits while the socket is full, and sends all descriptors", async () => {
    using pair = await openPair();
    let sent = 0;
    while (pair.a.trySendFds(payload, [self]) !== WouldBlock) sent++;
    expect(sent).toBeGreaterThan(0);
    const last = pair.a.sendFds(payload, [self, self]);
    expect(await stateOf(last)).toBe("pending");
    for (let i = 0; i < sent; i++) {
      using received = await pair.b.recvFds(buffer);
      expect(received.fds.length).toBe(1);
    }
    expect(await last).toBe(3);
    using received = await pair.b.recvFds(buffer);
    expect(received.fds.length).toBe(2);
  });

  test("leaves the descriptor of the sender open", async () => {
    using pair = await openPair();
    await pair.a.sendFds(payload, [self]);
    (await pair.b.recvFds(buffer)).close();
    expect(readSync(self, new Uint8Array(1), 0, 1, 0)).toBe(1);
  });

  test("names the descriptor that is not open", async () => {
    using pair = await openPair();
    const closed = native.duplicate(self);
    native.close(closed);
    expect(await rejection(pair.a.sendFds(payload, [self, closed]))).toMatchObject({
      code: "EBADF",
      address: `fd ${closed}`,
      message: `sendmmsg fd ${closed} EBADF: an open descriptor expected, which stays open until the datagram was sent`,
    });
    expect(pair.b.tryRecvFds(buffer)).toBe(WouldBlock);
  });

  test("refuses another destination than the peer of a connected socket", async () => {
    using pair = await openPair();
    const to = SocketAddress.abstract("another");
    expect(await rejection(pair.a.sendFds(payload, [self], { to }))).toMatchObject({
      code: "EISCONN",
    });
  });

  test("drops and counts a refused datagram with sendErrors: drop", async () => {
    await using socket = await UnixDatagram.unbound({ sendErrors: "drop" });
    const to = SocketAddress.abstract(`nobody-${process.pid}`);
    expect(await socket.sendFds(payload, [self], { to })).toBe(3);
    expect(socket.sendDropsByCode).toEqual({ ECONNREFUSED: 1 });
  });

  // biome-ignore lint/suspicious/noExplicitAny: invalid arguments on purpose.
  const INVALID: [any, string][] = [
    [[], '"fds" expected 1 to 253 descriptors (or use send), got 0'],
    [
      Array(FDS_MAX + 1).fill(self),
      '"fds" expected 1 to 253 descriptors (send several datagrams), got 254',
    ],
    [[self, -1], '"fds[1]" expected integer 0..2147483647, got -1'],
    [[1.5], '"fds[0]" expected integer 0..2147483647, got 1.5'],
    [["1"], '"fds[0]" expected integer 0..2147483647, got "1"'],
    [7, '"fds" expected array of descriptors, got 7'],
  ];
  test.each(INVALID.map(([fds, message]) => [message, fds] as const))(
    "fails with %s",
    async (message, fds) => {
      using pair = await openPair();
      expect(await rejection(pair.a.sendFds(payload, fds))).toMatchObject({ message });
      expect(thrown(() => pair.a.trySendFds(payload, fds))).toMatchObject({ message });
    },
  );
});

test("invalid arguments and unknown options are refused", async () => {
  using pair = await openPair();
  for (const fdsMax of [0, FDS_MAX + 1, 1.5]) {
    const message = `"fdsMax" expected integer 1..253, got ${fdsMax}`;
    expect(await rejection(pair.b.recvFds(buffer, { fdsMax }))).toMatchObject({ message });
    expect(thrown(() => pair.b.tryRecvFds(buffer, fdsMax))).toMatchObject({ message });
  }
  // biome-ignore lint/suspicious/noExplicitAny: invalid arguments on purpose.
  const options = { max: 1 } as any;
  expect(await rejection(pair.b.recvFds(buffer, options))).toMatchObject({
    message: '"options" got unknown option "max", expected only fdsMax, signal',
  });
  expect(await rejection(pair.a.sendFds(payload, [self], options))).toMatchObject({
    message: '"options" got unknown option "max", expected only to, signal',
  });
  // biome-ignore lint/suspicious/noExplicitAny: invalid arguments on purpose.
  expect(await rejection(pair.a.sendFds("text" as any, [self]))).toBeInstanceOf(TypeError);
  // biome-ignore lint/suspicious/noExplicitAny: invalid arguments on purpose.
  expect(await rejection(pair.b.recvFds({} as any))).toBeInstanceOf(TypeError);
});

test("the end of a Worker closes the descriptors that it has received and not taken", async () => {
  const name = `passed-fds-worker-${process.pid}`;
  const before = openDescriptors();
  const worker = new Worker(new URL("../children/fd-receiver.ts", import.meta.url).href);
  const messages: ((data: unknown) => void)[] = [];
  const next = () => new Promise((resolve) => messages.push(resolve));
  worker.onmessage = ({ data }) => messages.shift()?.(data);
  const ready = next();
  worker.postMessage(name);
  await ready;
  {
    await using client = await UnixDatagram.unbound({ connect: SocketAddress.abstract(name) });
    const received = next();
    await client.sendFds(payload, [self, self, self]);
    expect(await received).toBe(3);
  }
  expect(openDescriptors()).toBeGreaterThanOrEqual(before + 3);
  const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
  worker.terminate();
  await closed;
  // The Worker's heap, which owns the descriptors, is destroyed shortly after its end.
  while (openDescriptors() > before) {
    Bun.gc(true);
    await Bun.sleep(1);
  }
  expect(openDescriptors()).toBeLessThanOrEqual(before);
});

// Root may pass any number of descriptors.
const AS_USER = process.getuid?.() === 0 ? ["setpriv", "--reuid", "65534", "--clear-groups"] : [];
const missing = [...AS_USER.slice(0, 1), "sh"].filter((program) => Bun.which(program) === null);
if (missing.length > 0) console.log(`limits of descriptors are skipped: no ${missing.join(", ")}`);

test.skipIf(missing.length > 0)(
  "more descriptors than the process may open are closed and counted; the sender may pass no more",
  async () => {
    const { exitCode, stdout, stderr } = await runCommand([
      ...AS_USER,
      "sh",
      "-c",
      `ulimit -n 80; exec "${process.execPath}" "${SCARCE}" 80`,
    ]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const { accepted, ...counts } = JSON.parse(stdout);
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(10);
    expect(counts).toEqual({ fdsTruncated: true, controlTruncated: 1, code: "ETOOMANYREFS" });
  },
);
