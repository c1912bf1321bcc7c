/**
 * The lifetime of memory that native code accesses: a vector keeps its buffers from being
 * garbage-collected while it has their addresses, and no longer.
 */

import { ptr } from "bun:ffi";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { addressOf, nativeBytes } from "../../ffi/memory.ts";
import type { ReceiveVector } from "../../ffi/native.ts";
import { EAGAIN, SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { loadedNative, openPair } from "./tools.ts";

const native = loadedNative();
let left = -1;
let right = -1;
let pair: Disposable | undefined;

beforeEach(() => {
  const opened = openPair(native, SOCK_DGRAM);
  ({ left, right } = opened);
  pair = opened;
});
afterEach(() => pair?.[Symbol.dispose]());

/** Collects garbage, and overwrites the freed memory with new arrays. */
function collectAndReuse(bytes: number): unknown[] {
  Bun.gc(true);
  const arrays = Array.from({ length: 200 }, () => new Uint8Array(bytes).fill(0xdd));
  Bun.gc(true);
  return arrays;
}

function payload(seed: number, bytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, i) => (seed * 31 + i) & 0xff);
}

/**
 * Calls `work` with `depth` more frames on the stack. The garbage collector scans the stack in use,
 * and `work` then leaves no reference in that part of it.
 */
function atDepth(depth: number, work: () => void): void {
  if (depth === 0) work();
  else atDepth(depth - 1, work);
}

/** Collects garbage in up to 20 ticks, and returns the number of references that are cleared. */
async function countCollected(references: readonly WeakRef<Uint8Array>[]): Promise<number> {
  let count = 0;
  for (let i = 0; i < 20 && count < references.length - 1; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    Bun.gc(true);
    count = references.filter((reference) => reference.deref() === undefined).length;
  }
  return count;
}

describe("addressOf", () => {
  test("returns an address that is still valid after the buffer of the array is accessed", () => {
    for (let i = 0; i < 1000; i++) {
      const small = new Uint8Array(100);
      const address = addressOf(small);
      small.buffer;
      expect(ptr(small)).toBe(address as never);
    }
  });

  test("returns the same address for nativeBytes, which are zeroed, after a collection", () => {
    for (const length of [1, 64, 999, 65_536]) {
      const bytes = nativeBytes(length);
      expect(bytes.every((byte) => byte === 0)).toBe(true);
      const address = addressOf(bytes);
      collectAndReuse(length);
      expect(addressOf(bytes)).toBe(address);
    }
  });

  test("returns 1 for an empty or detached view", () => {
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    for (const view of [new Uint8Array(0), new Uint8Array(8).subarray(8), detached]) {
      expect(addressOf(view)).toBe(1);
    }
  });
});

