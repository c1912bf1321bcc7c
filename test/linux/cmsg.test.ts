/** Control messages: written as the kernel expects, and read without trusting their lengths. */

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
/** The number of words before and after the control messages. Their values must have no effect. */
const MARGIN = 16;

const local4 = SocketAddress.ip("127.0.0.1", 4433);
const local6 = SocketAddress.ip("::1", 4433);

/** Returns a control message as the kernel writes it: `bytes` of data, padded to 8 bytes. */
function message(kind: readonly [number, number], data: readonly number[], bytes?: number) {
  const dataBytes = bytes ?? data.length * 4;
  const padded = [...data];
  while (padded.length % 2 !== 0) padded.push(0);
  return [16 + dataBytes, 0, ...kind, ...padded];
}

/** Returns `words` at index `MARGIN`, with words of value `around` before and after them. */
function embed(words: readonly number[], around: number): Int32Array {
  const all = new Int32Array(2 * MARGIN + words.length).fill(around);
  all.set(words, MARGIN);
  return all;
}

/** Returns the GRO stride that is decoded from control messages. */
function strideOf(words: readonly number[], bytes: number = words.length * 4): number {
  return readStride(embed(words, 0), MARGIN, bytes);
}

/** Returns the metadata that is decoded from control messages. */
function metaOf(words: readonly number[], local: SocketAddress = local4): RecvMeta {
  const meta = new RecvMeta();
  readMetadata(embed(words, 0), MARGIN, words.length * 4, meta, local);
  return meta;
}

describe("the GRO stride", () => {
  test("is the value of the UDP_GRO message, or 0 if there is none", () => {
    expect(strideOf([])).toBe(0);
    expect(strideOf(message(GRO, [1200]))).toBe(1200);
    expect(strideOf(message(MARK, [7]))).toBe(0);
    expect(strideOf(message([17, 103], [1200]))).toBe(0);
    expect(strideOf(message([0, 104], [1200]))).toBe(0);
  });

  test("is found between other messages of any length", () => {
    for (const bytes of [0, 1, 4, 7, 8, 9, 12, 16, 20, 28]) {
      const other = message(TOS, new Array(Math.ceil(bytes / 4)).fill(-1), bytes);
      const words = [...other, ...message(GRO, [99]), ...other];
      expect([bytes, strideOf(words)]).toEqual([bytes, 99]);
    }
  });

  test("is 0 if its message is cut off, too short or negative", () => {
    const words = message(GRO, [1200]);
    expect(strideOf(words, 24)).toBe(1200);
    // The padding may be missing: the kernel does not count it for the last message.
    expect(strideOf(words, 20)).toBe(1200);
    for (const bytes of [0, 1, 4, 15, 16, 19])
      expect([bytes, strideOf(words, bytes)]).toEqual([bytes, 0]);
    expect(strideOf(message(GRO, [1200], 3))).toBe(0);
    expect(strideOf(message(GRO, [-1]))).toBe(0);
  });

  test("is 0 after a message with an impossible length", () => {
    const stride = message(GRO, [1200]);
    for (const length of [0, 1, 15, -1, -24, 2 ** 31 - 1, 2 ** 31 - 8, -(2 ** 31), 1000]) {
      expect([length, strideOf([length, 0, 0, 1, 0, 0, ...stride])]).toEqual([length, 0]);
    }
    // A 64-bit length: 2^32 + 24.
    expect(strideOf([24, 1, 0, 1, 0, 0, ...stride])).toBe(0);
  });
});

describe("decoded metadata", () => {
  test("is empty if there are no messages", () => {
    expect(metaOf([])).toEqual(new RecvMeta());
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
    expect(metaOf([...timestamp, ...mark, ...drops, ...tos])).toMatchObject(expected);
    expect(metaOf([...tos, ...message(GRO, [9]), ...drops, ...mark, ...timestamp])).toMatchObject(
      expected,
    );
  });

  test("contains only the ECN bits of the TOS or traffic class octet", () => {
    for (const ecn of [0, 1, 2, 3] as const) {
      expect(metaOf(message(TOS, [0xfc | ecn], 1)).ecn).toBe(ecn);
      expect(metaOf(message(TCLASS, [0xfc | ecn])).ecn).toBe(ecn);
    }
  });

  test("supports timestamps after 2038", () => {
    const meta = metaOf(message(TIMESTAMP, [-1, 1, 5, 0]));
    expect([meta.timestampSeconds, meta.timestampNs]).toEqual([
      2 ** 33 - 1,
      BigInt(2 ** 33 - 1) * 1_000_000_000n + 5n,
    ]);
  });

  test("contains addresses of both families, the destination with the port of the socket", () => {
    const [a, b] = ["192.0.2.7", "2001:db8::7"].map((host) => SocketAddress.ip(host, 53)) as [
      SocketAddress,
      SocketAddress,
    ];
    const bytes4 = a._encoded.words[1] as number;
    const bytes6 = [...b._encoded.words.subarray(2, 6)];
    expect(metaOf(message(PKTINFO, [3, 0, bytes4]))).toMatchObject({ interfaceIndex: 3 });
    expect(metaOf(message(PKTINFO, [3, 0, bytes4])).destination?.toString()).toBe("192.0.2.7:4433");
    const meta = metaOf(message(PKTINFO6, [...bytes6, 9]), local6);
    expect([meta.interfaceIndex, meta.destination?.toString()]).toEqual([9, "[2001:db8::7]:4433"]);
    const original4 = message(ORIGINAL, [...a._encoded.words.subarray(0, 4)]);
    expect(metaOf(original4).originalDestination?.equals(a)).toBe(true);
    const original6 = message(ORIGINAL6, [...b._encoded.words.subarray(0, 7)]);
    expect(metaOf(original6, local6).originalDestination?.equals(b)).toBe(true);
  });

  test("has the destination as reply source, unless it is multicast", () => {
    const words = (host: string) => [...SocketAddress.ip(host, 0)._encoded.words.subarray(2, 6)];
    const unicast = metaOf(message(PKTINFO6, [...words("2001:db8::7"), 9]), local6);
    expect(unicast.replySource?.toString()).toBe("[2001:db8::7]:4433");
    for (const group of ["ff02::1", "ff05::7", "ff0e::1:2"]) {
      const meta = metaOf(message(PKTINFO6, [...words(group), 9]), local6);
      expect(meta.destination?.address).toBe(group);
      expect(meta.replySource).toBeUndefined();
    }
  });

  test("is not read from a message with too little data", () => {
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
      expect([kind, metaOf(words)]).toEqual([kind, new RecvMeta()]);
    }
  });
});

