/**
 * Descriptors that another owner has opened and configured: options and types of sockets that would
 * merge, split or cut datagrams.
 */

import { afterEach, describe, expect, test } from "bun:test";
import { readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { AF_INET, AF_UNIX } from "../../lib/address/sockaddr.ts";
import {
  RecvMeta,
  recvmmsg,
  SocketAddress,
  sendmmsg,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import {
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
  UDP_CORK,
  UDP_GRO,
  UDP_SEGMENT,
} from "../../lib/linux/constants.ts";
import { loadedNative, missing, testIf } from "../ffi/tools.ts";
import { run } from "../net/namespaces.ts";
import { runIn } from "../net/run-in.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import { numbered, rejection, targets, thrown } from "../tools/sockets.ts";

const native = loadedNative();
const AF_NETLINK = 16;
const SOCK_SEQPACKET = 5;
const LOOPBACK = "127.0.0.1";

const open: number[] = [];
afterEach(() => {
  for (const fd of open.splice(0)) native.close(fd);
});

function openSocket(domain: number, type: number, protocol = 0): number {
  const fd = native.open(domain, type, protocol);
  if (fd >= 0) open.push(fd);
  return fd;
}

/** Passes the ownership of `fd` to a socket of the library. */
function give(fd: number): number {
  open.splice(open.indexOf(fd), 1);
  return fd;
}

function bound(protocol = 0): { fd: number; address: SocketAddress } {
  const fd = openSocket(AF_INET, SOCK_DGRAM, protocol);
  expect(native.bind(fd, SocketAddress.ip(LOOPBACK, 0)._encoded)).toBe(0);
  return { fd, address: SocketAddress._decode(native.scratch, 0, native.name(fd)) };
}

const NO_OFFLOAD = NO_OFFLOAD_REASON !== undefined;

describe("recvmmsg", () => {
  test.skipIf(NO_OFFLOAD)(
    "on a descriptor with UDP_GRO fails with an error that names the option, and loses nothing",
    async () => {
      const { fd, address } = bound();
      await using sender = await UdpSocket.bind({ hostname: LOOPBACK });
      native.setIntOption(fd, IPPROTO_UDP, UDP_GRO, 1);
      await sender.sendMany(numbered(5, 0, 100), { to: address });
      const error = thrown(() => recvmmsg(fd, targets(5, 100)));
      expect(error).toMatchObject({ name: "SocketError", code: "EINVAL", syscall: "recvmmsg" });
      expect(String(error)).toContain("UDP_GRO");
      // A socket that can separate them gets them all.
      const socket = await UdpSocket.fromFd(give(fd));
      let count = 0;
      while (count < 5) count += await socket.recvMany(targets(5, 100));
      expect(count).toBe(5);
      socket.close();
    },
  );

  test.each([
    ["a stream socket", SOCK_STREAM],
    ["a seqpacket socket", SOCK_SEQPACKET],
  ])("on %s fails with EINVAL, and consumes no byte", (_name, type) => {
    expect(native.pair(AF_UNIX, type)).toBe(0);
    const [left, right] = [native.scratch[0] as number, native.scratch[1] as number];
    open.push(left, right);
    writeSync(left, "hello");
    for (const call of [recvmmsg, sendmmsg]) {
      expect(thrown(() => call(right, targets(2)))).toMatchObject({ code: "EINVAL" });
    }
    const bytes = Buffer.alloc(10);
    expect(readSync(right, bytes)).toBe(5);
    expect(bytes.toString("utf8", 0, 5)).toBe("hello");
  });

  test("with an invalid metadata object fails, and loses no datagram", () => {
    const { fd, address } = bound();
    expect(sendmmsg(fd, numbered(3), address)).toBe(3);
    const metas = [new RecvMeta(), {}, new RecvMeta()] as RecvMeta[];
    for (const meta of [metas, [Object.freeze(new RecvMeta())], [undefined], "text"]) {
      expect(thrown(() => recvmmsg(fd, targets(3), meta as RecvMeta[]))).toBeInstanceOf(TypeError);
    }
    expect(recvmmsg(fd, targets(3), [new RecvMeta()])).toBe(3);
  });

  test("called by a getter of another recvmmsg works, also on the same descriptor", () => {
    const { fd, address } = bound();
    expect(sendmmsg(fd, numbered(5), address)).toBe(5);
    const inner = targets(2);
    const outer = targets(3);
    let nested: unknown;
    const [first, second] = outer as [Uint8Array, Uint8Array];
    const hostile = [...outer];
    Object.defineProperty(hostile, 1, {
      get() {
        nested ??= recvmmsg(fd, inner, [new RecvMeta(), new RecvMeta()]);
        return second;
      },
    });
    expect(recvmmsg(fd, hostile)).toBe(3);
    expect(nested).toBe(2);
    expect([...inner, first, second, outer[2] as Uint8Array].map((bytes) => bytes[3])).toEqual([
      0, 1, 2, 3, 4,
    ]);
    expect(recvmmsg(fd, targets(1))).toBe(WouldBlock);
  });

  test("called by a getter of sendmmsg works, as does sendmmsg itself", () => {
    const { fd, address } = bound();
    const hostile = numbered(3);
    Object.defineProperty(hostile, 2, {
      get() {
        expect(sendmmsg(fd, numbered(2, 100), address)).toBe(2);
        return numbered(1, 2)[0];
      },
    });
    expect(sendmmsg(fd, hostile, address)).toBe(3);
    const received = targets(6);
    expect(recvmmsg(fd, received)).toBe(5);
    expect(received.slice(0, 5).map((bytes) => bytes[3])).toEqual([100, 101, 0, 1, 2]);
  });
});

test("sendmmsg and recvmmsg work on a netlink descriptor, with one buffer and with several", () => {
  const fd = openSocket(AF_NETLINK, SOCK_RAW);
  /** A request without effect that the kernel acknowledges: netlink(7), NLMSG_NOOP, NLM_F_ACK. */
  const request = (sequence: number) => {
    const bytes = new DataView(new ArrayBuffer(16));
    bytes.setUint32(0, 16, true);
    bytes.setUint16(4, 1, true);
    bytes.setUint16(6, 5, true);
    bytes.setUint32(8, sequence, true);
    return new Uint8Array(bytes.buffer);
  };
  expect(sendmmsg(fd, [request(1)])).toBe(1);
  expect(sendmmsg(fd, [request(2), request(3)])).toBe(2);
  const replies = targets(4, 100);
  expect(recvmmsg(fd, replies)).toBe(3);
  const sequences = replies
    .slice(0, 3)
    .map((bytes) => new DataView(bytes.buffer).getUint32(8, true));
  expect(sequences).toEqual([1, 2, 3]);
});

describe("UdpSocket.fromFd", () => {
  test("of a UDP-Lite descriptor sends datagrams one by one", async () => {
    if (openSocket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE) < 0) {
      console.warn("skipped: this kernel has no UDP-Lite");
      return;
    }
    const [from, to] = [bound(IPPROTO_UDPLITE), bound(IPPROTO_UDPLITE)];
    const sender = await UdpSocket.fromFd(give(from.fd));
    const receiver = await UdpSocket.fromFd(give(to.fd));
    expect(sender.enableMetadata({})).toMatchObject({ gso: false, gro: false });
    expect(await sender.sendMany(numbered(10, 0, 100), { to: to.address })).toBe(10);
    expect(sender.counters).toMatchObject({ messagesSent: 10, gsoRefusals: 0 });
    let count = 0;
    while (count < 10) count += await receiver.recvMany(targets(10, 100));
    for (const socket of [sender, receiver]) socket.close();
  });

  test.each([
    ["UDP_SEGMENT", UDP_SEGMENT, 100],
    ["UDP_CORK", UDP_CORK, 1],
  ])(
    "of a descriptor with %s set keeps the boundaries of datagrams",
    async (_name, option, value) => {
      const { fd, address } = bound();
      if (native.setIntOption(fd, IPPROTO_UDP, option, value) < 0) return;
      for (const offload of [false, true]) {
        const socket = await UdpSocket.fromFd(native.duplicate(fd), { offload });
        for (const length of [300, 40]) await socket.sendTo(new Uint8Array(length), address);
        const buffer = new Uint8Array(1000);
        expect(await socket.recv(buffer)).toBe(300);
        expect(await socket.recv(buffer)).toBe(40);
        expect(thrown(() => socket.setOption(IPPROTO_UDP, option, value))).toBeInstanceOf(
          RangeError,
        );
        socket.close();
      }
    },
  );

  test("of a descriptor that is not open fails with EBADF", async () => {
    const fd = openSocket(AF_INET, SOCK_DGRAM);
    native.close(give(fd));
    expect(await rejection(UdpSocket.fromFd(fd))).toMatchObject({ code: "EBADF" });
  });

  const reason =
    missing("ip", "sysctl") ?? (process.getuid?.() === 0 ? undefined : "not the superuser");
  testIf(reason)(
    "of an ICMP socket fails with EINVAL, and leaves it as it was",
    async () => {
      const namespace = `dgp${process.pid}`;
      run(`ip netns add ${namespace}`);
      try {
        const enter = `ip netns exec ${namespace}`;
        run(`${enter} sysctl -qw net.ipv4.ping_group_range=0\t2147483647`);
        const error = await runIn(
          namespace,
          async ({ UdpSocket, isNonblocking }, path) => {
            const { loadNative } = await import(path);
            const { native } = loadNative();
            const IPPROTO_ICMP = 1;
            const fd = native.open(2, 2, IPPROTO_ICMP);
            try {
              await UdpSocket.fromFd(fd);
              return "adopted";
            } catch (error) {
              return { error: String(error), isOpen: isNonblocking(fd) };
            }
          },
          join(import.meta.dir, "../../ffi/native.ts"),
        );
        expect(error).toEqual({ error: expect.stringContaining("EINVAL"), isOpen: true });
      } finally {
        run(`ip netns del ${namespace}`);
      }
    },
    20_000,
  );
});
