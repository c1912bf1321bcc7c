/** Simulated sockets: the traits, full queues, wake-ups, and close. */

import { describe, expect, test } from "bun:test";
import {
  DgramBuffer,
  isClosedError,
  MaybeConnectedSocket,
  Pending,
  RecvBatch,
  RecvMeta,
  SendBatch,
  SocketAddress,
  SocketError,
  WouldBlock,
} from "../../lib/index.ts";
import {
  SimNetwork,
  type SimNetworkOptions,
  type SimSocketOptions,
} from "../../lib/testing/index.ts";

function pair(options: SimNetworkOptions = {}, socketOptions: SimSocketOptions = {}) {
  const net = new SimNetwork(options);
  const receiver = net.bind("10.0.0.1", 53);
  const connect = receiver.localAddr;
  const sender = net.bind("10.0.0.2", 0, { connect, ...socketOptions });
  return { net, receiver, sender };
}

const bytes = (...values: number[]) => Uint8Array.from(values);

describe("a simulated socket", () => {
  test("has the address that it was bound to, or an ephemeral port", () => {
    const net = new SimNetwork();
    expect(`${net.bind("10.0.0.1", 53).localAddr}`).toBe("10.0.0.1:53");
    expect(net.bind("10.0.0.1").localAddr.port).toBeWithin(32_768, 61_000);
    expect(`${net.bind("2001:DB8::0:1", 53).localAddr}`).toBe("[2001:db8::1]:53");
    expect(net.sockets.length).toBe(3);
    expect(() => net.bind("10.0.0.1", 53)).toThrow("bind 10.0.0.1:53 EADDRINUSE");
    expect(() => net.bind("localhost", 53)).toThrow('"address" expected IP address');
    expect(() => net.bind("10.0.0.1", 1, { conect: 1 } as object)).toThrow(
      'unknown option "conect", expected only connect, receiveQueueDatagrams',
    );
  });

  test("sends and receives with all promises, and reports the source", async () => {
    const { net, receiver, sender } = pair();
    const buffer = DgramBuffer.withCapacityAndHeadroom(64, 16);
    const metas = [new RecvMeta(), new RecvMeta()];
    await net.run(async () => {
      expect(await sender.send(bytes(1, 2))).toBe(2);
      expect(await receiver.recv(buffer)).toBe(2);
      expect([buffer.headroom, ...buffer.asSlice()]).toEqual([16, 1, 2]);
      expect(await sender.sendTo(bytes(), receiver.localAddr)).toBe(0);
      const meta = await receiver.recvFrom(bytes());
      expect([meta.length, meta.truncated, `${meta.peer}`]).toEqual([
        0,
        false,
        `${sender.localAddr}`,
      ]);
      expect(await sender.sendMany([bytes(3), bytes(4, 5)])).toBe(2);
      const targets = [new Uint8Array(1), new Uint8Array(1)];
      expect(await receiver.recvMany(targets, { meta: metas })).toBe(2);
      expect([...targets.map(Number), metas[1]?.datagramLength]).toEqual([3, 4, 2]);
      const out = new SendBatch().prefixVarint(7).push(bytes(8));
      expect([await sender.sendBatch(out), out.length]).toEqual([1, 0]);
      const batch = new RecvBatch({ messages: 4 });
      expect(await receiver.recvBatch(batch)).toBe(1);
      expect([[...batch.payload(0)], `${batch.peerAt(0)}`]).toEqual([
        [7, 8],
        `${sender.localAddr}`,
      ]);
    });
    expect(receiver.counters).toMatchObject({ datagramsReceived: 5, datagramsTruncated: 1 });
    expect(sender.counters).toMatchObject({ datagramsSent: 5, bytesSent: 7 });
    expect([sender.asRawIo(), sender.intoFd(), sender.asUdpSocket()]).toEqual(
      new Array(3).fill(undefined),
    );
  });

  test("keeps a copy: the buffer may be modified after the send", async () => {
    const { net, receiver, sender } = pair();
    const payload = bytes(1);
    const received = bytes(0);
    await net.run(async () => {
      await sender.send(payload);
      payload[0] = 2;
      await receiver.recv(received);
    });
    expect([...received]).toEqual([1]);
  });

  test("works in wrappers, and with buffers of its own", async () => {
    const { net, receiver, sender } = pair();
    const wrapper = new MaybeConnectedSocket(sender);
    await net.run(async () => {
      await wrapper.sendTo(bytes(1), receiver.localAddr);
      await net.clock.sleep(1);
    });
    expect([...(receiver.asBufIo().pollRecvDgram(null) as DgramBuffer).asSlice()]).toEqual([1]);
  });

  test("refuses a destination that it cannot send to", async () => {
    const { net, receiver, sender } = pair();
    const other = SocketAddress.ip("10.0.0.3", 1);
    const codeOf = (call: () => unknown): string => {
      try {
        call();
      } catch (error) {
        if (error instanceof SocketError) return error.code;
      }
      return "none";
    };
    expect(codeOf(() => sender.trySendTo(bytes(1), other))).toBe("EISCONN");
    expect(codeOf(() => receiver.trySend(bytes(1)))).toBe("EDESTADDRREQ");
    const ipv6 = SocketAddress.ip("::1", 1);
    expect(codeOf(() => receiver.trySendTo(bytes(1), ipv6))).toBe("EAFNOSUPPORT");
    expect(codeOf(() => receiver.trySendTo(bytes(1), SocketAddress.ip("10.0.0.3", 0)))).toBe(
      "EINVAL",
    );
    expect(codeOf(() => sender.trySend(new Uint8Array(65_508)))).toBe("EMSGSIZE");
    expect(sender.trySend(new Uint8Array(65_507))).toBe(65_507);
    const dropping = net.bind("10.0.0.4", 0, { sendErrors: "drop" });
    expect(dropping.trySendMany([bytes(1), bytes(2)], { to: ipv6 })).toBe(2);
    expect(dropping.sendDropsByCode).toEqual({ EAFNOSUPPORT: 2 });
  });
});

