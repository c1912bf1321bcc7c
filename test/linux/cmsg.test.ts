/** Control messages: written as the kernel reads them, and read without trust in what they say. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RecvMeta, SocketAddress } from "../../lib/index.ts";
import {
  CmsgReader,
  CmsgWriter,
  RECV_CONTROL_CAPACITY,
  SEND_CONTROL_CAPACITY,
} from "../../lib/linux/cmsg.ts";
import { readMetadata, readStride } from "../../lib/linux/recv-cmsg.ts";

/** <linux/in.h>, <linux/in6.h>, <asm-generic/socket.h>, <linux/udp.h>: level and type. */
const TOS = [0, 1] as const;
const PKTINFO = [0, 8] as const;
const ORIGINAL = [0, 20] as const;
const TIMESTAMP = [1, 35] as const;
const MARK = [1, 36] as const;
const DROPS = [1, 40] as const;
const PKTINFO6 = [41, 50] as const;
const TCLASS = [41, 67] as const;
const ORIGINAL6 = [41, 74] as const;
const GRO = [17, 104] as const;
const KINDS = [
  TOS,
  PKTINFO,
  ORIGINAL,
  TIMESTAMP,
  MARK,
  DROPS,
  PKTINFO6,
  TCLASS,
  ORIGINAL6,
  GRO,
] as const;

const HEADER_WORDS = 4;
/** Words around the control messages of a test: what is there must make no difference. */
const MARGIN = 16;

const local4 = SocketAddress.ip("127.0.0.1", 4433);
const local6 = SocketAddress.ip("::1", 4433);

/** A control message as the kernel lays it out: `bytes` of data, filled up to 8 bytes. */
function message(kind: readonly [number, number], data: readonly number[], bytes?: number) {
  const dataBytes = bytes ?? data.length * 4;
  const filled = [...data];
  while (filled.length % 2 !== 0) filled.push(0);
  return [16 + dataBytes, 0, ...kind, ...filled];
}

/** Those words, `at` a place between others that are `around`. */
function within(words: readonly number[], around: number): Int32Array {
  const all = new Int32Array(2 * MARGIN + words.length).fill(around);
  all.set(words, MARGIN);
  return all;
}

/** The stride in control messages. */
function strideOf(words: readonly number[], bytes: number = words.length * 4): number {
  return readStride(within(words, 0), MARGIN, bytes);
}

/** What control messages tell. */
function told(words: readonly number[], local: SocketAddress = local4): RecvMeta {
  const meta = new RecvMeta();
  readMetadata(within(words, 0), MARGIN, words.length * 4, meta, local);
  return meta;
}

describe("the stride", () => {
  test("is 0 where there is no message, and what the message says elsewhere", () => {
    expect(strideOf([])).toBe(0);
    expect(strideOf(message(GRO, [1200]))).toBe(1200);
    expect(strideOf(message(MARK, [7]))).toBe(0);
    expect(strideOf(message([17, 103], [1200]))).toBe(0);
    expect(strideOf(message([0, 104], [1200]))).toBe(0);
  });

  test("is found between other messages, whatever their lengths", () => {
    for (const bytes of [0, 1, 4, 7, 8, 9, 12, 16, 20, 28]) {
      const other = message(TOS, new Array(Math.ceil(bytes / 4)).fill(-1), bytes);
      const words = [...other, ...message(GRO, [99]), ...other];
      expect([bytes, strideOf(words)]).toEqual([bytes, 99]);
    }
  });

  test("is 0 when its message is cut off, too short, or negative", () => {
    const words = message(GRO, [1200]);
    expect(strideOf(words, 24)).toBe(1200);
    // The data's filling may be cut: the kernel counts the last message without it.
    expect(strideOf(words, 20)).toBe(1200);
    for (const bytes of [0, 1, 4, 15, 16, 19])
      expect([bytes, strideOf(words, bytes)]).toEqual([bytes, 0]);
    expect(strideOf(message(GRO, [1200], 3))).toBe(0);
    expect(strideOf(message(GRO, [-1]))).toBe(0);
  });

  test("is 0 behind a message whose length is impossible", () => {
    const stride = message(GRO, [1200]);
    for (const length of [0, 1, 15, -1, -24, 2 ** 31 - 1, 2 ** 31 - 8, -(2 ** 31), 1000]) {
      expect([length, strideOf([length, 0, 0, 1, 0, 0, ...stride])]).toEqual([length, 0]);
    }
    // A length of 64 bits: 24 and 2^32 more.
    expect(strideOf([24, 1, 0, 1, 0, 0, ...stride])).toBe(0);
  });
});

