/** HTTP Datagrams: prefixes in headroom and in batches, and their parser. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DgramBuffer, SendBatch, UdpSocket } from "../../lib/index.ts";
import {
  CONNECT_UDP_PAYLOAD_MAX,
  HttpDatagramHeader,
  httpDatagramPrefix,
  tryAddHttpDatagramPrefix,
} from "../../lib/masque/index.ts";
import { numberErrorOf } from "../tools/errors.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Stream ID, context ID, and the prefix. The varints are those of RFC 9000, appendix A.1. */
const PREFIXES: readonly [bigint | number, bigint | number, string][] = [
  [0, 0, "0000"],
  [4, 0, "0100"],
  [148, 0, "2500"],
  [15_293 * 4, 37, "7bbd25"],
  [494_878_333 * 4, 15_293, "9d7f3e7d7bbd"],
  [151_288_809_941_952_652n * 4n, 494_878_333, "c2197c5eff14e88c9d7f3e7d"],
  [2n ** 62n - 4n, 2n ** 62n - 1n, "cfffffffffffffffffffffffffffffff"],
  [Number.MAX_SAFE_INTEGER - 3, 63, "c007ffffffffffff3f"],
];

const streamIds = fc
  .oneof(fc.bigInt(0n, 64n), fc.bigInt(0n, 2n ** 60n - 1n))
  .map((quarter) => quarter * 4n);
const contextIds = fc.oneof(fc.bigInt(0n, 64n), fc.bigInt(0n, 2n ** 62n - 1n));

describe("httpDatagramPrefix", () => {
  test("encodes the quarter stream ID and the context ID", () => {
    for (const [streamId, contextId, expected] of PREFIXES) {
      expect([streamId, hex(httpDatagramPrefix(streamId, contextId))]).toEqual([
        streamId,
        expected,
      ]);
    }
    expect(hex(httpDatagramPrefix(4))).toBe("0100");
  });

  test("accepts numbers and bigints alike", () => {
    for (const id of [0, 4, 256, 2 ** 31, 2 ** 40]) {
      expect(httpDatagramPrefix(BigInt(id), BigInt(id))).toEqual(httpDatagramPrefix(id, id));
    }
  });

  test("refuses IDs that are no request stream or no context", () => {
    for (const streamId of [1, 2, 3, -4, 0.5, Number.NaN, 2 ** 53, 5n, -4n, 2n ** 62n, "4", null]) {
      expect(() => httpDatagramPrefix(streamId as number)).toThrow(numberErrorOf(streamId, true));
    }
    for (const contextId of [-1, 0.5, 2 ** 53, 2n ** 62n, "0", null]) {
      expect(() => httpDatagramPrefix(0, contextId as number)).toThrow(
        numberErrorOf(contextId, true),
      );
    }
  });

  test("returns memory of its own", () => {
    const first = httpDatagramPrefix(4);
    httpDatagramPrefix(8).fill(255);
    expect(hex(first)).toBe("0100");
  });
});

describe("tryAddHttpDatagramPrefix", () => {
  test("writes the prefix in front of the payload if the headroom is large enough", () => {
    for (const [streamId, contextId, expected] of PREFIXES) {
      const length = expected.length / 2;
      for (const headroom of [length - 1, length, length + 1]) {
        const buffer = DgramBuffer.withCapacityAndHeadroom(64, headroom);
        buffer.putSlice(Uint8Array.of(1, 2, 3));
        const isAdded = tryAddHttpDatagramPrefix(buffer, streamId, contextId);
        expect([headroom, isAdded]).toEqual([headroom, headroom >= length]);
        expect(hex(buffer.asSlice())).toBe(isAdded ? `${expected}010203` : "010203");
        expect(buffer.headroom).toBe(isAdded ? headroom - length : headroom);
      }
    }
  });

  test("refuses what is no DgramBuffer", () => {
    for (const buffer of [undefined, null, new Uint8Array(9), {}]) {
      expect(() => tryAddHttpDatagramPrefix(buffer as DgramBuffer, 0)).toThrow(TypeError);
    }
  });
});

