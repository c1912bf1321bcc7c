/** UDP send and receive: order, lengths, contents, sources, and the kinds of buffers. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Backend, DgramBuffer, RecvMeta, UdpSocket, WouldBlock } from "../../lib/index.ts";
import {
  BACKENDS,
  connectedPair,
  nextTick,
  numbered,
  numberOf,
  receiveNumbers,
  rejection,
  sequence,
  targets,
  thrown,
  until,
} from "../tools/sockets.ts";

/** The maximum number of queued datagrams. Linux's default buffer has room for 277 short ones. */
const IN_FLIGHT_MAX = 150;

/** Opens a socket with a receive buffer for thousands of datagrams, if net.core.rmem_max allows. */
function openWithLargeBuffer(backend: Backend): Promise<UdpSocket> {
  const sizes = backend === "native" ? { receiveBufferBytes: 4 * 2 ** 20 } : {};
  return UdpSocket.bind({ hostname: "127.0.0.1", backend, ...sizes });
}

/** The sizes of consecutive batches. */
interface Sizes {
  readonly send: readonly number[];
  readonly receive: readonly number[];
}

/** Transfers `total` datagrams in batches of the given sizes, and checks each datagram. */
async function transfer(backend: Backend, total: number, sizes: Sizes): Promise<void> {
  const { receiver, sender } = await connectedPair(backend);
  const bufs = targets(1024, 64);
  const meta = Array.from({ length: 1024 }, () => new RecvMeta());
  let sent = 0;
  let received = 0;
  for (let i = 0; received < total; i++) {
    const size = sizes.send[i % sizes.send.length] as number;
    const payloads = numbered(Math.min(size, total - sent), sent).map((bytes, k) =>
      // The lengths vary from 4 to 43 bytes, so that a mix-up of two datagrams is detected.
      Uint8Array.of(...bytes, ...new Uint8Array((sent + k) % 40).fill(sent + k)),
    );
    sent += await sender.sendMany(payloads);
    while (received < sent) {
      const count = sizes.receive[(i + received) % sizes.receive.length] as number;
      const got = await receiver.recvMany(bufs, { count, meta });
      expect(got).toBeLessThanOrEqual(count);
      for (let k = 0; k < got; k++, received++) {
        const { length, peer, truncated } = meta[k] as RecvMeta;
        const bytes = (bufs[k] as Uint8Array).subarray(0, length);
        if (numberOf(bytes) !== received) expect(numberOf(bytes)).toBe(received);
        const isIntact = length === 4 + (received % 40) && !truncated;
        const isFilled = bytes.subarray(4).every((byte) => byte === (received & 0xff));
        expect(isIntact && isFilled && peer?.port === sender.localAddr.port).toBe(true);
      }
    }
  }
  expect(receiver.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
  sender.close();
  receiver.close();
}

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test("batches of random sizes keep order, length, content and source of datagrams", async () => {
    const size = fc.integer({ min: 1, max: IN_FLIGHT_MAX });
    const sizes = fc.array(size, { minLength: 1, maxLength: 20 });
    const check = fc.asyncProperty(sizes, sizes, (send, receive) =>
      transfer(backend, 2000, { send, receive }),
    );
    await fc.assert(check, { numRuns: 8 });
  });

  test("empty datagrams are sent and received, alone and in batches", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const empty = new Uint8Array(0);
    expect(await sender.send(empty)).toBe(0);
    const alone = await receiver.recvFrom(new Uint8Array(10));
    expect([alone.length, alone.datagramLength, alone.truncated]).toEqual([0, 0, false]);
    expect(alone.peer?.port).toBe(sender.localAddr.port);
    expect(sender.trySend(new DgramBuffer())).toBe(0);
    expect(await receiver.recv(empty)).toBe(0);
    expect(await sender.sendMany([empty, new Uint8Array(1), empty])).toBe(3);
    const meta = [new RecvMeta(), new RecvMeta(), new RecvMeta()];
    let got = 0;
    while (got < 3) got += await receiver.recvMany(targets(3), { start: got, meta });
    expect(meta.map(({ length }) => length)).toEqual([0, 1, 0]);
    expect(receiver.tryRecv(empty)).toBe(WouldBlock);
    sender.close();
    receiver.close();
  });

  test("65507 bytes are sent; 65508 fail with EMSGSIZE and leave the socket usable", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const longest = new Uint8Array(65_507).fill(0xab);
    expect(await sender.send(longest)).toBe(65_507);
    const buf = new Uint8Array(65_536);
    expect(await receiver.recv(buf)).toBe(65_507);
    expect(Buffer.compare(buf.subarray(0, 65_507), longest)).toBe(0);
    expect(await rejection(sender.send(new Uint8Array(65_508)))).toMatchObject({
      code: "EMSGSIZE",
    });
    expect(await sender.send(new Uint8Array(1))).toBe(1);
    expect(await receiver.recv(buf)).toBe(1);
    sender.close();
    receiver.close();
  });

  test("a truncated datagram is reported with its full length", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const memory = new Uint8Array(100).fill(0xee);
    for (const bytes of [0, 1, 9, 10]) {
      await sender.send(new Uint8Array(10).fill(1));
      const view = memory.subarray(40, 40 + bytes);
      const { length, datagramLength, truncated } = await receiver.recvFrom(view);
      expect([length, datagramLength, truncated]).toEqual([bytes, 10, bytes < 10]);
      expect(memory.subarray(40, 40 + bytes).every((byte) => byte === 1)).toBe(true);
      // The memory around the view is unchanged.
      expect(memory.subarray(0, 40).every((byte) => byte === 0xee)).toBe(true);
      expect(memory.subarray(40 + bytes).every((byte) => byte === 0xee)).toBe(true);
    }
    expect(receiver.counters.datagramsTruncated).toBe(3);
    sender.close();
    receiver.close();
  });

  test("a DgramBuffer receives after its headroom, up to its spare capacity", async () => {
    const { receiver, sender } = await connectedPair(backend);
    for (const [capacity, fits] of [
      [8, 0],
      [17, 9],
      [18, 10],
      [40, 10],
    ] as const) {
      const buf = DgramBuffer.withCapacityAndHeadroom(capacity, 8);
      await sender.send(new Uint8Array(10).fill(7));
      const { length, datagramLength } = await receiver.recvFrom(buf);
      expect([length, datagramLength]).toEqual([fits, 10]);
      expect([buf.headroom, buf.length, buf.capacity]).toEqual([8, fits, capacity]);
      expect(buf.asSlice().every((byte) => byte === 7)).toBe(true);
    }
    // On memory with a byte offset, sent with a prefix in its headroom.
    const memory = new Uint8Array(64).fill(0xee);
    const buf = DgramBuffer.fromVecWithHeadroom(memory.subarray(16, 20), 4);
    buf.putBytes(1, 3);
    expect(buf.tryAddPrefix(new Uint8Array([9, 9]))).toBe(true);
    expect(await sender.send(buf)).toBe(5);
    const copy = new Uint8Array(10);
    expect(await receiver.recv(copy)).toBe(5);
    expect([...copy.subarray(0, 5)]).toEqual([9, 9, 1, 1, 1]);
    expect(buf.length).toBe(5);
    sender.close();
    receiver.close();
  });

  test("a DgramBuffer with payload is refused, and no datagram is lost", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const full = DgramBuffer.fromSlice(new Uint8Array(4));
    await sender.sendMany(numbered(2));
    expect(await rejection(receiver.recv(full))).toBeInstanceOf(RangeError);
    expect(await rejection(receiver.recvMany([new DgramBuffer(), full]))).toBeInstanceOf(
      RangeError,
    );
    expect(thrown(() => receiver.tryRecv(full))).toBeInstanceOf(RangeError);
    expect(thrown(() => receiver.tryRecvMany([full]))).toBeInstanceOf(RangeError);
    expect(full.length).toBe(4);
    expect(await receiveNumbers(receiver, 2)).toEqual([0, 1]);
    sender.close();
    receiver.close();
  });

  test("a target whose memory was transferred is truncated to 0 bytes, or refused", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const to = socket.localAddr;
    const detached = new Uint8Array(new ArrayBuffer(9));
    const withHeadroom = DgramBuffer.fromVecWithHeadroom(new Uint8Array(detached.buffer), 9);
    detached.buffer.transfer();
    await socket.sendMany(numbered(4), { to });
    const [first, last] = targets(2) as [Uint8Array, Uint8Array];
    await socket.recvMany([first], { count: 1 });
    const meta = new RecvMeta();
    await socket.recvMany([detached], { meta: [meta] });
    expect(meta).toMatchObject({ length: 0, datagramLength: 4 });
    expect(await rejection(socket.recv(withHeadroom))).toBeInstanceOf(RangeError);
    const bufs = [detached, last];
    for (let got = 0; got < 2; ) got += await socket.recvMany(bufs, { start: got });
    expect([first, last].map(numberOf)).toEqual([0, 3]);
    expect(socket.counters).toMatchObject({
      datagramsReceived: 4,
      bytesReceived: 8,
      datagramsTruncated: 2,
    });
  });

  test("only the bytes of a subarray are sent, not those of its buffer", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const memory = Uint8Array.from({ length: 64 }, (_, i) => i);
    expect(await sender.sendMany([memory.subarray(60), memory.subarray(5, 8)])).toBe(2);
    const buf = new Uint8Array(64);
    expect(await receiver.recv(buf)).toBe(4);
    expect([...buf.subarray(0, 4)]).toEqual([60, 61, 62, 63]);
    expect(await receiver.recv(buf)).toBe(3);
    expect([...buf.subarray(0, 3)]).toEqual([5, 6, 7]);
    sender.close();
    receiver.close();
  });

  test("sendMany sends batches of 0 to 5000 datagrams completely", async () => {
    await using sink = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const { sender } = await connectedPair(backend);
    await using unconnected = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const one = new Uint8Array(1);
    for (const count of [0, 1, 1023, 1024, 1025, 5000]) {
      const bufs = new Array<Uint8Array>(count).fill(one);
      expect(await unconnected.sendMany(bufs, { to: sink.localAddr })).toBe(count);
    }
    const total = 1 + 1023 + 1024 + 1025 + 5000;
    expect(unconnected.counters.datagramsSent).toBe(total);
    expect(unconnected.counters.bytesSent).toBe(total);
    expect(unconnected.trySendMany([], { to: sink.localAddr })).toBe(0);
    sender.close();
  });

  test.each([1, 1023, 1024, 1025])(
    "recvMany receives a queue of length %i in order",
    async (count) => {
      await using receiver = await openWithLargeBuffer(backend);
      if (backend === "native" && receiver.bufferBytes.receive < count * 1024) {
        console.warn(`skipped: net.core.rmem_max leaves no room for ${count} datagrams`);
        return;
      }
      await using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
      const payloads = numbered(count);
      for (let sent = 0; sent < count; ) {
        const size = Math.min(IN_FLIGHT_MAX, count - sent);
        sent += await sender.sendMany(payloads, {
          to: receiver.localAddr,
          start: sent,
          count: size,
        });
        // Waits until Bun has received the datagrams in its event loop.
        if (backend === "portable") await until(() => receiver.counters.receiveCalls === sent);
      }
      const bufs = targets(count);
      const first = await receiver.recvMany(bufs);
      expect(first).toBe(Math.min(count, backend === "native" ? 1024 : count));
      let got = first;
      while (got < count) got += await receiver.recvMany(bufs, { start: got });
      expect(bufs.map(numberOf)).toEqual(sequence(count));
    },
  );

  test("calls with an empty array return 0 without waiting", async () => {
    const { receiver, sender } = await connectedPair(backend);
    expect(await receiver.recvMany([])).toBe(0);
    expect(receiver.tryRecvMany([])).toBe(0);
    expect(await sender.sendMany([])).toBe(0);
    expect(sender.trySendMany([])).toBe(0);
    await sender.sendMany(numbered(3));
    await nextTick();
    expect(await receiver.recvMany(targets(2), { count: 0 })).toBe(0);
    expect(await receiveNumbers(receiver, 3)).toEqual([0, 1, 2]);
    sender.close();
    receiver.close();
  });

  test("recvMany reports the source of each datagram of several senders", async () => {
    await using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const senders = await Promise.all(
      sequence(5).map(() => UdpSocket.bind({ hostname: "127.0.0.1", backend })),
    );
    for (let round = 0; round < 20; round++) {
      for (const sender of senders) await sender.sendTo(new Uint8Array(4), receiver.localAddr);
    }
    const meta = Array.from({ length: 100 }, () => new RecvMeta());
    let got = 0;
    while (got < 100) got += await receiver.recvMany(targets(100), { start: got, meta });
    for (const [i, { peer }] of meta.entries()) {
      expect(peer?.equals((senders[i % 5] as UdpSocket).localAddr)).toBe(true);
    }
    for (const sender of senders) sender.close();
  });
});
