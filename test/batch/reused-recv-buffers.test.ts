/**
 * The same array of buffers handed in again, of which one shrank, grew or was exchanged for a part
 * of itself: nothing is written beyond what the buffers are now.
 */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, RecvBatch, RecvMeta, UdpSocket } from "../../lib/index.ts";
import { datagram, datagramsOf, expectSame, times } from "../tools/offload.ts";
import { BACKENDS, thrown } from "../tools/sockets.ts";

const BYTES = 50;

describe.each([true, false])("buffers that are received into again, offload %p", (offload) => {
  /** Receives three datagrams, numbered from `first` on, into `buffers`: what was told of them. */
  async function round(
    socket: UdpSocket,
    buffers: Uint8Array[],
    first: number,
  ): Promise<RecvMeta[]> {
    const meta = times(3, 0).map(() => new RecvMeta());
    await socket.sendMany(datagramsOf(times(3, BYTES), first), { to: socket.localAddr });
    for (let got = 0; got < 3; ) got += await socket.recvMany(buffers, { start: got, meta });
    return meta;
  }

  const open = () => UdpSocket.bind({ hostname: "127.0.0.1", offload, backend: "native" });

  test("get no more than they have room for once their memory shrank, and all once it grew", async () => {
    await using socket = await open();
    const memory = new ArrayBuffer(BYTES, { maxByteLength: 2 * BYTES });
    const tracking = new Uint8Array(memory);
    const buffers = [new Uint8Array(BYTES), tracking, new Uint8Array(BYTES)];
    await round(socket, buffers, 0);
    memory.resize(20);
    const meta = await round(socket, buffers, 3);
    expect(meta.map(({ length }) => length)).toEqual([BYTES, 20, BYTES]);
    expect(meta[1]?.truncated).toBe(true);
    memory.resize(2 * BYTES);
    // What was cut off is zero, not the datagram's rest.
    expect(tracking.subarray(20).every((byte) => byte === 0)).toBe(true);
    expect((await round(socket, buffers, 6))[1]?.length).toBe(BYTES);
    expect(Buffer.compare(tracking.subarray(0, BYTES), datagram(7, BYTES))).toBe(0);
  });

  test("leave memory alone that was transferred, and is another's now", async () => {
    await using socket = await open();
    const gone = new Uint8Array(new ArrayBuffer(BYTES));
    const buffers = [new Uint8Array(BYTES), gone, new Uint8Array(BYTES)];
    await round(socket, buffers, 0);
    const another = new Uint8Array(gone.buffer.transfer()).fill(7);
    const meta = await round(socket, buffers, 3);
    expect(meta.map(({ length }) => length)).toEqual([BYTES, 0, BYTES]);
    expect([...another]).toEqual(times(BYTES, 7));
  });

  test("may be exchanged for parts of themselves, whose surroundings stay as they were", async () => {
    await using socket = await open();
    const whole = new Uint8Array(new ArrayBuffer(100));
    const buffers = [new Uint8Array(BYTES), whole, new Uint8Array(BYTES)];
    await round(socket, buffers, 0);
    whole.fill(7);
    buffers[1] = whole.subarray(30, 60);
    const meta = await round(socket, buffers, 3);
    expect(meta[1]).toMatchObject({ length: 30, datagramLength: BYTES });
    expect(Buffer.compare(whole.subarray(30, 60), datagram(4, BYTES).subarray(0, 30))).toBe(0);
    const around = [...whole.subarray(0, 30), ...whole.subarray(60)];
    expect(around).toEqual(times(70, 7));
  });

  test("may trade places, be the same one twice, and be received into from another start", async () => {
    await using socket = await open();
    const [a, b, c] = times(3, 0).map(() => new Uint8Array(BYTES)) as [Uint8Array, ...Uint8Array[]];
    const buffers = [a, b, c] as Uint8Array[];
    await round(socket, buffers, 0);
    buffers.reverse();
    await round(socket, buffers, 3);
    for (const [i, buffer] of buffers.entries()) {
      expect(Buffer.compare(buffer, datagram(3 + i, BYTES))).toBe(0);
    }
    await round(socket, [a, a, a], 6);
    expect(Buffer.compare(a, datagram(8, BYTES))).toBe(0);
    await socket.sendTo(datagram(9, BYTES), socket.localAddr);
    expect(await socket.recvMany(buffers, { start: 2 })).toBe(1);
    expect(Buffer.compare(buffers[2] as Uint8Array, datagram(9, BYTES))).toBe(0);
    expect(Buffer.compare(buffers[1] as Uint8Array, datagram(4, BYTES))).toBe(0);
  });
});

