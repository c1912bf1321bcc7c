/** Interfaces by name, index and address: in zones, memberships, options and send metadata. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { interfaceIndex } from "../../lib/address/interfaces.ts";
import { SendBatch, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { receiveOne } from "../datagram/metadata-tools.ts";
import { run } from "../net/namespaces.ts";
import { runIn } from "../net/run-in.ts";
import {
  BACKENDS,
  CHILD_TIMEOUT_MS,
  endedWell,
  HAS_IPV6,
  rejection,
  runCommand,
  thrown,
} from "../tools/sockets.ts";

const LO = Number(readFileSync("/sys/class/net/lo/ifindex", "utf8"));
const GROUP = "239.255.77.41";
const NO_INTERFACE = "expected name, index or address of an interface, got";

describe("interfaceIndex", () => {
  test.each([
    "lo",
    LO,
    `${LO}`,
    "127.0.0.1",
    "::%lo",
    `fe80::1%${LO}`,
    ...(HAS_IPV6 ? ["::1", "0:0:0:0:0:0:0:1"] : []),
  ])("returns the index of loopback for %p", (value) => {
    expect(interfaceIndex("interface", value)).toBe(LO);
  });

  test.each([0, "0", "0.0.0.0", "::", "0::0"])("returns 0 for %p: any interface", (value) => {
    expect(interfaceIndex("interface", value)).toBe(0);
  });

  test.each([
    "",
    "lo ",
    "LO",
    "nothing0",
    "a name that is longer than a device name can be",
    "lo\0",
    "192.0.2.255",
    "2001:db8::ffff",
    "::%nothing0",
    "::%",
    "-1",
    "1.5",
    undefined,
    null,
    true,
    {},
    1n,
  ])("throws a TypeError for %p", (value) => {
    const error = thrown(() => interfaceIndex("interface", value));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(NO_INTERFACE);
  });

  test.each([-1, 1.5, Number.NaN, 2 ** 31, `${2 ** 31}`])("throws a RangeError for %p", (value) => {
    const error = thrown(() => interfaceIndex("interface", value));
    expect(error).toBeInstanceOf(RangeError);
    expect((error as Error).message).toContain("index 0..2147483647 of an interface");
  });
});

describe.skipIf(!HAS_IPV6)("the zone of an address", () => {
  test.each([`::1%lo`, `ff02::1%lo`, `fe80::1%${LO}`, "ff02::1%127.0.0.1"])(
    "is the index of loopback in %s",
    (address) => {
      const parsed = SocketAddress.ip(address, 53);
      expect(parsed.scopeId).toBe(LO);
      const [plain] = address.split("%");
      expect(`${parsed}`).toBe(`[${plain}%${LO}]:53`);
      expect(SocketAddress.parse(`${parsed}`).equals(parsed)).toBe(true);
      expect(SocketAddress.parse(`[${address}]:53`).equals(parsed)).toBe(true);
    },
  );

  test.each(BACKENDS)("can be used to bind and to connect, %s backend", async (backend) => {
    using receiver = await UdpSocket.bind({ hostname: "::1%lo", backend });
    const { port } = receiver.localAddr;
    using sender = await UdpSocket.connect({ hostname: "::1%lo", port }, { backend });
    await sender.send(new Uint8Array(3));
    expect(await receiver.recv(new Uint8Array(9))).toBe(3);
  });
});

describe.each(BACKENDS)("%s backend", (backend) => {
  test.each(["lo", LO, `${LO}`, "127.0.0.1"])(
    "joins an IPv4 group and sends to it on the interface %p",
    async (value) => {
      using socket = await UdpSocket.bind({ backend });
      const { port } = socket.localAddr;
      socket.setMulticastInterface(value);
      socket.addMembership({ group: GROUP, interface: value });
      await socket.sendTo(new Uint8Array(3), SocketAddress.ip(GROUP, port));
      expect(await socket.recv(new Uint8Array(9))).toBe(3);
      socket.dropMembership({ group: GROUP, interface: value });
      const error = thrown(() => socket.dropMembership({ group: GROUP, interface: value }));
      expect(error).toMatchObject({ code: "EADDRNOTAVAIL", syscall: "setsockopt" });
    },
  );

  test.skipIf(!HAS_IPV6).each(["lo", LO, "::1", "::%lo"])(
    "joins an IPv6 group on the interface %p",
    async (value) => {
      using socket = await UdpSocket.bind({ hostname: "::", backend });
      const group = "ff12::7741";
      socket.setMulticastInterface(value);
      for (const membership of [{ group, interface: value }, { group: `${group}%lo` }]) {
        socket.addMembership(membership);
        const lines = readFileSync("/proc/net/igmp6", "utf8").split("\n");
        const joined = lines.filter((line) => line.includes("ff120000000000000000000000007741"));
        expect(joined).toHaveLength(1);
        expect(joined[0]).toMatch(/^\d+\s+lo\b/);
        socket.dropMembership(membership);
      }
    },
  );

  test.each(["nothing0", "192.0.2.255", "", true, {}])(
    "refuses the interface %p, and joins nothing",
    async (value) => {
      using socket = await UdpSocket.bind({ hostname: HAS_IPV6 ? "::" : "0.0.0.0", backend });
      for (const group of HAS_IPV6 ? [GROUP, "ff12::7741"] : [GROUP]) {
        const membership = { group, interface: value as string };
        expect(thrown(() => socket.addMembership(membership))).toBeInstanceOf(Error);
      }
      expect(thrown(() => socket.setMulticastInterface(value as string))).toBeInstanceOf(TypeError);
    },
  );
});

describe("SendMeta.interfaceIndex", () => {
  test.each(["lo", LO, `${LO}`, "127.0.0.1"])("accepts %p", async (value) => {
    using receiver = await UdpSocket.bind();
    using sender = await UdpSocket.bind();
    receiver.enableMetadata({ destination: true });
    const to = SocketAddress.ip("127.0.0.1", receiver.localAddr.port);
    const meta = { interfaceIndex: value };
    await sender.sendBatch(new SendBatch().meta(meta).push(new Uint8Array(3), to));
    expect((await receiveOne(receiver)).interfaceIndex).toBe(LO);
    expect(meta.interfaceIndex).toBe(value);
  });
});

/** Why namespaces cannot be created. */
function reasonToSkip(): string | undefined {
  if (Bun.which("ip") === null) return "no ip";
  try {
    run(`ip netns add dgi${process.pid}`);
    run(`ip netns del dgi${process.pid}`);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const reason = reasonToSkip();
if (reason !== undefined) console.warn(`skipped: interfaces in a namespace: ${reason}`);

describe.skipIf(reason !== undefined)("devices in a namespace", () => {
  const namespace = `dgi${process.pid}`;
  beforeAll(() => {
    run(`ip netns add ${namespace}`);
    // `bare` has no address, and `idle` has no carrier: os.networkInterfaces() has neither.
    for (const device of ["bare", "idle"]) {
      run(`ip -n ${namespace} link add ${device} type veth peer name ${device}-peer`);
    }
    run(`ip -n ${namespace} link set bare addrgenmode none up`);
    run(`ip -n ${namespace} link set bare-peer up`);
    run(`ip -n ${namespace} addr add 10.98.0.1/24 dev idle`);
    run(`ip -n ${namespace} addr add fd98::1/64 dev idle nodad`);
    run(`ip -n ${namespace} link set idle up`);
  });
  afterAll(() => {
    Bun.spawnSync(["ip", "netns", "del", namespace]);
  });

  test(
    "are found without a link-local address and without carrier",
    async () => {
      const indices = ["bare", "idle"].map((device) =>
        Number(run(`ip netns exec ${namespace} cat /sys/class/net/${device}/ifindex`)),
      );
      const found = await runIn(
        namespace,
        async ({ SendBatch, SocketAddress, UdpSocket }) => {
          const socket = await UdpSocket.bind({ hostname: "::" });
          const scopes = ["fe80::1%bare", "ff02::1%idle", "ff02::1%10.98.0.1"];
          for (const value of ["bare", "idle", "10.98.0.1", "fd98::1"]) {
            socket.setMulticastInterface(value);
            socket.addMembership({ group: "239.255.77.1", interface: value });
            socket.dropMembership({ group: "239.255.77.1", interface: value });
            socket.addMembership({ group: "ff12::7701", interface: value });
            socket.dropMembership({ group: "ff12::7701", interface: value });
            new SendBatch().meta({ interfaceIndex: value });
          }
          return scopes.map((address) => SocketAddress.ip(address, 1).scopeId);
        },
        null,
      );
      expect(found).toEqual([indices[0] as number, indices[1] as number, indices[1] as number]);
    },
    CHILD_TIMEOUT_MS,
  );

  test(
    "are looked up again after they were replaced",
    async () => {
      const [before, after] = await runIn(
        namespace,
        async ({ SocketAddress }) => {
          const index = () => SocketAddress.ip("fe80::1%new", 1).scopeId;
          const ip = (command: string) => Bun.spawnSync(["ip", ...command.split(" ")]);
          ip("link add new type veth peer name new-peer");
          const before = index();
          ip("link del new");
          ip("link add other type veth peer name other-peer");
          ip("link add new type veth peer name new-peer");
          return [before, index()];
        },
        null,
      );
      expect(after).toBeGreaterThan(before as number);
    },
    CHILD_TIMEOUT_MS,
  );
});

test(
  "without the shim, names are found in /sys and addresses in os.networkInterfaces()",
  async () => {
    const source = `
      const { interfaceIndex } = await import(${JSON.stringify(
        new URL("../../lib/address/interfaces.ts", import.meta.url).pathname,
      )});
      const index = (value) => { try { return interfaceIndex("interface", value); }
        catch (error) { return error.name; } };
      const values = ["lo", "127.0.0.1", "nothing0", "../lo", "192.0.2.255"];
      console.log(JSON.stringify(values.map(index)));`;
    const child = await runCommand([process.execPath, "--no-ffi-cc", "-e", source]);
    expect(JSON.parse(endedWell(child))).toEqual([LO, LO, "TypeError", "TypeError", "TypeError"]);
  },
  CHILD_TIMEOUT_MS,
);

test("an index without an interface is an error of the kernel", async () => {
  using socket = await UdpSocket.bind({ backend: "native" });
  const membership = { group: GROUP, interface: 2 ** 31 - 1 };
  expect(thrown(() => socket.addMembership(membership))).toMatchObject({
    name: "SocketError",
    code: "ENODEV",
    syscall: "setsockopt",
    address: GROUP,
  });
  expect(await rejection(UdpSocket.bind({ hostname: "fe80::1%2147483647" }))).toMatchObject({
    name: "SocketError",
    syscall: "bind",
    address: "fe80::1%2147483647",
    port: 0,
  });
});
