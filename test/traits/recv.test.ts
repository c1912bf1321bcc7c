/** The receive half: targets, what is told of datagrams, and the iterator over batches. */

import { describe, expect, test } from "bun:test";
import {
  BATCH_COUNT_MAX,
  DatagramPair,
  DgramBuffer,
  MAX_BUF_SIZE,
  type RecvManyOptions,
  RecvMeta,
  type Target,
  WouldBlock,
} from "../../lib/index.ts";
import { counting, NOT_UINT8_ARRAYS, sample } from "../tools/buffer-samples.ts";
import { nextTurn } from "../tools/sockets.ts";
import { BaseSocket, datagrams, listenerCount, Settled } from "./base-socket.ts";

/** The receiving end of a pair in which `datagrams` wait. */
function endWith(...waiting: Uint8Array[]): [DatagramPair, DatagramPair] {
  const [sender, receiver] = DatagramPair.create();
  for (const datagram of waiting) sender.trySend(datagram);
  return [receiver, sender];
}

describe("a target", () => {
  test("that is an array is filled from its start, whatever memory it is a part of", async () => {
    const [receiver] = endWith(counting(3), counting(3));
    const memory = new Uint8Array(8).fill(0xff);
    expect(await receiver.recv(memory.subarray(2, 6))).toBe(3);
    expect(memory.toHex()).toBe("ffff000102ffffff");
    const meta = await receiver.recvFrom(Buffer.from(memory.buffer, 5, 2));
    expect(memory.toHex()).toBe("ffff0001020001ff");
    expect([meta.length, meta.datagramLength, meta.truncated]).toEqual([2, 3, true]);
  });

  test("that is a buffer keeps its headroom and gets the datagram as its payload", async () => {
    const [receiver] = endWith(counting(3));
    const buffer = DgramBuffer.withCapacityAndHeadroom(20, 8);
    expect(await receiver.recv(buffer)).toBe(3);
    expect([buffer.headroom, buffer.length, buffer.asSlice().toHex()]).toEqual([8, 3, "000102"]);
  });

  test("of exactly the length is enough, one byte less truncates and tells", async () => {
    for (const room of [3, 2, 0]) {
      for (const target of [new Uint8Array(room), DgramBuffer.withCapacity(room)]) {
        const [receiver] = endWith(counting(3));
        const meta = await receiver.recvFrom(target);
        expect([meta.length, meta.datagramLength, meta.truncated]).toEqual([room, 3, room < 3]);
      }
    }
  });

  test("that has payload, or is no bytes, is refused, and no datagram is lost", async () => {
    const [receiver] = endWith(counting(3));
    for (const [bad, error] of [
      [sample(), RangeError],
      ...NOT_UINT8_ARRAYS.map((value) => [value, TypeError] as const),
    ] as const) {
      const target = bad as Target;
      await expect(receiver.recv(target)).rejects.toThrow(error);
      await expect(receiver.recvFrom(target)).rejects.toThrow(error);
      await expect(receiver.recvMany([target])).rejects.toThrow(error);
      await expect(receiver.recvMany([new Uint8Array(9), target])).rejects.toThrow(error);
      expect(() => receiver.tryRecv(target)).toThrow(error);
      expect(() => receiver.tryRecvMany([target])).toThrow(error);
    }
    for (const bufs of [undefined, null, new Uint8Array(9), "x"]) {
      await expect(receiver.recvMany(bufs as unknown as Target[])).rejects.toThrow(TypeError);
    }
    expect(receiver.tryRecv(new Uint8Array(9))).toBe(3);
  });
});

