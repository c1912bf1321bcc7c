/**
 * `recvmmsg`, `sendmmsg` and `pollRecvmmsg` on descriptors: addresses, batches, errors, and
 * descriptors in blocking mode.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AsyncFd,
  DgramBuffer,
  isNonblocking,
  pollFn,
  pollRecvmmsg,
  RecvMeta,
  recvmmsg,
  SocketAddress,
  SocketError,
  sendmmsg,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import { numberErrorOf } from "../tools/errors.ts";
import {
  CHILD_TIMEOUT_MS,
  closedPort,
  endedWell,
  HAS_IPV6,
  numbered,
  numberOf,
  runCommand,
  sequence,
  targets,
  thrown,
} from "../tools/sockets.ts";

const directory = mkdtempSync(join(tmpdir(), "datagram-mmsg-"));
afterAll(() => rmSync(directory, { recursive: true }));

const open: number[] = [];

/** Takes the descriptor out of a socket. It is closed after all tests. */
function descriptorOf(socket: UdpSocket | UnixDatagram): number {
  const fd = socket.intoFd() as number;
  open.push(fd);
  return fd;
}
afterAll(() => open.forEach(closeSync));

async function udp(
  hostname = "127.0.0.1",
  options = {},
): Promise<{ fd: number; address: SocketAddress }> {
  const socket = await UdpSocket.bind({ hostname, ...options });
  return { fd: descriptorOf(socket), address: socket.localAddr };
}

function metas(count: number): RecvMeta[] {
  return Array.from({ length: count }, () => new RecvMeta());
}

describe("recvmmsg and sendmmsg: addresses", () => {
  /** Functions that open four sockets of one kind. */
  const kinds: Record<string, () => Promise<(UdpSocket | UnixDatagram)[]>> = {
    IPv4: () => Promise.all(sequence(4).map(() => UdpSocket.bind({ hostname: "127.0.0.1" }))),
    IPv6: () => Promise.all(sequence(4).map(() => UdpSocket.bind({ hostname: "::1" }))),
    "Unix path": () =>
      Promise.all(
        sequence(4).map((i) => UnixDatagram.bind(join(directory, "p".repeat(i * 7 + 1)))),
      ),
    "Unix abstract": () =>
      Promise.all(
        sequence(4).map((i) =>
          UnixDatagram.bind(SocketAddress.abstract(`mmsg-${process.pid}-${"a".repeat(i * 5)}`)),
        ),
      ),
  };
  for (const [kind, openAll] of Object.entries(kinds)) {
    test.skipIf(kind === "IPv6" && !HAS_IPV6)(
      `${kind}: one batch to three peers, and one batch from three peers`,
      async () => {
        const sockets = await openAll();
        const addresses = sockets.map(({ localAddr }) => localAddr);
        const [hub, ...peers] = sockets.map(descriptorOf) as [number, number, number, number];
        const to = sequence(9).map((i) => addresses[1 + (i % 3)] as SocketAddress);
        expect(sendmmsg(hub, numbered(9), to)).toBe(9);
        for (const [i, peer] of peers.entries()) {
          const [bufs, meta] = [targets(9), metas(9)];
          expect(recvmmsg(peer, bufs, meta)).toBe(3);
          expect(bufs.slice(0, 3).map(numberOf)).toEqual([i, i + 3, i + 6]);
          for (const { peer } of meta.slice(0, 3)) {
            expect(peer?.equals(addresses[0] as SocketAddress)).toBe(true);
          }
        }
        for (const number of sequence(9)) {
          const payload = numbered(1, number);
          expect(sendmmsg(peers[number % 3] as number, payload, addresses[0])).toBe(1);
        }
        const [bufs, meta] = [targets(9), metas(9)];
        expect(recvmmsg(hub, bufs, meta)).toBe(9);
        expect(bufs.map(numberOf)).toEqual(sequence(9));
        expect(meta.map(({ peer }) => peer?.toString())).toEqual(to.map(String));
      },
    );
  }

  test.skipIf(!HAS_IPV6)("a dual-stack descriptor sends to IPv4 addresses", async () => {
    const dual = await udp("::");
    const { fd, address } = await udp();
    expect(sendmmsg(dual.fd, numbered(2), address)).toBe(2);
    expect(recvmmsg(fd, targets(4))).toBe(2);
  });

  test("a connected descriptor sends to its peer without an address", async () => {
    const { fd, address } = await udp();
    const to = { hostname: address.address, port: address.port };
    const connected = descriptorOf(await UdpSocket.connect(to));
    expect(sendmmsg(connected, numbered(3))).toBe(3);
    const bufs = targets(3);
    expect(recvmmsg(fd, bufs)).toBe(3);
    expect(bufs.map(numberOf)).toEqual([0, 1, 2]);
  });

  test("the peer of a datagram from an unnamed Unix socket is undefined", async () => {
    const receiver = await UnixDatagram.bind(join(directory, "receiver"));
    const address = receiver.localAddr;
    const fd = descriptorOf(receiver);
    const unnamed = descriptorOf(await UnixDatagram.unbound());
    const [meta] = metas(1) as [RecvMeta];
    meta.peer = address;
    expect(sendmmsg(unnamed, numbered(1), address)).toBe(1);
    expect(recvmmsg(fd, targets(1), [meta])).toBe(1);
    expect(meta.peer).toBeUndefined();
  });
});

