/** The receive half: buffers to receive into, metadata, and the iterator over batches. */

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
import { numberErrorOf } from "../tools/errors.ts";
import { nextTick } from "../tools/sockets.ts";
import { datagrams, listenerCount, ScriptedSocket, Settled } from "./scripted-socket.ts";

/** Creates a pair and sends `queued`. Returns the receiving end and the sending end. */
function pairWith(...queued: Uint8Array[]): [DatagramPair, DatagramPair] {
  const [sender, receiver] = DatagramPair.create();
  for (const datagram of queued) sender.trySend(datagram);
  return [receiver, sender];
}

describe("a receive buffer", () => {
  test("that is a Uint8Array is filled from its start, whatever its offset in memory", async () => {
    const [receiver] = pairWith(counting(3), counting(3));
    const memory = new Uint8Array(8).fill(0xff);
    expect(await receiver.recv(memory.subarray(2, 6))).toBe(3);
    expect(memory.toHex()).toBe("ffff000102ffffff");
    const meta = await receiver.recvFrom(Buffer.from(memory.buffer, 5, 2));
    expect(memory.toHex()).toBe("ffff0001020001ff");
    expect([meta.length, meta.datagramLength, meta.truncated]).toEqual([2, 3, true]);
  });

  test("that is a DgramBuffer gets the payload after its headroom", async () => {
    const [receiver] = pairWith(counting(3));
    const buffer = DgramBuffer.withCapacityAndHeadroom(20, 8);
    expect(await receiver.recv(buffer)).toBe(3);
    expect([buffer.headroom, buffer.length, buffer.asSlice().toHex()]).toEqual([8, 3, "000102"]);
  });

  test("of the exact length suffices, and a shorter one truncates the datagram", async () => {
    for (const room of [3, 2, 0]) {
      for (const target of [new Uint8Array(room), DgramBuffer.withCapacity(room)]) {
        const [receiver] = pairWith(counting(3));
        const meta = await receiver.recvFrom(target);
        expect([meta.length, meta.datagramLength, meta.truncated]).toEqual([room, 3, room < 3]);
      }
    }
  });

  test("that has a payload or is of another type is refused, and no datagram is lost", async () => {
    const [receiver] = pairWith(counting(3));
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

describe("a try", () => {
  test.each([
    ["tryRecv", (socket: ScriptedSocket) => socket.tryRecv(new Uint8Array(1))],
    ["tryRecvMany", (socket: ScriptedSocket) => socket.tryRecvMany([new Uint8Array(1)])],
  ])("by %s leaves a datagram to the callers that wait", async (_, receive) => {
    const socket = new ScriptedSocket();
    const buffer = new Uint8Array(1);
    const waiting = socket.recv(buffer);
    await nextTick();
    // The datagram has arrived, and the socket has not called the waker yet.
    socket.arrived.push(Uint8Array.of(7));
    expect(receive(socket)).toBe(WouldBlock);
    socket.arrive();
    expect(await waiting).toBe(1);
    expect(buffer[0]).toBe(7);
    socket.arrived.push(Uint8Array.of(8));
    expect(receive(socket)).toBe(1);
  });
});

describe("recvMany", () => {
  test("fills meta from index start on, up to its length", async () => {
    const [receiver] = pairWith(counting(1), counting(2), counting(3));
    const bufs = Array.from({ length: 5 }, () => new Uint8Array(2));
    const meta = Array.from({ length: 3 }, () => new RecvMeta());
    expect(await receiver.recvMany(bufs, { meta, start: 1 })).toBe(3);
    expect(meta.map((entry) => entry.datagramLength)).toEqual([0, 1, 2]);
    expect(bufs.map((buf) => buf.toHex())).toEqual(["0000", "0000", "0001", "0001", "0000"]);
  });

  test("refuses a range beyond the array and invalid meta, and loses no datagram", async () => {
    const [receiver] = pairWith(counting(3));
    const bufs = [new Uint8Array(9), new Uint8Array(9)];
    const bad: [unknown, ErrorConstructor][] = [
      [{ start: 3 }, RangeError],
      [{ start: -1 }, RangeError],
      [{ start: 0.5 }, RangeError],
      [{ count: 3 }, RangeError],
      [{ count: "1" }, TypeError],
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

  test("resolves with the count before an error, which rejects the next caller", async () => {
    const socket = new ScriptedSocket();
    const settled = new Settled();
    settled.watch("many", socket.recvMany([new Uint8Array(1), new Uint8Array(1)]));
    settled.watch("one", socket.recv(new Uint8Array(1)));
    settled.watch("other", socket.recv(new Uint8Array(1)));
    socket.arrive(Uint8Array.of(1), new Error("refused"), Uint8Array.of(2));
    await nextTick();
    expect(settled.order).toEqual(["many 1", "one failed refused", "other 1"]);
  });
});

describe("batches", () => {
  test("yields datagrams in order, after the headroom of buffers that it reuses", async () => {
    const [receiver, sender] = pairWith(...datagrams(1, 3));
    const seen: number[][] = [];
    const first: unknown[] = [];
    for await (const batch of receiver.batches()) {
      const { length, buffers, meta } = batch;
      seen.push(buffers.slice(0, length).map((buffer) => buffer.asSlice()[0] as number));
      expect(meta.slice(0, length).map((entry) => entry.length)).toEqual(Array(length).fill(1));
      expect(buffers.slice(0, length).map((buffer) => buffer.headroom)).toEqual(
        Array(length).fill(16),
      );
      expect([buffers.length, meta.length]).toEqual([64, 64]);
      // Changes such as a proxy makes. They must not affect the next batch.
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

  test("empties the buffers of skipped datagrams for the next step", async () => {
    const [receiver, sender] = pairWith(counting(9), counting(1), counting(9));
    const steps: number[] = [];
    for await (const { length, skipped } of receiver.batches({ count: 3, payloadBytesMax: 4 })) {
      steps.push(length, skipped);
      if (steps.length === 4) break;
      sender.trySendMany(datagrams(1, 3));
    }
    expect(steps).toEqual([1, 2, 3, 2]);
  });

  test("replaces a buffer whose memory the caller took", async () => {
    const [receiver, sender] = pairWith(counting(5));
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

  test("yields at most count datagrams at a time, truncated to payloadBytesMax", async () => {
    const [receiver] = pairWith(...datagrams(1, 3), counting(9));
    const batches = receiver.batches({ count: 2, payloadBytesMax: 8, headroom: 0 });
    expect((await batches.next()).value?.length).toBe(2);
    const { value } = await batches.next();
    expect(value?.meta.map((entry) => [entry.length, entry.datagramLength])).toEqual([
      [1, 1],
      [8, 9],
    ]);
    await batches.return();
  });

  test.each([
    ["accepts", { count: 1 }],
    ["accepts", { count: BATCH_COUNT_MAX, payloadBytesMax: 10 }],
    ["accepts", { payloadBytesMax: 0, headroom: 0, keepTruncated: true }],
    ["accepts", { payloadBytesMax: MAX_BUF_SIZE, headroom: MAX_BUF_SIZE, count: 1 }],
    ["refuses", { count: 0 }],
    ["refuses", { count: BATCH_COUNT_MAX + 1 }],
    ["refuses", { count: 1.5 }],
    ["refuses", { payloadBytesMax: -1 }],
    ["refuses", { payloadBytesMax: MAX_BUF_SIZE + 1 }],
    ["refuses", { headroom: -1 }],
    ["refuses", { headroom: MAX_BUF_SIZE + 1 }],
    ["refuses", { headroom: "16" as unknown as number }],
  ])("%s the options %j", async (outcome, options) => {
    const [receiver] = pairWith(counting(1));
    const step = (async () => receiver.batches(options).next())();
    if (outcome === "accepts") expect((await step).value?.length).toBe(1);
    else await expect(step).rejects.toThrow(numberErrorOf(Object.values(options)[0]));
  });

  test("ends without an error when its signal aborts before, between or during steps", async () => {
    const [receiver] = pairWith(counting(1), counting(1));
    const before = receiver.batches({ signal: AbortSignal.abort() });
    expect(await before.next()).toEqual({ done: true, value: undefined });

    const between = new AbortController();
    const steps = receiver.batches({ signal: between.signal, count: 1 });
    expect((await steps.next()).done).toBe(false);
    between.abort(new Error("enough"));
    expect((await steps.next()).done).toBe(true);
    // The second datagram is still in the queue.
    expect(receiver.tryRecv(new Uint8Array(1))).toBe(1);

    const waiting = new AbortController();
    const step = receiver.batches({ signal: waiting.signal }).next();
    await nextTick();
    expect(listenerCount(waiting.signal)).toBe(1);
    waiting.abort(null);
    expect((await step).done).toBe(true);
    expect(listenerCount(waiting.signal)).toBe(0);
  });

  test("throws an error of the socket, after which a new iteration continues", async () => {
    const socket = new ScriptedSocket();
    socket.arrived.push(new Error("refused"), Uint8Array.of(7));
    const first = socket.batches();
    await expect(first.next()).rejects.toThrow("refused");
    expect((await first.next()).done).toBe(true);
    const { value } = await socket.batches().next();
    expect(value?.buffers[0]?.asSlice()[0]).toBe(7);
  });

  test("takes no more datagrams after a break, and removes its abort listener", async () => {
    const controller = new AbortController();
    const [receiver, sender] = pairWith(counting(1));
    for await (const batch of receiver.batches({ signal: controller.signal })) {
      expect(batch.length).toBe(1);
      break;
    }
    sender.trySend(counting(2));
    expect(receiver.tryRecv(new Uint8Array(9))).toBe(2);
    expect(receiver.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
    expect(listenerCount(controller.signal)).toBe(0);
  });

  test("waits in the queue of receivers", async () => {
    const [receiver, sender] = pairWith();
    const before = receiver.recv(new Uint8Array(1));
    const step = receiver.batches().next();
    sender.trySendMany(datagrams(1, 2));
    expect(await before).toBe(1);
    expect((await step).value?.buffers[0]?.asSlice()[0]).toBe(2);
  });
});
