/**
 * Receiving again into the same array of buffers. The receive vector keeps the memory addresses of
 * buffers that have not changed since the previous receive; it must notice buffers that were
 * replaced, resized or transferred, and write only to the memory that the buffers have now.
 */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, RecvBatch, RecvMeta, UdpSocket } from "../../lib/index.ts";
import { datagram, datagramsOf, expectSame, times } from "../tools/offload.ts";
import { BACKENDS, thrown } from "../tools/sockets.ts";

const PAYLOAD_BYTES = 50;

/**
 * Sends three datagrams, numbered from `first` on, to the socket itself, and receives them into
 * `buffers`.
 */
async function receiveThree(
  socket: UdpSocket,
  buffers: unknown[],
  first: number,
  meta?: readonly RecvMeta[],
): Promise<void> {
  const payloads = datagramsOf(times(3, PAYLOAD_BYTES), first);
  await socket.sendMany(payloads, { to: socket.localAddr });
  for (let got = 0; got < 3; ) {
    got += await socket.recvMany(buffers as Uint8Array[], { start: got, meta });
  }
}

/** Receives as `receiveThree` does, and returns the metadata. */
async function receiveThreeWithMeta(
  socket: UdpSocket,
  buffers: Uint8Array[],
  first: number,
): Promise<RecvMeta[]> {
  const meta = times(3, 0).map(() => new RecvMeta());
  await receiveThree(socket, buffers, first, meta);
  return meta;
}