describe("a full send queue", () => {
  const SLOW: SimNetworkOptions = {
    link: { bitsPerSecond: 1e6 },
    socket: { sendQueueDatagrams: 4 },
  };

  test("makes a batch partial and then blocks, and the waker is called when half has left", async () => {
    const { net, sender } = pair(SLOW);
    const bufs = Array.from({ length: 6 }, () => new Uint8Array(97));
    expect(sender.trySendMany(bufs)).toBe(4);
    expect(sender.trySend(bytes(1))).toBe(WouldBlock);
    const wakes: number[] = [];
    const waker = () => {
      wakes.push(net.now);
    };
    expect(sender.pollSend(waker, bytes(1))).toBe(Pending);
    await net.run(() => net.clock.sleep(100));
    // 125 bytes with headers take 1 ms.
    expect(wakes).toEqual([2]);
    expect(sender.counters.sendWouldBlocks).toBe(3);
  });

  test("is waited for by promises, in the order of their calls", async () => {
    const { net, receiver, sender } = pair(SLOW);
    await net.run(async () => {
      const sends = Array.from({ length: 50 }, (_, i) => sender.send(bytes(i)));
      await Promise.all(sends);
      await net.clock.sleep(10);
    });
    const buffers = Array.from({ length: 50 }, () => new Uint8Array(1));
    expect(receiver.tryRecvMany(buffers)).toBe(50);
    expect(buffers.map(Number)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });
});

describe("disturbances", () => {
  test("blockedSends: sends block at times, and promises still complete", async () => {
    const { net, sender } = pair({}, { blockedSends: 0.5 });
    const bufs = Array.from({ length: 100 }, (_, i) => bytes(i));
    await net.run(() => sender.sendMany(bufs));
    expect(sender.counters.sendWouldBlocks).toBeGreaterThan(20);
    expect([net.report.sent, net.now > 0]).toEqual([100, true]);
  });

  test("partialReceives: receives end early, and promises still complete", async () => {
    const { net, receiver, sender } = pair({ socket: { partialReceives: 0.5 } });
    let received = 0;
    await net.run(async () => {
      await sender.sendMany(Array.from({ length: 100 }, (_, i) => bytes(i)));
      const bufs = Array.from({ length: 100 }, () => new Uint8Array(1));
      while (received < 100) received += await receiver.recvMany(bufs);
    });
    expect(receiver.counters.receiveWouldBlocks).toBeGreaterThan(20);
    expect(received).toBe(100);
  });

  test("spuriousWakes: wakers are called without a reason", async () => {
    const { net, receiver } = pair({ socket: { spuriousWakes: 1 } });
    let wakes = 0;
    expect(receiver.pollRecv(() => wakes++, bytes(0))).toBe(Pending);
    await net.run(() => net.clock.sleep(10));
    expect(wakes).toBe(1);
  });
});

describe("a waker", () => {
  test("is called once per stored poll, at multiples of wakeIntervalMs", async () => {
    const { net, receiver, sender } = pair({ wakeIntervalMs: 5 });
    const wakes: string[] = [];
    const poll = () => {
      wakes.push(`${net.now}: ${receiver.receiveQueueLength}`);
    };
    expect(receiver.pollRecv(poll, bytes(0))).toBe(Pending);
    await net.run(async () => {
      for (let i = 0; i < 4; i++) {
        await sender.send(bytes(i));
        await net.clock.sleep(1);
      }
      await net.clock.sleep(20);
    });
    expect(wakes).toEqual(["5: 4"]);
  });

  test("of a caller's own poll does not take that of a promise, and vice versa", async () => {
    const { net, receiver, sender } = pair();
    let wakes = 0;
    await net.run(async () => {
      const received = receiver.recv(bytes(0));
      expect(receiver.pollRecv(() => wakes++, bytes(0))).toBe(Pending);
      await sender.send(bytes(1));
      expect(await received).toBe(1);
    });
    expect(wakes).toBe(1);
  });

  test("is kept by a poll with null", async () => {
    const { net, receiver, sender } = pair();
    let wakes = 0;
    expect(receiver.pollRecv(() => wakes++, bytes(0))).toBe(Pending);
    expect(receiver.pollRecv(null, bytes(0))).toBe(Pending);
    await net.run(() => sender.send(bytes(1)));
    await net.drain();
    await net.run(() => net.clock.sleep(0));
    expect(wakes).toBe(1);
  });
});

describe("close", () => {
  test("rejects pending promises, frees the port, and is idempotent", async () => {
    const { net, receiver, sender } = pair();
    const errors = await net.run(async () => {
      const pending = [receiver.recv(bytes(0)), receiver.recvMany([bytes(0)])];
      receiver.close();
      receiver.close();
      return Promise.all(pending.map((promise) => promise.catch(isClosedError)));
    });
    expect(errors).toEqual([true, true]);
    expect([receiver.isClosed, receiver.isWaiting]).toEqual([true, false]);
    expect(() => receiver.tryRecv(bytes(0))).toThrow("the socket is closed");
    expect(() => receiver.trySendTo(bytes(0), sender.localAddr)).toThrow("the socket is closed");
    expect(() => receiver.onTransportError(undefined)).toThrow("the socket is closed");
    expect(net.bind("10.0.0.1", 53).isClosed).toBe(false);
  });

  test("ends batches() and disposes with using", async () => {
    const { net, receiver, sender } = pair();
    const sizes: number[] = [];
    await net.run(async () => {
      const iteration = (async () => {
        for await (const batch of receiver.batches()) sizes.push(batch.length);
      })();
      {
        using _sender = sender;
        await sender.send(bytes(1));
      }
      await net.clock.sleep(2);
      await receiver[Symbol.asyncDispose]();
      await iteration;
    });
    expect([sizes, sender.isClosed]).toEqual([[1], true]);
  });
});