describe("a message vector", () => {
  for (const [bytes, count] of [
    [16, 8],
    [100, 8],
    [999, 8],
    [1500, 8],
    [65_536, 2],
  ] as const) {
    test(`keeps buffers of ${bytes} bytes alive that nothing else refers to`, () => {
      const received = native.receiveVector(0);
      const sending = native.sendVector(0);
      received.reserve(count);
      sending.reserve(count);
      const held: WeakRef<Uint8Array>[] = [];
      atDepth(20, () => {
        for (let i = 0; i < count; i++) {
          const target = new Uint8Array(bytes);
          received.setBuffer(i, target, 0, bytes);
          sending.setBuffer(i, payload(i, bytes), 0, bytes);
          held.push(new WeakRef(target));
        }
      });
      collectAndReuse(bytes);
      expect(sending.send(left, 0, count)).toBe(count);
      collectAndReuse(bytes);
      expect(received.receive(right, 0, count)).toBe(count);
      for (const [i, reference] of held.entries()) {
        const target = reference.deref();
        if (target === undefined) throw new Error(`buffer ${i} was collected`);
        expect(target).toEqual(payload(i, bytes));
      }
    });
  }

  test("receives into a small array whose buffer is accessed after setBuffer", () => {
    const received = native.receiveVector(0);
    const sending = native.sendVector(0);
    received.reserve(1);
    sending.reserve(1);
    for (let i = 0; i < 200; i++) {
      const target = new Uint8Array(60);
      received.setBuffer(0, target, 0, 60);
      // Would move a small array if `setBuffer` had not already accessed its buffer.
      const alias = new Uint8Array(target.buffer);
      sending.setBuffer(0, payload(i, 60), 0, 60);
      expect(sending.send(left, 0, 1)).toBe(1);
      expect(received.receive(right, 0, 1)).toBe(1);
      expect(alias).toEqual(payload(i, 60));
    }
  });

  test("receives into a view that is set again after a collection", () => {
    const received = native.receiveVector(0);
    const sending = native.sendVector(0);
    received.reserve(1);
    sending.reserve(1);
    const target = new Uint8Array(64);
    for (let i = 0; i < 50; i++) {
      received.setBuffer(0, target, i % 4, 60);
      collectAndReuse(64);
      sending.setBuffer(0, payload(i, 60), 0, 60);
      expect(sending.send(left, 0, 1)).toBe(1);
      expect(received.receive(right, 0, 1)).toBe(1);
      expect(target.subarray(i % 4, (i % 4) + 60)).toEqual(payload(i, 60));
    }
  });

  test("keeps its memory block at the same address across collections", () => {
    const received = native.receiveVector(28, 64);
    received.reserve(1024);
    const address = addressOf(received.words);
    collectAndReuse(received.words.byteLength);
    expect(addressOf(received.words)).toBe(address);
    const target = new Uint8Array(8);
    received.setBuffer(0, target, 0, 8);
    expect(received.receive(right, 0, 1)).toBe(-EAGAIN);
  });

  test("allows released buffers to be collected, and keeps the others", async () => {
    const received = native.receiveVector(0);
    received.reserve(40);
    const references: WeakRef<Uint8Array>[] = [];
    atDepth(20, () => {
      for (let i = 0; i < 40; i++) {
        const target = new Uint8Array(2000);
        received.setBuffer(i, target, 0, 2000);
        references.push(new WeakRef(target));
      }
    });
    received.release(20);
    expect(await countCollected(references.slice(0, 20))).toBeGreaterThanOrEqual(18);
    expect(await countAlive(received, references.slice(20))).toBe(20);
  });

  test("allows a buffer to be collected when its slot is set to another one", async () => {
    const received = native.receiveVector(0);
    received.reserve(1);
    const references: WeakRef<Uint8Array>[] = [];
    atDepth(20, () => {
      for (let i = 0; i < 20; i++) {
        const target = new Uint8Array(2000);
        received.setBuffer(0, target, 0, 2000);
        references.push(new WeakRef(target));
      }
    });
    expect(await countCollected(references)).toBeGreaterThanOrEqual(18);
    expect(references.at(-1)?.deref()).toBeDefined();
  });
});

/** Returns the number of references that a collection does not clear while `owner` is held. */
async function countAlive(
  owner: ReceiveVector,
  references: readonly WeakRef<Uint8Array>[],
): Promise<number> {
  await new Promise((resolve) => setImmediate(resolve));
  Bun.gc(true);
  const count = references.filter((reference) => reference.deref() !== undefined).length;
  expect(owner.capacity).toBeGreaterThan(0);
  return count;
}

describe("calls compiled by the JIT", () => {
  test("send and receive correctly 200,000 times", () => {
    const received = native.receiveVector(0);
    const sending = native.sendVector(0);
    received.reserve(2);
    sending.reserve(2);
    const target = new Uint8Array(16);
    const source = new Uint8Array(16);
    const view = new DataView(source.buffer);
    let wrong = 0;
    for (let i = 0; i < 200_000; i++) {
      const length = 4 + (i % 13);
      view.setUint32(0, i);
      sending.setBuffer(0, source, 0, length);
      received.setBuffer(0, target, 0, 16);
      received.setBuffer(1, target, 8, 8);
      if (sending.send(left, 0, 1) !== 1) wrong++;
      // Two are requested, one is queued; afterwards none.
      if (received.receive(right, 0, 2) !== 1 || received.lengthAt(0) !== length) wrong++;
      if (target[0] !== i >>> 24 || target[3] !== (i & 0xff)) wrong++;
      if (i % 4 === 0 && received.receive(right, 0, 1) !== -EAGAIN) wrong++;
      if (i % 5 === 0 && received.receive(-1, 0, 1) !== -9) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test("pass negative results and descriptors up to 2^31 - 1 unchanged", () => {
    let wrong = 0;
    for (let i = 0; i < 200_000; i++) {
      if (native.flags(-1) !== -9) wrong++;
      if (native.close(2 ** 31 - 1) !== -9) wrong++;
      if (native.setIntOption(left, 1, 7, 4096) !== 0) wrong++;
      if (native.getIntOption(left, 1, 3) !== 4 || native.scratch[0] !== SOCK_DGRAM) wrong++;
    }
    expect(wrong).toBe(0);
  });
});
