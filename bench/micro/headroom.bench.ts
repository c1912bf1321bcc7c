/**
 * Ways to put a prefix in front of a payload: into headroom that is there, by splicing headroom
 * in, by joining two buffers, by setting both in an array. The payload lies somewhere in a larger
 * `ArrayBuffer`, as a received one does.
 *
 * "pooled" counts a whole datagram whose memory is there: take a buffer, copy the payload in,
 * prefix it, give the buffer back; joining and setting have a pool only in so far as the one has
 * Node's and the other a scratch array. "fresh" does the same with new memory each time. "alone"
 * is the prefix by itself, on a payload that is in its buffer, beside copying that payload once.
 */

import { BufferLease, DGRAM_HEADROOM, DgramBuffer, DgramBufferPool } from "../../lib/index.ts";
import type { Comparison, Way } from "./comparison.ts";

const PAYLOAD_BYTES = [64, 512, 1200, 1500, 9000, 65_000];
const PREFIX = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
/**
 * Where the payload begins. Not at the start of a page: long copies between two places that are
 * 1 to 15 bytes apart, counted from the start of their pages, are 10 times slower on some
 * processors, and which of the ways suffers from that would be chance.
 */
const PAYLOAD_OFFSET = 100;

function makePayload(length: number): Uint8Array {
  const payload = new Uint8Array(new ArrayBuffer(PAYLOAD_OFFSET + length), PAYLOAD_OFFSET);
  for (let i = 0; i < length; i++) payload[i] = i * 7;
  return payload;
}

function check(condition: boolean): void {
  if (!condition) throw new Error("the prefix did not fit");
}

function freshWays(payload: Uint8Array): Way[] {
  const capacity = DGRAM_HEADROOM + payload.length;
  return [
    {
      name: "headroom",
      run() {
        const buffer = DgramBuffer.withCapacityAndHeadroom(capacity, DGRAM_HEADROOM);
        buffer.putSlice(payload);
        check(buffer.tryAddPrefix(PREFIX));
        return buffer.asSlice();
      },
    },
    {
      name: "splice",
      run() {
        const buffer = DgramBuffer.fromSlice(payload);
        buffer.spliceHeadroom(PREFIX.length);
        check(buffer.tryAddPrefix(PREFIX));
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
        check(buffer.tryAddPrefix(PREFIX));
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
        check(buffer.tryAddPrefix(PREFIX));
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
  const capacity = payload.length + DGRAM_HEADROOM;
  const buffer = DgramBuffer.withCapacityAndHeadroom(capacity, DGRAM_HEADROOM);
  buffer.putSlice(payload);
  const spliced = DgramBuffer.withCapacity(payload.length + PREFIX.length);
  spliced.putSlice(payload);
  const scratch = new Uint8Array(new ArrayBuffer(payload.length));
  return [
    {
      name: "headroom: tryAddPrefix, advance",
      run() {
        check(buffer.tryAddPrefix(PREFIX));
        buffer.advance(PREFIX.length);
        return buffer.length;
      },
    },
    {
      name: "splice: spliceHeadroom, tryAddPrefix",
      run() {
        spliced.spliceHeadroom(PREFIX.length);
        check(spliced.tryAddPrefix(PREFIX));
        // Back to a payload without headroom, as one that was just received. Which bytes it has
        // is all the same: moving them takes the same time.
        spliced.truncate(payload.length);
        return spliced.length;
      },
    },
    {
      name: "the payload copied once: set",
      run() {
        scratch.set(payload);
        return scratch.length;
      },
    },
  ];
}

export const comparisons: readonly Comparison[] = PAYLOAD_BYTES.flatMap((bytes) => {
  const payload = makePayload(bytes);
  const prefixed = new Uint8Array([...PREFIX, ...payload]);
  const parameters = { bytes };
  return [
    { scenario: "prefix alone", parameters, ways: loneWays(payload), expected: bytes },
    { scenario: "prefix, pooled", parameters, ways: pooledWays(payload), expected: prefixed },
    { scenario: "prefix, fresh", parameters, ways: freshWays(payload), expected: prefixed },
  ];
});
