/** `MessageBuilder`: which datagrams share a GSO message; `GsoLimits`: refused segment sizes. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MMSGHDR } from "../../ffi/layout.ts";
import { loadNative, type SendVector } from "../../ffi/native.ts";
import { GsoLimits, MESSAGE_BYTES_MAX, SEGMENTS_MAX } from "../../lib/batch/gso-limits.ts";
import { MessageBuilder } from "../../lib/batch/message-builder.ts";
import { newCounters } from "../../lib/datagram/counters.ts";
import type { CheckedSendMeta } from "../../lib/datagram/send-meta.ts";
import { SocketAddress } from "../../lib/index.ts";
import { SEND_CONTROL_CAPACITY } from "../../lib/linux/cmsg.ts";
import { EINVAL, EMSGSIZE } from "../../lib/linux/constants.ts";
import { testIf } from "../ffi/tools.ts";
import { times } from "../tools/offload.ts";

const EIO = 5;
const ECONNREFUSED = 111;

const A = SocketAddress.ip("192.0.2.1", 1);
const B = SocketAddress.ip("192.0.2.1", 2);
const C = SocketAddress.ip("2001:db8::1", 1);

describe("GsoLimits", () => {
  test("allows segments of any size before a refusal", () => {
    const gsoLimits = new GsoLimits(newCounters());
    for (const address of [undefined, A, C]) {
      expect(gsoLimits.segmentBytesMax(address)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test("allows no segments to a destination after EIO, and any to others", () => {
    const gsoLimits = new GsoLimits(newCounters());
    gsoLimits.refused(EIO, A, 1200);
    expect(gsoLimits.segmentBytesMax(A)).toBe(0);
    for (const address of [undefined, B, C]) {
      expect(gsoLimits.segmentBytesMax(address)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test.each([EINVAL, EMSGSIZE])(
    "allows only shorter segments to a destination after errno %d, and any to others",
    (errno) => {
      const gsoLimits = new GsoLimits(newCounters());
      gsoLimits.refused(errno, A, 1400);
      const equal = SocketAddress.ip(A.address, A.port);
      expect(gsoLimits.segmentBytesMax(equal)).toBe(1399);
      for (const address of [undefined, B, C]) {
        expect(gsoLimits.segmentBytesMax(address)).toBe(Number.POSITIVE_INFINITY);
      }
      gsoLimits.refused(errno, equal, 1300);
      expect(gsoLimits.segmentBytesMax(A)).toBe(1299);
      gsoLimits.refused(errno, undefined, 9000);
      expect(gsoLimits.segmentBytesMax(undefined)).toBe(8999);
      expect(gsoLimits.segmentBytesMax(A)).toBe(1299);
    },
  );

  test("regards EIO, EINVAL and EMSGSIZE as possible refusals of GSO, and no other errno", () => {
    for (const errno of [EIO, EINVAL, EMSGSIZE]) expect(GsoLimits.isRefusal(errno)).toBe(true);
    for (const errno of [0, 1, 11, 101, 105, ECONNREFUSED]) {
      expect(GsoLimits.isRefusal(errno)).toBe(false);
    }
  });

  test("discards the oldest limit when it has 1024 destinations", () => {
    const gsoLimits = new GsoLimits(newCounters());
    const first = SocketAddress.ip("10.0.0.0", 1);
    gsoLimits.refused(EMSGSIZE, first, 1400);
    let lastKnown = 0;
    for (let i = 1; i <= 3000; i++) {
      const address = SocketAddress.ip(`10.0.${i >> 8}.${i & 255}`, 1);
      gsoLimits.refused(EMSGSIZE, address, 1400);
      expect(gsoLimits.segmentBytesMax(address)).toBe(1399);
      if (gsoLimits.segmentBytesMax(first) === 1399) lastKnown = i;
    }
    expect(lastKnown).toBe(1023);
  });

  test.each([undefined, A])(
    "tries GSO again after one minute, doubling to ten minutes while it is refused: %p",
    (address) => {
      let nowMs = 1e6;
      const counters = newCounters();
      const gsoLimits = new GsoLimits(counters, () => nowMs);
      const minutes = [1, 2, 4, 8, 10, 10];
      for (const [i, delay] of minutes.entries()) {
        gsoLimits.refused(EIO, address, 1200);
        nowMs += delay * 60_000 - 1;
        expect(gsoLimits.segmentBytesMax(address)).toBe(0);
        nowMs += 1;
        expect(gsoLimits.segmentBytesMax(address)).toBe(Number.POSITIVE_INFINITY);
        expect([counters.gsoRetries, counters.gsoRefusals]).toEqual([i + 1, i + 1]);
      }
    },
  );

  test("starts again at one minute if a retry worked for as long as the last delay", () => {
    let nowMs = 1e6;
    const gsoLimits = new GsoLimits(newCounters(), () => nowMs);
    for (let i = 0; i < 3; i++) {
      gsoLimits.refused(EMSGSIZE, A, 1200);
      nowMs += 10 * 60_000;
      gsoLimits.segmentBytesMax(A);
      nowMs += 60_000;
    }
    nowMs += 60 * 60_000;
    gsoLimits.refused(EMSGSIZE, A, 1200);
    nowMs += 60_000;
    expect(gsoLimits.segmentBytesMax(A)).toBe(Number.POSITIVE_INFINITY);
  });

  test("keeps the time of the retry when shorter segments are refused meanwhile", () => {
    let nowMs = 1e6;
    const gsoLimits = new GsoLimits(newCounters(), () => nowMs);
    gsoLimits.refused(EMSGSIZE, A, 1400);
    nowMs += 30_000;
    gsoLimits.refused(EMSGSIZE, A, 1300);
    expect(gsoLimits.segmentBytesMax(A)).toBe(1299);
    nowMs += 30_000;
    expect(gsoLimits.segmentBytesMax(A)).toBe(Number.POSITIVE_INFINITY);
  });
});

/** A datagram to add to a builder. */
interface Datagram {
  readonly length: number;
  readonly to?: SocketAddress | undefined;
  readonly metadata?: CheckedSendMeta | undefined;
  /** The number of buffers that it consists of. Default 1. */
  readonly slots?: number;
}