describe("recvmmsg and sendmmsg: batches", () => {
  test("a call without buffers returns 0, also with a datagram queued", async () => {
    const { fd, address } = await udp();
    expect(recvmmsg(fd, targets(1))).toBe(WouldBlock);
    expect(recvmmsg(fd, [])).toBe(0);
    expect(sendmmsg(fd, [], address)).toBe(0);
    expect(sendmmsg(fd, [])).toBe(0);
    expect(sendmmsg(fd, [], [])).toBe(0);
    sendmmsg(fd, numbered(1), address);
    expect(recvmmsg(fd, [])).toBe(0);
    expect(recvmmsg(fd, targets(1))).toBe(1);
  });

  test.each([1, 1023, 1024, 1025, 5000])(
    "a batch of %i is sent with one call, and received with one call",
    async (count) => {
      const options = { receiveBufferBytes: 8 * 2 ** 20, sendBufferBytes: 8 * 2 ** 20 };
      const socket = await UdpSocket.bind({ hostname: "127.0.0.1", ...options });
      const room = socket.bufferBytes.receive;
      const address = socket.localAddr;
      const fd = descriptorOf(socket);
      if (room < count * 1024) {
        console.warn(`skipped: net.core.rmem_max leaves no room for ${count} datagrams`);
        return;
      }
      const from = await udp();
      expect(sendmmsg(from.fd, numbered(count), address)).toBe(count);
      const [bufs, meta] = [targets(count + 1), metas(count + 1)];
      expect(recvmmsg(fd, bufs, meta)).toBe(count);
      expect(bufs.slice(0, count).map(numberOf)).toEqual(sequence(count));
      expect(meta.slice(0, count).every(({ peer }) => peer?.equals(from.address))).toBe(true);
      expect(meta[count]?.peer).toBeUndefined();
      expect(recvmmsg(fd, bufs)).toBe(WouldBlock);
    },
  );

  test("sendmmsg to a full peer returns the number sent, then WouldBlock", async () => {
    const [left, right] = (await UnixDatagram.pair()).map(descriptorOf) as [number, number];
    const sent = sendmmsg(left, numbered(2000)) as number;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(2000);
    expect(sendmmsg(left, numbered(1))).toBe(WouldBlock);
    expect(recvmmsg(right, targets(2000))).toBe(sent);
    expect(sendmmsg(left, numbered(1))).toBe(1);
  });

  test("recvmmsg fills buffers of all kinds, and reports truncation", async () => {
    const { fd, address } = await udp();
    const memory = new Uint8Array(20).fill(0xee);
    const dgram = DgramBuffer.withCapacityAndHeadroom(12, 8);
    const bufs = [memory.subarray(5, 9), dgram, new Uint8Array(0), new Uint8Array(99)];
    const meta = metas(4);
    const payload = new Uint8Array(10).fill(7);
    expect(sendmmsg(fd, [payload, payload, payload, new Uint8Array(0)], address)).toBe(4);
    expect(recvmmsg(fd, bufs, meta)).toBe(4);
    expect(meta.map(({ length }) => length)).toEqual([4, 4, 0, 0]);
    expect(meta.map(({ datagramLength }) => datagramLength)).toEqual([10, 10, 10, 0]);
    expect(meta.map(({ truncated }) => truncated)).toEqual([true, true, true, false]);
    expect([...memory.subarray(4, 10)]).toEqual([0xee, 7, 7, 7, 7, 0xee]);
    expect([dgram.headroom, dgram.length]).toEqual([8, 4]);
    // A target must be empty, and this one now has a payload.
    expect(thrown(() => recvmmsg(fd, [dgram]))).toBeInstanceOf(RangeError);
  });
});

