/** The slots of the vectors: which bytes of which memory they cover, after every way to fill them. */

import { describe, expect, test } from "bun:test";
import { IOVEC, MMSGHDR } from "../../ffi/layout.ts";
import { addressOf } from "../../ffi/memory.ts";
import { lengthOf, type ReceiveVector, type SendVector } from "../../ffi/native.ts";
import { SocketAddress } from "../../lib/index.ts";
import { SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { mapAroundBoundary, PAGE } from "./mapped-memory.ts";
import { loadedNative, openPair } from "./tools.ts";

const native = loadedNative();

/** Returns the address and the length that slot `i` has. */
function slotOf({ words, capacity }: SendVector | ReceiveVector, i: number): [number, number] {
  const at = (capacity * MMSGHDR.size + i * IOVEC.size) / 4;
  const low = (words[at + IOVEC.base / 4] as number) >>> 0;
  const address = (words[at + IOVEC.base / 4 + 1] as number) * 2 ** 32 + low;
  return [address, (words[at + IOVEC.length / 4] as number) >>> 0];
}

/** Returns the slots that were filled since the last `rewind`. */
function slotsOf(vector: SendVector): [number, number][] {
  return Array.from({ length: vector.nextSlot }, (_, i) => slotOf(vector, i));
}

function sendVector(): SendVector {
  const vector = native.sendVector(0);
  vector.reserve(8);
  return vector;
}

function receiveVector(): ReceiveVector {
  const vector = native.receiveVector(0);
  vector.reserve(8);
  return vector;
}

/** Returns a view whose memory has been transferred to another owner. */
function transfer(view: Uint8Array): void {
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
}

/** Slices of one array: `starts` and lengths. */
function slices(view: Uint8Array, ...parts: [start: number, length: number][]) {
  return {
    views: parts.map(() => view),
    starts: Uint32Array.from(parts, ([start]) => start),
    lengths: Uint32Array.from(parts, ([, length]) => length),
  };
}

describe("parts of memory that crosses a multiple of 4 GiB", () => {
  const memory = mapAroundBoundary(2048);
  const view = new Uint8Array(memory.buffer);
  const base = memory.boundary - 2 * PAGE;
  /** Before, at and after the boundary; no two are adjacent. */
  const STARTS = [0, 2 * PAGE - 50, 2 * PAGE, 2 * PAGE + 50, 3 * PAGE];
  const EXPECTED = STARTS.map((start): [number, number] => [base + start, 20]);

  test("have their own addresses when they are appended", () => {
    const vector = sendVector();
    for (const start of STARTS) vector.append(view, start, 20, true);
    expect(slotsOf(vector)).toEqual(EXPECTED);
  });

  test("have their own addresses when they are loaded and appended one by one", () => {
    const vector = sendVector();
    for (const [i, start] of STARTS.entries()) {
      vector.loadPart(i, view, start, 20);
      expect(vector.prepare(i)).toBe(20);
      vector.appendLoaded(i, true);
    }
    expect(slotsOf(vector)).toEqual(EXPECTED);
  });

  test("have their own addresses when those of equal length are appended together", () => {
    const vector = sendVector();
    for (const [i, start] of STARTS.entries()) {
      vector.loadPart(i, view, start, 20);
      vector.prepare(i);
    }
    expect(vector.appendEqual(0, STARTS.length, 20)).toBe(STARTS.length);
    expect(slotsOf(vector)).toEqual(EXPECTED);
  });

  test("have their own addresses when they are appended as slices", () => {
    const vector = sendVector();
    const parts = slices(view, ...STARTS.map((start): [number, number] => [start, 20]));
    vector.appendSlices(parts, 0, STARTS.length, false);
    expect(slotsOf(vector)).toEqual(EXPECTED);
  });

  test("have their own addresses when they are received into", () => {
    const vector = receiveVector();
    for (const [i, start] of STARTS.entries()) vector.loadTail(i, view, start);
    vector.prepare(0, STARTS.length);
    const slots = STARTS.map((_, i) => slotOf(vector, i));
    expect(slots).toEqual(STARTS.map((start) => [base + start, 4 * PAGE - start]));
  });

  test("are one slot if they are adjacent, and two if only the low words of addresses are", () => {
    const other = mapAroundBoundary(2048 + 64);
    const vector = sendVector();
    vector.append(view, 2 * PAGE, 100, false);
    vector.append(view, 2 * PAGE + 100, 50, true);
    expect(slotsOf(vector)).toEqual([[memory.boundary, 150]]);
    vector.rewind();
    vector.append(view, 2 * PAGE, 100, false);
    vector.append(new Uint8Array(other.buffer), 2 * PAGE + 100, 50, true);
    expect(slotsOf(vector)).toEqual([
      [memory.boundary, 100],
      [other.boundary + 100, 50],
    ]);
  });
});

describe("memory that was transferred or has shrunk", () => {
  test("is refused as a slice, also after the same slice was sent", () => {
    const vector = sendVector();
    const view = new Uint8Array(64);
    vector.appendSlices(slices(view, [0, 64]), 0, 1, false);
    vector.rewind();
    transfer(view);
    expect(() => vector.appendSlices(slices(view, [0, 64]), 0, 1, false)).toThrow(RangeError);
  });

  test("ends the payloads of equal length that are appended together", () => {
    const vector = sendVector();
    const views = [new Uint8Array(64), new Uint8Array(64), new Uint8Array(64)] as const;
    for (const [i, view] of views.entries()) {
      vector.loadWhole(i, view);
      vector.prepare(i);
    }
    transfer(views[1]);
    expect(vector.appendEqual(0, 3, 64)).toBe(1);
  });

  test("is refused as a payload, which an empty array is not", () => {
    const vector = sendVector();
    const view = new Uint8Array(64);
    vector.loadWhole(0, view);
    transfer(view);
    expect(() => vector.prepare(0)).toThrow("transferred");
    vector.loadWhole(0, new Uint8Array(0));
    expect(vector.prepare(0)).toBe(0);
  });

  test("is not received into: a whole array has no room, and a tail is refused", () => {
    const vector = receiveVector();
    const [whole, tail] = [new Uint8Array(64), new Uint8Array(64)];
    vector.loadWhole(0, whole);
    vector.loadTail(1, tail, 4);
    vector.prepare(0, 2);
    expect([vector.roomAt(0), vector.roomAt(1)]).toEqual([64, 60]);
    transfer(whole);
    transfer(tail);
    vector.prepare(0, 1);
    expect(vector.roomAt(0)).toBe(0);
    expect(() => vector.prepare(1, 1)).toThrow(RangeError);
  });
});

describe("parts that exceed their array", () => {
  const view = new Uint8Array(new ArrayBuffer(16), 0, 8);

  test("are refused as payloads, at their end and at their start", () => {
    const vector = sendVector();
    for (const [start, length] of [
      [4, 5],
      [8, 1],
      [9, 0],
      [0, 9],
    ] as const) {
      vector.loadPart(0, view, start, length);
      expect(() => vector.prepare(0)).toThrow(RangeError);
    }
  });

  test("end the payloads of equal length that are appended together", () => {
    const vector = sendVector();
    vector.loadPart(0, view, 4, 4);
    vector.prepare(0);
    // The second one is not checked: its first check is that of `appendEqual`.
    vector.loadPart(1, view, 5, 4);
    expect(vector.appendEqual(0, 2, 4)).toBe(1);
  });

  test("are refused as tails, unless they are empty", () => {
    const vector = receiveVector();
    vector.loadTail(0, view, 8);
    vector.prepare(0, 1);
    expect(vector.roomAt(0)).toBe(0);
    vector.loadTail(0, view, 9);
    expect(() => vector.prepare(0, 1)).toThrow(RangeError);
  });
});

describe("a slot that is loaded", () => {
  test("with another part of the same array starts there", () => {
    const vector = receiveVector();
    const view = new Uint8Array(new ArrayBuffer(64));
    for (const start of [4, 8, 0]) {
      vector.loadTail(0, view, start);
      vector.prepare(0, 1);
      expect(vector.startAt(0)).toBe(start);
      expect(slotOf(vector, 0)).toEqual([addressOf(view) + start, 64 - start]);
    }
  });

  test("with a part of an array does not cover the array", () => {
    const vector = receiveVector();
    const view = new Uint8Array(64);
    vector.loadTail(0, view, 4);
    expect(vector.covers(0, view)).toBe(false);
    expect(vector.countCovered(0, [view], 0, 1)).toBe(0);
    expect(vector.uncovered).toBe(view);
    vector.loadWhole(0, view);
    expect(vector.covers(0, view)).toBe(true);
    expect(vector.countCovered(0, [view], 0, 1)).toBe(1);
  });

  test("is released with the element that was read last", () => {
    const vector = receiveVector();
    vector.countCovered(0, [new Uint8Array(8)], 0, 1);
    expect(vector.uncovered).toBeDefined();
    vector.release(1);
    expect(vector.uncovered).toBeUndefined();
  });

  test("with an array of 2 GiB has room for it", () => {
    const vector = receiveVector();
    // Takes up address space only: the memory is never written.
    vector.loadWhole(0, new Uint8Array(2 ** 31));
    expect(vector.roomAt(0)).toBe(2 ** 31);
  });
});

describe("messages", () => {
  test("whose slices may not extend the previous slot begin with a slot of their own", () => {
    const vector = sendVector();
    const view = new Uint8Array(new ArrayBuffer(64));
    vector.append(view, 0, 10, false);
    vector.appendSlices(slices(view, [10, 10], [20, 10], [40, 5]), 0, 3, false);
    const base = addressOf(view);
    expect(slotsOf(vector)).toEqual([
      [base, 10],
      [base + 10, 20],
      [base + 40, 5],
    ]);
  });

  test("from the second one on can be sent without the first", () => {
    using pair = openPair(native, SOCK_DGRAM);
    const vector = sendVector();
    for (const i of [0, 1, 2]) vector.setBuffer(i, Uint8Array.of(i), 0, 1);
    expect(vector.send(pair.left, 1, 2)).toBe(2);
    const received = receiveVector();
    const target = new Uint8Array(3);
    for (const i of [0, 1, 2]) received.setBuffer(i, target, i, 1);
    expect(received.receive(pair.right, 0, 3)).toBe(2);
    expect([...target]).toEqual([1, 2, 0]);
  });

  test("have no more bytes of a destination than they have room for", () => {
    const vector = native.sendVector(16);
    vector.reserve(2);
    const before = vector.words.slice(vector.nameIndex(1), vector.nameIndex(1) + 4);
    // An IPv6 address has 28 bytes.
    vector.setDestination(0, SocketAddress.ip("ff02::ffff%3", 65_535)._encoded);
    expect(vector.words.slice(vector.nameIndex(1), vector.nameIndex(1) + 4)).toEqual(before);
  });
});

test("lengthOf returns the real length of an array, whatever its length property says", () => {
  for (const length of [0, 3, 5, 1000, -1, 0.5, "4"]) {
    const view = Object.defineProperty(new Uint8Array(4), "length", { value: length });
    expect([length, lengthOf(view)]).toEqual([length, 4]);
  }
});
