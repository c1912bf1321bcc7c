/** Multicast memberships, source filters, multicast loopback, and shared ports. */

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

/** The IPv4 address of an interface other than loopback, which delivers own datagrams anyway. */
const EXTERNAL: string | undefined = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
if (EXTERNAL === undefined) {
  console.warn("multicast loopback is not tested: no interface but loopback has an IPv4 address");
}

/** An interface with an IPv6 address to send multicast on, if there is one. */
const IPV6_INTERFACE: string | undefined = Object.entries(networkInterfaces()).find(
  ([, addresses]) =>
    addresses?.some(({ family, internal }) => family === "IPv6" && !internal) ?? false,
)?.[0];
if (IPV6_INTERFACE === undefined) {
  console.warn("IPv6 multicast is not tested: no interface but loopback has an IPv6 address");
}

/** Opens a socket bound to all addresses that sends multicast on loopback, and to itself. */
async function openMulticast(backend: Backend): Promise<UdpSocket> {
  const socket = await UdpSocket.bind({ backend });
  socket.setMulticastInterface(LOOPBACK);
  socket.setMulticastLoopback(true);
  return socket;
}

/**
 * Sends a datagram to each group and then one to the socket itself, and returns the groups whose
 * datagram arrived. Loopback keeps the order: a datagram that does not arrive before the last one
 * is not delivered.
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

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test("a socket receives an IPv4 group from addMembership until dropMembership", async () => {
    await using socket = await openMulticast(backend);
    const groups = [OTHER_GROUP, GROUP];
    const membership = { group: GROUP, interface: LOOPBACK };
    expect(await delivered(socket, [GROUP])).toEqual([]);
    socket.addMembership(membership);
    expect(await delivered(socket, [GROUP])).toEqual([GROUP]);
    socket.addMembership({ group: OTHER_GROUP, interface: LOOPBACK });
    expect(await delivered(socket, groups)).toEqual(groups);
    socket.dropMembership(membership);
    expect(await delivered(socket, groups)).toEqual([OTHER_GROUP]);
  });

  test.skipIf(EXTERNAL === undefined)(
    "setMulticastLoopback(false) stops the delivery of own datagrams",
    async () => {
      const external = EXTERNAL as string;
      await using socket = await UdpSocket.bind({ backend });
      socket.setMulticastInterface(external);
      socket.addMembership({ group: GROUP, interface: external });
      expect(await delivered(socket, [GROUP])).toEqual([GROUP]);
      socket.setMulticastLoopback(false);
      expect(await delivered(socket, [GROUP])).toEqual([]);
      socket.setMulticastLoopback(true);
      expect(await delivered(socket, [GROUP])).toEqual([GROUP]);
    },
  );

  test("a source-specific membership delivers only datagrams of that source", async () => {
    const sources: [string, string[]][] = [
      [LOOPBACK, [GROUP]],
      ["127.0.0.9", []],
    ];
    for (const [source, expected] of sources) {
      await using socket = await openMulticast(backend);
      const membership: Membership = { group: GROUP, source, interface: LOOPBACK };
      socket.addMembership(membership);
      expect(await delivered(socket, [GROUP])).toEqual(expected);
      socket.dropMembership(membership);
      expect(await delivered(socket, [GROUP])).toEqual([]);
    }
  });

  test("invalid groups, and leaving a group that was not joined, are errors", async () => {
    await using socket = await openMulticast(backend);
    const noGroup = { group: "127.0.0.1" };
    expect(thrown(() => socket.addMembership(noGroup))).toMatchObject({ code: "EINVAL" });
    expect(thrown(() => socket.addMembership({ group: "text" }))).toBeInstanceOf(Error);
    const notJoined = { group: GROUP, interface: LOOPBACK };
    const error = thrown(() => socket.dropMembership(notJoined));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EADDRNOTAVAIL", syscall: "setsockopt" });
    expect(thrown(() => socket.setMulticastInterface("text"))).toBeInstanceOf(TypeError);
  });

  test.skipIf(IPV6_INTERFACE === undefined)(
    "a socket receives an IPv6 group from addMembership until dropMembership",
    async () => {
      const zone = `::%${IPV6_INTERFACE}`;
      await using socket = await UdpSocket.bind({ hostname: "::", backend });
      socket.setMulticastInterface(zone);
      socket.setMulticastLoopback(true);
      const membership = { group: GROUP_IPV6, interface: zone };
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
    "a source-specific IPv6 membership delivers only datagrams of that source",
    async () => {
      const zone = `::%${IPV6_INTERFACE}`;
      await using socket = await UdpSocket.bind({ hostname: "::", backend });
      socket.setMulticastInterface(zone);
      const to = SocketAddress.ip(GROUP_IPV6, socket.localAddr.port);
      const otherSource: Membership = {
        group: GROUP_IPV6,
        source: "fd00::dead",
        interface: zone,
      };
      socket.addMembership(otherSource);
      await socket.sendTo(new Uint8Array(5), to);
      await socket.sendTo(new Uint8Array(6), SocketAddress.ip("::1", socket.localAddr.port));
      const meta = await socket.recvFrom(new Uint8Array(9));
      expect(meta.length).toBe(6);
      socket.dropMembership(otherSource);
      // An any-source membership determines the source address that the system uses.
      const plain = { group: GROUP_IPV6, interface: zone };
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

test("two sockets with reuseAddress both receive the datagrams of a group", async () => {
  const first = await UdpSocket.bind({ reuseAddress: true });
  const second = await UdpSocket.bind({ port: first.localAddr.port, reuseAddress: true });
  for (const socket of [first, second]) {
    socket.setMulticastInterface(LOOPBACK);
    socket.addMembership({ group: GROUP, interface: LOOPBACK });
  }
  await first.sendTo(new Uint8Array(3), SocketAddress.ip(GROUP, first.localAddr.port));
  await until(() => first.tryRecv(new Uint8Array(9)) === 3);
  await until(() => second.tryRecv(new Uint8Array(9)) === 3);
  expect(first.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
  first.close();
  second.close();
});
