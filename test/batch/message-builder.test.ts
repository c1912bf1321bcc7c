/** Which datagrams become one message, and what is learned from messages that were refused. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MMSGHDR } from "../../ffi/layout.ts";
import { loadNative, type SendVector } from "../../ffi/native.ts";
import { GsoLimits, MESSAGE_BYTES_MAX, SEGMENTS_MAX } from "../../lib/batch/gso-limits.ts";
import { MessageBuilder } from "../../lib/batch/message-builder.ts";
import type { SendMeta } from "../../lib/datagram/send-meta.ts";
import { SocketAddress } from "../../lib/index.ts";
import { SEND_CONTROL_CAPACITY } from "../../lib/linux/cmsg.ts";
import { EINVAL, EMSGSIZE } from "../../lib/linux/constants.ts";
import { times } from "../tools/offload.ts";

const EIO = 5;
const ECONNREFUSED = 111;

const A = SocketAddress.ip("192.0.2.1", 1);
const B = SocketAddress.ip("192.0.2.1", 2);
const C = SocketAddress.ip("2001:db8::1", 1);

describe("what a socket knows of segments", () => {
  test("is that all may go as segments, until some were refused", () => {
    const gsoLimits = new GsoLimits();
    for (const address of [undefined, A, C]) {
      expect(gsoLimits.segmentBytesMax(address)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test("after EIO is that none may, to nobody", () => {
    const gsoLimits = new GsoLimits();
    gsoLimits.refused(EIO, A, 1200);
    for (const address of [undefined, A, B, C]) {
      expect(gsoLimits.segmentBytesMax(address)).toBe(0);
    }
  });

  test.each([EINVAL, EMSGSIZE])(
    "after errno %d is that shorter ones may go there, and to others all",
    (errno) => {
      const gsoLimits = new GsoLimits();
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

  test("blames segments for what they can be the cause of, and nothing else", () => {
    for (const errno of [EIO, EINVAL, EMSGSIZE]) expect(GsoLimits.isRefusal(errno)).toBe(true);
    for (const errno of [0, 1, 11, 101, 105, ECONNREFUSED]) {
      expect(GsoLimits.isRefusal(errno)).toBe(false);
    }
  });

  test("is bounded: with very many destinations it is learned anew", () => {
    const gsoLimits = new GsoLimits();
    const first = SocketAddress.ip("10.0.0.0", 1);
    gsoLimits.refused(EMSGSIZE, first, 1400);
    let remembered = 0;
    for (let i = 1; i <= 3000; i++) {
      const address = SocketAddress.ip(`10.0.${i >> 8}.${i & 255}`, 1);
      gsoLimits.refused(EMSGSIZE, address, 1400);
      expect(gsoLimits.segmentBytesMax(address)).toBe(1399);
      if (gsoLimits.segmentBytesMax(first) === 1399) remembered = i;
    }
    expect(remembered).toBe(1023);
  });
});

/** A datagram that a builder is given. */
interface Piece {
  readonly length: number;
  readonly to?: SocketAddress | undefined;
  readonly metadata?: SendMeta | undefined;
  /** In how many buffers it lies. Default 1. */
  readonly slots?: number;
}

/** A message that it made. */
interface Made {
  readonly datagrams: number;
  readonly slots: number;
  /** The segment length that the kernel is told; 0: nothing. */
  readonly segmentBytes: number;
  /** Bytes of the address. */
  readonly nameLength: number;
}

const loaded = loadNative();
const HEADER_WORDS = MMSGHDR.size / 4;

function build(
  pieces: readonly Piece[],
  rules: { gsoLimits?: GsoLimits | undefined; isIPv6?: boolean } = {},
): Made[] {
  if (!("native" in loaded)) throw new Error(loaded.reason);
  const vector = loaded.native.sendVector(28, SEND_CONTROL_CAPACITY);
  vector.reserve(pieces.reduce((slots, piece) => slots + (piece.slots ?? 1), 0));
  const { isIPv6 = false } = rules;
  const gsoLimits = "gsoLimits" in rules ? rules.gsoLimits : new GsoLimits();
  const rulesOf = { isIPv6, isPeerIPv4: !isIPv6, gsoLimits };
  const builder = new MessageBuilder(vector).begin(rulesOf);
  for (const { slots = 1, length, to, metadata } of pieces) {
    builder.add(length, to, metadata);
    // Each in memory of its own: what lies together goes in one slot.
    for (let slot = 0; slot < slots; slot++)
      builder.piece(new Uint8Array(new ArrayBuffer(16)), 0, 1);
  }
  const count = builder.finish();
  return Array.from({ length: count }, (_, m) => read(vector, m));
}

/** What the kernel would read of message `m`. */
function read(vector: SendVector, m: number): Made {
  const { words } = vector;
  const header = m * HEADER_WORDS;
  const control = vector.controlIndex(m);
  const controlBytes = words[header + MMSGHDR.controlLength / 4] as number;
  // The segment length comes first, if there is one: level 17, type 103, and a 16-bit value.
  const isSegmented = controlBytes > 0 && words[control + 2] === 17 && words[control + 3] === 103;
  if (isSegmented) expect(words[control]).toBe(18);
  return {
    datagrams: vector.datagramsIn(m + 1) - vector.datagramsIn(m),
    slots: words[header + MMSGHDR.vectorLength / 4] as number,
    segmentBytes: isSegmented ? (words[control + 4] as number) : 0,
    nameLength: words[header + MMSGHDR.nameLength / 4] as number,
  };
}

/** How many datagrams each message has. */
function grouped(pieces: readonly Piece[], rules?: Parameters<typeof build>[1]): number[] {
  return build(pieces, rules).map(({ datagrams }) => datagrams);
}