describe("recvMany", () => {
  test("tells of every datagram as far as meta is long, from start on", async () => {
    const [receiver] = endWith(counting(1), counting(2), counting(3));
    const bufs = Array.from({ length: 5 }, () => new Uint8Array(2));
    const meta = Array.from({ length: 3 }, () => new RecvMeta());
    expect(await receiver.recvMany(bufs, { meta, start: 1 })).toBe(3);
    expect(meta.map((told) => told.datagramLength)).toEqual([0, 1, 2]);
    expect(bufs.map((buf) => buf.toHex())).toEqual(["0000", "0000", "0001", "0001", "0000"]);
  });

  test("refuses a part beyond the array, and meta that is none, and loses no datagram", async () => {
    const [receiver] = endWith(counting(3));
    const bufs = [new Uint8Array(9), new Uint8Array(9)];
    const bad: [unknown, ErrorConstructor][] = [
      [{ start: 3 }, RangeError],
      [{ start: -1 }, RangeError],
      [{ start: 0.5 }, RangeError],
      [{ count: 3 }, RangeError],
      [{ count: "1" }, RangeError],
      [{ start: 1, count: 2 }, RangeError],
      [{ meta: new RecvMeta() }, TypeError],
      [{ meta: [{}] }, TypeError],
      [{ meta: [undefined] }, TypeError],
    ];
    for (const [options, error] of bad) {
      await expect(receiver.recvMany(bufs, options as RecvManyOptions)).rejects.toThrow(error);
      expect(() => receiver.tryRecvMany(bufs, options as RecvManyOptions)).toThrow(error);
    }
    expect(() => receiver.pollRecvFrom(null, new Uint8Array(9), {} as RecvMeta)).toThrow(
      '"meta" expected RecvMeta, got an instance of Object',
    );
    expect(receiver.tryRecv(new Uint8Array(9))).toBe(3);
  });

  test("leaves the error behind its datagrams to who is next in line", async () => {
    const socket = new BaseSocket();
    const settled = new Settled();
    settled.watch("many", socket.recvMany([new Uint8Array(1), new Uint8Array(1)]));
    settled.watch("one", socket.recv(new Uint8Array(1)));
    settled.watch("other", socket.recv(new Uint8Array(1)));
    socket.arrive(Uint8Array.of(1), new Error("refused"), Uint8Array.of(2));
    await nextTurn();
    expect(settled.order).toEqual(["many 1", "one failed refused", "other 1"]);
  });
});

