/**
 * The ways to prepend a prefix to a payload: into existing headroom, into headroom that
 * `spliceHeadroom` makes, with `Buffer.concat`, and with `set` into an array. The payload is a part
 * of a larger `ArrayBuffer`, as a received datagram is.
 *
 * - "pooled": acquires a buffer, copies the payload into it, prepends the prefix and releases the
 *   buffer. `Buffer.concat` uses Node's pool, and `set` a scratch array.
 * - "fresh": the same with newly allocated memory.
 * - "alone": only prepends the prefix, to a payload that is in its buffer already. For comparison,
 *   copies the payload once.
 */

import { BufferLease, DGRAM_HEADROOM, DgramBuffer, DgramBufferPool } from "../../lib/index.ts";
import type { Comparison, Variant } from "./comparison.ts";

const PAYLOAD_BYTES = [64, 512, 1200, 1500, 9000, 65_000];
const PREFIX = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
/**
 * The offset of the payload. It is not at the start of a page: on some processors, long copies are
 * 10 times slower if the page offsets of source and destination differ by 1 to 15 bytes, and that
 * would affect the variants at random.
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

function freshVariants(payload: Uint8Array): Variant[] {
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

/** The results are views of memory that the next run overwrites. */
function pooledVariants(payload: Uint8Array): Variant[] {
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

/** Each run restores its buffer, so that it can repeat. */
function aloneVariants(payload: Uint8Array): Variant[] {
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
        // Restores a buffer without headroom. Its bytes differ from the payload, which does not
        // affect the time of moving them.
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
    { scenario: "prefix alone", parameters, variants: aloneVariants(payload), expected: bytes },
    {
      scenario: "prefix, pooled",
      parameters,
      variants: pooledVariants(payload),
      expected: prefixed,
    },
    { scenario: "prefix, fresh", parameters, variants: freshVariants(payload), expected: prefixed },
  ];
});