function lengths(...all: number[]): Piece[] {
  return all.map((length) => ({ length }));
}

describe.skipIf(!("native" in loaded))("datagrams become messages", () => {
  test("of up to 64 of one length, of which the last may be shorter", () => {
    expect(grouped([])).toEqual([]);
    expect(grouped(lengths(5))).toEqual([1]);
    expect(grouped(lengths(5, 5))).toEqual([2]);
    expect(grouped(lengths(5, 5, 4))).toEqual([3]);
    expect(grouped(lengths(5, 4, 5))).toEqual([2, 1]);
    expect(grouped(lengths(5, 4, 4))).toEqual([2, 1]);
    expect(grouped(lengths(4, 5))).toEqual([1, 1]);
    expect(grouped(lengths(5, 0, 5, 0))).toEqual([1, 1, 1, 1]);
    expect(grouped(lengths(0, 0))).toEqual([1, 1]);
    expect(grouped(lengths(...times(SEGMENTS_MAX, 5)))).toEqual([SEGMENTS_MAX]);
    expect(grouped(lengths(...times(SEGMENTS_MAX + 1, 5)))).toEqual([SEGMENTS_MAX, 1]);
    expect(grouped(lengths(...times(SEGMENTS_MAX, 5), 4))).toEqual([SEGMENTS_MAX, 1]);
  });

  test("of no more bytes than go in one", () => {
    const half = Math.floor(MESSAGE_BYTES_MAX / 2);
    expect(grouped(lengths(half, half))).toEqual([2]);
    expect(grouped(lengths(half + 1, half + 1))).toEqual([1, 1]);
    expect(grouped(lengths(MESSAGE_BYTES_MAX - 1, 1))).toEqual([2]);
    expect(grouped(lengths(MESSAGE_BYTES_MAX, 1))).toEqual([1, 1]);
    expect(grouped(lengths(65_527, 65_527))).toEqual([1, 1]);
  });

  test("for one peer each, be it the same address or an equal one", () => {
    const equal = SocketAddress.ip(A.address, A.port);
    const to = (...all: (SocketAddress | undefined)[]) => all.map((a) => ({ length: 9, to: a }));
    expect(grouped(to(A, A, equal))).toEqual([3]);
    expect(grouped(to(A, B, A, B))).toEqual([1, 1, 1, 1]);
    expect(grouped(to(A, A, B, B))).toEqual([2, 2]);
    expect(grouped(to(undefined, undefined, A, undefined))).toEqual([2, 1, 1]);
  });

  test("of one way of sending each, which is told to the kernel beside the segments", () => {
    const piece = (metadata?: SendMeta) => ({ length: 9, to: A, metadata });
    const pieces = [piece({ ecn: 2 }), piece({ ecn: 2 }), piece({ ecn: 1 }), piece(), piece()];
    expect(grouped(pieces)).toEqual([2, 1, 2]);
    expect(build(pieces).map(({ segmentBytes }) => segmentBytes)).toEqual([9, 0, 9]);
  });

  test("that tell the segments' length if there are several, and nothing if there is one", () => {
    expect(build(lengths(300, 300, 7, 1200, 1, 65_000))).toEqual([
      { datagrams: 3, slots: 3, segmentBytes: 300, nameLength: 0 },
      { datagrams: 2, slots: 2, segmentBytes: 1200, nameLength: 0 },
      { datagrams: 1, slots: 1, segmentBytes: 0, nameLength: 0 },
    ]);
  });

  test("of all the buffers that their datagrams lie in", () => {
    const pieces = [2, 1, 2, 2].map((slots, i) => ({ length: i < 3 ? 50 : 60, slots, to: A }));
    expect(build(pieces)).toEqual([
      { datagrams: 3, slots: 5, segmentBytes: 50, nameLength: 16 },
      { datagrams: 1, slots: 2, segmentBytes: 0, nameLength: 16 },
    ]);
  });

  test("to mapped addresses on a socket of IPv6", () => {
    const pieces = [A, A, C].map((to) => ({ length: 9, to }));
    expect(build(pieces, { isIPv6: true }).map(({ nameLength }) => nameLength)).toEqual([28, 28]);
    expect(build(pieces).map(({ nameLength }) => nameLength)).toEqual([16, 28]);
  });

  test("of one datagram each without gsoLimits, and where segments are too long", () => {
    expect(grouped(lengths(5, 5, 5), { gsoLimits: undefined })).toEqual([1, 1, 1]);
    const gsoLimits = new GsoLimits();
    gsoLimits.refused(EMSGSIZE, A, 1400);
    const to = (address: SocketAddress, ...all: number[]) =>
      all.map((length) => ({ length, to: address }));
    const pieces = [...to(A, 1400, 1400, 1399, 1399, 1000), ...to(B, 1400, 1400)];
    expect(grouped(pieces, { gsoLimits })).toEqual([1, 1, 3, 2]);
    gsoLimits.refused(EIO, B, 1400);
    expect(grouped(pieces, { gsoLimits })).toEqual(times(7, 1));
  });
});

test.skipIf(!("native" in loaded))(
  "any datagrams keep their order, and no message breaks the kernel's rules",
  () => {
    const piece = fc.record({
      length: fc.oneof(fc.constantFrom(0, 1, 100, 1200, 1200, 1200), fc.nat(MESSAGE_BYTES_MAX)),
      to: fc.constantFrom(undefined, A, A, A, B, C),
      slots: fc.integer({ min: 1, max: 2 }),
    });
    const pieces = fc.array(
      fc.tuple(piece, fc.integer({ min: 1, max: 70 })).map(([one, n]) => times(n, one)),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(pieces, (runs) => {
        const all = runs.flat();
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