describe("batches", () => {
  test("gives datagrams in order, each behind its headroom, in buffers that it fills again", async () => {
    const [receiver, sender] = endWith(...datagrams(1, 3));
    const seen: number[][] = [];
    const first: unknown[] = [];
    for await (const batch of receiver) {
      const { length, buffers, meta } = batch;
      seen.push(buffers.slice(0, length).map((buffer) => buffer.asSlice()[0] as number));
      expect(meta.slice(0, length).map((told) => told.length)).toEqual(Array(length).fill(1));
      expect(buffers.slice(0, length).map((buffer) => buffer.headroom)).toEqual(
        Array(length).fill(16),
      );
      expect([buffers.length, meta.length]).toEqual([64, 64]);
      // What a proxy does: neither may show in the next batch.
      buffers[0]?.tryAddPrefix(counting(8));
      buffers[1]?.advance(1);
      buffers[2]?.clear();
      first.push(buffers[0], buffers[0]?.asSlice().buffer);
      if (seen.length === 2) break;
      sender.trySendMany(datagrams(4, 3));
    }
    expect(seen).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(first.slice(0, 2)).toEqual(first.slice(2));
    expect(first[0]).toBe(first[2]);
  });

  test("gives a new buffer for one whose memory the caller took", async () => {
    const [receiver, sender] = endWith(counting(5));
    const taken: Uint8Array[] = [];
    for await (const { buffers, meta } of receiver.batches({ count: 2 })) {
      expect([meta[0]?.length, meta[0]?.truncated, buffers[0]?.headroom]).toEqual([5, false, 16]);
      const [data, start] = (buffers[0] as DgramBuffer).intoParts();
      taken.push(data.subarray(start));
      if (taken.length === 3) break;
      sender.trySend(counting(5));
    }
    expect(taken.map((bytes) => bytes.toHex())).toEqual(Array(3).fill("0001020304"));
    expect(new Set(taken.map((bytes) => bytes.buffer)).size).toBe(3);
  });

  test("takes as many as were asked for, as long as was asked for", async () => {
    const [receiver] = endWith(...datagrams(1, 3), counting(9));
    const batches = receiver.batches({ count: 2, payloadBytesMax: 8, headroom: 0 });
    expect((await batches.next()).value?.length).toBe(2);
    const { value } = await batches.next();
    expect(value?.meta.map((told) => [told.length, told.datagramLength])).toEqual([
      [1, 1],
      [8, 9],
    ]);
    await batches.return();
  });

  test.each([
    [{ count: 1 }, true],
    [{ count: BATCH_COUNT_MAX, payloadBytesMax: 10 }, true],
    [{ payloadBytesMax: 0, headroom: 0 }, true],
    [{ payloadBytesMax: MAX_BUF_SIZE, headroom: MAX_BUF_SIZE, count: 1 }, true],
    [{ count: 0 }, false],
    [{ count: BATCH_COUNT_MAX + 1 }, false],
    [{ count: 1.5 }, false],
    [{ payloadBytesMax: -1 }, false],
    [{ payloadBytesMax: MAX_BUF_SIZE + 1 }, false],
    [{ headroom: -1 }, false],
    [{ headroom: MAX_BUF_SIZE + 1 }, false],
    [{ headroom: "16" as unknown as number }, false],
  ])("with %j: taken is %j", async (options, isTaken) => {
    const [receiver] = endWith(counting(1));
    const step = receiver.batches(options).next();
    if (isTaken) expect((await step).value?.length).toBe(1);
    else await expect(step).rejects.toThrow(RangeError);
  });

  test("ends without an error when its signal aborts: waiting, between steps, or before", async () => {
    const [receiver] = endWith(counting(1), counting(1));
    const before = receiver.batches({ signal: AbortSignal.abort() });
    expect(await before.next()).toEqual({ done: true, value: undefined });

    const between = new AbortController();
    const steps = receiver.batches({ signal: between.signal, count: 1 });
    expect((await steps.next()).done).toBe(false);
    between.abort(new Error("enough"));
    expect((await steps.next()).done).toBe(true);
    // The datagram that was not asked for is there still.
    expect(receiver.tryRecv(new Uint8Array(1))).toBe(1);

    const waiting = new AbortController();
    const step = receiver.batches({ signal: waiting.signal }).next();
    await nextTurn();
    expect(listenerCount(waiting.signal)).toBe(1);
    waiting.abort(null);
    expect((await step).done).toBe(true);
    expect(listenerCount(waiting.signal)).toBe(0);
  });

  test("throws the socket's error, and can be iterated again after that", async () => {
    const socket = new BaseSocket();
    socket.arrived.push(new Error("refused"), Uint8Array.of(7));
    const first = socket.batches();
    await expect(first.next()).rejects.toThrow("refused");
    expect((await first.next()).done).toBe(true);
    const { value } = await socket.batches().next();
    expect(value?.buffers[0]?.asSlice()[0]).toBe(7);
  });

  test("that a consumer leaves takes no more, and leaves no listener", async () => {
    const controller = new AbortController();
    const [receiver, sender] = endWith(counting(1));
    for await (const batch of receiver.batches({ signal: controller.signal })) {
      expect(batch.length).toBe(1);
      break;
    }
    sender.trySend(counting(2));
    expect(receiver.tryRecv(new Uint8Array(9))).toBe(2);
    expect(receiver.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
    expect(listenerCount(controller.signal)).toBe(0);
  });

  test("stands in line with other callers", async () => {
    const [receiver, sender] = endWith();
    const before = receiver.recv(new Uint8Array(1));
    const step = receiver.batches().next();
    sender.trySendMany(datagrams(1, 2));
    expect(await before).toBe(1);
    expect((await step).value?.buffers[0]?.asSlice()[0]).toBe(2);
  });
});
