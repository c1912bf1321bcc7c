/** Tests of the buffer factory and the buffer pool: sizes, reuse, limits, disposed leases. */

import { expect, test } from "bun:test";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";
import {
  BufferLease,
  DgramBufferPool,
  type DgramBufferPoolOptions,
  dgramBufferFactory,
} from "../../lib/buffer/pool.ts";
import { allocates } from "../tools/allocation.ts";

/** Returns headroom, length and capacity. */
function sizesOf({ headroom, length, capacity }: DgramBuffer): number[] {
  return [headroom, length, capacity];
}

/** Returns the number of idle buffers, hits, misses and discarded buffers. */
function countersOf({ idleCount, hits, misses, discarded }: DgramBufferPool): number[] {
  return [idleCount, hits, misses, discarded];
}

/** Returns the memory of a lease's buffer. */
function memoryOf(lease: BufferLease): ArrayBufferLike {
  return lease.buffer.asSlice().buffer;
}

test("dgramBufferFactory returns new buffers of 1516 bytes with 16 bytes of headroom", () => {
  const [first, second] = [
    dgramBufferFactory.getMaxDgramBuf(),
    dgramBufferFactory.getMaxDgramBuf(),
  ];
  expect(sizesOf(first)).toEqual([16, 0, 1516]);
  expect(first.spareCapacity).toBe(1500);
  expect(first.asSlice().buffer).not.toBe(second.asSlice().buffer);
});

test("a pool provides buffers of the factory's size by default, or of the given size", () => {
  using lease = new DgramBufferPool().acquire();
  expect(sizesOf(lease.buffer)).toEqual([16, 0, 1516]);
  using other = new DgramBufferPool({ capacity: 100, headroom: 100 }).acquire();
  expect(sizesOf(other.buffer)).toEqual([100, 0, 100]);
  using small = new DgramBufferPool({ capacity: 9 }).acquire();
  expect(sizesOf(small.buffer)).toEqual([9, 0, 9]);
});

test("a pool reuses the memory of a disposed lease, empty and with zeroed headroom", () => {
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

test("leases held at the same time never share memory", () => {
  const pool = new DgramBufferPool({ maxBuffers: 4 });
  for (let round = 0; round < 3; round++) {
    const leases = Array.from({ length: 9 }, () => pool.acquire());
    expect(new Set(leases.map(memoryOf)).size).toBe(9);
    for (const lease of leases) lease[Symbol.dispose]();
    expect(pool.idleCount).toBe(4);
  }
  expect(countersOf(pool)).toEqual([4, 8, 19, 15]);
});

test("a lease disposed twice returns its memory once, and does not affect the next lease", () => {
  const pool = new DgramBufferPool();
  const disposed = pool.acquire();
  disposed[Symbol.dispose]();
  disposed[Symbol.dispose]();
  expect(countersOf(pool)).toEqual([1, 0, 1, 0]);
  const next = pool.acquire();
  next.buffer.putU8(7);
  disposed[Symbol.dispose]();
  expect(pool.idleCount).toBe(0);
  expect(next.isHeld).toBe(true);
  expect(next.buffer.asSlice().toHex()).toBe("07");
  using third = pool.acquire();
  expect(memoryOf(third)).not.toBe(memoryOf(next));
});

test("a buffer used after its lease was disposed does not access memory of the pool", () => {
  const pool = new DgramBufferPool();
  const lease = pool.acquire();
  const { buffer } = lease;
  buffer.putBytes(1, 10);
  lease[Symbol.dispose]();
  expect(sizesOf(buffer)).toEqual([0, 0, 0]);
  using next = pool.acquire();
  next.buffer.putBytes(2, 10);
  buffer.putBytes(3, 2000);
  buffer.spliceHeadroom(16);
  buffer.tryAddPrefix(new Uint8Array(16));
  expect(next.buffer.asSlice()).toEqual(new Uint8Array(10).fill(2));
  expect(lease.isHeld).toBe(false);
  expect(() => lease.buffer).toThrow(TypeError);
});

test("a lease can be reused after disposal, with an empty buffer, but not while it is held", () => {
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

test("a lease can be used with several pools, and returns its memory to the right one", () => {
  const [small, large] = [new DgramBufferPool({ capacity: 64 }), new DgramBufferPool()];
  const lease = new BufferLease();
  for (const pool of [small, large, small]) {
    using held = pool.acquire(lease);
    expect(held.buffer.capacity).toBe(pool.capacity);
  }
  expect([small.idleCount, large.idleCount]).toEqual([1, 1]);
});

test("a pool discards buffers that grew, were detached by intoParts, or were transferred", () => {
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
    // Two per change: also that of `next`.
    expect(countersOf(pool)).toEqual([0, 0, 2 * index + 1, 2 * index + 1]);
    expect(lease.isHeld).toBe(false);
    using next = pool.acquire();
    expect(memoryOf(next)).not.toBe(memory);
    next.buffer.putBytes(0, 1501);
  }
});

test("a pool starts with initialBuffers idle buffers, and keeps none if maxBuffers is 0", () => {
  const filled = new DgramBufferPool({ initialBuffers: 3, maxBuffers: 3 });
  expect(countersOf(filled)).toEqual([3, 0, 0, 0]);
  filled.acquire()[Symbol.dispose]();
  expect(countersOf(filled)).toEqual([3, 1, 0, 0]);
  const none = new DgramBufferPool({ maxBuffers: 0 });
  none.acquire()[Symbol.dispose]();
  expect(countersOf(none)).toEqual([0, 0, 1, 1]);
});

test("DgramBufferPool throws RangeError for options out of range", () => {
  const invalid: DgramBufferPoolOptions[] = [
    { capacity: 0 },
    { capacity: 1.5 },
    { capacity: 10, headroom: 11 },
    { headroom: -1 },
    { headroom: 1517 },
    { maxBuffers: -1 },
    { maxBuffers: Number.POSITIVE_INFINITY },
    { maxBuffers: 2, initialBuffers: 3 },
    { initialBuffers: -1 },
  ];
  for (const options of invalid) expect(() => new DgramBufferPool(options)).toThrow(RangeError);
  const capacity = "9" as unknown as number;
  expect(() => new DgramBufferPool({ capacity })).toThrow(TypeError);
});

test("acquire throws TypeError and provides no buffer if the argument is not a BufferLease", () => {
  const pool = new DgramBufferPool();
  for (const lease of [null, 1, {}, new DgramBuffer()]) {
    expect(() => pool.acquire(lease as BufferLease)).toThrow(TypeError);
  }
  expect(countersOf(pool)).toEqual([0, 0, 0, 0]);
});

test("acquire throws RangeError and leaves the lease empty if memory is not available", () => {
  const pool = new DgramBufferPool({ capacity: Number.MAX_SAFE_INTEGER });
  const lease = new BufferLease();
  expect(() => pool.acquire(lease)).toThrow(RangeError);
  expect(lease.isHeld).toBe(false);
  expect(countersOf(pool)).toEqual([0, 0, 0, 0]);
});

test("acquiring, filling and disposing a reused lease does not allocate", async () => {
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
