/** The factory and the pool: sizes, reuse, bounds, and leases that are used when they are over. */

import { expect, test } from "bun:test";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";
import {
  BufferLease,
  DgramBufferPool,
  type DgramBufferPoolOptions,
  dgramBufferFactory,
} from "../../lib/buffer/pool.ts";
import { allocates } from "../tools/allocation.ts";

/** Headroom, length, capacity. */
function sizesOf({ headroom, length, capacity }: DgramBuffer): number[] {
  return [headroom, length, capacity];
}

/** Idle, hits, misses, discarded. */
function countersOf({ idleCount, hits, misses, discarded }: DgramBufferPool): number[] {
  return [idleCount, hits, misses, discarded];
}

/** The memory behind a lease's buffer. */
function memoryOf(lease: BufferLease): ArrayBufferLike {
  return lease.buffer.asSlice().buffer;
}

test("the factory makes a buffer of 1516 bytes with 16 of headroom, a new one each time", () => {
  const [first, second] = [
    dgramBufferFactory.getMaxDgramBuf(),
    dgramBufferFactory.getMaxDgramBuf(),
  ];
  expect(sizesOf(first)).toEqual([16, 0, 1516]);
  expect(first.spareCapacity).toBe(1500);
  expect(first.asSlice().buffer).not.toBe(second.asSlice().buffer);
});

test("a pool lends buffers as the factory makes them, unless told otherwise", () => {
  using lease = new DgramBufferPool().acquire();
  expect(sizesOf(lease.buffer)).toEqual([16, 0, 1516]);
  using other = new DgramBufferPool({ capacity: 100, headroom: 100 }).acquire();
  expect(sizesOf(other.buffer)).toEqual([100, 0, 100]);
  using small = new DgramBufferPool({ capacity: 9 }).acquire();
  expect(sizesOf(small.buffer)).toEqual([9, 0, 9]);
});

test("memory given back is lent again, empty, its headroom zero", () => {
  const pool = new DgramBufferPool();
  const first = pool.acquire();
  const memory = memoryOf(first);
  first.buffer.putBytes(0xff, 1400);
  first.buffer.tryAddPrefix(new Uint8Array(16).fill(0xee));
  first.buffer.advance(700);
  first[Symbol.dispose]();
  using second = pool.acquire();
  expect(memoryOf(second)).toBe(memory);
  expect(sizesOf(second.buffer)).toEqual([16, 0, 1516]);
  expect(second.buffer.intoParts()).toEqual([new Uint8Array(16), 16]);
  expect(countersOf(pool)).toEqual([0, 1, 1, 0]);
});

test("buffers on loan at the same time never share memory", () => {
  const pool = new DgramBufferPool({ maxBuffers: 4 });
  for (let round = 0; round < 3; round++) {
    const leases = Array.from({ length: 9 }, () => pool.acquire());
    expect(new Set(leases.map(memoryOf)).size).toBe(9);
    for (const lease of leases) lease[Symbol.dispose]();
    expect(pool.idleCount).toBe(4);
  }
  expect(countersOf(pool)).toEqual([4, 8, 19, 15]);
});

test("a lease disposed twice gives back once, and nothing of the next owner's", () => {
  const pool = new DgramBufferPool();
  const stale = pool.acquire();
  stale[Symbol.dispose]();
  stale[Symbol.dispose]();
  expect(countersOf(pool)).toEqual([1, 0, 1, 0]);
  const owner = pool.acquire();
  owner.buffer.putU8(7);
  stale[Symbol.dispose]();
  expect(pool.idleCount).toBe(0);
  expect(owner.isHeld).toBe(true);
  expect(owner.buffer.asSlice().toHex()).toBe("07");
  using third = pool.acquire();
  expect(memoryOf(third)).not.toBe(memoryOf(owner));
});

test("a buffer used after its lease is over reaches no memory of the pool", () => {
  const pool = new DgramBufferPool();
  const lease = pool.acquire();
  const { buffer } = lease;
  buffer.putBytes(1, 10);
  lease[Symbol.dispose]();
  expect(sizesOf(buffer)).toEqual([0, 0, 0]);
  using owner = pool.acquire();
  owner.buffer.putBytes(2, 10);
  buffer.putBytes(3, 2000);
  buffer.spliceHeadroom(16);
  buffer.tryAddPrefix(new Uint8Array(16));
  expect(owner.buffer.asSlice()).toEqual(new Uint8Array(10).fill(2));
  expect(lease.isHeld).toBe(false);
  expect(() => lease.buffer).toThrow(TypeError);
});

