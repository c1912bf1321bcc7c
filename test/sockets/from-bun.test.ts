/** `UdpSocket.from` takes over sockets of Bun: their addresses, options and queued datagrams. */

import { describe, expect, test } from "bun:test";
import {
  RecvBatch,
  RecvMeta,
  SendBatch,
  SocketAddress,
  type SocketError,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { receiveOne, sendEach } from "../datagram/metadata-tools.ts";
import {
  closedPort,
  HAS_IPV6,
  nextTick,
  numbered,
  numberOf,
  openDescriptors,
  rejection,
  sequence,
  until,
} from "../tools/sockets.ts";

const HOST = "127.0.0.1";
const HOSTS = HAS_IPV6 ? [HOST, "::1"] : [HOST];

/** A socket of Bun that records the numbers of the datagrams that its handler gets. */
async function openBun(hostname = HOST, onData?: () => void) {
  const numbers: number[] = [];
  const socket = await Bun.udpSocket({
    hostname,
    socket: {
      data(_socket, bytes) {
        numbers.push(numberOf(bytes));
        onData?.();
      },
    },
  });
  return { socket, numbers, to: SocketAddress.ip(hostname, socket.port) };
}

type Received = [number: number, peer?: SocketAddress | undefined];

/** The methods to receive. */
const RECEIVE = {
  recv: async (socket: UdpSocket): Promise<Received[]> => {
    const buffer = new Uint8Array(100);
    await socket.recv(buffer);
    return [[numberOf(buffer)]];
  },
  recvMany: async (socket: UdpSocket): Promise<Received[]> => {
    const bufs = Array.from({ length: 9 }, () => new Uint8Array(100));
    const meta = bufs.map(() => new RecvMeta());
    const count = await socket.recvMany(bufs, { meta });
    return bufs.slice(0, count).map((buf, i) => [numberOf(buf), meta[i]?.peer]);
  },
  recvBatch: async (socket: UdpSocket): Promise<Received[]> => {
    const batch = new RecvBatch({ messages: 9 });
    const count = await socket.recvBatch(batch);
    return sequence(count).map((i) => [numberOf(batch.payload(i)), batch.peerAt(i)]);
  },
};

/** Receives without waiting. */
function receiveQueued(socket: UdpSocket): number[] {
  const numbers: number[] = [];
  const buffer = new Uint8Array(100);
  while (socket.tryRecv(buffer) !== WouldBlock) numbers.push(numberOf(buffer));
  return numbers;
}

describe.each(HOSTS)("a socket of Bun on %s", (hostname) => {
  test("keeps its address, and exchanges datagrams as a UdpSocket", async () => {
    const { socket: bun, numbers, to } = await openBun(hostname);
    using socket = await UdpSocket.from(bun);
    expect(bun.closed).toBe(true);
    expect(socket.backend).toBe("native");
    expect(socket.localAddr.equals(to)).toBe(true);
    expect(socket.peerAddr).toBeUndefined();
    using other = await UdpSocket.bind({ hostname });
    await other.sendTo(new Uint8Array(5), to);
    const { length, peer } = await socket.recvFrom(new Uint8Array(9));
    expect([length, peer?.equals(other.localAddr)]).toEqual([5, true]);
    await socket.sendTo(new Uint8Array(6), other.localAddr);
    expect((await other.recvFrom(new Uint8Array(9))).peer?.equals(to)).toBe(true);
    expect(numbers).toEqual([]);
  });

  test("keeps its peer", async () => {
    using peer = await UdpSocket.bind({ hostname });
    const connect = { hostname, port: peer.localAddr.port };
    const bun = await Bun.udpSocket({ hostname, connect });
    using socket = await UdpSocket.from(bun);
    expect(socket.peerAddr?.equals(peer.localAddr)).toBe(true);
    await socket.send(new Uint8Array(5));
    const { peer: from } = await peer.recvFrom(new Uint8Array(9));
    await peer.sendTo(new Uint8Array(6), from as SocketAddress);
    expect(await socket.recv(new Uint8Array(9))).toBe(6);
    // The datagrams of others are not for it.
    using other = await UdpSocket.bind({ hostname });
    await other.sendTo(new Uint8Array(7), socket.localAddr);
    await peer.sendTo(new Uint8Array(8), from as SocketAddress);
    expect(await socket.recv(new Uint8Array(9))).toBe(8);
  });
});

describe("queued datagrams", () => {
  const COUNT = 100;

  test.each(["recv", "recvMany", "recvBatch"] as const)(
    "that Bun has not read are received by the new socket, all and in order: %s",
    async (method) => {
      for (const offload of [true, false]) {
        using sender = await UdpSocket.bind({ hostname: HOST });
        const { socket: bun, numbers, to } = await openBun();
        expect(sender.trySendMany(numbered(COUNT), { to })).toBe(COUNT);
        using socket = await UdpSocket.from(bun, { offload });
        expect(sender.trySendMany(numbered(COUNT, COUNT), { to })).toBe(COUNT);
        const received: number[] = [];
        while (received.length < 2 * COUNT) {
          for (const [number, peer] of await RECEIVE[method](socket)) {
            received.push(number);
            if (peer !== undefined) expect(peer.equals(sender.localAddr)).toBe(true);
          }
        }
        expect(numbers).toEqual([]);
        expect(received).toEqual(sequence(2 * COUNT));
        expect(socket.counters).toMatchObject({
          datagramsReceived: 2 * COUNT,
          bytesReceived: 8 * COUNT,
          datagramsDropped: 0,
        });
      }
    },
  );

  test("are not discarded if Bun's socket has no handler", async () => {
    using sender = await UdpSocket.bind({ hostname: HOST });
    const bun = await Bun.udpSocket({ hostname: HOST });
    const to = SocketAddress.ip(HOST, bun.port);
    expect(sender.trySendMany(numbered(COUNT), { to })).toBe(COUNT);
    using socket = await UdpSocket.from(bun);
    expect(receiveQueued(socket)).toEqual(sequence(COUNT));
  });

  test("that Bun had read and that are not received are counted by close", async () => {
    using sender = await UdpSocket.bind({ hostname: HOST });
    const bun = await Bun.udpSocket({ hostname: HOST });
    const to = SocketAddress.ip(HOST, bun.port);
    // In the phase of setImmediate: Bun polls once more before the next one.
    await nextTick();
    expect(sender.trySendMany(numbered(COUNT), { to })).toBe(COUNT);
    const socket = await UdpSocket.from(bun);
    await socket.recv(new Uint8Array(100));
    socket.close();
    expect(socket.counters.datagramsDropped).toBe(COUNT - 1);
  });

  test.each(["in the handler", "in a microtask"])(
    "are not lost if Bun has read some of them: taken over %s",
    async (where) => {
      for (let first = 0; first < 12; first++) {
        using sender = await UdpSocket.bind({ hostname: HOST });
        let takeOver: Promise<UdpSocket> | undefined;
        const {
          socket: bun,
          numbers,
          to,
        } = await openBun(HOST, () => {
          // In the middle of the 8 datagrams that Bun reads at once, and elsewhere.
          if (numbers.length !== first + 1) return;
          if (where === "in the handler") takeOver = UdpSocket.from(bun);
          else
            queueMicrotask(() => {
              takeOver = UdpSocket.from(bun);
            });
        });
        expect(sender.trySendMany(numbered(COUNT), { to })).toBe(COUNT);
        await until(() => takeOver !== undefined);
        using socket = await (takeOver as Promise<UdpSocket>);
        expect(sender.trySendMany(numbered(3, COUNT), { to })).toBe(3);
        await nextTick();
        expect([...numbers, ...receiveQueued(socket)]).toEqual(sequence(COUNT + 3));
        expect(numbers.length).toBeGreaterThan(first);
      }
    },
  );

  test("arrive once, while datagrams keep coming during the take-over", async () => {
    using sender = await UdpSocket.bind({ hostname: HOST });
    const { socket: bun, numbers, to } = await openBun();
    let sent = 0;
    const timer = setInterval(() => {
      sent += sender.trySendMany(numbered(5, sent), { to }) as number;
    }, 1);
    await until(() => numbers.length > 10);
    using socket = await UdpSocket.from(bun);
    const received: number[] = [];
    const before = numbers.length;
    const buffer = new Uint8Array(100);
    while (received.length < 30) {
      await socket.recv(buffer);
      received.push(numberOf(buffer));
    }
    clearInterval(timer);
    received.push(...receiveQueued(socket));
    expect(numbers.length).toBe(before);
    expect([...numbers, ...received]).toEqual(sequence(sent));
  });
});

describe("options", () => {
  test("of Bun's socket remain, and those of the call apply", async () => {
    const { socket: bun } = await openBun("0.0.0.0");
    bun.setBroadcast(true);
    bun.setTTL(9);
    bun.setMulticastInterface("127.0.0.1");
    bun.addMembership("239.255.77.51", "127.0.0.1");
    using socket = await UdpSocket.from(bun, { dscp: 46, offload: false });
    expect(socket.getOption(0, 2)).toBe(9); // IP_TTL
    expect(socket.getOption(0, 1)).toBe(46 << 2); // IP_TOS
    expect(socket.enableMetadata({ ecn: true })).toMatchObject({ gso: false, gro: false });
    const { port } = socket.localAddr;
    for (const address of ["127.255.255.255", "239.255.77.51"]) {
      const meta = { sender: socket, to: SocketAddress.ip(address, port) };
      await sendEach(meta, [{ ecn: 1 }]);
      expect(await receiveOne(socket)).toMatchObject({ dscp: 46, ecn: 1 });
    }
  });

  test("an unconnected socket does not throw ICMP errors, although Bun's asks for them", async () => {
    const { socket: bun } = await openBun();
    const refusing = SocketAddress.ip(HOST, await closedPort());
    bun.send(new Uint8Array(1), refusing.port, HOST);
    using socket = await UdpSocket.from(bun);
    for (let i = 0; i < 5; i++) await socket.sendTo(new Uint8Array(1), refusing);
    expect(socket.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
    // A connected socket does throw them.
    const connected = await Bun.udpSocket({ connect: { hostname: HOST, port: refusing.port } });
    using other = await UdpSocket.from(connected);
    await other.send(new Uint8Array(1));
    expect(await rejection(other.recv(new Uint8Array(9)))).toMatchObject({ code: "ECONNREFUSED" });
  });

  test("offload works on a socket that was taken over", async () => {
    using receiver = await UdpSocket.from((await openBun()).socket);
    using sender = await UdpSocket.from((await openBun()).socket);
    const batch = new SendBatch();
    for (let i = 0; i < 5; i++) batch.push(new Uint8Array(100), receiver.localAddr);
    await sender.sendBatch(batch);
    const { gso } = receiver.enableMetadata({});
    expect(sender.counters.messagesSent).toBe(gso ? 1 : 5);
    expect(await receiver.recvMany(Array.from({ length: 9 }, () => new Uint8Array(200)))).toBe(5);
  });
});

describe("a refused take-over", () => {
  test("of a closed socket fails with ERR_SOCKET_CLOSED", async () => {
    const { socket: bun } = await openBun();
    bun.close();
    const before = openDescriptors();
    const error = await rejection(UdpSocket.from(bun));
    expect(error).toMatchObject({ code: "ERR_SOCKET_CLOSED", syscall: "from" });
    // Closed while it is taken over.
    const { socket: closing } = await openBun();
    const pending = rejection(UdpSocket.from(closing));
    closing.close();
    expect(await pending).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    expect(openDescriptors()).toBe(before);
  });

  test("of a socket that is taken over already fails, and the first continues", async () => {
    const { socket: bun, to } = await openBun();
    const [first, second] = await Promise.allSettled([UdpSocket.from(bun), UdpSocket.from(bun)]);
    expect(second).toMatchObject({ status: "rejected", reason: { code: "ERR_SOCKET_CLOSED" } });
    using socket = (first as PromiseFulfilledResult<UdpSocket>).value;
    await socket.sendTo(new Uint8Array(4), to);
    expect(await socket.recv(new Uint8Array(9))).toBe(4);
  });

  test("for invalid arguments is a TypeError or RangeError, and Bun's socket works on", async () => {
    const { socket: bun, numbers, to } = await openBun();
    for (const value of [undefined, null, 5, "socket", {}, { fd: 3 }, { fd: 3, close() {} }]) {
      const error = await rejection(UdpSocket.from(value as never));
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toContain('"socket" expected socket of Bun.udpSocket');
    }
    const misuse: [object, typeof Error][] = [
      [{ unknown: 1 }, TypeError],
      [{ dscp: 64 }, RangeError],
      [{ offload: 5 }, TypeError],
    ];
    for (const [options, type] of misuse) {
      expect(await rejection(UdpSocket.from(bun, options))).toBeInstanceOf(type);
    }
    expect(bun.closed).toBe(false);
    using sender = await UdpSocket.bind({ hostname: HOST });
    await sender.sendMany(numbered(3), { to });
    await until(() => numbers.length === 3);
    bun.close();
  });

  test("of an object with the descriptor of a file is an error of the system", async () => {
    const before = openDescriptors();
    let closes = 0;
    const fake = { fd: 1, closed: false, close: () => closes++, reload: () => closes++ };
    const error = (await rejection(UdpSocket.from(fake as never))) as SocketError;
    expect(error.name).toBe("SocketError");
    expect(["ENOTSOCK", "EINVAL"]).toContain(error.code);
    expect([closes, openDescriptors()]).toEqual([0, before]);
  });
});

test("no descriptor is left when the new socket is closed", async () => {
  using _first = await UdpSocket.from((await openBun()).socket);
  const before = openDescriptors();
  for (let i = 0; i < 20; i++) (await UdpSocket.from((await openBun()).socket)).close();
  expect(openDescriptors()).toBe(before);
});
