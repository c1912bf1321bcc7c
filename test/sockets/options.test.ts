/** Option objects: unknown names and values of the wrong type are refused. */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  DgramBufferPool,
  RecvBatch,
  RecvMeta,
  SendBatch,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
} from "../../lib/index.ts";
import { BACKENDS, openDescriptors, rejection, thrown } from "../tools/sockets.ts";

/** Returns the names that an error lists. */
function listed(error: unknown): string[] {
  expect(error).toBeInstanceOf(TypeError);
  const list = /got unknown option "\w+".*, expected only (.*)$/.exec(
    (error as Error).message,
  )?.[1];
  return list?.split(", ") ?? [];
}

const WAIT = ["signal"];
const RECV_RANGE = ["meta", "start", "count", "signal"];
const SEND_RANGE = ["to", "start", "count", "signal", "groupByPeer"];
const ADOPT = ["offload", "readAhead", "burstDelayUs", "sendErrors", "dscp", "multicastAll"];
const BIND = [
  "hostname",
  "port",
  "connect",
  "backend",
  "reusePort",
  "reuseAddress",
  "pathMtuDiscovery",
  "transparent",
  "freebind",
  "ipv6Only",
  "receiveQueueDatagrams",
  "receiveBufferBytes",
  "sendBufferBytes",
  ...ADOPT,
];
const BUFFERS = ["receiveBufferBytes", "sendBufferBytes"];