/** A message that was built. */
interface BuiltMessage {
  readonly datagrams: number;
  readonly slots: number;
  /** The value of the UDP_SEGMENT control message; 0 if there is none. */
  readonly segmentBytes: number;
  /** The length of the address in bytes. */
  readonly nameLength: number;
}

const loaded = loadNative();
const HEADER_WORDS = MMSGHDR.size / 4;

/** Builds the messages of `datagrams` and reads them back. */
function build(
  datagrams: readonly Datagram[],
  options: { gsoLimits?: GsoLimits | undefined; isIPv6?: boolean } = {},
): BuiltMessage[] {
  if (!("native" in loaded)) throw new Error(loaded.reason);
  const vector = loaded.native.sendVector(28, SEND_CONTROL_CAPACITY);
  vector.reserve(datagrams.reduce((total, { slots = 1 }) => total + slots, 0));
  const { isIPv6 = false } = options;
  const gsoLimits = "gsoLimits" in options ? options.gsoLimits : new GsoLimits(newCounters());
  const builder = new MessageBuilder(vector).begin({ isIPv6, isPeerIPv4: !isIPv6, gsoLimits });
  for (const { slots = 1, length, to, metadata } of datagrams) {
    builder.add(length, to, metadata);
    // Separate memory for each slot: bytes that are adjacent in memory would share a slot.
    for (let slot = 0; slot < slots; slot++)
      builder.piece(new Uint8Array(new ArrayBuffer(16)), 0, 1);
  }
  const count = builder.finish();
  return Array.from({ length: count }, (_, m) => read(vector, m));
}