describe("metadata", () => {
  test("is nothing where there are no messages", () => {
    expect(told([])).toEqual(new RecvMeta());
  });

  test("is read from each message, in any order", () => {
    const timestamp = message(TIMESTAMP, [1_700_000_000, 0, 123_456_789, 0]);
    const mark = message(MARK, [0xdead_beef | 0]);
    const drops = message(DROPS, [-1]);
    const tos = message(TOS, [0xb9], 1);
    const expected = {
      timestampSeconds: 1_700_000_000,
      timestampNanoseconds: 123_456_789,
      timestampNs: 1_700_000_000_123_456_789n,
      mark: 0xdead_beef,
      socketDrops: 0xffff_ffff,
      ecn: 1,
    } as const;
    expect(told([...timestamp, ...mark, ...drops, ...tos])).toMatchObject(expected);
    expect(told([...tos, ...message(GRO, [9]), ...drops, ...mark, ...timestamp])).toMatchObject(
      expected,
    );
  });

  test("has the ECN field alone of the octet it is in, over IPv4 and IPv6", () => {
    for (const ecn of [0, 1, 2, 3] as const) {
      expect(told(message(TOS, [0xfc | ecn], 1)).ecn).toBe(ecn);
      expect(told(message(TCLASS, [0xfc | ecn])).ecn).toBe(ecn);
    }
  });

  test("has seconds past 2038", () => {
    const meta = told(message(TIMESTAMP, [-1, 1, 5, 0]));
    expect([meta.timestampSeconds, meta.timestampNs]).toEqual([
      2 ** 33 - 1,
      BigInt(2 ** 33 - 1) * 1_000_000_000n + 5n,
    ]);
  });

  test("has addresses of both families, the destination with the socket's own port", () => {
    const [a, b] = ["192.0.2.7", "2001:db8::7"].map((host) => SocketAddress.ip(host, 53)) as [
      SocketAddress,
      SocketAddress,
    ];
    const bytes4 = a._encoded.words[1] as number;
    const bytes6 = [...b._encoded.words.subarray(2, 6)];
    expect(told(message(PKTINFO, [3, 0, bytes4]))).toMatchObject({ interfaceIndex: 3 });
    expect(told(message(PKTINFO, [3, 0, bytes4])).destination?.toString()).toBe("192.0.2.7:4433");
    const meta = told(message(PKTINFO6, [...bytes6, 9]), local6);
    expect([meta.interfaceIndex, meta.destination?.toString()]).toEqual([9, "[2001:db8::7]:4433"]);
    const original4 = message(ORIGINAL, [...a._encoded.words.subarray(0, 4)]);
    expect(told(original4).originalDestination?.equals(a)).toBe(true);
    const original6 = message(ORIGINAL6, [...b._encoded.words.subarray(0, 7)]);
    expect(told(original6, local6).originalDestination?.equals(b)).toBe(true);
  });

  test("is not read from a message that is shorter than what it should have", () => {
    for (const [kind, bytes] of [
      [TOS, 0],
      [TCLASS, 1],
      [PKTINFO, 11],
      [PKTINFO6, 19],
      [ORIGINAL, 15],
      [ORIGINAL6, 27],
      [TIMESTAMP, 15],
      [MARK, 3],
      [DROPS, 3],
    ] as const) {
      const words = message(kind, new Array(Math.ceil(bytes / 4)).fill(-1), bytes);
      expect([kind, told(words)]).toEqual([kind, new RecvMeta()]);
    }
  });
});

/** Words that look like control messages, more or less. */
const forged = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: headed() },
      { weight: 1, arbitrary: fc.array(fc.integer(), { maxLength: 6 }) },
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.flat());

function headed() {
  const length = fc.oneof(
    fc.integer({ min: 16, max: 48 }),
    fc.constantFrom(0, 8, 15, 16, 17, 20, 24, 28, 32, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 30),
    fc.integer(),
  );
  const high = fc.oneof(
    { weight: 9, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer() },
  );
  const data = fc.array(fc.oneof(fc.constantFrom(0, 2, 10, -1), fc.integer()), { maxLength: 8 });
  return fc
    .tuple(length, high, fc.constantFrom(...KINDS), data)
    .map(([bytes, upper, kind, words]) => [bytes, upper, ...kind, ...words]);
}

/** Forged words, and how many bytes of them are said to be there: any number, also too many. */
const input = fc.tuple(forged, fc.nat({ max: 600 }));