describe.each([true, false])("recvMany into the same array again, offload %p", (offload) => {
  const open = () => UdpSocket.bind({ hostname: "127.0.0.1", offload, backend: "native" });

  test("fills all buffers, including one that was replaced by a new one", async () => {
    await using socket = await open();
    const buffers = [new Uint8Array(60), new Uint8Array(60), new Uint8Array(60)];
    for (let first = 0; first < 12; first += 3) {
      buffers[(first / 3) % 3] = new Uint8Array(60);
      await receiveThree(socket, buffers, first);
      expectSame(
        buffers.map((bytes) => ({
          bytes: bytes.subarray(0, PAYLOAD_BYTES),
          peer: undefined,
        })),
        datagramsOf(times(3, PAYLOAD_BYTES), first),
      );
    }
  });

  test("fills a DgramBuffer that replaced an array of the same memory, and back", async () => {
    await using socket = await open();
    const memory = new Uint8Array(new ArrayBuffer(60));
    const buffers: unknown[] = [new Uint8Array(60), memory, new Uint8Array(60)];
    await receiveThree(socket, buffers, 0);
    const withHeadroom = DgramBuffer.fromVecWithHeadroom(memory, 4);
    withHeadroom.truncate(0);
    buffers[1] = withHeadroom;
    await receiveThree(socket, buffers, 3);
    expect<Uint8Array>(withHeadroom.asSlice()).toEqual(datagram(4, PAYLOAD_BYTES));
    buffers[1] = memory;
    await receiveThree(socket, buffers, 6);
    expect<Uint8Array>(memory.subarray(0, PAYLOAD_BYTES)).toEqual(datagram(7, PAYLOAD_BYTES));
  });

  test("counts a datagram as truncated if the memory of its buffer was transferred", async () => {
    await using socket = await open();
    const detached = new Uint8Array(new ArrayBuffer(60));
    const buffers = [new Uint8Array(60), detached, new Uint8Array(60)];
    await receiveThree(socket, buffers, 0);
    detached.buffer.transfer();
    await receiveThree(socket, buffers, 3);
    expect(detached.length).toBe(0);
    expect(socket.counters.datagramsTruncated).toBe(1);
    expect<Uint8Array | undefined>(buffers[2]?.subarray(0, PAYLOAD_BYTES)).toEqual(
      datagram(5, PAYLOAD_BYTES),
    );
  });

  test("does not write to transferred memory, which has another owner", async () => {
    await using socket = await open();
    const detached = new Uint8Array(new ArrayBuffer(PAYLOAD_BYTES));
    const buffers = [new Uint8Array(PAYLOAD_BYTES), detached, new Uint8Array(PAYLOAD_BYTES)];
    await receiveThreeWithMeta(socket, buffers, 0);
    const newOwner = new Uint8Array(detached.buffer.transfer()).fill(7);
    const meta = await receiveThreeWithMeta(socket, buffers, 3);
    expect(meta.map(({ length }) => length)).toEqual([PAYLOAD_BYTES, 0, PAYLOAD_BYTES]);
    expect([...newOwner]).toEqual(times(PAYLOAD_BYTES, 7));
  });

  test("throws TypeError for an element that is not a buffer, and loses no datagram", async () => {
    await using socket = await open();
    const buffer = new Uint8Array(60);
    const to = socket.localAddr;
    await socket.sendMany(datagramsOf(times(2, PAYLOAD_BYTES)), { to });
    const invalid = [undefined, buffer] as unknown as Uint8Array[];
    expect(thrown(() => socket.tryRecvMany(invalid))).toBeInstanceOf(TypeError);
    expect(await socket.recv(buffer)).toBe(PAYLOAD_BYTES);
    expect<Uint8Array>(buffer.subarray(0, PAYLOAD_BYTES)).toEqual(datagram(0, PAYLOAD_BYTES));
    expect(await socket.recv(buffer)).toBe(PAYLOAD_BYTES);
    expect<Uint8Array>(buffer.subarray(0, PAYLOAD_BYTES)).toEqual(datagram(1, PAYLOAD_BYTES));
  });

  test("does not change a DgramBuffer of an earlier receive", async () => {
    await using socket = await open();
    const earlier = times(3, 0).map(() => DgramBuffer.withCapacity(60));
    await receiveThree(socket, earlier, 0);
    for (const buffer of earlier) buffer.clear();
    // Further buffers in other slots: with GRO, arrays alone are not updated.
    const other = DgramBuffer.withCapacity(60);
    await receiveThree(socket, [new Uint8Array(60), other, new Uint8Array(60)], 3);
    expect(earlier.map(({ length }) => length)).toEqual([0, 0, 0]);
    expect(other.length).toBe(PAYLOAD_BYTES);
  });

  test("does not change the metadata objects of an earlier receive", async () => {
    await using socket = await open();
    const buffers = times(3, 0).map(() => new Uint8Array(60));
    const earlier = await receiveThreeWithMeta(socket, buffers, 0);
    const mark = () => {
      for (const meta of earlier) meta.length = -1;
    };
    mark();
    await receiveThree(socket, buffers, 3);
    expect(earlier.map(({ length }) => length)).toEqual([-1, -1, -1]);
    mark();
    // Fewer than there are buffers.
    const { localAddr: to } = socket;
    await socket.sendMany(datagramsOf(times(3, PAYLOAD_BYTES), 6), { to });
    expect(await socket.recvMany(buffers, { meta: earlier.slice(0, 1) })).toBe(3);
    expect(earlier.map(({ length }) => length)).toEqual([PAYLOAD_BYTES, -1, -1]);
  });

  test("throws RangeError for a DgramBuffer in two slots, and loses no datagram", async () => {
    await using socket = await open();
    const { localAddr: to } = socket;
    await socket.sendMany(datagramsOf(times(2, PAYLOAD_BYTES)), { to });
    const buffer = DgramBuffer.withCapacity(60);
    for (const twice of [
      [buffer, buffer],
      [buffer, new Uint8Array(60), buffer],
    ]) {
      const error = thrown(() => socket.tryRecvMany(twice));
      expect(error).toBeInstanceOf(RangeError);
      expect(String(error)).toContain("each DgramBuffer once");
    }
    expect(buffer.length).toBe(0);
    expect(await socket.recvMany([buffer, new Uint8Array(60)])).toBe(2);
    expect<Uint8Array>(buffer.asSlice()).toEqual(datagram(0, PAYLOAD_BYTES));
  });

  test("truncates to a buffer whose memory shrank, and uses memory that grew", async () => {
    await using socket = await open();
    const memory = new ArrayBuffer(PAYLOAD_BYTES, { maxByteLength: 2 * PAYLOAD_BYTES });
    const tracking = new Uint8Array(memory);
    const buffers = [new Uint8Array(PAYLOAD_BYTES), tracking, new Uint8Array(PAYLOAD_BYTES)];
    await receiveThreeWithMeta(socket, buffers, 0);
    memory.resize(20);
    const meta = await receiveThreeWithMeta(socket, buffers, 3);
    expect(meta.map(({ length }) => length)).toEqual([PAYLOAD_BYTES, 20, PAYLOAD_BYTES]);
    expect(meta[1]?.truncated).toBe(true);
    memory.resize(2 * PAYLOAD_BYTES);
    // Zero, so nothing was written after the end of the shrunk memory.
    expect(tracking.subarray(20).every((byte) => byte === 0)).toBe(true);
    expect((await receiveThreeWithMeta(socket, buffers, 6))[1]?.length).toBe(PAYLOAD_BYTES);
    const start = tracking.subarray(0, PAYLOAD_BYTES);
    expect(Buffer.compare(start, datagram(7, PAYLOAD_BYTES))).toBe(0);
  });

  test("writes only within a subarray that replaced its own buffer", async () => {
    await using socket = await open();
    const whole = new Uint8Array(new ArrayBuffer(100));
    const buffers = [new Uint8Array(PAYLOAD_BYTES), whole, new Uint8Array(PAYLOAD_BYTES)];
    await receiveThreeWithMeta(socket, buffers, 0);
    whole.fill(7);
    buffers[1] = whole.subarray(30, 60);
    const meta = await receiveThreeWithMeta(socket, buffers, 3);
    expect(meta[1]).toMatchObject({ length: 30, datagramLength: PAYLOAD_BYTES });
    const expected = datagram(4, PAYLOAD_BYTES).subarray(0, 30);
    expect(Buffer.compare(whole.subarray(30, 60), expected)).toBe(0);
    const around = [...whole.subarray(0, 30), ...whole.subarray(60)];
    expect(around).toEqual(times(70, 7));
  });

  test("fills buffers that were reordered, are repeated, or start elsewhere", async () => {
    await using socket = await open();
    const [a, b, c] = times(3, 0).map(() => new Uint8Array(PAYLOAD_BYTES)) as [
      Uint8Array,
      ...Uint8Array[],
    ];
    const buffers = [a, b, c] as Uint8Array[];
    await receiveThreeWithMeta(socket, buffers, 0);
    buffers.reverse();
    await receiveThreeWithMeta(socket, buffers, 3);
    for (const [i, buffer] of buffers.entries()) {
      expect(Buffer.compare(buffer, datagram(3 + i, PAYLOAD_BYTES))).toBe(0);
    }
    await receiveThreeWithMeta(socket, [a, a, a], 6);
    expect(Buffer.compare(a, datagram(8, PAYLOAD_BYTES))).toBe(0);
    await socket.sendTo(datagram(9, PAYLOAD_BYTES), socket.localAddr);
    expect(await socket.recvMany(buffers, { start: 2 })).toBe(1);
    expect(Buffer.compare(buffers[2] as Uint8Array, datagram(9, PAYLOAD_BYTES))).toBe(0);
    expect(Buffer.compare(buffers[1] as Uint8Array, datagram(4, PAYLOAD_BYTES))).toBe(0);
  });
});

describe.each(BACKENDS)("recvBatch, %s backend", (backend) => {
  test("throws RangeError if the batch was transferred, and loses no datagram", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const batch = new RecvBatch({ messages: 2 });
    const to = socket.localAddr;
    await socket.sendMany([datagram(1, PAYLOAD_BYTES)], { to });
    expect(await socket.recvBatch(batch)).toBe(1);
    const moved = batch.bytes.buffer.transfer();
    const before = new Uint8Array(moved).slice(0, PAYLOAD_BYTES);
    await socket.sendMany([datagram(2, PAYLOAD_BYTES)], { to });
    await expect(socket.recvBatch(batch)).rejects.toThrow(RangeError);
    expect(new Uint8Array(moved).slice(0, PAYLOAD_BYTES)).toEqual(before);
    const another = new RecvBatch({ messages: 2 });
    expect(await socket.recvBatch(another)).toBe(1);
    expect<Uint8Array>(another.payload(0)).toEqual(datagram(2, PAYLOAD_BYTES));
  });
});
