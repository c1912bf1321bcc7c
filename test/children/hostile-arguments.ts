/**
 * Tests of hostile arguments, which test/sockets/hostile-arguments.test.ts runs in a process of their
 * own: a failure is a crash, or a write to memory that belongs to another array.
 */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  DatagramPair,
  type DatagramSocket,
  DgramBuffer,
  type Payload,
  RecvBatch,
  RecvMeta,
  SendBatch,
  type SocketAddress,
  type Target,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import {
  Boastful,
  impostors,
  realBuffer,
  Watched,
  withAccessor,
  withOwnProperties,
  withTrap,
} from "../tools/hostile.ts";
import { rejection, thrown } from "../tools/sockets.ts";

/** The engines whose arguments reach native code. */
const ENGINES = [
  { name: "the native backend, offload off", backend: "native", offload: false },
  { name: "the native backend, offload on", backend: "native", offload: true },
  { name: "the portable backend", backend: "portable" },
] as const;

const COUNT = 8;
const BYTES = 3000;
/** The number of targets at least that the first system call of a receive uses. */
const FIRST_CALL_MIN = 4;

function arrays(count = COUNT, bytes = BYTES): Uint8Array<ArrayBuffer>[] {
  return Array.from({ length: count }, (_, i) => new Uint8Array(new ArrayBuffer(bytes)).fill(i));
}

/** Every way to run code while element `index` is read. */
const WRAPPERS = { withAccessor, withTrap };

