/** `SendBatch`: payloads, prefixes, capacity, destinations, and errors. */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  type DatagramSocket,
  DgramBuffer,
  SendBatch,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import { numberErrorOf } from "../tools/errors.ts";
import { expectSame, openEnds, receiveAll } from "../tools/offload.ts";
import {
  BACKENDS,
  closedPort,
  connectedPair,
  numbered,
  numberOf,
  receiveNumbers,
  rejection,
  sequence,
  thrown,
} from "../tools/sockets.ts";

const EMPTY = new Uint8Array(0);

/** Returns `count` bytes: `first`, `first + 1` ... */
function bytes(count: number, first = 0): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => first + i);
}

/** Sends `batch`, and returns the datagrams that arrive. */
async function transfer(batch: SendBatch, count = batch.length): Promise<Uint8Array[]> {
  using ends = await openEnds({ sender: true, receiver: true });
  const { address, port } = ends.receiver.localAddr;
  using sender = await UdpSocket.connect({ hostname: address, port });
  expect(await sender.sendBatch(batch)).toBe(count);
  const received = await receiveAll(ends.receiver, count);
  return received.map(({ bytes }) => bytes);
}

describe("SendBatch.push", () => {
  test("accepts subarrays, Buffers and DgramBuffers; pushSlice accepts slices", async () => {
    const memory = bytes(100);
    const buffer = DgramBuffer.withCapacityAndHeadroom(64, 16);
    buffer.putSlice(bytes(8, 50));
    buffer.advance(2);
    const batch = new SendBatch()
      .push(memory.subarray(40, 47))
      .push(Buffer.from("text"))
      .push(buffer)
      .push(new DgramBuffer())
      .push(EMPTY)
      .pushSlice(memory, 90, 10)
      .pushSlice(memory.subarray(10), 5, 2)
      .pushSlice(memory, 100, 0);
    expectSame(
      (await transfer(batch)).map((bytes) => ({ bytes, peer: undefined })),
      [
        bytes(7, 40),
        new TextEncoder().encode("text"),
        bytes(6, 52),
        EMPTY,
        EMPTY,
        bytes(10, 90),
        bytes(2, 15),
        EMPTY,
      ],
    );
    expect([buffer.length, buffer.headroom]).toEqual([6, 18]);
  });

  test("does not copy the payload: changes before the send are sent", async () => {
    const payload = bytes(4);
    const batch = new SendBatch().push(payload);
    payload.fill(9);
    expect(await transfer(batch)).toEqual([new Uint8Array(4).fill(9)]);
  });

  test("throws for invalid arguments and leaves the batch unchanged", () => {
    const batch = new SendBatch().push(bytes(1));
    const memory = bytes(10);
    const cases: [call: () => unknown, type: typeof TypeError, argument: string][] = [
      [() => batch.push(5 as never), TypeError, "payload"],
      [() => batch.push([3] as never), TypeError, "payload"],
      [() => batch.push(memory, "127.0.0.1:9" as never), TypeError, "to"],
      [() => batch.pushSlice(new DgramBuffer() as never, 0, 0), TypeError, "bytes"],
      [() => batch.pushSlice(memory, -1, 1), RangeError, "offset"],
      [() => batch.pushSlice(memory, 11, 0), RangeError, "offset"],
      [() => batch.pushSlice(memory, 1.5, 1), RangeError, "offset"],
      [() => batch.pushSlice(memory, 0, 11), RangeError, "length"],
      [() => batch.pushSlice(memory, 10, 1), RangeError, "length"],
      [() => batch.pushSlice(memory, 3, -1), RangeError, "length"],
      [() => batch.pushSlice(memory, 0, Number.NaN), RangeError, "length"],
      [() => batch.prefix("text" as never), TypeError, "bytes"],
      [() => batch.prefixVarint(-1), RangeError, "value"],
      [() => batch.prefixVarint(2n ** 62n), RangeError, "value"],
      [() => batch.drop(2), RangeError, "count"],
      [() => batch.drop(-1), RangeError, "count"],
    ];
    for (const [call, type, argument] of cases) {
      const error = thrown(call);
      expect(error).toBeInstanceOf(type);
      expect((error as Error).message).toStartWith(`"${argument}" expected`);
      expect(batch.length).toBe(1);
    }
  });

  test("accepts a slice that starts beyond 2 GiB of an array", async () => {
    // Uses memory only for the page that is written.
    const bytes = new Uint8Array(3 * 2 ** 30);
    const offset = 2 ** 31 + 10;
    bytes.set([1, 2, 3], offset);
    const [left, right] = DatagramPair.create();
    const [sender, receiver] = await UnixDatagram.pair();
    for (const [from, to] of [
      [left, right],
      [sender, receiver],
    ] as [DatagramSocket, DatagramSocket][]) {
      from.trySendBatch(new SendBatch().pushSlice(bytes, offset, 3));
      const buf = new Uint8Array(3);
      expect(to.tryRecv(buf)).toBe(3);
      expect([...buf]).toEqual([1, 2, 3]);
    }
    sender.close();
    receiver.close();
  });

  test("makes the send fail with RangeError if the payload's memory was transferred", async () => {
    const { receiver, sender } = await connectedPair("native");
    const memory = new Uint8Array(new ArrayBuffer(100));
    const batch = new SendBatch().push(bytes(1)).push(memory);
    structuredClone(memory.buffer, { transfer: [memory.buffer] });
    expect(await rejection(sender.sendBatch(batch))).toBeInstanceOf(RangeError);
    expect(batch.length).toBe(2);
    expect(receiver.tryRecv(bytes(9))).toBe(WouldBlock);
    sender.close();
    receiver.close();
  });
});

