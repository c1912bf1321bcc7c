/**
 * Arguments that are checked before a call does anything: no datagram is taken, no waker is stored,
 * and methods that return a promise reject instead of throwing.
 */

import { afterAll, describe, expect, test } from "bun:test";
import {
  AddressMap,
  AsDatagramSocketRecv,
  AsDatagramSocketSend,
  AsyncFd,
  DatagramPair,
  type DatagramSocket,
  type DgramBuffer,
  MaybeConnectedSocket,
  Pending,
  pollFn,
  pollRecvmmsg,
  pollSendmmsg,
  RecvBatch,
  RecvMeta,
  SendBatch,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
  type Waker,
} from "../../lib/index.ts";
import { impostors } from "../tools/hostile.ts";
import { BACKENDS, rejection, thrown } from "../tools/sockets.ts";

const LOOPBACK = "127.0.0.1";
const WAKERS = [undefined, 0, 1, "waker", {}, [], Symbol("waker"), true] as unknown as Waker[];

type Closable = DatagramSocket & { close(): void };

/** Functions that open a socket that sends to itself or to a peer, and its receiver. */
const kinds: Record<string, () => Promise<[sender: Closable, receiver: Closable]>> = {
  ...Object.fromEntries(
    BACKENDS.map((backend) => [
      `a UDP socket, ${backend} backend`,
      async (): Promise<[Closable, Closable]> => {
        const receiver = await UdpSocket.bind({ hostname: LOOPBACK, backend });
        const peer = { hostname: LOOPBACK, port: receiver.localAddr.port };
        return [await UdpSocket.connect(peer, { backend }), receiver];
      },
    ]),
  ),
  "a Unix socket": () => UnixDatagram.pair(),
  "a DatagramPair": async () => DatagramPair.create(),
};

describe.each(Object.keys(kinds))("%s", (kind) => {
  const open = kinds[kind] as () => Promise<[Closable, Closable]>;

  test("a poll refuses wakers that are no functions, and takes no datagram", async () => {
    const [sender, receiver] = await open();
    const buffer = new Uint8Array(100);
    const meta = new RecvMeta();
    for (const isQueued of [false, true]) {
      if (isQueued) await sender.send(Uint8Array.of(1));
      await Bun.sleep(2);
      for (const waker of WAKERS) {
        const calls: (() => unknown)[] = [
          () => receiver.pollRecv(waker, buffer),
          () => receiver.pollRecvFrom(waker, buffer, meta),
          () => receiver.pollRecvMany(waker, [buffer]),
          () => receiver.pollRecvBatch(waker, new RecvBatch()),
          () => sender.pollSend(waker, buffer),
          () => sender.pollSendMany(waker, [buffer]),
          () => sender.pollSendBatch(waker, new SendBatch().push(buffer)),
          () => receiver.asBufIo()?.pollRecvDgram(waker) ?? receiver.pollRecv(waker, buffer),
          () =>
            receiver.asBufIo()?.pollRecvDatagrams(waker, [], 1) ?? receiver.pollRecv(waker, buffer),
        ];
        for (const call of calls) expect(thrown(call)).toBeInstanceOf(TypeError);
      }
    }
    expect(await receiver.recv(buffer)).toBe(1);
    for (const socket of [sender, receiver]) socket.close();
  });

  test("pollRecvDatagrams checks the array before it takes a datagram", async () => {
    const [sender, receiver] = await open();
    const io = receiver.asBufIo();
    if (io !== undefined) {
      await sender.send(Uint8Array.of(1, 2, 3));
      await Bun.sleep(2);
      for (const buffers of [undefined, null, 3, "text", {}, Object.freeze([]), Object.seal([])]) {
        const call = () => io.pollRecvDatagrams(null, buffers as unknown as DgramBuffer[], 1);
        expect(thrown(call)).toBeInstanceOf(TypeError);
      }
      const buffers: DgramBuffer[] = [];
      expect(io.pollRecvDatagrams(null, buffers, 1)).toBe(1);
      expect(buffers[0]?.length).toBe(3);
    }
    for (const socket of [sender, receiver]) socket.close();
  });

  test("promises reject for invalid arguments, and no method throws", async () => {
    const [sender, receiver] = await open();
    const bad = {
      get signal(): AbortSignal {
        throw new TypeError("signal");
      },
    };
    const badRange = {
      get to(): SocketAddress {
        throw new TypeError("to");
      },
    };
    const buffer = new Uint8Array(10);
    const batch = new SendBatch().push(buffer);
    const invalid = [undefined, null, 3, {}, "text"] as unknown as Uint8Array[];
    const address = SocketAddress.unix("/nowhere");
    const calls: (() => Promise<unknown>)[] = [
      ...invalid
        .slice(0, -1)
        .flatMap((value) => [
          () => sender.send(value),
          () => sender.sendTo(value, address),
          () => sender.sendMany([buffer, value]),
        ]),
      ...invalid.flatMap((value) => [
        () => sender.sendTo(buffer, value as never),
        () => sender.sendMany(value as never),
        () => sender.sendBatch(value as never),
        () => receiver.recv(value),
        () => receiver.recvFrom(value),
        () => receiver.recvMany(value as never),
        () => receiver.recvMany([value]),
        () => receiver.recvBatch(value as never),
      ]),
      () => sender.send(buffer, bad),
      () => sender.sendTo(buffer, address, bad),
      () => sender.sendMany([buffer], bad),
      () => sender.sendMany([buffer], badRange),
      () => sender.sendBatch(batch, bad),
      () => receiver.recv(buffer, bad),
      () => receiver.recvFrom(buffer, bad),
      () => receiver.recvMany([buffer], bad),
      () => receiver.recvBatch(new RecvBatch(), bad),
    ];
    for (const call of calls) {
      let promise: Promise<unknown> | undefined;
      try {
        promise = call();
      } catch (error) {
        throw new Error(`${call} threw`, { cause: error });
      }
      expect(await rejection(promise)).toBeInstanceOf(Error);
    }
    await sender.send(buffer);
    expect(await receiver.recv(buffer)).toBe(10);
    for (const socket of [sender, receiver]) socket.close();
  });

  test("batches() refuses options of the wrong type at the call", async () => {
    const [sender, receiver] = await open();
    for (const options of [
      { signal: { aborted: true } },
      { keepTruncated: "no" },
      { count: 0.5 },
    ]) {
      expect(() => receiver.batches(options as never)).toThrow(Error);
    }
    for (const socket of [sender, receiver]) socket.close();
  });
});

