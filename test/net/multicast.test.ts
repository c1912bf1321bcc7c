/**
 * Multicast between hosts with two links: interfaces by name, index and address, and options of
 * dual-stack sockets, which apply to the groups of both families.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { NetworkInterface } from "../../lib/index.ts";
import { LINKS, Namespaces, reasonToSkip, run } from "./namespaces.ts";
import { runIn } from "./run-in.ts";

const reason = reasonToSkip([]);
if (reason !== undefined) console.warn(`skipped: multicast between namespaces: ${reason}`);

const TIMEOUT_MS = 30_000;
const { near, far } = LINKS;
const GROUP = "239.255.97.21";
const GROUP_IPV6 = "ff12::9721";
const PORT = 5354;

let net: Namespaces;

/** A received datagram. */
interface Arrival {
  /** The first byte. */
  readonly id: number;
  readonly device: string;
  readonly hopLimit: number;
}

/** A datagram to send, and the socket options to set before. */
interface Send {
  readonly hostname: string;
  readonly to: string;
  readonly interface: NetworkInterface;
  readonly ttl?: number;
}

/**
 * Sends datagrams from the sender, numbered from 0, and returns those that a receiver with a
 * membership on both links got.
 */
async function exchange(sends: readonly Send[]): Promise<Arrival[]> {
  const received = runIn(
    net.receiver,
    async ({ RecvMeta, UdpSocket }, { port, groups, devices, count }) => {
      const socket = await UdpSocket.bind({ hostname: "::", port });
      for (const group of groups) {
        for (const device of devices) socket.addMembership({ group, interface: device });
      }
      socket.enableMetadata({ destination: true, hopLimit: true });
      const indices = devices.map((device) =>
        Number(require("node:fs").readFileSync(`/sys/class/net/${device}/ifindex`, "utf8")),
      );
      const arrivals = new Map<number, { id: number; device: string; hopLimit: number }>();
      const buffer = new Uint8Array(9);
      while (arrivals.size < count) {
        const meta = Object.assign(new RecvMeta(), await socket.recvFrom(buffer));
        const id = buffer[0] as number;
        const device = devices[indices.indexOf(meta.interfaceIndex)] as string;
        arrivals.set(id, { id, device, hopLimit: meta.hopLimit as number });
      }
      return [...arrivals.values()].sort((a, b) => a.id - b.id);
    },
    {
      port: PORT,
      groups: [GROUP, GROUP_IPV6],
      devices: [near.device, far.device],
      count: sends.length,
    },
  );
  const state = { isDone: false };
  received.finally(() => {
    state.isDone = true;
  });
  // Until the receiver has joined.
  while (!state.isDone) {
    await runIn(
      net.sender,
      async ({ SocketAddress, UdpSocket }, { sends, port }) => {
        for (const [id, { hostname, to, interface: device, ttl }] of sends.entries()) {
          const socket = await UdpSocket.bind({ hostname });
          socket.setMulticastInterface(device);
          if (ttl !== undefined) socket.setMulticastTTL(ttl);
          await socket.sendTo(Uint8Array.of(id), SocketAddress.ip(to, port));
          socket.close();
        }
      },
      { sends, port: PORT },
    );
  }
  return received;
}

