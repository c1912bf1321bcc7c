/** GRO and the datagrams still queued when a socket is closed, handed over or adopted. */

import { describe, expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { RecvMeta, recvmmsg, SocketAddress, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { IPPROTO_UDP, SO_PEEK_OFF, SOL_SOCKET, UDP_GRO } from "../../lib/linux/constants.ts";
import { loadedNative } from "../ffi/tools.ts";
import {
  datagramsOf,
  expectSame,
  NO_OFFLOAD_REASON,
  openEnds,
  receiveAll,
  receiveSome,
  times,
} from "../tools/offload.ts";
import { rejection, targets } from "../tools/sockets.ts";

const native = loadedNative();

const BOTH = { sender: true, receiver: true };

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("UdpSocket.close", () => {
  test("counts datagrams of a merged message that were not received as dropped", async () => {
    using pair = await openEnds(BOTH);
    await pair.sender.sendMany(datagramsOf(times(10, 300)), { to: pair.receiver.localAddr });
    await receiveSome(pair.receiver, 3);
    pair.receiver.close();
    expect(pair.receiver.counters).toMatchObject({ datagramsReceived: 3, datagramsDropped: 7 });
    // The next socket reuses their memory, and must not receive them.
    using other = await openEnds(BOTH);
    await other.sender.sendMany(datagramsOf([300, 300], 50), { to: other.receiver.localAddr });
    expectSame(await receiveAll(other.receiver, 2), datagramsOf([300, 300], 50));
    expect(other.receiver.counters.datagramsDropped).toBe(0);
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("UdpSocket.intoFd", () => {
  test("returns a descriptor that receives one datagram per message", async () => {
    using pair = await openEnds(BOTH);
    const payloads = datagramsOf(times(5, 300));
    const fd = pair.receiver.intoFd() as number;
    try {
      await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
      expect(pair.sender.counters.messagesSent).toBe(1);
      const bufs = targets(8, 2000);
      const meta = bufs.map(() => new RecvMeta());
      expect(recvmmsg(fd, bufs, meta)).toBe(5);
      expect(meta.slice(0, 5).map(({ datagramLength }) => datagramLength)).toEqual(times(5, 300));
    } finally {
      closeSync(fd);
    }
  });

  test("returns a descriptor whose peeks start at the first datagram, without GRO", async () => {
    using pair = await openEnds(BOTH);
    await pair.sender.sendMany(datagramsOf([100, 200]), { to: pair.receiver.localAddr });
    const fd = pair.receiver.intoFd() as number;
    try {
      expect(native.getIntOption(fd, SOL_SOCKET, SO_PEEK_OFF)).toBeGreaterThan(0);
      // The default (socket(7)).
      expect(native.scratch[0]).toBe(-1);
      expect(native.getIntOption(fd, IPPROTO_UDP, UDP_GRO)).toBeGreaterThan(0);
      expect(native.scratch[0]).toBe(0);
    } finally {
      closeSync(fd);
    }
  });

  test("drops queued datagrams up to the last merged message, and leaves later ones", async () => {
    for (const { queued, left, dropped } of [
      { queued: [[100], [300, 300, 300], [0], [200, 200], [50], [0], [60]], left: 3, dropped: 7 },
      { queued: [[300, 300, 300]], left: 0, dropped: 3 },
      { queued: [[0], [100], [0], [7]], left: 4, dropped: 0 },
      { queued: times(40, [100, 100]), left: 0, dropped: 80 },
      { queued: [...times(40, [100]), [9, 9], ...times(40, [8])], left: 40, dropped: 42 },
      { queued: [], left: 0, dropped: 0 },
    ]) {
      using pair = await openEnds(BOTH);
      const lengths = queued.flat();
      const to = pair.receiver.localAddr;
      for (const message of queued) await pair.sender.sendMany(datagramsOf(message), { to });
      const fd = pair.receiver.intoFd() as number;
      try {
        const bufs = targets(100, 2000);
        const meta = bufs.map(() => new RecvMeta());
        const got = recvmmsg(fd, bufs, meta);
        const received = meta.slice(0, got === WouldBlock ? 0 : got);
        expect(received.map(({ datagramLength }) => datagramLength)).toEqual(
          lengths.slice(lengths.length - left),
        );
        expect(pair.receiver.counters.datagramsDropped).toBe(dropped);
      } finally {
        closeSync(fd);
      }
    }
  });

  test("drops a merged message even if an ICMP error is pending", async () => {
    const peer = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const { address: hostname, port } = peer.localAddr;
    await using socket = await UdpSocket.connect({ hostname, port });
    const to = SocketAddress.ip(hostname, socket.localAddr.port);
    await peer.sendMany(datagramsOf(times(5, 300)), { to });
    peer.close();
    // ICMP reports that the port is unreachable: the next receive fails with that error first.
    await socket.send(new Uint8Array(1));
    const fd = socket.intoFd() as number;
    try {
      expect(recvmmsg(fd, targets(8, 2000))).toBe(WouldBlock);
      expect(socket.counters.datagramsDropped).toBe(5);
    } finally {
      closeSync(fd);
    }
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("UdpSocket.fromFd", () => {
  test.each([true, false])(
    "splits merged messages that are already queued (offload: %p)",
    async (offload) => {
      using pair = await openEnds({ sender: true, receiver: false });
      const fd = pair.receiver.intoFd() as number;
      expect(native.setIntOption(fd, IPPROTO_UDP, UDP_GRO, 1)).toBe(0);
      const payloads = datagramsOf(times(5, 300));
      await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
      await using receiver = await UdpSocket.fromFd(fd, { offload });
      expectSame(await receiveAll(receiver, 5), payloads);
      expect(receiver.counters.messagesReceived).toBe(1);
    },
  );

  test("uses neither GSO nor GRO with offload false, and rejects other types", async () => {
    using pair = await openEnds({ sender: false, receiver: false });
    const fd = pair.receiver.intoFd() as number;
    await using socket = await UdpSocket.fromFd(fd, { offload: false });
    const payloads = datagramsOf(times(5, 300));
    await socket.sendMany(payloads, { to: socket.localAddr });
    expectSame(await receiveAll(socket, 5), payloads);
    expect([socket.counters.messagesSent, socket.counters.messagesReceived]).toEqual([5, 5]);
    const error = await rejection(UdpSocket.fromFd(0, { offload: "off" as never }));
    expect(error).toBeInstanceOf(TypeError);
  });

  test("uses GSO and GRO by default", async () => {
    using pair = await openEnds({ sender: false, receiver: false });
    await using sender = await UdpSocket.fromFd(pair.sender.intoFd() as number);
    await using receiver = await UdpSocket.fromFd(pair.receiver.intoFd() as number);
    const payloads = datagramsOf(times(5, 300));
    await sender.sendMany(payloads, { to: receiver.localAddr });
    expectSame(await receiveAll(receiver, 5), payloads);
    expect([sender.counters.messagesSent, receiver.counters.messagesReceived]).toEqual([1, 1]);
  });
});