test("a lease filled again is the owner's, and its buffer begins anew", () => {
  const pool = new DgramBufferPool();
  const lease = new BufferLease();
  expect(() => lease.buffer).toThrow(TypeError);
  lease[Symbol.dispose]();
  for (let round = 0; round < 3; round++) {
    using held = pool.acquire(lease);
    expect(held).toBe(lease);
    expect(sizesOf(held.buffer)).toEqual([16, 0, 1516]);
    held.buffer.putBytes(round, 100);
    expect(() => pool.acquire(lease)).toThrow(TypeError);
    expect(held.buffer.length).toBe(100);
  }
  expect(countersOf(pool)).toEqual([1, 2, 1, 0]);
});

test("a lease may serve another pool, and each gets its own memory back", () => {
  const [small, large] = [new DgramBufferPool({ capacity: 64 }), new DgramBufferPool()];
  const lease = new BufferLease();
  for (const pool of [small, large, small]) {
    using held = pool.acquire(lease);
    expect(held.buffer.capacity).toBe(pool.capacity);
  }
  expect([small.idleCount, large.idleCount]).toEqual([1, 1]);
});

test("a buffer that grew, was taken apart or transferred is discarded and its memory lent to nobody", () => {
  const pool = new DgramBufferPool();
  const changes: ((buffer: DgramBuffer) => unknown)[] = [
    (buffer) => buffer.putBytes(1, 1501),
    (buffer) => buffer.spliceHeadroom(1517),
    (buffer) => buffer.intoParts(),
    (buffer) => DgramBuffer.fromVecWithHeadroom(...buffer.intoParts()),
    (buffer) => buffer.put(DgramBuffer.from(buffer.intoParts()[0])),
    (buffer) => {
      const memory = buffer.asSlice().buffer as ArrayBuffer;
      structuredClone(memory, { transfer: [memory] });
    },
  ];
  for (const [index, change] of changes.entries()) {
    const lease = pool.acquire();
    const memory = memoryOf(lease);
    change(lease.buffer);
    lease[Symbol.dispose]();
    expect(countersOf(pool)).toEqual([0, 0, index + 1, index + 1]);
    expect(lease.isHeld).toBe(false);
    using next = new DgramBufferPool().acquire();
    expect(memoryOf(next)).not.toBe(memory);
  }
});

test("initialBuffers are there at once; with maxBuffers zero nothing is kept", () => {
  const filled = new DgramBufferPool({ initialBuffers: 3, maxBuffers: 3 });
  expect(countersOf(filled)).toEqual([3, 0, 0, 0]);
  filled.acquire()[Symbol.dispose]();
  expect(countersOf(filled)).toEqual([3, 1, 0, 0]);
  const none = new DgramBufferPool({ maxBuffers: 0 });
  none.acquire()[Symbol.dispose]();
  expect(countersOf(none)).toEqual([0, 0, 1, 1]);
});

test("sizes out of range are a RangeError", () => {
  const bad: DgramBufferPoolOptions[] = [
    { capacity: 0 },
    { capacity: 1.5 },
    { capacity: 10, headroom: 11 },
    { headroom: -1 },
    { headroom: 1517 },
    { maxBuffers: -1 },
    { maxBuffers: Number.POSITIVE_INFINITY },
    { maxBuffers: 2, initialBuffers: 3 },
    { initialBuffers: -1 },
    { capacity: "9" as unknown as number },
  ];
  for (const options of bad) expect(() => new DgramBufferPool(options)).toThrow(RangeError);
});

test("what is no lease is a TypeError, and no buffer is lent", () => {
  const pool = new DgramBufferPool();
  for (const lease of [null, 1, {}, new DgramBuffer()]) {
    expect(() => pool.acquire(lease as BufferLease)).toThrow(TypeError);
  }
  expect(countersOf(pool)).toEqual([0, 0, 0, 0]);
});

test("when there is no memory for a new buffer, acquire throws and the lease stays free", () => {
  const pool = new DgramBufferPool({ capacity: Number.MAX_SAFE_INTEGER });
  const lease = new BufferLease();
  expect(() => pool.acquire(lease)).toThrow(RangeError);
  expect(lease.isHeld).toBe(false);
  expect(countersOf(pool)).toEqual([0, 0, 0, 0]);
});

test("a lease filled again, used and given back allocates nothing", async () => {
  const pool = new DgramBufferPool();
  const lease = new BufferLease();
  const payload = new Uint8Array(1200);
  const prefix = new Uint8Array(8);
  let sum = 0;
  const op = (index: number): void => {
    using held = pool.acquire(lease);
    const { buffer } = held;
    buffer.putSlice(payload);
    buffer.tryAddPrefix(prefix);
    buffer.tryAddVarintPrefix(index);
    sum += buffer.length;
  };
  expect(await allocates(op)).toBe(false);
  expect([pool.misses, pool.idleCount, pool.discarded]).toEqual([1, 1, 0]);
  expect(sum).toBeGreaterThan(0);
});