describe("HttpDatagramHeader", () => {
  test("returns what was encoded, at any offset", () => {
    const header = new HttpDatagramHeader();
    const property = fc.property(
      streamIds,
      contextIds,
      fc.uint8Array({ maxLength: 40 }),
      fc.nat(9),
      (streamId, contextId, payload, offset) => {
        const prefix = httpDatagramPrefix(streamId, contextId);
        const bytes = new Uint8Array([...new Uint8Array(offset), ...prefix, ...payload, 99]);
        const length = prefix.length + payload.length;
        expect(header.parse(bytes, offset, length)).toBeUndefined();
        expect([BigInt(header.streamId), BigInt(header.contextId)]).toEqual([streamId, contextId]);
        expect(header.payloadOffset).toBe(prefix.length);
      },
    );
    fc.assert(property, { numRuns: 2000 });
  });

  test("reports each incomplete prefix", () => {
    const header = new HttpDatagramHeader();
    for (const [streamId, contextId] of PREFIXES) {
      const prefix = httpDatagramPrefix(streamId, contextId);
      const firstLength = 1 << ((prefix[0] as number) >> 6);
      for (let length = 0; length < prefix.length; length++) {
        const expected = length < firstLength ? "stream ID" : "context ID";
        expect(header.parse(prefix, 0, length)).toBe(expected);
      }
    }
  });

  test("reports a quarter stream ID above 2^60-1", () => {
    const header = new HttpDatagramHeader();
    const largest = Buffer.from("cfffffffffffffff00", "hex");
    expect(header.parse(largest)).toBeUndefined();
    expect(header.streamId).toBe(2n ** 62n - 4n);
    expect(header.parse(Buffer.from("d00000000000000000", "hex"))).toBe("stream ID");
    expect(header.parse(Buffer.from("ffffffffffffffff00", "hex"))).toBe("stream ID");
  });

  test("limits the payload of context 0 only", () => {
    const header = new HttpDatagramHeader();
    const bytes = new Uint8Array(2 + CONNECT_UDP_PAYLOAD_MAX + 1);
    expect(header.parse(bytes, 0, bytes.length - 1)).toBeUndefined();
    expect(header.parse(bytes)).toBe("payload length");
    bytes[1] = 1;
    expect(header.parse(bytes)).toBeUndefined();
  });

  test("accepts varints that are longer than necessary", () => {
    const header = new HttpDatagramHeader();
    expect(header.parse(Buffer.from("40018000000005", "hex"))).toBeUndefined();
    expect([header.streamId, header.contextId, header.payloadOffset]).toEqual([4, 0, 6]);
  });

  test("strips the prefix of a buffer without moving the payload, and nothing if invalid", () => {
    const buffer = DgramBuffer.withCapacityAndHeadroom(64, 16);
    buffer.putSlice(Uint8Array.of(1, 2, 3));
    tryAddHttpDatagramPrefix(buffer, 2 ** 20, 7);
    const header = new HttpDatagramHeader();
    expect(header.strip(buffer)).toBeUndefined();
    expect([header.streamId, header.contextId]).toEqual([2 ** 20, 7]);
    expect([hex(buffer.asSlice()), buffer.headroom]).toEqual(["010203", 16]);
    const short = DgramBuffer.fromSlice(Uint8Array.of(0x40));
    expect(header.strip(short)).toBe("stream ID");
    expect(short.length).toBe(1);
  });

  test("refuses ranges outside the bytes", () => {
    const header = new HttpDatagramHeader();
    const bytes = new Uint8Array(4);
    for (const [offset, length] of [
      [-1, 1],
      [5, 0],
      [0, 5],
      [2, 3],
      [0.5, 1],
      [0, Number.NaN],
    ]) {
      expect(() => header.parse(bytes, offset, length)).toThrow(RangeError);
    }
    expect(() => header.parse([0, 0] as unknown as Uint8Array)).toThrow(TypeError);
  });

  test("never throws for any bytes, and reports a payload within them", () => {
    const header = new HttpDatagramHeader();
    const property = fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
      if (header.parse(bytes) !== undefined) return;
      expect(header.payloadOffset).toBeLessThanOrEqual(bytes.length);
      expect(BigInt(header.streamId) % 4n).toBe(0n);
    });
    fc.assert(property, { numRuns: 5000 });
  });
});

test("a batch sends HTTP Datagrams with their prefix, without a copy of the payloads", async () => {
  await using server = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const to = { hostname: "127.0.0.1", port: server.localAddr.port };
  await using client = await UdpSocket.connect(to);
  const prefix = httpDatagramPrefix(8);
  const out = new SendBatch();
  for (let i = 0; i < 3; i++) out.prefix(prefix).push(Uint8Array.of(i, i));
  await client.sendBatch(out);
  const buffer = DgramBuffer.withCapacity(100);
  const header = new HttpDatagramHeader();
  for (let i = 0; i < 3; i++) {
    buffer.clear();
    await server.recv(buffer);
    expect(header.strip(buffer)).toBeUndefined();
    expect([header.streamId, [...buffer.asSlice()]]).toEqual([8, [i, i]]);
  }
});
