/** Multicast: joined groups deliver, groups that were left or never joined do not. */

import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import {
  type Backend,
  type Membership,
  SocketAddress,
  SocketError,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { BACKENDS, thrown, until } from "../tools/sockets.ts";

const GROUP = "239.255.77.1";
const OTHER_GROUP = "239.255.77.2";
const GROUP_IPV6 = "ff12::7701";
const LOOPBACK = "127.0.0.1";

/** The address of an interface other than loopback, which hands back whatever it sends. */
const OUTSIDE: string | undefined = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
if (OUTSIDE === undefined) console.warn("multicast beyond loopback is not tested: no interface");

/** An interface with an IPv6 address that multicast can leave by, if there is one. */
const IPV6_INTERFACE: string | undefined = Object.entries(networkInterfaces()).find(
  ([, addresses]) =>
    addresses?.some(({ family, internal }) => family === "IPv6" && !internal) ?? false,
)?.[0];
if (IPV6_INTERFACE === undefined) {
  console.warn("IPv6 multicast is not tested: no interface but loopback has an IPv6 address");
}

/** A socket bound to every address, whose own multicast leaves by loopback and comes back. */
async function multicastSocket(backend: Backend): Promise<UdpSocket> {
  const socket = await UdpSocket.bind({ backend });
  socket.setMulticastInterface(LOOPBACK);
  socket.setMulticastLoopback(true);
  return socket;
}

/**
 * Sends one datagram to each group, then one to the socket itself: which of them arrived. Loopback
 * keeps the order, so what has not come before the last one will not come.
 */
async function delivered(socket: UdpSocket, groups: readonly string[]): Promise<string[]> {
  const { port } = socket.localAddr;
  for (const [i, group] of groups.entries()) {
    await socket.sendTo(new Uint8Array([i]), SocketAddress.ip(group, port));
  }
  const self = socket.localAddr.family === "IPv4" ? LOOPBACK : "::1";
  await socket.sendTo(new Uint8Array([255]), SocketAddress.ip(self, port));
  const arrived: string[] = [];
  const buf = new Uint8Array(1);
  for (;;) {
    await socket.recv(buf);
    if (buf[0] === 255) return arrived;
    arrived.push(groups[buf[0] as number] as string);
  }
}

describe.each(BACKENDS)("%s backend", (backend) => {
  test("a joined IPv4 group delivers, until it is left", async () => {
    await using socket = await multicastSocket(backend);
    const groups = [OTHER_GROUP, GROUP];
    const membership = { group: GROUP, interfaceAddress: LOOPBACK };
    expect(await delivered(socket, [GROUP])).toEqual([]);
    socket.addMembership(membership);
    expect(await delivered(socket, [GROUP])).toEqual([GROUP]);
    socket.addMembership({ group: OTHER_GROUP, interfaceAddress: LOOPBACK });
    expect(await delivered(socket, groups)).toEqual(groups);
    socket.dropMembership(membership);
    expect(await delivered(socket, groups)).toEqual([OTHER_GROUP]);
  });

  test.skipIf(OUTSIDE === undefined)("with multicast loopback off nothing comes back", async () => {
    const outside = OUTSIDE as string;
    await using socket = await UdpSocket.bind({ backend });
    socket.setMulticastInterface(outside);
    socket.addMembership({ group: GROUP, interfaceAddress: outside });
    expect(await delivered(socket, [GROUP])).toEqual([GROUP]);
    socket.setMulticastLoopback(false);
    expect(await delivered(socket, [GROUP])).toEqual([]);
    socket.setMulticastLoopback(true);
    expect(await delivered(socket, [GROUP])).toEqual([GROUP]);
  });

  test("a source-specific membership delivers from that source alone", async () => {
    const sources: [string, string[]][] = [
      [LOOPBACK, [GROUP]],
      ["127.0.0.9", []],
    ];
    for (const [source, expected] of sources) {
      await using socket = await multicastSocket(backend);
      const membership: Membership = { group: GROUP, source, interfaceAddress: LOOPBACK };
      socket.addMembership(membership);
      expect(await delivered(socket, [GROUP])).toEqual(expected);
      socket.dropMembership(membership);
      expect(await delivered(socket, [GROUP])).toEqual([]);
    }
  });

  test("what is no group, and a group that was not joined, are refused", async () => {
    await using socket = await multicastSocket(backend);
    const noGroup = { group: "127.0.0.1" };
    expect(thrown(() => socket.addMembership(noGroup))).toMatchObject({ code: "EINVAL" });
    expect(thrown(() => socket.addMembership({ group: "text" }))).toBeInstanceOf(Error);
    const notJoined = { group: GROUP, interfaceAddress: LOOPBACK };
    const error = thrown(() => socket.dropMembership(notJoined));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EADDRNOTAVAIL", syscall: "setsockopt" });
    expect(thrown(() => socket.setMulticastInterface("text"))).toBeInstanceOf(TypeError);
  });

  test.skipIf(IPV6_INTERFACE === undefined)(
    "a joined IPv6 group delivers, until it is left",
    async () => {
      const zone = `::%${IPV6_INTERFACE}`;
      await using socket = await UdpSocket.bind({ hostname: "::", backend });
      socket.setMulticastInterface(zone);
      socket.setMulticastLoopback(true);
      const membership = { group: GROUP_IPV6, interfaceAddress: zone };
      const to = SocketAddress.ip(GROUP_IPV6, socket.localAddr.port);
      socket.addMembership(membership);
      await socket.sendTo(new Uint8Array(5), to);
      const { length, peer } = await socket.recvFrom(new Uint8Array(9));
      expect(length).toBe(5);
      expect(peer?.port).toBe(socket.localAddr.port);
      socket.dropMembership(membership);
      await socket.sendTo(new Uint8Array(5), to);
      await socket.sendTo(new Uint8Array(6), SocketAddress.ip("::1", socket.localAddr.port));
      expect(await socket.recv(new Uint8Array(9))).toBe(6);
    },
  );

  test.skipIf(IPV6_INTERFACE === undefined)(
    "an IPv6 membership of another source hears nothing",
    async () => {
      const zone = `::%${IPV6_INTERFACE}`;
      await using socket = await UdpSocket.bind({ hostname: "::", backend });
      socket.setMulticastInterface(zone);
      const to = SocketAddress.ip(GROUP_IPV6, socket.localAddr.port);
      const wrong: Membership = { group: GROUP_IPV6, source: "fd00::dead", interfaceAddress: zone };
      socket.addMembership(wrong);
      await socket.sendTo(new Uint8Array(5), to);
      await socket.sendTo(new Uint8Array(6), SocketAddress.ip("::1", socket.localAddr.port));
      const told = await socket.recvFrom(new Uint8Array(9));
      expect(told.length).toBe(6);
      socket.dropMembership(wrong);
      // Which source the system sends from is seen by an ordinary membership first.
      const plain = { group: GROUP_IPV6, interfaceAddress: zone };
      socket.addMembership(plain);
      await socket.sendTo(new Uint8Array(5), to);
      const { peer } = await socket.recvFrom(new Uint8Array(9));
      socket.dropMembership(plain);
      const source = `${peer?.address}`.split("%", 1)[0];
      socket.addMembership({ ...plain, source });
      await socket.sendTo(new Uint8Array(7), to);
      expect(await socket.recv(new Uint8Array(9))).toBe(7);
    },
  );
});

test("two sockets with reuseAddress both get what a group is sent", async () => {
  const first = await UdpSocket.bind({ reuseAddress: true });
  const second = await UdpSocket.bind({ port: first.localAddr.port, reuseAddress: true });
  for (const socket of [first, second]) {
    socket.setMulticastInterface(LOOPBACK);
    socket.addMembership({ group: GROUP, interfaceAddress: LOOPBACK });
  }
  await first.sendTo(new Uint8Array(3), SocketAddress.ip(GROUP, first.localAddr.port));
  await until(() => first.tryRecv(new Uint8Array(9)) === 3);
  await until(() => second.tryRecv(new Uint8Array(9)) === 3);
  expect(first.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
  first.close();
  second.close();
});
