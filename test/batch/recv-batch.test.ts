/** `RecvBatch` and `recvBatch`: datagrams, the messages that contain them, and their metadata. */

import { describe, expect, test } from "bun:test";
import {
  RecvBatch,
  type RecvBatchOptions,
  RecvMeta,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import { numberErrorOf } from "../tools/errors.ts";
import {
  datagramsOf,
  ENDS,
  expectSame,
  NO_OFFLOAD_REASON,
  openEnds,
  receiveAll,
  receiveBatch,
  receiveSome,
  times,
} from "../tools/offload.ts";
import {
  BACKENDS,
  closedPort,
  connectedPair,
  nextTick,
  numbered,
  rejection,
  stateOf,
  thrown,
  until,
} from "../tools/sockets.ts";

const BOTH = { sender: true, receiver: true };
const SLOT_BYTES = 65_536;

/** Returns the offset, length and message of each datagram of a batch. */
function layout(batch: RecvBatch) {
  return Array.from({ length: batch.length }, (_, i) => ({
    offset: batch.offsetAt(i),
    length: batch.lengthAt(i),
    message: batch.messageAt(i),
  }));
}

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("RecvBatch with GRO", () => {
  test("returns offset, length, message and stride of each datagram", async () => {
    using pair = await openEnds(BOTH);
    const payloads = datagramsOf([300, 300, 100, 0, 500, 500]);
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    const batch = new RecvBatch();
    expect(await pair.receiver.recvBatch(batch)).toBe(6);
    expect([batch.length, batch.messages]).toEqual([6, 3]);
    expect(layout(batch)).toEqual([
      { offset: 0, length: 300, message: 0 },
      { offset: 300, length: 300, message: 0 },
      { offset: 600, length: 100, message: 0 },
      { offset: SLOT_BYTES, length: 0, message: 1 },
      { offset: 2 * SLOT_BYTES, length: 500, message: 2 },
      { offset: 2 * SLOT_BYTES + 500, length: 500, message: 2 },
    ]);
    expect([0, 1, 2].map((m) => batch.strideAt(m))).toEqual([300, 0, 500]);
    expect(Buffer.compare(batch.payload(2), payloads[2] as Uint8Array)).toBe(0);
    for (let i = 0; i < 6; i++) {
      expect(batch.peerAt(i)?.equals(pair.sender.localAddr)).toBe(true);
      expect(batch.metaAt(i)).toMatchObject({
        length: payloads[i]?.length,
        datagramLength: payloads[i]?.length,
        truncated: false,
      });
    }
    expect(pair.receiver.counters).toMatchObject({
      datagramsReceived: 6,
      bytesReceived: 1700,
      messagesReceived: 3,
      receiveCalls: 1,
      datagramsTruncated: 0,
    });
  });

  test.each([...ENDS])("receives datagrams of all lengths intact with $name", async (ends) => {
    using pair = await openEnds(ends);
    const payloads = datagramsOf([1472, 1472, 1, 65_507, 0, 9000, 8999, ...times(50, 1200)]);
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    const batch = new RecvBatch({ messages: 4 });
    const received = await receiveAll(pair.receiver, payloads.length, (socket, options) =>
      receiveBatch(socket, batch, options),
    );
    expectSame(received, payloads);
    expect(pair.receiver.counters.datagramsTruncated).toBe(0);
  });

  test("returns the peer of each datagram if two peers send alternately", async () => {
    using a = await openEnds(BOTH);
    using b = await openEnds(BOTH);
    const to = a.receiver.localAddr;
    for (const { sender } of [a, b, a]) await sender.sendMany(datagramsOf([50, 50]), { to });
    const batch = new RecvBatch();
    await a.receiver.recvBatch(batch);
    const ports = [a, a, b, b, a, a].map(({ sender }) => sender.localAddr.port);
    expect(ports.map((_, i) => batch.peerAt(i)?.port)).toEqual(ports);
    expect(batch.messages).toBe(3);
  });

  test("contains only the latest receive, of at most messagesMax messages", async () => {
    using pair = await openEnds(BOTH);
    const to = pair.receiver.localAddr;
    const payloads = datagramsOf([300, 300, 0, 200, 200, 200, 0, 100]);
    await pair.sender.sendMany(payloads, { to });
    const batch = new RecvBatch({ messages: 2 });
    const { bytes } = batch;
    const counts = [];
    let from = 0;
    for (let i = 0; i < 3; i++) {
      counts.push([await pair.receiver.recvBatch(batch), batch.messages]);
      for (let j = 0; j < batch.length; j++) {
        expect(Buffer.compare(batch.payload(j), payloads[from++] as Uint8Array)).toBe(0);
        expect(batch.payload(j).buffer).toBe(bytes.buffer);
      }
    }
    expect(counts).toEqual([
      [3, 2],
      [4, 2],
      [1, 1],
    ]);
    expect([batch.strideAt(0), layout(batch)]).toEqual([
      100,
      [{ offset: 0, length: 100, message: 0 }],
    ]);
    expect(pair.receiver.tryRecvBatch(batch)).toBe(WouldBlock);
    expect([batch.length, batch.messages]).toEqual([0, 0]);
  });

  test("has room for no more messages than it was created for", async () => {
    using pair = await openEnds({ sender: false, receiver: false });
    const payloads = datagramsOf(times(5, 100));
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    const batch = Object.defineProperty(new RecvBatch({ messages: 2 }), "messagesMax", {
      value: 5,
    });
    for (const count of [2, 2, 1]) expect(await pair.receiver.recvBatch(batch)).toBe(count);
    expect<Uint8Array>(batch.payload(0)).toEqual(payloads[4] as Uint8Array);
  });

  test("leaves the end of a merged message to later receives, with the length of the last datagram", async () => {
    using pair = await openEnds(BOTH);
    const payloads = datagramsOf([300, 300, 300, 100]);
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    expect(await pair.receiver.recv(new Uint8Array(300))).toBe(300);
    const buffers = times(3, 0).map(() => new Uint8Array(300).fill(7));
    expect(await pair.receiver.recvMany(buffers)).toBe(3);
    const [, , last] = buffers as [Uint8Array, Uint8Array, Uint8Array];
    expect(Buffer.compare(last.subarray(0, 100), payloads[3] as Uint8Array)).toBe(0);
    expect(last.subarray(100).every((byte) => byte === 7)).toBe(true);
    expect(pair.receiver.counters).toMatchObject({ bytesReceived: 1000, datagramsReceived: 4 });
  });

  test("receives what recvMany left unread, in order and with its metadata", async () => {
    using pair = await openEnds(BOTH);
    pair.receiver.enableMetadata({ destination: true });
    const payloads = datagramsOf([...times(9, 300), 20, 1000]);
    await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
    const received = await receiveSome(pair.receiver, 3);
    const batch = new RecvBatch({ messages: 4 });
    const meta = new RecvMeta();
    const counts = [];
    while (received.length < payloads.length) {
      received.push(...(await receiveBatch(pair.receiver, batch)));
      counts.push([batch.length, batch.messages]);
      for (let i = 0; i < batch.length; i++) {
        expect(batch.metaAt(i, meta)).toBe(meta);
        expect(meta).toMatchObject({ length: batch.lengthAt(i), interfaceIndex: 1 });
        expect(meta.destination?.address).toBe("127.0.0.1");
        expect(meta.peer?.equals(pair.sender.localAddr)).toBe(true);
        expect(batch.strideAt(batch.messageAt(i))).toBeGreaterThanOrEqual(batch.lengthAt(i));
      }
    }
    expectSame(received, payloads);
    expect(counts).toEqual([
      [4, 4],
      [4, 4],
    ]);
    expect(pair.receiver.counters).toMatchObject({
      datagramsReceived: 11,
      bytesReceived: 9 * 300 + 20 + 1000,
      messagesReceived: 2,
    });
  });

  test("can be used with several sockets one after the other", async () => {
    const batch = new RecvBatch();
    for (let i = 0; i < 3; i++) {
      using pair = await openEnds(BOTH);
      const payloads = datagramsOf([70, 70, 70], i);
      await pair.sender.sendMany(payloads, { to: pair.receiver.localAddr });
      expectSame(await receiveBatch(pair.receiver, batch), payloads);
      expect(batch.peerAt(2)?.equals(pair.sender.localAddr)).toBe(true);
    }
  });
});

describe.each([...BACKENDS])("recvBatch, %s backend", (backend) => {
  test("receives datagrams of several lengths, including 0, and their peer", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const payloads = datagramsOf([0, 1, 1200, 0, 9000]);
    for (const payload of payloads) await sender.send(payload);
    const batch = new RecvBatch();
    const received = await receiveAll(receiver, 5, (socket, options) =>
      receiveBatch(socket, batch, options),
    );
    expectSame(received, payloads);
    expect(received.every(({ peer }) => peer?.equals(sender.localAddr))).toBe(true);
    expect(receiver.counters).toMatchObject({ datagramsReceived: 5, messagesReceived: 5 });
    receiver.close();
    sender.close();
  });

  test("waits for a datagram, and is served in call order with other receives", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = new RecvBatch({ messages: 1 });
    const buffer = new Uint8Array(10);
    const first = receiver.recvBatch(batch);
    const second = receiver.recv(buffer);
    expect(await stateOf(first)).toBe("pending");
    expect(receiver.tryRecvBatch(new RecvBatch({ messages: 1 }))).toBe(WouldBlock);
    for (const bytes of numbered(2, 5)) await sender.send(bytes);
    expect([await first, await second]).toEqual([1, 4]);
    expect([batch.payload(0)[3], buffer[3]]).toEqual([5, 6]);
    receiver.close();
    sender.close();
  });

  test("clears the batch before each receive, also if there is no datagram", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = new RecvBatch();
    await sender.send(new Uint8Array(3));
    await receiver.recvBatch(batch);
    expect(batch.length).toBe(1);
    expect(receiver.tryRecvBatch(batch)).toBe(WouldBlock);
    expect([batch.length, batch.messages]).toEqual([0, 0]);
    await sender.send(new Uint8Array(3));
    await receiver.recvBatch(batch);
    const waiting = rejection(receiver.recvBatch(batch));
    expect(batch.length).toBe(0);
    receiver.close();
    expect(await waiting).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    expect(thrown(() => receiver.tryRecvBatch(batch))).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    sender.close();
  });

  test("rejects when the signal aborts, and loses no datagram", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = new RecvBatch();
    const controller = new AbortController();
    const waiting = rejection(receiver.recvBatch(batch, { signal: controller.signal }));
    controller.abort();
    expect(await waiting).toBe(controller.signal.reason);
    await sender.send(new Uint8Array(3));
    expect(await receiver.recvBatch(batch)).toBe(1);
    receiver.close();
    sender.close();
  });

  test("throws TypeError for an argument that is not a RecvBatch", async () => {
    const { receiver, sender } = await connectedPair(backend);
    for (const value of [undefined, null, [], {}, new Uint8Array(9)]) {
      expect(await rejection(receiver.recvBatch(value as never))).toBeInstanceOf(TypeError);
      expect(thrown(() => receiver.tryRecvBatch(value as never))).toBeInstanceOf(TypeError);
    }
    receiver.close();
    sender.close();
  });

  test("throws ECONNREFUSED once, and leaves the batch empty", async () => {
    const socket = await UdpSocket.connect(
      { hostname: "127.0.0.1", port: await closedPort() },
      { backend },
    );
    const batch = new RecvBatch();
    await socket.send(new Uint8Array(1));
    expect(await rejection(socket.recvBatch(batch))).toMatchObject({ code: "ECONNREFUSED" });
    expect(batch.length).toBe(0);
    expect(socket.tryRecvBatch(batch)).toBe(WouldBlock);
    socket.close();
  });
});