describe("whatever the bytes are", () => {
  test("what lies outside of them makes no difference", () => {
    fc.assert(
      fc.property(input, fc.integer(), ([words, bytes], around) => {
        const claimed = Math.min(bytes, words.length * 4);
        const strides = [0, around].map((a) => readStride(within(words, a), MARGIN, claimed));
        expect(strides[1]).toBe(strides[0] as number);
        const metas = [0, around].map((a) => {
          const meta = new RecvMeta();
          readMetadata(within(words, a), MARGIN, claimed, meta, local6);
          return meta;
        });
        expect(metas[1]).toEqual(metas[0] as RecvMeta);
      }),
      { numRuns: 5000 },
    );
  });

  test("nothing is read past the end of the memory, whatever length is claimed", () => {
    fc.assert(
      fc.property(input, ([words, bytes]) => {
        const memory = Int32Array.from(words);
        const stride = readStride(memory, 0, bytes);
        expect(Number.isInteger(stride) && stride >= 0).toBe(true);
        const meta = new RecvMeta();
        readMetadata(memory, 0, bytes, meta, local4);
        for (const value of [meta.interfaceIndex, meta.timestampSeconds, meta.mark ?? 0]) {
          expect(Number.isInteger(value)).toBe(true);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test("reading ends, after no more messages than there is room for, each within", () => {
    const reader = new CmsgReader();
    fc.assert(
      fc.property(input, ([words, bytes]) => {
        const memory = within(words, 24);
        const claimed = Math.min(bytes, words.length * 4);
        reader.begin(memory, MARGIN, claimed);
        let messages = 0;
        while (reader.next()) {
          messages++;
          expect(messages).toBeLessThanOrEqual(claimed / (HEADER_WORDS * 4));
          // As many bytes as a message says it has, it has.
          for (let size = 0; reader.is(reader.level, reader.type, size); size += 4) {
            expect(size).toBeLessThanOrEqual(claimed - messages * HEADER_WORDS * 4);
          }
        }
        expect(reader.next()).toBe(false);
      }),
      { numRuns: 5000 },
    );
  });

  test("messages that are whole are all found, in order", () => {
    const whole = fc.array(fc.tuple(fc.constantFrom(...KINDS), fc.nat({ max: 40 })), {
      maxLength: 10,
    });
    const reader = new CmsgReader();
    fc.assert(
      fc.property(whole, (parts) => {
        const words = parts.flatMap(([kind, bytes]) =>
          message(kind, new Array(Math.ceil(bytes / 4)).fill(-1), bytes),
        );
        reader.begin(within(words, 0), MARGIN, words.length * 4);
        for (const [[level, type], bytes] of parts) {
          expect(reader.next()).toBe(true);
          expect([reader.level, reader.type]).toEqual([level, type]);
          expect([reader.is(level, type, bytes), reader.is(level, type, bytes + 1)]).toEqual([
            true,
            false,
          ]);
        }
        expect(reader.next()).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("what is written", () => {
  const sources = [undefined, SocketAddress.ip("192.0.2.1", 0), SocketAddress.ip("2001:db8::1", 0)];
  const metadata = fc.record({
    ecn: fc.constantFrom(undefined, 0, 1, 2, 3),
    source: fc.constantFrom(...sources),
    interfaceIndex: fc.option(fc.nat({ max: 2 ** 31 - 1 }), { nil: undefined }),
    transmitTimeNs: fc.option(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), { nil: undefined }),
  });

  test("is whole messages, 8-aligned, within the room there is, over whatever was there", () => {
    const writer = new CmsgWriter();
    const reader = new CmsgReader();
    const segments = fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined });
    fc.assert(
      fc.property(metadata, segments, fc.boolean(), fc.integer(), (how, bytes, isIPv4, before) => {
        const memory = new Int32Array(2 * MARGIN + SEND_CONTROL_CAPACITY / 4).fill(before);
        writer.begin(memory, MARGIN);
        if (bytes !== undefined) writer.segmentBytes(bytes);
        writer.sendMeta(how as object, isIPv4);
        expect(writer.byteLength).toBeWithin(0, SEND_CONTROL_CAPACITY + 1);
        expect(writer.byteLength % 8).toBe(0);
        const end = MARGIN + writer.byteLength / 4;
        for (const [i, word] of memory.entries()) {
          if (i < MARGIN || i >= end) expect(word).toBe(before);
        }
        reader.begin(memory, MARGIN, writer.byteLength);
        const kinds: string[] = [];
        while (reader.next()) kinds.push(`${reader.level} ${reader.type}`);
        const expected: string[] = [];
        if (bytes !== undefined) expected.push("17 103");
        if (how.ecn !== undefined) expected.push(isIPv4 ? "0 1" : "41 67");
        if (how.source !== undefined || (how.interfaceIndex ?? 0) !== 0) {
          expected.push(isIPv4 ? "0 8" : "41 50");
        }
        if (how.transmitTimeNs !== undefined) expected.push("1 61");
        expect(kinds).toEqual(expected);
      }),
      { numRuns: 3000 },
    );
  });

  test("says the segments' length in the two bytes the kernel reads", () => {
    const writer = new CmsgWriter();
    const memory = new Int32Array(SEND_CONTROL_CAPACITY / 4).fill(-1);
    writer.begin(memory, 0);
    writer.segmentBytes(1200);
    expect([writer.byteLength, ...memory.subarray(0, 6)]).toEqual([24, 18, 0, 17, 103, 1200, 0]);
    // Begun anew, it starts over.
    writer.begin(memory, 4);
    expect(writer.byteLength).toBe(0);
  });

  test("fits the room for it, at both ends, in whole messages", () => {
    expect(SEND_CONTROL_CAPACITY % 8).toBe(0);
    expect(RECV_CONTROL_CAPACITY % 8).toBe(0);
  });
});