describe("an unknown option", () => {
  const unknown = { unknown: 1 } as object;
  const bytes = new Uint8Array(1);
  const peer = { hostname: "127.0.0.1", port: 9 };
  const to = SocketAddress.ip("127.0.0.1", 9);

  const OPENING: [name: string, known: string[], call: () => unknown][] = [
    ["UdpSocket.bind", BIND, () => UdpSocket.bind(unknown)],
    ["UdpSocket.bind, portable", BIND, () => UdpSocket.bind({ ...unknown, backend: "portable" })],
    ["UdpSocket.connect", BIND, () => UdpSocket.connect(peer, unknown)],
    [
      "the peer of UdpSocket.connect",
      ["hostname", "port"],
      () => {
        return UdpSocket.connect({ ...peer, ...unknown });
      },
    ],
    [
      "the peer of UdpSocket.bind",
      ["hostname", "port"],
      () => {
        return UdpSocket.bind({ connect: { ...peer, ...unknown } });
      },
    ],
    ["the offload of UdpSocket.bind", ["gso", "gro"], () => UdpSocket.bind({ offload: unknown })],
    ["UdpSocket.fromFd", ADOPT, () => UdpSocket.fromFd(0, unknown)],
    [
      "UnixDatagram.bind",
      ["connect", "sendErrors", ...BUFFERS],
      () => {
        return UnixDatagram.bind("/nonexistent/x", unknown);
      },
    ],
    [
      "UnixDatagram.unbound",
      ["connect", "sendErrors", ...BUFFERS],
      () => {
        return UnixDatagram.unbound(unknown);
      },
    ],
    ["UnixDatagram.pair", BUFFERS, () => UnixDatagram.pair(unknown)],
    ["DatagramPair.create", ["queueDatagrams"], () => DatagramPair.create(unknown)],
    ["RecvBatch", ["messages"], () => new RecvBatch(unknown)],
    ["SendBatch", ["datagrams", "prefixBytes", "groupByPeer"], () => new SendBatch(unknown)],
    [
      "DgramBufferPool",
      ["capacity", "headroom", "maxBuffers", "initialBuffers"],
      () => {
        return new DgramBufferPool(unknown);
      },
    ],
    [
      "SendBatch.meta",
      ["ecn", "dscp", "source", "interfaceIndex", "transmitTimeNs"],
      () => new SendBatch().meta(unknown),
    ],
  ];

  test.each(OPENING)("is refused by %s, which lists the known ones", async (_, known, call) => {
    const before = openDescriptors();
    expect(listed(await rejection((async () => call())()))).toEqual(known);
    expect(openDescriptors()).toBeLessThanOrEqual(before);
  });

  const CALLS: [
    name: string,
    known: string[],
    call: (socket: UdpSocket) => unknown,
    isPromise?: boolean,
  ][] = [
    ["recv", WAIT, (socket) => socket.recv(bytes, unknown), true],
    ["recvFrom", WAIT, (socket) => socket.recvFrom(bytes, unknown), true],
    ["recvMany", RECV_RANGE, (socket) => socket.recvMany([bytes], unknown), true],
    ["recvBatch", WAIT, (socket) => socket.recvBatch(new RecvBatch(), unknown), true],
    ["send", WAIT, (socket) => socket.send(bytes, unknown), true],
    ["sendTo", WAIT, (socket) => socket.sendTo(bytes, to, unknown), true],
    ["sendMany", SEND_RANGE, (socket) => socket.sendMany([bytes], { to, ...unknown }), true],
    ["sendBatch", WAIT, (socket) => socket.sendBatch(new SendBatch(), unknown), true],
    [
      "batches",
      ["count", "payloadBytesMax", "headroom", "keepTruncated", "signal"],
      async (socket) => socket.batches(unknown).next(),
      true,
    ],
    ["pollRecvMany", RECV_RANGE, (socket) => socket.pollRecvMany(null, [bytes], unknown)],
    ["tryRecvMany", RECV_RANGE, (socket) => socket.tryRecvMany([bytes], unknown)],
    [
      "pollSendMany",
      SEND_RANGE,
      (socket) => {
        return socket.pollSendMany(null, [bytes], { to, ...unknown });
      },
    ],
    ["trySendMany", SEND_RANGE, (socket) => socket.trySendMany([bytes], { to, ...unknown })],
    [
      "enableMetadata",
      ["destination", "originalDestination", "ecn", "hopLimit", "timestamp", "mark", "socketDrops"],
      (socket) => socket.enableMetadata(unknown),
    ],
    [
      "addMembership",
      ["group", "source", "interface"],
      (socket) => {
        return socket.addMembership({ group: "239.1.2.3", ...unknown });
      },
    ],
    [
      "dropMembership",
      ["group", "source", "interface"],
      (socket) => {
        return socket.dropMembership({ group: "239.1.2.3", ...unknown });
      },
    ],
  ];

  describe.each(BACKENDS)("%s backend", (backend) => {
    test.each(CALLS)(
      "is refused by %s, which lists the known ones",
      async (_, known, call, ...[isPromise]) => {
        using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
        const error = isPromise
          ? await rejection(call(socket) as Promise<unknown>)
          : thrown(() => call(socket));
        expect(listed(error)).toEqual(known);
        expect(socket.counters).toMatchObject({ sendCalls: 0, datagramsReceived: 0 });
      },
    );
  });

  test("that resembles a known one is refused with a hint", async () => {
    for (const [options, hint] of [
      [{ host: "127.0.0.1" }, '"hostname"'],
      [{ address: "127.0.0.1" }, '"hostname"'],
      [{ Port: 53 }, '"port"'],
      [{ ipv6only: true }, '"ipv6Only"'],
      [{ reuseport: true }, '"reusePort"'],
    ] as const) {
      const error = await rejection(UdpSocket.bind(options as object));
      const got = `"options" got unknown option ${JSON.stringify(Object.keys(options)[0])}`;
      const message = `${got} (did you mean ${hint}?), expected only hostname, `;
      expect((error as Error).message).toStartWith(message);
    }
    const error = await rejection(UdpSocket.bind({ adress: "127.0.0.1" } as object));
    expect((error as Error).message).toStartWith('"options" got unknown option "adress", expected');
  });

  test("is refused even if it is undefined or inherited, and ignored if it is a method or a symbol", async () => {
    const options = { hostname: "127.0.0.1" };
    const error = await rejection(UdpSocket.bind({ ...options, host: undefined } as object));
    expect(error).toBeInstanceOf(TypeError);
    class Options {
      hostname = "127.0.0.1";
      toJSON(): string {
        return "options";
      }
    }
    const inherited = Object.assign(Object.create({ unknown: 1 }), options);
    expect(await rejection(UdpSocket.bind(inherited))).toBeInstanceOf(TypeError);
    for (const value of [new Options(), { ...options, [Symbol("unknown")]: 1 }]) {
      using socket = await UdpSocket.bind(value);
      expect(socket.localAddr.address).toBe("127.0.0.1");
    }
  });

  test("names of Object.prototype are no known options", async () => {
    for (const name of ["toString", "constructor", "__defineGetter__"]) {
      const error = await rejection(UdpSocket.bind({ [name]: 1 } as object));
      expect(listed(error)).toEqual(BIND);
    }
  });
});

