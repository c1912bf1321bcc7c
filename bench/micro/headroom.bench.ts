/**
 * Four ways to put a prefix in front of a payload: into headroom that is there, by splicing
 * headroom in, by joining two buffers, by setting both in a new array. The payload lies somewhere
 * in a larger `ArrayBuffer`, as a received one does.
 *
 * "pooled" counts a whole datagram whose memory is there: take a buffer, copy the payload in,
 * prefix it, give the buffer back; joining and setting have a pool only in so far as the one has
 * Node's and the other a scratch array. "fresh" does the same with new memory each time. "alone"
 * is the prefix by itself, on a payload that is in its buffer.
 */

import { bench, group, summary } from "mitata";
import { DgramBuffer } from "../../lib/buffer.ts";
import { DGRAM_HEADROOM } from "../../lib/limits.ts";
import { BufferLease, DgramBufferPool } from "../../lib/pool.ts";

const PAYLOAD_BYTES = [64, 1200, 9000, 65_000];
const PREFIX = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
/**
 * Where the payload begins. Not at the start of a page: long copies between two places that are
 * 1 to 15 bytes apart, counted from the start of their pages, are 10 times slower on some
 * processors, and which of the ways suffers from that would be chance.
 */
const PAYLOAD_OFFSET = 100;

/** A way to prefix a payload: `run` answers what would be sent. */
interface Way {
  name: string;
  run: () => Uint8Array;
}

function makePayload(length: number): Uint8Array {
  const payload = new Uint8Array(new ArrayBuffer(PAYLOAD_OFFSET + length), PAYLOAD_OFFSET);
  for (let i = 0; i < length; i++) payload[i] = i * 7;
  return payload;
}

function check(condition: boolean, name: string): void {
  if (!condition) throw new Error(`${name}: the prefix did not fit`);
}

function freshWays(payload: Uint8Array): Way[] {
  const capacity = DGRAM_HEADROOM + payload.length;
  return [
    {
      name: "headroom",
      run() {
        const buffer = DgramBuffer.withCapacityAndHeadroom(capacity, DGRAM_HEADROOM);
        buffer.putSlice(payload);
        check(buffer.tryAddPrefix(PREFIX), "headroom");
        return buffer.asSlice();
      },
    },
    {
      name: "splice",
      run() {
        const buffer = DgramBuffer.fromSlice(payload);
        buffer.spliceHeadroom(PREFIX.length);
        check(buffer.tryAddPrefix(PREFIX), "splice");
        return buffer.asSlice();
      },
    },
    { name: "Buffer.concat", run: () => Buffer.concat([PREFIX, payload]) },
    {
      name: "new Uint8Array and set",
      run() {
        const bytes = new Uint8Array(PREFIX.length + payload.length);
        bytes.set(PREFIX);
        bytes.set(payload, PREFIX.length);
        return bytes;
      },
    },
  ];
}

/** These answer a view of memory that the next run uses again. */
function pooledWays(payload: Uint8Array): Way[] {
  const capacity = DGRAM_HEADROOM + payload.length;
  const pool = new DgramBufferPool({ capacity, headroom: DGRAM_HEADROOM });
  const lease = new BufferLease();
  const scratch = new Uint8Array(new ArrayBuffer(PREFIX.length + payload.length));
  return [
    {
      name: "headroom",
      run() {
        using held = pool.acquire(lease);
        const { buffer } = held;
        buffer.putSlice(payload);
        check(buffer.tryAddPrefix(PREFIX), "headroom");
        return buffer.asSlice();
      },
    },
    {
      name: "splice",
      run() {
        using held = pool.acquire(lease);
        const { buffer } = held;
        buffer.clear();
        buffer.putSlice(payload);
        buffer.spliceHeadroom(PREFIX.length);
        check(buffer.tryAddPrefix(PREFIX), "splice");
        return buffer.asSlice();
      },
    },
    { name: "Buffer.concat", run: () => Buffer.concat([PREFIX, payload]) },
    {
      name: "set into scratch",
      run() {
        scratch.set(PREFIX);
        scratch.set(payload, PREFIX.length);
        return scratch;
      },
    },
  ];
}

/** The prefix by itself; every run leaves its buffer ready for the next. */
function loneWays(payload: Uint8Array): Way[] {
  const buffer = DgramBuffer.withCapacityAndHeadroom(
    payload.length + DGRAM_HEADROOM,
    DGRAM_HEADROOM,
  );
  buffer.putSlice(payload);
  const spliced = DgramBuffer.withCapacity(payload.length + PREFIX.length);
  const bytes = buffer.asSlice();
  return [
    {
      name: "headroom: tryAddPrefix, advance",
      run() {
        check(buffer.tryAddPrefix(PREFIX), "headroom");
        buffer.advance(PREFIX.length);
        return bytes;
      },
    },
    {
      name: "splice: spliceHeadroom, tryAddPrefix",
      run() {
        // Pretends that the payload was just received without headroom. What it holds then is
        // whatever lies there: moving it costs the same.
        spliced._start = 0;
        spliced._end = payload.length;
        spliced.spliceHeadroom(PREFIX.length);
        check(spliced.tryAddPrefix(PREFIX), "splice");
        return bytes;
      },
    },
  ];
}

/** Times the ways side by side, against the first, once their results are known to be the same. */
function compare(name: string, ways: Way[], expected: Uint8Array): void {
  for (const way of ways) {
    const got = way.run();
    if (Buffer.compare(got, expected) !== 0) throw new Error(`${name}, ${way.name}: wrong bytes`);
  }
  group(name, () => {
    summary(() => {
      for (const [index, way] of ways.entries()) {
        // The function itself: through one closure for all, the engine would not inline any.
        bench(way.name, way.run).baseline(index === 0);
      }
    });
  });
}

for (const length of PAYLOAD_BYTES) {
  const payload = makePayload(length);
  const prefixed = new Uint8Array([...PREFIX, ...payload]);
  compare(`prefix alone, ${length} bytes`, loneWays(payload), payload);
  compare(`pooled, ${length} bytes`, pooledWays(payload), prefixed);
  compare(`fresh, ${length} bytes`, freshWays(payload), prefixed);
}