for (const offload of [true, false]) {
  describe(`buffers that are received into again, offload ${offload ? "on" : "off"}`, () => {
    /** Has a socket send itself three datagrams, and receives them into `buffers`. */
    async function round(socket: UdpSocket, buffers: unknown[], first: number): Promise<number> {
      const payloads = datagramsOf([50, 50, 50], first);
      await socket.sendMany(payloads, { to: socket.localAddr });
      let got = 0;
      while (got < 3) got += await socket.recvMany(buffers as Uint8Array[], { start: got });
      return got;
    }

    async function open(): Promise<UdpSocket> {
      return UdpSocket.bind({ hostname: "127.0.0.1", offload, backend: "native" });
    }

    test("are filled each time, also where one was replaced", async () => {
      await using socket = await open();
      const buffers = [new Uint8Array(60), new Uint8Array(60), new Uint8Array(60)];
      for (let first = 0; first < 12; first += 3) {
        buffers[(first / 3) % 3] = new Uint8Array(60);
        await round(socket, buffers, first);
        expectSame(
          buffers.map((bytes) => ({ bytes: bytes.subarray(0, 50), peer: undefined })),
          datagramsOf([50, 50, 50], first),
        );
      }
    });

    test("may become a DgramBuffer, and one of the same memory", async () => {
      await using socket = await open();
      const memory = new Uint8Array(new ArrayBuffer(60));
      const buffers: unknown[] = [new Uint8Array(60), memory, new Uint8Array(60)];
      await round(socket, buffers, 0);
      const headed = DgramBuffer.fromVecWithHeadroom(memory, 4);
      headed.truncate(0);
      buffers[1] = headed;
      await round(socket, buffers, 3);
      expect<Uint8Array>(headed.asSlice()).toEqual(datagram(4, 50));
      buffers[1] = memory;
      await round(socket, buffers, 6);
      expect<Uint8Array>(memory.subarray(0, 50)).toEqual(datagram(7, 50));
    });

    test("may have been transferred: nothing is written there, and it is told", async () => {
      await using socket = await open();
      const gone = new Uint8Array(new ArrayBuffer(60));
      const buffers = [new Uint8Array(60), gone, new Uint8Array(60)];
      await round(socket, buffers, 0);
      gone.buffer.transfer();
      await round(socket, buffers, 3);
      expect(gone.length).toBe(0);
      expect(socket.counters.datagramsTruncated).toBe(1);
      expect<Uint8Array | undefined>(buffers[2]?.subarray(0, 50)).toEqual(datagram(5, 50));
    });

    test("that are none are refused, and cost no datagram", async () => {
      await using socket = await open();
      const room = new Uint8Array(60);
      const to = socket.localAddr;
      await socket.sendMany(datagramsOf([50, 50]), { to });
      const bad = [undefined, room] as unknown as Uint8Array[];
      expect(thrown(() => socket.tryRecvMany(bad))).toBeInstanceOf(TypeError);
      expect(await socket.recv(room)).toBe(50);
      expect<Uint8Array>(room.subarray(0, 50)).toEqual(datagram(0, 50));
      expect(await socket.recv(room)).toBe(50);
      expect<Uint8Array>(room.subarray(0, 50)).toEqual(datagram(1, 50));
    });
  });
}

describe.each(BACKENDS)("%s backend", (backend) => {
  test("a batch whose memory was transferred is refused, and the datagram waits for another", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const batch = new RecvBatch({ messages: 2 });
    const to = socket.localAddr;
    await socket.sendMany([datagram(1, BYTES)], { to });
    expect(await socket.recvBatch(batch)).toBe(1);
    const moved = batch.bytes.buffer.transfer();
    const before = new Uint8Array(moved).slice(0, BYTES);
    await socket.sendMany([datagram(2, BYTES)], { to });
    await expect(socket.recvBatch(batch)).rejects.toThrow(RangeError);
    expect(new Uint8Array(moved).slice(0, BYTES)).toEqual(before);
    const another = new RecvBatch({ messages: 2 });
    expect(await socket.recvBatch(another)).toBe(1);
    expect<Uint8Array>(another.payload(0)).toEqual(datagram(2, BYTES));
  });
});