describe.skipIf(reason !== undefined)("multicast", () => {
  beforeAll(() => {
    net = new Namespaces("dgc");
    // Sends go to these networks by default, so that the other link must have been chosen.
    for (const [host, version] of [["sender", "-4"]] as const) {
      run(`ip -n ${net[host]} ${version} route add 224.0.0.0/4 dev ${near.device}`);
    }
  });
  afterAll(() => net[Symbol.dispose]());

  test(
    "setMulticastInterface accepts name, index and addresses, for both families of a socket",
    async () => {
      const sends: Send[] = [];
      const devices: string[] = [];
      for (const link of [near, far]) {
        const index = net.interfaceIndex("sender", link.device);
        const values = [
          link.device,
          index,
          `${index}`,
          `${link.network}1`,
          `${link.network6}1`,
          `::%${link.device}`,
        ];
        for (const value of values) {
          for (const [hostname, to] of [
            ["0.0.0.0", GROUP],
            ["::", GROUP],
            ["::", GROUP_IPV6],
          ] as const) {
            sends.push({ hostname, to, interface: value });
            devices.push(link.device);
          }
        }
      }
      const arrivals = await exchange(sends);
      expect(arrivals.map(({ device }) => device)).toEqual(devices);
      expect(arrivals.map(({ hopLimit }) => hopLimit)).toEqual(devices.map(() => 1));
    },
    TIMEOUT_MS,
  );

  test(
    "setMulticastTTL applies to the groups of both families on a dual-stack socket",
    async () => {
      const arrivals = await exchange([
        { hostname: "::", to: GROUP, interface: far.device, ttl: 5 },
        { hostname: "::", to: GROUP_IPV6, interface: far.device, ttl: 6 },
        { hostname: "0.0.0.0", to: GROUP, interface: far.device, ttl: 7 },
      ]);
      expect(arrivals.map(({ hopLimit }) => hopLimit)).toEqual([5, 6, 7]);
    },
    TIMEOUT_MS,
  );

  test(
    "addMembership and dropMembership accept name, index and addresses, with and without source",
    async () => {
      const index = net.interfaceIndex("receiver", far.device);
      const failures = await runIn(
        net.receiver,
        async ({ UdpSocket, SocketError }, { interfaces, groups, sources }) => {
          const failures: string[] = [];
          for (const [i, group] of groups.entries()) {
            for (const value of interfaces) {
              for (const source of [undefined, sources[i]]) {
                const socket = await UdpSocket.bind({ hostname: "::" });
                const membership = { group, source, interface: value };
                try {
                  socket.addMembership(membership);
                  // The kernel has joined on the interface: a second time is an error.
                  socket.addMembership(membership);
                  failures.push(`${group} ${value} ${source}: joined twice`);
                } catch (error) {
                  const { code } = error as InstanceType<typeof SocketError>;
                  if (!["EADDRINUSE", "EADDRNOTAVAIL"].includes(code)) failures.push(`${error}`);
                }
                // By another name of the same interface.
                socket.dropMembership({ ...membership, interface: interfaces[0] });
                socket.close();
              }
            }
          }
          return failures;
        },
        {
          interfaces: [far.device, index, `${index}`, `${far.network}2`, `${far.network6}2`],
          groups: [GROUP, GROUP_IPV6],
          sources: [`${far.network}1`, `${far.network6}1`],
        },
      );
      expect(failures).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    "a membership by name, index or address receives from its own link only",
    async () => {
      const index = net.interfaceIndex("sender", far.device);
      const interfaces = [far.device, index, `${far.network}1`, `::%${far.device}`];
      const results = await runIn(
        net.sender,
        async ({ SocketAddress, UdpSocket }, { interfaces, groups, near, far }) => {
          const results: [string, number[]][] = [];
          for (const [i, group] of groups.entries()) {
            for (const value of interfaces) {
              // Multicast is looped back on the link that it is sent on.
              const socket = await UdpSocket.bind({ hostname: "::", multicastAll: false });
              socket.addMembership({ group, interface: value });
              const to = SocketAddress.ip(group, socket.localAddr.port);
              for (const [id, device] of [near, far].entries()) {
                socket.setMulticastInterface(device as string);
                await socket.sendTo(Uint8Array.of(id), to);
              }
              const self = i === 0 ? "127.0.0.1" : "::1";
              await socket.sendTo(Uint8Array.of(9), SocketAddress.ip(self, socket.localAddr.port));
              const ids: number[] = [];
              const buffer = new Uint8Array(9);
              while (ids.at(-1) !== 9) {
                await socket.recv(buffer);
                ids.push(buffer[0] as number);
              }
              results.push([`${group} ${value}`, ids]);
              socket.close();
            }
          }
          return results;
        },
        { interfaces, groups: [GROUP, GROUP_IPV6], near: near.device, far: far.device },
      );
      expect(results).toHaveLength(2 * interfaces.length);
      // 1 was sent on the far link, 9 over loopback.
      for (const [name, ids] of results) expect([name, ids]).toEqual([name, [1, 9]]);
    },
    TIMEOUT_MS,
  );

  test(
    "setMulticastLoopback(false) stops own datagrams of both families on a dual-stack socket",
    async () => {
      const results = await runIn(
        net.sender,
        async ({ SocketAddress, UdpSocket }, { groups, device }) => {
          const socket = await UdpSocket.bind({ hostname: "::" });
          const { port } = socket.localAddr;
          socket.setMulticastInterface(device);
          for (const group of groups) socket.addMembership({ group, interface: device });
          const received = async () => {
            for (const [id, group] of groups.entries()) {
              await socket.sendTo(Uint8Array.of(id), SocketAddress.ip(group, port));
            }
            // Loopback keeps the order.
            await socket.sendTo(Uint8Array.of(9), SocketAddress.ip("::1", port));
            const ids: number[] = [];
            const buffer = new Uint8Array(9);
            while (ids.at(-1) !== 9) {
              await socket.recv(buffer);
              ids.push(buffer[0] as number);
            }
            return ids;
          };
          const results = [await received()];
          socket.setMulticastLoopback(false);
          results.push(await received());
          socket.setMulticastLoopback(true);
          return [...results, await received()];
        },
        { groups: [GROUP, GROUP_IPV6], device: far.device },
      );
      expect(results).toEqual([[0, 1, 9], [9], [0, 1, 9]]);
    },
    TIMEOUT_MS,
  );

  test(
    "without multicastAll a socket receives joined groups only, in both families",
    async () => {
      const results = await runIn(
        net.sender,
        async ({ SocketAddress, UdpSocket }, { groups, markers, device }) => {
          const results: [string, number[]][] = [];
          const joined = await UdpSocket.bind({ hostname: "::", reuseAddress: true });
          const { port } = joined.localAddr;
          joined.setMulticastInterface(device);
          for (const group of groups) joined.addMembership({ group, interface: device });
          const open = (multicastAll?: boolean) =>
            UdpSocket.bind({ hostname: "::", port, reuseAddress: true, multicastAll });
          const buffer = new Uint8Array(9);
          for (const [i, group] of groups.entries()) {
            const marker = markers[i] as string;
            for (const option of [undefined, true, false, "set"] as const) {
              const socket = await open(option === "set" ? undefined : option);
              if (option === "set") socket.setMulticastAll(false);
              // A group that it has joined: its datagram follows the other on the same link.
              socket.addMembership({ group: marker, interface: device });
              await joined.sendTo(new Uint8Array(3), SocketAddress.ip(group, port));
              await joined.sendTo(new Uint8Array(4), SocketAddress.ip(marker, port));
              const lengths = [];
              while (lengths.at(-1) !== 4) lengths.push(await socket.recv(buffer));
              results.push([`${group} ${option}`, lengths]);
              socket.close();
            }
          }
          return results;
        },
        {
          groups: [GROUP, GROUP_IPV6],
          markers: ["239.255.97.22", "ff12::9722"],
          device: far.device,
        },
      );
      expect(results).toEqual(
        [GROUP, GROUP_IPV6].flatMap((group): typeof results => [
          // The kernel's default for IPv4 groups of an IPv6 socket is off.
          [`${group} undefined`, group === GROUP ? [4] : [3, 4]],
          [`${group} true`, [3, 4]],
          [`${group} false`, [4]],
          [`${group} set`, [4]],
        ]),
      );
    },
    TIMEOUT_MS,
  );
});