describe("SendBatch.prefix", () => {
  test("adds 0 to prefixBytesMax bytes before the next payload only", async () => {
    const batch = new SendBatch({ prefixBytes: 5 });
    const prefix = bytes(5, 100);
    for (let length = 0; length <= 5; length++) {
      batch.prefix(prefix.subarray(5 - length)).push(bytes(3));
    }
    batch.push(bytes(2)).prefix(prefix).push(EMPTY);
    expect(await transfer(batch)).toEqual([
      ...sequence(6).map((length) => Uint8Array.of(...prefix.subarray(5 - length), 0, 1, 2)),
      bytes(2),
      prefix,
    ]);
  });

  test("throws RangeError for a prefix that is too long, and keeps the previous one", async () => {
    const batch = new SendBatch({ prefixBytes: 5 }).prefix(bytes(5, 9));
    const error = thrown(() => batch.prefix(bytes(6)));
    expect(error).toBeInstanceOf(RangeError);
    expect((error as Error).message).toBe('"prefix length" expected integer 0..5, got 6');
    expect(thrown(() => batch.prefixVarint(2 ** 40))).toBeInstanceOf(RangeError);
    expect(await transfer(batch.push(bytes(1)))).toEqual([Uint8Array.of(...bytes(5, 9), 0)]);
    const none = new SendBatch({ prefixBytes: 0 });
    expect(thrown(() => none.prefix(bytes(1)))).toBeInstanceOf(RangeError);
    expect(await transfer(none.prefix(EMPTY).push(bytes(1)))).toEqual([bytes(1)]);
    const long = new SendBatch({ prefixBytes: 1024, datagrams: 2 });
    const longest = new Uint8Array(1024).fill(7);
    long.prefix(longest).push(bytes(1)).prefix(longest).push(EMPTY);
    expect(await transfer(long)).toEqual([Uint8Array.of(...longest, 0), longest]);
  });

  test("copies the bytes, and replaces a previous prefix", async () => {
    const prefix = bytes(4, 1);
    const batch = new SendBatch().prefix(bytes(9)).prefix(prefix);
    prefix.fill(0);
    batch.push(bytes(2)).prefix(bytes(9)).prefix(EMPTY).push(bytes(1));
    expect(await transfer(batch)).toEqual([Uint8Array.of(1, 2, 3, 4, 0, 1), bytes(1)]);
  });

  test("accepts QUIC varints of any length (prefixVarint)", async () => {
    const cases: [value: number | bigint, encoded: number[]][] = [
      [0, [0]],
      [63, [0x3f]],
      [64, [0x40, 0x40]],
      [16_384, [0x80, 0, 0x40, 0]],
      [2 ** 30, [0xc0, 0, 0, 0, 0x40, 0, 0, 0]],
      [2n ** 62n - 1n, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ];
    const batch = new SendBatch({ prefixBytes: 8 });
    for (const [value] of cases) batch.prefixVarint(value).push(bytes(1, 77));
    expect(await transfer(batch)).toEqual(
      cases.map(([, encoded]) => Uint8Array.of(...encoded, 77)),
    );
  });

  test.each(BACKENDS)(
    "applies to the next push, also after a send of earlier datagrams, %s backend",
    async (backend) => {
      const { receiver, sender } = await connectedPair(backend);
      const batch = new SendBatch().prefix(bytes(3)).push(bytes(1));
      batch.push(bytes(1)).prefix(bytes(4, 60));
      await sender.sendBatch(batch);
      batch.push(bytes(1, 5));
      await sender.sendBatch(batch);
      const buf = new Uint8Array(99);
      const lengths: number[] = [];
      for (let i = 0; i < 3; i++) lengths.push(await receiver.recv(buf));
      expect(lengths).toEqual([4, 1, 5]);
      expect(buf.subarray(0, 5)).toEqual(Uint8Array.of(60, 61, 62, 63, 5));
      sender.close();
      receiver.close();
    },
  );

  test("is undone by clear, as is the metadata", async () => {
    const batch = new SendBatch().meta({ transmitTimeNs: 1n }).prefix(bytes(4)).push(bytes(1));
    batch.prefix(bytes(2));
    batch.clear();
    expect([batch.length, batch.isFull]).toEqual([0, false]);
    // Metadata with a transmit time would be refused: the socket has no transmit clock.
    expect(await transfer(batch.push(bytes(1)))).toEqual([bytes(1)]);
  });
});

describe("SendBatch capacity", () => {
  test.each([1, 2, 64, 1024])("of %p: one more datagram is a RangeError", async (count) => {
    const batch = new SendBatch({ datagrams: count });
    const payloads = numbered(count);
    for (const payload of payloads) {
      expect(batch.isFull).toBe(false);
      batch.push(payload);
    }
    expect([batch.isFull, batch.length, batch.capacity]).toEqual([true, count, count]);
    for (const call of [
      () => batch.push(bytes(1)),
      () => batch.pushSlice(bytes(1), 0, 1),
      () => batch.prefix(EMPTY),
      () => batch.prefixVarint(1),
    ]) {
      const error = thrown(call);
      expect(error).toBeInstanceOf(RangeError);
      expect((error as Error).message).toContain(`room for one more of ${count}`);
    }
    expect((await transfer(batch)).map(numberOf)).toEqual(sequence(count));
    expect([batch.isFull, batch.length]).toEqual([false, 0]);
  });

  test("must be 1..1024 datagrams, and 0..1024 bytes of prefix", () => {
    for (const datagrams of [0, 1025, 1.5, "64", null]) {
      const error = thrown(() => new SendBatch({ datagrams: datagrams as number }));
      expect(error).toBeInstanceOf(numberErrorOf(datagrams));
    }
    for (const prefixBytes of [-1, 1025, Number.NaN]) {
      expect(thrown(() => new SendBatch({ prefixBytes }))).toBeInstanceOf(RangeError);
    }
    const batch = new SendBatch();
    expect([batch.capacity, batch.prefixBytesMax]).toEqual([64, 16]);
  });

  test("is available again after each of 5000 sends", async () => {
    const { receiver, sender } = await connectedPair("native");
    const batch = new SendBatch({ datagrams: 3 });
    const payload = new Uint8Array(4);
    const view = new DataView(payload.buffer);
    const buf = new Uint8Array(9);
    for (let i = 0; i < 5000; i++) {
      view.setUint32(0, i);
      for (let k = 0; k <= i % 3; k++) batch.prefixVarint(k).push(payload);
      expect(sender.trySendBatch(batch)).toBe((i % 3) + 1);
      for (let k = 0; k <= i % 3; k++) {
        expect(await receiver.recv(buf)).toBe(5);
        if (buf[0] !== k || numberOf(buf.subarray(1)) !== i) expect([buf[0], i]).toEqual([k, i]);
      }
    }
    sender.close();
    receiver.close();
  });
});

describe.each(BACKENDS)("sendBatch, %s backend", (backend) => {
  test("sends each datagram to its own destination, in order, and empties the batch", async () => {
    const receivers = await Promise.all(
      sequence(3).map(() => UdpSocket.bind({ hostname: "127.0.0.1", backend })),
    );
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const batch = new SendBatch();
    for (const [i, payload] of numbered(30).entries()) {
      batch.push(payload, receivers[i % 3]?.localAddr);
    }
    expect(await sender.sendBatch(batch)).toBe(30);
    expect(batch.length).toBe(0);
    for (const [i, receiver] of receivers.entries()) {
      expect(await receiveNumbers(receiver, 10)).toEqual(sequence(10).map((k) => 3 * k + i));
      receiver.close();
    }
    expect(sender.counters).toMatchObject({ datagramsSent: 30, bytesSent: 120 });
  });

  test("returns 0 for an empty batch, and fails after close", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = new SendBatch();
    expect(await sender.sendBatch(batch)).toBe(0);
    expect(sender.trySendBatch(batch)).toBe(0);
    for (const value of [undefined, [], { length: 1 }]) {
      expect(thrown(() => sender.trySendBatch(value as never))).toBeInstanceOf(TypeError);
      expect(await rejection(sender.sendBatch(value as never))).toBeInstanceOf(TypeError);
    }
    sender.close();
    receiver.close();
    for (const unsent of [batch, batch.push(bytes(1))]) {
      const error = await rejection(sender.sendBatch(unsent));
      expect(error).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    }
    expect(batch.length).toBe(1);
  });

  test("rejects another destination of a connected socket with EISCONN", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const other = SocketAddress.ip("127.0.0.1", await closedPort());
    const batch = new SendBatch().push(bytes(1)).push(bytes(2), receiver.localAddr);
    batch.push(bytes(3), other);
    for (const call of [() => sender.sendBatch(batch), async () => sender.trySendBatch(batch)]) {
      const error = await rejection(call());
      expect(error).toMatchObject({ code: "EISCONN", port: other.port });
      expect(batch.length).toBe(3);
    }
    expect(receiver.tryRecv(bytes(9))).toBe(WouldBlock);
    batch.clear();
    await sender.sendBatch(batch.push(bytes(4), receiver.localAddr));
    expect(await receiver.recv(bytes(9))).toBe(4);
    sender.close();
    receiver.close();
  });

  test("keeps a datagram that fails, which the next send tries again", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = new SendBatch().push(bytes(1)).push(new Uint8Array(70_000)).push(bytes(3));
    for (const sent of [1, 0]) {
      const error = await rejection(sender.sendBatch(batch));
      expect(error).toMatchObject({ code: "EMSGSIZE", sent });
      expect(batch.length).toBe(2);
    }
    // Without the datagram that is too long, the following one can be sent.
    batch.drop(1);
    expect(await sender.sendBatch(batch)).toBe(1);
    const buf = bytes(9);
    expect([await receiver.recv(buf), await receiver.recv(buf)]).toEqual([1, 3]);
    expect(receiver.tryRecv(buf)).toBe(WouldBlock);
    sender.close();
    receiver.close();
  });

  test("fails with EDESTADDRREQ without a destination or a peer", async () => {
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const batch = new SendBatch().push(bytes(1));
    expect(await rejection(sender.sendBatch(batch))).toMatchObject({ code: "EDESTADDRREQ" });
    expect(batch.length).toBe(1);
  });
});