/** Reads message `m` as the kernel would. */
function read(vector: SendVector, m: number): BuiltMessage {
  const { words } = vector;
  const header = m * HEADER_WORDS;
  const control = vector.controlIndex(m);
  const controlBytes = words[header + MMSGHDR.controlLength / 4] as number;
  // UDP_SEGMENT (level 17, type 103, a 16-bit value) is the first control message, if present.
  const isSegmented = controlBytes > 0 && words[control + 2] === 17 && words[control + 3] === 103;
  if (isSegmented) expect(words[control]).toBe(18);
  return {
    datagrams: vector.datagramsIn(m + 1) - vector.datagramsIn(m),
    slots: words[header + MMSGHDR.vectorLength / 4] as number,
    segmentBytes: isSegmented ? (words[control + 4] as number) : 0,
    nameLength: words[header + MMSGHDR.nameLength / 4] as number,
  };
}

/** Returns the number of datagrams of each message. */
function counts(datagrams: readonly Datagram[], options?: Parameters<typeof build>[1]): number[] {
  return build(datagrams, options).map((message) => message.datagrams);
}

/** Returns datagrams of these lengths. */
function lengths(...all: number[]): Datagram[] {
  return all.map((length) => ({ length }));
}

describe.skipIf(!("native" in loaded))("MessageBuilder", () => {
  test("combines up to 64 datagrams of one length, of which the last may be shorter", () => {
    expect(counts([])).toEqual([]);
    expect(counts(lengths(5))).toEqual([1]);
    expect(counts(lengths(5, 5))).toEqual([2]);
    expect(counts(lengths(5, 5, 4))).toEqual([3]);
    expect(counts(lengths(5, 4, 5))).toEqual([2, 1]);
    expect(counts(lengths(5, 4, 4))).toEqual([2, 1]);
    expect(counts(lengths(4, 5))).toEqual([1, 1]);
    expect(counts(lengths(5, 0, 5, 0))).toEqual([1, 1, 1, 1]);
    expect(counts(lengths(0, 0))).toEqual([1, 1]);
    expect(counts(lengths(...times(SEGMENTS_MAX, 5)))).toEqual([SEGMENTS_MAX]);
    expect(counts(lengths(...times(SEGMENTS_MAX + 1, 5)))).toEqual([SEGMENTS_MAX, 1]);
    expect(counts(lengths(...times(SEGMENTS_MAX, 5), 4))).toEqual([SEGMENTS_MAX, 1]);
  });

  test("builds messages of at most MESSAGE_BYTES_MAX bytes", () => {
    const half = Math.floor(MESSAGE_BYTES_MAX / 2);
    expect(counts(lengths(half, half))).toEqual([2]);
    expect(counts(lengths(half + 1, half + 1))).toEqual([1, 1]);
    expect(counts(lengths(MESSAGE_BYTES_MAX - 1, 1))).toEqual([2]);
    expect(counts(lengths(MESSAGE_BYTES_MAX, 1))).toEqual([1, 1]);
    expect(counts(lengths(65_527, 65_527))).toEqual([1, 1]);
  });

  test("combines only datagrams to the same or an equal address", () => {
    const equal = SocketAddress.ip(A.address, A.port);
    const to = (...all: (SocketAddress | undefined)[]) => all.map((a) => ({ length: 9, to: a }));
    expect(counts(to(A, A, equal))).toEqual([3]);
    expect(counts(to(A, B, A, B))).toEqual([1, 1, 1, 1]);
    expect(counts(to(A, A, B, B))).toEqual([2, 2]);
    expect(counts(to(undefined, undefined, A, undefined))).toEqual([2, 1, 1]);
  });

  test("combines only datagrams with the same metadata", () => {
    const withMeta = (metadata?: CheckedSendMeta) => ({ length: 9, to: A, metadata });
    const datagrams = [
      withMeta({ ecn: 2 }),
      withMeta({ ecn: 2 }),
      withMeta({ ecn: 1 }),
      withMeta(),
      withMeta(),
    ];
    expect(counts(datagrams)).toEqual([2, 1, 2]);
    expect(build(datagrams).map(({ segmentBytes }) => segmentBytes)).toEqual([9, 0, 9]);
  });

  test("sets the segment size of messages with several datagrams only", () => {
    expect(build(lengths(300, 300, 7, 1200, 1, 65_000))).toEqual([
      { datagrams: 3, slots: 3, segmentBytes: 300, nameLength: 0 },
      { datagrams: 2, slots: 2, segmentBytes: 1200, nameLength: 0 },
      { datagrams: 1, slots: 1, segmentBytes: 0, nameLength: 0 },
    ]);
  });

  test("includes all buffers of its datagrams in a message", () => {
    const datagrams = [2, 1, 2, 2].map((slots, i) => ({ length: i < 3 ? 50 : 60, slots, to: A }));
    expect(build(datagrams)).toEqual([
      { datagrams: 3, slots: 5, segmentBytes: 50, nameLength: 16 },
      { datagrams: 1, slots: 2, segmentBytes: 0, nameLength: 16 },
    ]);
  });

  test("encodes IPv4 destinations of an IPv6 socket as IPv4-mapped addresses", () => {
    const datagrams = [A, A, C].map((to) => ({ length: 9, to }));
    const nameLengths = (isIPv6: boolean) =>
      build(datagrams, { isIPv6 }).map(({ nameLength }) => nameLength);
    expect(nameLengths(true)).toEqual([28, 28]);
    expect(nameLengths(false)).toEqual([16, 28]);
  });

  test("combines no datagrams without gsoLimits, or beyond the limit of a destination", () => {
    expect(counts(lengths(5, 5, 5), { gsoLimits: undefined })).toEqual([1, 1, 1]);
    const gsoLimits = new GsoLimits(newCounters());
    gsoLimits.refused(EMSGSIZE, A, 1400);
    const to = (address: SocketAddress, ...all: number[]) =>
      all.map((length) => ({ length, to: address }));
    const datagrams = [...to(A, 1400, 1400, 1399, 1399, 1000), ...to(B, 1400, 1400)];
    expect(counts(datagrams, { gsoLimits })).toEqual([1, 1, 3, 2]);
    gsoLimits.refused(EIO, B, 1400);
    expect(counts(datagrams, { gsoLimits })).toEqual([1, 1, 3, 1, 1]);
    gsoLimits.refused(EIO, A, 1399);
    expect(counts(datagrams, { gsoLimits })).toEqual(times(7, 1));
  });
});