test("recvBatch receives from named and unnamed Unix sockets", async () => {
  const [left, right] = await UnixDatagram.pair();
  await using named = await UnixDatagram.bind(SocketAddress.abstract(`recv-batch-${process.pid}`));
  const batch = new RecvBatch();
  await left.send(new Uint8Array(5));
  expect([await right.recvBatch(batch), batch.lengthAt(0), batch.peerAt(0)]).toEqual([
    1,
    5,
    undefined,
  ]);
  await named.sendTo(new Uint8Array(6), named.localAddr);
  await named.recvBatch(batch);
  expect(batch.peerAt(0)?.equals(named.localAddr)).toBe(true);
  left.close();
  right.close();
});

test("RecvBatch accepts 1 to 1024 messages, and throws RangeError for other values", () => {
  expect(new RecvBatch().messagesMax).toBe(32);
  expect(new RecvBatch({}).messagesMax).toBe(32);
  for (const messages of [1, 1024]) {
    const batch = new RecvBatch({ messages });
    expect([batch.messagesMax, batch.bytes.length]).toEqual([messages, messages * SLOT_BYTES]);
    expect([batch.length, batch.messages]).toEqual([0, 0]);
  }
  for (const messages of [0, 1025, 1.5, -1, Number.NaN, "3", null]) {
    const options = { messages } as RecvBatchOptions;
    expect(thrown(() => new RecvBatch(options))).toBeInstanceOf(numberErrorOf(messages));
  }
});

test("receiving into a second RecvBatch does not change the first", async () => {
  const { receiver, sender } = await connectedPair("native");
  const [first, second] = [new RecvBatch(), new RecvBatch()];
  await sender.sendMany(datagramsOf([40, 40]));
  await receiver.recvBatch(first);
  await sender.sendMany(datagramsOf([60, 60], 9));
  await nextTick();
  await until(() => receiver.tryRecvBatch(second) !== WouldBlock);
  expectSame(
    [0, 1].map((i) => ({ bytes: first.payload(i), peer: undefined })),
    datagramsOf([40, 40]),
  );
  expectSame(
    [0, 1].map((i) => ({ bytes: second.payload(i), peer: undefined })),
    datagramsOf([60, 60], 9),
  );
  receiver.close();
  sender.close();
});