describe.each(ENGINES)("$name", ({ name: _name, backend, ...options }) => {
  let sender: UdpSocket;
  let receiver: UdpSocket;
  let to: SocketAddress;
  let watched: Watched;

  beforeEach(async () => {
    const common = { hostname: "127.0.0.1", backend, ...options };
    receiver = await UdpSocket.bind(common);
    sender = await UdpSocket.bind(common);
    to = receiver.localAddr;
    watched = new Watched();
  });

  afterEach(() => {
    sender.close();
    receiver.close();
    Bun.gc(true);
    watched.check();
  });

  /** Sends datagrams and waits until the receiver has the first. */
  async function deliver(count: number, bytes = 100): Promise<void> {
    const payloads = Array.from({ length: count }, (_, i) => new Uint8Array(bytes).fill(i + 1));
    await sender.sendMany(payloads, { to });
    await Bun.sleep(2);
  }

  /** Receives what is left, and returns the first byte of each datagram. */
  function drain(): number[] {
    const bytes: number[] = [];
    const buffer = new Uint8Array(70_000);
    while (receiver.tryRecv(buffer) !== WouldBlock) bytes.push(buffer[0] as number);
    return bytes;
  }

  describe("code that runs while an array is read", () => {
    for (const [wrapper, wrap] of Object.entries(WRAPPERS)) {
      test(`${wrapper}: memory transferred at any position fails the send, and nothing is sent`, async () => {
        for (let index = 0; index < COUNT; index++) {
          for (let victim = 0; victim < COUNT; victim++) {
            const payloads = arrays();
            const hostile = wrap(payloads, index, () =>
              watched.transfer(payloads[victim] as Uint8Array),
            );
            // Once with addresses that were taken before, once without.
            if (victim % 2 === 0) sender.trySendMany(payloads.slice(0, index), { to });
            const sent = victim % 2 === 0 ? index : 0;
            if (backend === "native" || victim >= index) {
              const error = thrown(() => sender.trySendMany(hostile, { to }));
              expect(error).toBeInstanceOf(RangeError);
            }
            await Bun.sleep(0);
            if (backend === "native") expect(drain().length).toBe(sent);
            watched.check();
          }
        }
      });

      test(`${wrapper}: memory transferred at any position is not received into`, async () => {
        for (let index = 0; index < COUNT; index++) {
          for (let victim = 0; victim < COUNT; victim++) {
            const targets = arrays(COUNT, 200);
            await deliver(COUNT);
            const hostile = wrap(targets, index, () =>
              watched.transfer(targets[victim] as Uint8Array),
            );
            if (victim % 2 === 0) receiver.tryRecvMany(targets.slice(0, 1));
            const metas = targets.map(() => new RecvMeta());
            const count = receiver.tryRecvMany(hostile, { meta: metas }) as number;
            expect(count).toBeGreaterThan(0);
            // What was transferred before the system call has no room. A call that returns datagrams
            // that were read ahead does not get to the later elements.
            const isTransferred = targets[victim]?.byteLength === 0;
            if (isTransferred && victim < count && index < FIRST_CALL_MIN) {
              expect(metas[victim]?.length).toBe(0);
            }
            watched.check();
            drain();
          }
        }
      });
    }

    test("destinations with accessors: payloads transferred meanwhile are not sent", async () => {
      for (let index = 0; index < COUNT; index++) {
        const payloads = arrays();
        const all = payloads.map(() => to);
        const hostile = withAccessor(all, index, () => {
          for (const payload of payloads) watched.transfer(payload);
        });
        if (backend === "native") {
          expect(thrown(() => sender.trySendMany(payloads, { to: hostile }))).toBeInstanceOf(
            RangeError,
          );
          expect(await rejection(sender.sendMany(payloads, { to: hostile }))).toBeInstanceOf(
            RangeError,
          );
          expect(drain()).toEqual([]);
        }
      }
    });

    test("metadata objects with accessors: targets transferred meanwhile are not written to", async () => {
      for (let index = 0; index < COUNT; index++) {
        await deliver(COUNT);
        const targets = arrays(COUNT, 200);
        const metas = withAccessor(
          targets.map(() => new RecvMeta()),
          index,
          () => {
            for (const target of targets) watched.transfer(target);
          },
        );
        receiver.tryRecvMany(targets, { meta: metas });
        watched.check();
        drain();
      }
    });

    test("metadata objects with setters: targets transferred meanwhile are not written to", async () => {
      await deliver(COUNT);
      const targets = arrays(COUNT, 200);
      const metas = targets.map(() => new RecvMeta());
      const set = () => {
        for (const target of targets) watched.transfer(target);
        Bun.gc(true);
      };
      Object.defineProperty(metas[0], "peer", { set });
      for (let i = 0; i < 3; i++) receiver.tryRecvMany(targets, { meta: metas });
    });

    test("resizable memory that shrinks meanwhile fails the send, and limits a receive", async () => {
      const payloads = arrays(4);
      const resizable = new ArrayBuffer(BYTES, { maxByteLength: 2 * BYTES });
      const tracking = new Uint8Array(resizable);
      const fixed = new Uint8Array(resizable, 100, 200);
      for (const view of [tracking, fixed]) {
        for (const size of [2 * BYTES, 150, 0, BYTES]) {
          resizable.resize(BYTES);
          const all: Payload[] = [view, ...payloads];
          sender.trySendMany(all, { to });
          const hostile = withAccessor(all, 3, () => resizable.resize(size));
          if (view === fixed && size < 300 && backend === "native") {
            expect(thrown(() => sender.trySendMany(hostile, { to }))).toBeInstanceOf(RangeError);
          } else if (backend === "native") {
            sender.trySendMany(hostile, { to });
          }
          await Bun.sleep(1);
          drain();
          resizable.resize(BYTES);
          const targets: Target[] = [view, ...payloads];
          await deliver(2, 500);
          receiver.tryRecvMany(withAccessor(targets, 1, () => resizable.resize(size)));
          resizable.resize(2 * BYTES);
          // The memory beyond what there was is still zero.
          const untouched = new Uint8Array(resizable, Math.max(size, 500));
          expect(untouched.every((byte) => byte === 0)).toBe(true);
          drain();
        }
      }
    });

    test("shared memory that grows meanwhile is sent and received whole", async () => {
      const shared = new SharedArrayBuffer(100, { maxByteLength: 10_000 });
      const view = new Uint8Array(shared);
      const others = arrays(3);
      sender.trySendMany([view, ...others], { to });
      const grow = () => shared.grow(shared.byteLength + 100);
      sender.trySendMany(withAccessor([view, ...others], 2, grow), { to });
      await Bun.sleep(2);
      const lengths: number[] = [];
      const buffer = new Uint8Array(70_000);
      for (let got = receiver.tryRecv(buffer); got !== WouldBlock; got = receiver.tryRecv(buffer)) {
        lengths.push(got);
      }
      expect(lengths).toEqual([100, BYTES, BYTES, BYTES, 200, BYTES, BYTES, BYTES]);
    });
  });

  describe("buffers that lie", () => {
    test("own properties that outlive the memory: refused by a send, not written to by a receive", async () => {
      for (let position = 0; position < COUNT; position++) {
        const payloads = arrays();
        const victim = withOwnProperties(payloads[position] as Uint8Array);
        sender.trySendMany(payloads, { to });
        watched.transfer(victim);
        expect(thrown(() => sender.trySendMany(payloads, { to }))).toBeInstanceOf(RangeError);
        expect(thrown(() => sender.trySendTo(victim, to))).toBeInstanceOf(RangeError);
        await Bun.sleep(1);
        expect(drain().length).toBe(COUNT);
        await deliver(COUNT);
        const targets = arrays(COUNT, 200);
        const target = withOwnProperties(targets[position] as Uint8Array);
        watched.transfer(target);
        receiver.tryRecvMany(targets);
        await deliver(1);
        receiver.tryRecv(target);
        watched.check();
        drain();
      }
    });

    test("properties defined after the first use are not trusted", async () => {
      const payloads = arrays();
      const targets = arrays(COUNT, 200);
      sender.trySendMany(payloads, { to });
      await Bun.sleep(1);
      receiver.tryRecvMany(targets);
      drain();
      for (const view of [...payloads, ...targets]) {
        withOwnProperties(view);
        watched.transfer(view);
      }
      expect(thrown(() => sender.trySendMany(payloads, { to }))).toBeInstanceOf(RangeError);
      await deliver(COUNT);
      receiver.tryRecvMany(targets);
    });

    test("a small array whose own `buffer` hides its real one is not received into at its old address", async () => {
      for (let i = 0; i < 50; i++) {
        const small = new Uint8Array(100);
        Object.defineProperty(small, "buffer", { value: new ArrayBuffer(100) });
        await deliver(2);
        receiver.tryRecvMany([small]);
        const real = new Uint8Array(realBuffer(small) as ArrayBuffer);
        Bun.gc(true);
        receiver.tryRecvMany([small]);
        expect(real.every((byte) => byte === 2)).toBe(true);
        drain();
      }
    });

    test("a subclass with overridden getters: its real bytes are sent, and only they are written", async () => {
      const memory = new Uint8Array(new ArrayBuffer(1000)).fill(9);
      const boastful = new Boastful(memory.buffer, 100, 50);
      if (backend === "native") {
        sender.trySendMany([boastful, boastful], { to });
        sender.trySendTo(boastful, to);
        await Bun.sleep(1);
        const lengths: unknown[] = [];
        const buffer = new Uint8Array(70_000);
        for (let i = 0; i < 3; i++) lengths.push(receiver.tryRecv(buffer));
        expect(lengths).toEqual([50, 50, 50]);
      }
      await deliver(3, 200);
      const metas = [new RecvMeta(), new RecvMeta()];
      const count = receiver.tryRecvMany([boastful, boastful], { meta: metas }) as number;
      expect(metas.slice(0, count).map(({ length }) => length)).toEqual([50, 50].slice(0, count));
      receiver.tryRecv(boastful);
      expect(memory.subarray(0, 100).every((byte) => byte === 9)).toBe(true);
      expect(memory.subarray(150).every((byte) => byte === 9)).toBe(true);
    });

    test("objects that only inherit from Uint8Array are refused, before a datagram is received", async () => {
      await deliver(3);
      for (const impostor of impostors()) {
        expect(thrown(() => sender.trySendTo(impostor, to))).toBeInstanceOf(TypeError);
        for (const position of [0, 1, 3]) {
          const all: Uint8Array[] = arrays(4);
          all[position] = impostor;
          expect(thrown(() => sender.trySendMany(all, { to }))).toBeInstanceOf(TypeError);
        }
        expect(thrown(() => receiver.tryRecv(impostor))).toBeInstanceOf(TypeError);
        expect(thrown(() => receiver.tryRecvMany([impostor]))).toBeInstanceOf(TypeError);
      }
      expect(drain()).toEqual([1, 2, 3]);
    });

    test("arrays of other element types that inherit from Uint8Array do no harm", async () => {
      const floats = Object.setPrototypeOf(new Float64Array(8).fill(1), Uint8Array.prototype);
      for (let i = 0; i < 2; i++) {
        try {
          sender.trySendTo(floats, to);
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
        }
        await deliver(1);
        try {
          receiver.tryRecvMany([floats]);
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
        }
      }
      drain();
    });

    test("a DgramBuffer whose memory was transferred is refused", async () => {
      await deliver(2);
      for (let position = 0; position < 4; position++) {
        const payloads = arrays(4).map((bytes) => DgramBuffer.from(bytes));
        sender.trySendMany(payloads, { to });
        watched.transfer((payloads[position] as DgramBuffer).asSlice());
        expect(thrown(() => sender.trySendMany(payloads, { to }))).toBeInstanceOf(RangeError);
        expect(
          thrown(() => sender.trySendTo(payloads[position] as DgramBuffer, to)),
        ).toBeInstanceOf(RangeError);
      }
      await Bun.sleep(1);
      drain();
      await deliver(2);
      const target = DgramBuffer.withCapacityAndHeadroom(200, 16);
      watched.transfer(target.asSlice());
      expect(thrown(() => receiver.tryRecvMany([target]))).toBeInstanceOf(RangeError);
      expect(thrown(() => receiver.tryRecv(target))).toBeInstanceOf(RangeError);
      expect(drain()).toEqual([1, 2]);
    });

    test("a DgramBuffer whose fields are accessors, or wrapped in a Proxy, does no harm", async () => {
      const fields: Record<string, unknown>[] = [
        { _start: -5, _end: -5 },
        { _start: 0.5, _end: 0.5 },
        { _start: Number.NaN, _end: Number.NaN },
        { _start: 2 ** 31, _end: 2 ** 31 },
        { _start: 1e9, _end: 1e9 + 5 },
        { _bytes: impostors()[1] },
        { _bytes: new Boastful(new ArrayBuffer(8)) },
      ];
      await deliver(2);
      for (const changed of fields) {
        const buffer = DgramBuffer.withCapacity(100);
        Object.assign(buffer, changed);
        const all = [DgramBuffer.withCapacity(100), buffer];
        for (const call of [
          () => sender.trySendMany([buffer], { to }),
          () => receiver.tryRecvMany(all),
          () => receiver.tryRecv(buffer),
        ]) {
          try {
            call();
          } catch (error) {
            expect(error instanceof RangeError || error instanceof TypeError).toBe(true);
          }
        }
      }
      const proxy = new Proxy(DgramBuffer.withCapacity(100), {});
      expect(thrown(() => receiver.tryRecvMany([proxy]))).toBeInstanceOf(TypeError);
      expect(thrown(() => sender.trySendMany([proxy], { to }))).toBeInstanceOf(TypeError);
    });

    test("a RecvBatch whose memory was transferred is refused, although its `bytes` claims a length", async () => {
      await deliver(3);
      const batch = new RecvBatch({ messages: 2 });
      receiver.tryRecvBatch(batch);
      drain();
      withOwnProperties(batch.bytes);
      watched.transfer(batch.bytes);
      Object.defineProperty(batch, "bytes", { value: { length: 2 * 65_536 } });
      await deliver(1);
      expect(thrown(() => receiver.tryRecvBatch(batch))).toBeInstanceOf(RangeError);
      expect(drain()).toEqual([1]);
    });
  });

  describe("a SendBatch", () => {
    test("slices whose memory was transferred before the send are refused, and stay queued", async () => {
      for (let position = 0; position < COUNT; position++) {
        const payloads = arrays();
        const batch = new SendBatch();
        for (const [i, payload] of payloads.entries()) {
          if (i % 2 === 0) batch.prefixVarint(i).push(payload, to);
          else batch.pushSlice(payload, 10, 100, to);
        }
        const victim = payloads[position] as Uint8Array;
        if (position % 3 === 0) withOwnProperties(victim);
        watched.transfer(victim);
        if (backend === "native" || position === 0) {
          expect(thrown(() => sender.trySendBatch(batch))).toBeInstanceOf(RangeError);
          expect(batch.length).toBe(COUNT);
        }
        batch.clear();
        expect(drain()).toEqual([]);
      }
    });

    test("impostors are refused when they are pushed or sent", () => {
      for (const impostor of impostors()) {
        const batch = new SendBatch();
        const send = () => sender.trySendBatch(batch.push(impostor, to));
        expect(thrown(send)).toBeInstanceOf(TypeError);
      }
    });

    test.skipIf(backend !== "native")(
      "metadata with accessors is read when it is set: they cannot change queued datagrams",
      async () => {
        const payloads = arrays();
        const batch = new SendBatch();
        let reads = 0;
        const meta = {
          get ecn() {
            reads++;
            if (batch.length === COUNT) {
              for (const payload of payloads) watched.transfer(payload);
              batch.clear();
            }
            return 1 as const;
          },
        };
        batch.meta(meta);
        for (const payload of payloads) batch.push(payload, to);
        const before = reads;
        expect(sender.trySendBatch(batch)).toBe(COUNT);
        expect(reads).toBe(before);
        await Bun.sleep(2);
        expect(drain().length).toBe(COUNT);
      },
    );
  });

  describe("calls within a call", () => {
    test("a getter that sends on the same socket: an error, or both calls send their datagrams once", async () => {
      for (let index = 0; index < COUNT; index++) {
        const payloads = arrays(COUNT, 100);
        const nested = arrays(3, 100).map((bytes, i) => bytes.fill(100 + i));
        let inner: unknown;
        const hostile = withAccessor(payloads, index, () => {
          try {
            inner = sender.trySendMany(nested, { to });
          } catch (error) {
            inner = (error as { code?: string }).code;
          }
        });
        expect(sender.trySendMany(hostile, { to })).toBe(COUNT);
        await Bun.sleep(2);
        const received = drain();
        expect(received.filter((byte) => byte < 100)).toEqual(payloads.map((_, i) => i));
        if (inner === 3) expect(received.filter((byte) => byte >= 100)).toEqual([100, 101, 102]);
        else expect([inner, received.length]).toEqual(["ERR_NESTED_CALL", COUNT]);
      }
    });

    test("a getter that sends a batch on the same socket, which is sent whole later", async () => {
      const batch = new SendBatch();
      for (let i = 0; i < 3; i++) batch.push(new Uint8Array(100).fill(100 + i), to);
      const payloads = arrays(COUNT, 100);
      const hostile = withAccessor(payloads, 4, () => {
        try {
          sender.trySendBatch(batch);
        } catch (error) {
          expect((error as { code?: string }).code).toBe("ERR_NESTED_CALL");
        }
      });
      expect(sender.trySendMany(hostile, { to })).toBe(COUNT);
      if (batch.length > 0) expect(sender.trySendBatch(batch)).toBe(3);
      await Bun.sleep(2);
      const expected = [...payloads.map((_, i) => i), 100, 101, 102];
      expect(drain().sort((a, b) => a - b)).toEqual(expected);
    });

    test("a getter that receives from the same socket: each datagram is received once, in order", async () => {
      for (let index = 0; index < 6; index++) {
        for (const nestedCall of ["tryRecv", "tryRecvMany", "tryRecvBatch"] as const) {
          await deliver(12);
          const received: number[] = [];
          const batch = new RecvBatch({ messages: 1 });
          const nested = {
            tryRecv() {
              const buffer = new Uint8Array(200);
              if (receiver.tryRecv(buffer) !== WouldBlock) received.push(buffer[0] as number);
            },
            tryRecvMany() {
              const buffers = arrays(2, 200);
              const count = receiver.tryRecvMany(buffers);
              if (count === WouldBlock) return;
              for (const buffer of buffers.slice(0, count)) received.push(buffer[0] as number);
            },
            tryRecvBatch() {
              if (receiver.tryRecvBatch(batch) === WouldBlock) return;
              for (let i = 0; i < batch.length; i++) received.push(batch.payload(i)[0] as number);
            },
          };
          const targets = arrays(6, 200);
          const hostile = withAccessor(targets, index, () => {
            try {
              nested[nestedCall]();
            } catch (error) {
              expect((error as { code?: string }).code).toBe("ERR_NESTED_CALL");
            }
          });
          const count = receiver.tryRecvMany(hostile);
          if (count !== WouldBlock) {
            for (const target of targets.slice(0, count)) received.push(target[0] as number);
          }
          const all = [...received, ...drain()];
          expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
        }
      }
    });

    test("a metadata setter that receives from the same socket: each datagram is received once", async () => {
      await deliver(12);
      const received: number[] = [];
      const targets = arrays(6, 200);
      const metas = targets.map(() => new RecvMeta());
      const set = () => {
        const buffer = new Uint8Array(200);
        try {
          if (receiver.tryRecv(buffer) !== WouldBlock) received.push(buffer[0] as number);
        } catch (error) {
          expect((error as { code?: string }).code).toBe("ERR_NESTED_CALL");
        }
      };
      Object.defineProperty(metas[1], "ecn", { set });
      const count = receiver.tryRecvMany(targets, { meta: metas }) as number;
      for (const target of targets.slice(0, count)) received.push(target[0] as number);
      const all = [...received, ...drain()];
      expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    });

    test("a metadata setter that throws or closes the socket: no datagram is returned twice", async () => {
      for (const run of [
        () => {
          throw new Error("setter");
        },
        () => receiver.close(),
      ]) {
        await deliver(6);
        const targets = arrays(6, 200);
        const metas = targets.map(() => new RecvMeta());
        Object.defineProperty(metas[0], "peer", { set: run });
        try {
          receiver.tryRecvMany(targets, { meta: metas });
        } catch {}
        if (receiver.isClosed) {
          expect(thrown(drain)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
        } else {
          const filled = targets.filter((target) => target[50] !== target[199]);
          const first = filled.map((target) => target[0] as number);
          expect([...first, ...drain()].length).toBeLessThanOrEqual(6);
        }
      }
    });

    test("a getter that aborts the call, whose abort listener receives: each datagram is received once", async () => {
      for (const isQueued of [true, false]) {
        const controller = new AbortController();
        const received: number[] = [];
        const inner: Promise<void>[] = [];
        controller.signal.addEventListener("abort", () => {
          const buffer = new Uint8Array(200);
          expect(receiver.tryRecv(buffer)).toBe(WouldBlock);
          const receive = async () => {
            await receiver.recv(buffer);
            received.push(buffer[0] as number);
          };
          inner.push(receive());
        });
        if (isQueued) await deliver(4);
        const targets = arrays(2, 200);
        const hostile = withAccessor(targets, 1, () => controller.abort(new Error("aborted")));
        const outer = receiver.recvMany(hostile, { signal: controller.signal });
        const count = await outer.catch((error) => {
          expect(error.message).toBe("aborted");
          return 0;
        });
        if (!isQueued) await deliver(4);
        await Promise.all(inner);
        for (const target of targets.slice(0, count)) received.push(target[0] as number);
        expect([...received, ...drain()].sort((a, b) => a - b)).toEqual([1, 2, 3, 4]);
      }
    });

    test("a getter that enables metadata on the same socket does no harm", async () => {
      await deliver(6);
      const hostile = withAccessor(arrays(6, 200), 1, () => {
        try {
          receiver.enableMetadata();
        } catch (error) {
          expect((error as { code?: string }).code).toBe("ERR_NESTED_CALL");
        }
      });
      receiver.tryRecvMany(hostile);
      drain();
      receiver.enableMetadata();
      await deliver(3);
      expect(drain()).toEqual([1, 2, 3]);
    });

    test("getters that use other sockets work", async () => {
      await using other = await UdpSocket.bind({ hostname: "127.0.0.1", backend, ...options });
      await other.sendMany(arrays(4, 100), { to: other.localAddr });
      await deliver(6);
      const received: number[] = [];
      const targets = arrays(6, 200);
      const hostile = withAccessor(targets, 2, () => {
        const buffers = arrays(4, 200);
        const metas = buffers.map(() => new RecvMeta());
        const count = other.tryRecvMany(buffers, { meta: metas });
        if (count === WouldBlock) return;
        for (const buffer of buffers.slice(0, count)) received.push(buffer[0] as number);
      });
      let count = receiver.tryRecvMany(hostile) as number;
      const bytes = targets.slice(0, count).map((target) => target[0] as number);
      count += bytes.push(...drain());
      expect(bytes).toEqual([1, 2, 3, 4, 5, 6]);
      expect(received).toEqual([0, 1, 2, 3].slice(0, received.length));
    });

    test("the same DgramBuffer twice is refused before a datagram is received", async () => {
      await deliver(4);
      const [a, b] = [DgramBuffer.withCapacity(200), DgramBuffer.withCapacity(200)];
      for (const bufs of [
        [a, a],
        [a, b, a],
        [b, a, a],
      ]) {
        expect(thrown(() => receiver.tryRecvMany(bufs))).toBeInstanceOf(RangeError);
        expect([a.length, b.length]).toEqual([0, 0]);
      }
      // In another call, or at another position, the same buffers are fine.
      expect(receiver.tryRecvMany([b, a])).toBeGreaterThan(0);
      a.clear();
      b.clear();
      expect(receiver.tryRecvMany([a, b], { start: 1 })).toBeGreaterThan(0);
    });
  });
});

describe("a DatagramPair", () => {
  let left: DatagramSocket;
  let right: DatagramSocket;
  beforeEach(() => {
    [left, right] = DatagramPair.create();
  });

  test("impostors are refused, and a subclass gets only its real bytes", () => {
    left.trySend(new Uint8Array(200).fill(1));
    for (const impostor of impostors()) {
      expect(thrown(() => left.trySend(impostor))).toBeInstanceOf(TypeError);
      expect(thrown(() => right.tryRecv(impostor))).toBeInstanceOf(TypeError);
    }
    const memory = new Uint8Array(new ArrayBuffer(1000)).fill(9);
    expect(right.tryRecv(new Boastful(memory.buffer, 100, 50))).toBe(50);
    expect(memory.subarray(150).every((byte) => byte === 9)).toBe(true);
  });

  test("the same DgramBuffer twice is refused before a datagram is received", () => {
    left.trySendMany([new Uint8Array(0), new Uint8Array(3)]);
    const buffer = DgramBuffer.withCapacity(200);
    expect(thrown(() => right.tryRecvMany([buffer, buffer]))).toBeInstanceOf(RangeError);
    expect(right.tryRecvMany([buffer])).toBe(1);
  });
});