testIf("native" in loaded ? undefined : loaded.reason)(
  "MessageBuilder keeps the order of random datagrams, and builds only valid GSO messages",
  () => {
    const datagram = fc.record({
      length: fc.oneof(fc.constantFrom(0, 1, 100, 1200, 1200, 1200), fc.nat(MESSAGE_BYTES_MAX)),
      to: fc.constantFrom(undefined, A, A, A, B, C),
      slots: fc.integer({ min: 1, max: 2 }),
    });
    const repeated = fc
      .tuple(datagram, fc.integer({ min: 1, max: 70 }))
      .map(([one, count]) => times(count, one));
    fc.assert(
      fc.property(fc.array(repeated, { maxLength: 12 }), (groups) => {
        const all = groups.flat();
        let from = 0;
        for (const { datagrams, slots, segmentBytes } of build(all)) {
          const own = all.slice(from, from + datagrams);
          from += datagrams;
          expect(datagrams).toBeWithin(1, SEGMENTS_MAX + 1);
          expect(slots).toBe(own.reduce((sum, one) => sum + one.slots, 0));
          expect(segmentBytes).toBe(datagrams > 1 ? (own[0]?.length as number) : 0);
          if (datagrams === 1) continue;
          expect(own.slice(0, -1).every(({ length }) => length === segmentBytes)).toBe(true);
          expect(own.at(-1)?.length).toBeWithin(1, segmentBytes + 1);
          expect(own.every(({ to }) => to === own[0]?.to)).toBe(true);
          const bytes = own.reduce((sum, { length }) => sum + length, 0);
          expect(bytes).toBeLessThanOrEqual(MESSAGE_BYTES_MAX);
        }
        expect(from).toBe(all.length);
      }),
      { numRuns: 500 },
    );
  },
);