describe("other methods", () => {
  test("UnixDatagram.sendTo rejects a destination that is none", async () => {
    using socket = await UnixDatagram.unbound();
    for (const to of [undefined, null, 3, {}, "", "a\0b", SocketAddress.ip(LOOPBACK, 1)]) {
      const promise = socket.sendTo(new Uint8Array(1), to as never);
      const error = await rejection(promise);
      expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    }
  });

  test("UdpSocket.connect rejects options whose getters throw", async () => {
    const options = {
      get hostname(): string {
        throw new RangeError("hostname");
      },
    };
    const promise = UdpSocket.connect({ hostname: LOOPBACK, port: 1 }, options);
    expect(await rejection(promise)).toBeInstanceOf(RangeError);
  });

  test("wrappers reject if their inner socket cannot be determined", async () => {
    class Broken extends AsDatagramSocketSend {
      override asDatagramSocketSend(): never {
        throw new TypeError("inner");
      }
    }
    class BrokenToo extends AsDatagramSocketRecv {
      override asDatagramSocketRecv(): never {
        throw new TypeError("inner");
      }
    }
    const [send, recv] = [new Broken(), new BrokenToo()];
    const buffer = new Uint8Array(1);
    for (const call of [
      () => send.send(buffer),
      () => send.sendTo(buffer, SocketAddress.ip(LOOPBACK, 1)),
      () => send.sendMany([buffer]),
      () => send.sendBatch(new SendBatch()),
      () => new MaybeConnectedSocket(DatagramPair.create()[0]).sendTo(buffer, 3 as never),
      () => recv.recv(buffer),
      () => recv.recvFrom(buffer),
      () => recv.recvMany([buffer]),
      () => recv.recvBatch(new RecvBatch()),
    ]) {
      expect(await rejection(call())).toBeInstanceOf(Error);
    }
  });

  test("pollFn rejects for what is no function", async () => {
    for (const poll of [undefined, null, {}, "poll"]) {
      expect(await rejection(pollFn(poll as never))).toBeInstanceOf(TypeError);
    }
  });

  test("an AsyncFd refuses wakers that are no functions, null included", async () => {
    const socket = await UdpSocket.bind({ hostname: LOOPBACK });
    const to = socket.localAddr;
    const fd = socket.intoFd() as number;
    const ready = await AsyncFd.open(fd);
    afterAll(() => ready.close());
    const buffer = [new Uint8Array(10)];
    await UdpSocket.bind({ hostname: LOOPBACK }).then(async (sender) => {
      await sender.sendTo(Uint8Array.of(1, 2), to);
      sender.close();
    });
    for (const waker of [...WAKERS, null as unknown as Waker]) {
      for (const call of [
        () => ready.waitReadable(waker),
        () => ready.waitWritable(waker),
        () => pollRecvmmsg(ready, waker, buffer),
        () => pollSendmmsg(ready, waker, buffer, to),
      ]) {
        expect(thrown(call)).toBeInstanceOf(TypeError);
      }
    }
    expect(pollRecvmmsg(ready, () => {}, buffer)).toBe(1);
    expect(pollRecvmmsg(ready, () => {}, buffer)).toBe(Pending);
  });

  test("an AddressMap refuses objects that only look like addresses", () => {
    const map = new AddressMap<number>();
    const address = SocketAddress.ip(LOOPBACK, 1);
    const fakes = [
      Object.create(SocketAddress.prototype),
      new Proxy(address, {}),
      { ...address },
      ...impostors(),
    ] as SocketAddress[];
    for (const fake of fakes) {
      for (const call of [
        () => map.get(fake),
        () => map.has(fake),
        () => map.set(fake, 1),
        () => map.delete(fake),
      ]) {
        expect(thrown(call)).toBeInstanceOf(TypeError);
      }
    }
    expect(map.size).toBe(0);
  });

  test("an address cannot be changed", () => {
    const address = SocketAddress.ip(LOOPBACK, 53);
    for (const name of ["_encoded", "family", "equals", "_toMapped"]) {
      expect(thrown(() => Object.assign(address, { [name]: 1 }))).toBeInstanceOf(TypeError);
      expect(thrown(() => Object.defineProperty(address, name, { get: () => 1 }))).toBeInstanceOf(
        TypeError,
      );
    }
    expect([String(address), address._hash, address._toMapped().port]).toEqual([
      "127.0.0.1:53",
      address._hash,
      53,
    ]);
  });
});