/** Words that resemble control messages, some with invalid lengths. */
const forged = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: forgedMessage() },
      { weight: 1, arbitrary: fc.array(fc.integer(), { maxLength: 6 }) },
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.flat());

/** A header with an arbitrary length, followed by data of another length. */
function forgedMessage() {
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

/** Forged words, and the number of bytes that they are claimed to have, which may be too large. */
const input = fc.tuple(forged, fc.nat({ max: 600 }));

describe("reading arbitrary control messages", () => {
  test("does not depend on the memory around them", () => {
    fc.assert(
      fc.property(input, fc.integer(), ([words, bytes], around) => {
        const claimed = Math.min(bytes, words.length * 4);
        const strides = [0, around].map((a) => readStride(embed(words, a), MARGIN, claimed));
        expect(strides[1]).toBe(strides[0] as number);
        const metas = [0, around].map((a) => {
          const meta = new RecvMeta();
          readMetadata(embed(words, a), MARGIN, claimed, meta, local6);
          return meta;
        });
        expect(metas[1]).toEqual(metas[0] as RecvMeta);
      }),
      { numRuns: 5000 },
    );
  });

  test("never reads past the end of the memory, whatever length is claimed", () => {
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

  test("terminates, with no more messages and data than the bytes can hold", () => {
    const reader = new CmsgReader();
    fc.assert(
      fc.property(input, ([words, bytes]) => {
        const memory = embed(words, 24);
        const claimed = Math.min(bytes, words.length * 4);
        reader.begin(memory, MARGIN, claimed);
        let messages = 0;
        while (reader.next()) {
          messages++;
          expect(messages).toBeLessThanOrEqual(claimed / (HEADER_WORDS * 4));
          // The data fits into the claimed bytes, without the headers read so far.
          for (let size = 0; reader.is(reader.level, reader.type, size); size += 4) {
            expect(size).toBeLessThanOrEqual(claimed - messages * HEADER_WORDS * 4);
          }
        }
        expect(reader.next()).toBe(false);
      }),
      { numRuns: 5000 },
    );
  });

  test("returns all complete messages in order", () => {
    const whole = fc.array(fc.tuple(fc.constantFrom(...KINDS), fc.nat({ max: 40 })), {
      maxLength: 10,
    });
    const reader = new CmsgReader();
    fc.assert(
      fc.property(whole, (parts) => {
        const words = parts.flatMap(([kind, bytes]) =>
          message(kind, new Array(Math.ceil(bytes / 4)).fill(-1), bytes),
        );
        reader.begin(embed(words, 0), MARGIN, words.length * 4);
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

describe("CmsgWriter", () => {
  const sources = [undefined, SocketAddress.ip("192.0.2.1", 0), SocketAddress.ip("2001:db8::1", 0)];
  const metadata = fc.record({
    ecn: fc.constantFrom(undefined, 0, 1, 2, 3),
    source: fc.constantFrom(...sources),
    interfaceIndex: fc.option(fc.nat({ max: 2 ** 31 - 1 }), { nil: undefined }),
    transmitTimeNs: fc.option(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), { nil: undefined }),
  });

  test("writes complete, 8-byte aligned messages within its space, over any old contents", () => {
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

  test("sends from a link-local address on the interface of its zone, unless one is given", () => {
    const writer = new CmsgWriter();
    const reader = new CmsgReader();
    const source = SocketAddress.ip("fe80::1%7", 0);
    const interfaceOf = (meta: object) => {
      const memory = new Int32Array(SEND_CONTROL_CAPACITY / 4);
      writer.begin(memory, 0);
      writer.sendMeta(meta, false);
      reader.begin(memory, 0, writer.byteLength);
      expect(reader.next()).toBe(true);
      expect([reader.level, reader.type]).toEqual([...PKTINFO6]);
      return reader.word(4);
    };
    expect(interfaceOf({ source })).toBe(7);
    expect(interfaceOf({ source, interfaceIndex: 3 })).toBe(3);
    expect(interfaceOf({ source: SocketAddress.ip("2001:db8::1", 0) })).toBe(0);
  });

  test("writes the GSO segment length as the 16 bits that the kernel reads", () => {
    const writer = new CmsgWriter();
    const memory = new Int32Array(SEND_CONTROL_CAPACITY / 4).fill(-1);
    writer.begin(memory, 0);
    writer.segmentBytes(1200);
    expect([writer.byteLength, ...memory.subarray(0, 6)]).toEqual([24, 18, 0, 17, 103, 1200, 0]);
    // `begin` starts again.
    writer.begin(memory, 4);
    expect(writer.byteLength).toBe(0);
  });

  test("uses capacities that are multiples of 8 bytes, as CmsgReader does", () => {
    expect(SEND_CONTROL_CAPACITY % 8).toBe(0);
    expect(RECV_CONTROL_CAPACITY % 8).toBe(0);
  });
});