describe("a value of the wrong type", () => {
  test.each([5353, "127.0.0.1", null, true, () => {}])(
    "is refused instead of options: %p",
    async (value) => {
      const calls: (() => unknown)[] = [
        () => UdpSocket.bind(value as never),
        () => UdpSocket.fromFd(0, value as never),
        () => UdpSocket.connect(value as never),
        () => UdpSocket.connect({ hostname: "127.0.0.1", port: 9 }, value as never),
        () => UdpSocket.bind({ connect: value as never }),
        () => UnixDatagram.unbound(value as never),
        () => new RecvBatch(value as never),
        () => new SendBatch(value as never),
        () => new SendBatch().meta(value as never),
        () => new DgramBufferPool(value as never),
        () => DatagramPair.create(value as never),
      ];
      for (const call of calls) {
        const error = await rejection((async () => call())());
        expect(error).toBeInstanceOf(TypeError);
        expect((error as Error).message).toContain("expected object, got");
      }
    },
  );

  test.each(["reusePort", "reuseAddress", "transparent", "freebind", "ipv6Only", "multicastAll"])(
    "is refused for the boolean %s",
    async (name) => {
      for (const value of ["true", 1, 0, null, {}]) {
        for (const backend of BACKENDS) {
          const error = await rejection(UdpSocket.bind({ [name]: value, backend }));
          expect(error).toBeInstanceOf(TypeError);
          expect((error as Error).message).toStartWith(`"${name}" expected boolean, got`);
        }
      }
    },
  );

  test.each([
    ["pathMtuDiscovery", '"system" or "off" or "on" or "probe"'],
    ["backend", '"native" or "portable"'],
    ["sendErrors", '"throw" or "drop"'],
  ])("is refused for %s, with the valid ones", async (name, valid) => {
    for (const value of ["other", true, 1, null, ""]) {
      const error = await rejection(UdpSocket.bind({ [name]: value }));
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toStartWith(`"${name}" expected ${valid}, got`);
    }
  });

  test.each(BACKENDS)(
    "is refused by setters, which change nothing: %s backend",
    async (backend) => {
      using socket = await UdpSocket.bind({ backend });
      const everyone = SocketAddress.ip("127.255.255.255", socket.localAddr.port);
      socket.setBroadcast(true);
      for (const value of ["true", "false", 1, 0, null, undefined, {}]) {
        const enabled = value as never;
        for (const call of [
          () => socket.setBroadcast(enabled),
          () => socket.setMulticastLoopback(enabled),
          () => socket.setMulticastAll(enabled),
        ]) {
          const error = thrown(call);
          expect(error).toBeInstanceOf(TypeError);
          expect((error as Error).message).toStartWith('"enabled" expected boolean, got');
        }
      }
      expect(await socket.sendTo(new Uint8Array(1), everyone)).toBe(1);
      for (const membership of [
        null,
        "239.1.2.3",
        {},
        { group: 1 },
        { group: "239.1.2.3", source: 1 },
      ]) {
        expect(thrown(() => socket.addMembership(membership as never))).toBeInstanceOf(TypeError);
      }
    },
  );

  test("is refused for keepTruncated", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const options = { keepTruncated: "false" } as never;
    expect(await rejection((async () => socket.batches(options).next())())).toBeInstanceOf(
      TypeError,
    );
  });
});

test("options of ranges are still used: meta, start, count, to and signal", async () => {
  using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const { signal } = new AbortController();
  const bufs = [new Uint8Array(1), new Uint8Array(2), new Uint8Array(3)];
  const range = { to: socket.localAddr, start: 1, count: 2, signal };
  expect(await socket.sendMany(bufs, range)).toBe(2);
  const meta = bufs.map(() => new RecvMeta());
  const targets = bufs.map(() => new Uint8Array(9));
  expect(await socket.recvMany(targets, { meta, start: 1, count: 2, signal })).toBe(2);
  expect(meta.map(({ length }) => length)).toEqual([0, 2, 3]);
});