describe("recvmmsg and sendmmsg: errors", () => {
  test("an error at the first datagram is thrown once", async () => {
    const to = { hostname: "127.0.0.1", port: await closedPort() };
    const fd = descriptorOf(await UdpSocket.connect(to));
    const refused = { name: "SocketError", code: "ECONNREFUSED" };
    expect(sendmmsg(fd, numbered(1))).toBe(1);
    expect(thrown(() => recvmmsg(fd, targets(20)))).toMatchObject(refused);
    expect(recvmmsg(fd, targets(20))).toBe(WouldBlock);
    expect(sendmmsg(fd, numbered(1))).toBe(1);
    expect(thrown(() => sendmmsg(fd, numbered(1)))).toMatchObject(refused);
    expect(sendmmsg(fd, numbered(1))).toBe(1);
  });

  test("sendmmsg returns the count before an error, and then throws it once", async () => {
    const { fd, address } = await udp();
    const bufs = [...numbered(2), new Uint8Array(65_508), ...numbered(1)];
    expect(sendmmsg(fd, bufs, address)).toBe(2);
    const error = thrown(() => sendmmsg(fd, bufs.slice(2), address));
    expect(error).toMatchObject({ code: "EMSGSIZE", syscall: "sendmmsg" });
    expect(sendmmsg(fd, bufs.slice(3), address)).toBe(1);
    expect(recvmmsg(fd, targets(9))).toBe(3);
  });

  test("sendmmsg returns the count before a refusal, and then throws it once", async () => {
    const to = { hostname: "127.0.0.1", port: await closedPort() };
    const fd = descriptorOf(await UdpSocket.connect(to));
    // On loopback the ICMP error about the first datagram arrives before the second is sent.
    expect(sendmmsg(fd, numbered(5))).toBe(1);
    const refused = { name: "SocketError", code: "ECONNREFUSED", syscall: "sendmmsg" };
    expect(thrown(() => sendmmsg(fd, numbered(1)))).toMatchObject(refused);
    expect(sendmmsg(fd, numbered(1))).toBe(1);
  });

  test("a pending pollRecvmmsg fails when its AsyncFd is closed", async () => {
    const { fd } = await udp();
    const asyncFd = await AsyncFd.open(fd);
    const waiting = pollFn((waker) => pollRecvmmsg(asyncFd, waker, targets(1)));
    asyncFd.close();
    await expect(waiting).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });

  test("AsyncFd.open of a descriptor that a socket owns fails with EEXIST", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const opening = AsyncFd.open(socket.asRawIo() as number);
    await expect(opening).rejects.toMatchObject({ code: "EEXIST" });
  });

  test("invalid descriptors and arguments are refused", () => {
    const file = openSync("/proc/self/status", "r");
    for (const call of [recvmmsg, sendmmsg]) {
      expect(thrown(() => call(file, targets(1)))).toMatchObject({ code: "ENOTSOCK" });
      expect(thrown(() => call(100_000, targets(1)))).toMatchObject({ code: "EBADF" });
      expect(thrown(() => call(100_000, targets(1)))).toBeInstanceOf(SocketError);
      for (const fd of [-1, 0.5, 2 ** 31, "3" as never]) {
        expect(thrown(() => call(fd, targets(1)))).toBeInstanceOf(numberErrorOf(fd));
      }
      expect(thrown(() => call(file, "text" as never))).toBeInstanceOf(TypeError);
      expect(thrown(() => call(file, [1 as never]))).toBeInstanceOf(TypeError);
    }
    const [address] = [SocketAddress.ip("127.0.0.1", 9)];
    expect(thrown(() => sendmmsg(file, targets(2), [address]))).toBeInstanceOf(RangeError);
    expect(thrown(() => sendmmsg(file, targets(1), "127.0.0.1" as never))).toBeInstanceOf(
      TypeError,
    );
    closeSync(file);
  });
});

describe("descriptors in blocking mode", () => {
  test("isNonblocking returns the mode, and refuses invalid descriptors", async () => {
    const { fd } = await udp();
    expect(isNonblocking(fd)).toBe(true);
    const file = openSync("/proc/self/status", "r");
    expect(isNonblocking(file)).toBe(false);
    closeSync(file);
    expect(thrown(() => isNonblocking(file))).toMatchObject({ code: "EBADF", syscall: "fcntl" });
    expect(thrown(() => isNonblocking(-1))).toBeInstanceOf(RangeError);
  });

  test(
    "recvmmsg with 20 buffers returns at once with the one datagram that is queued",
    async () => {
      await using peer = await UdpSocket.bind({ hostname: "127.0.0.1" });
      const replying = (async () => {
        const { peer: client } = await peer.recvFrom(new Uint8Array(1));
        await peer.sendTo(new Uint8Array([42]), client as SocketAddress);
      })();
      // The child process needs a blocking UDP socket, which bash can open but Bun cannot.
      const script = join(import.meta.dir, "../children", "blocking-mmsg.ts");
      const shell = `exec 3<>/dev/udp/127.0.0.1/${peer.localAddr.port}; exec "$0" "$1"`;
      const child = await runCommand(["bash", "-c", shell, process.execPath, script]);
      await replying;
      expect(JSON.parse(endedWell(child))).toEqual({
        isNonblocking: false,
        sent: "2",
        received: "1",
        again: String(WouldBlock),
        first: 42,
      });
    },
    CHILD_TIMEOUT_MS,
  );
});
