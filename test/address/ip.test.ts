/** Tests of parsing and formatting IP addresses. */

import { describe, expect, test } from "bun:test";
import { isIP } from "node:net";
import fc from "fast-check";
import {
  formatIPv4,
  formatIPv6,
  isMappedIPv4,
  parseIPv4,
  parseIPv6,
} from "../../lib/address/ip.ts";

/** The index of the address in a larger array, and the initial value of all bytes. */
const OFFSET = 5;
const UNTOUCHED = 0xa5;

function parsedIPv4(text: string): number[] | undefined {
  const bytes = new Uint8Array(OFFSET + 4 + OFFSET).fill(UNTOUCHED);
  if (!parseIPv4(text, bytes, OFFSET)) return undefined;
  return bytesAtOffset(bytes, 4);
}

function parsedIPv6(text: string): number[] | undefined {
  const bytes = new Uint8Array(OFFSET + 16 + OFFSET).fill(UNTOUCHED);
  if (!parseIPv6(text, bytes, OFFSET)) return undefined;
  return bytesAtOffset(bytes, 16);
}

/** Returns the `length` bytes at `OFFSET`. Expects that no other bytes were written. */
function bytesAtOffset(bytes: Uint8Array, length: number): number[] {
  const around = [...bytes.subarray(0, OFFSET), ...bytes.subarray(OFFSET + length)];
  expect(around).toEqual(around.map(() => UNTOUCHED));
  return [...bytes.subarray(OFFSET, OFFSET + length)];
}

/** Strings of address fragments: a few are addresses, many are almost addresses. */
const addressLikeText = fc
  .array(
    fc.constantFrom("::", ":", "0", "1", "ff", "FFFF", "12345", "g", ".", "255", "256", "1.2.3.4"),
    { maxLength: 17 },
  )
  .map((parts) => parts.join(""));

const groups = fc.array(fc.constantFrom("0", "1", "ab", "fFfF", "0db8"), {
  minLength: 1,
  maxLength: 9,
});
/** 1 to 9 groups, some with a "::" and some with an IPv4 address at the end. */
const ipv6LikeText = fc
  .tuple(groups, fc.nat(9), fc.constantFrom("", ":1.2.3.4", ":1.2.3", ":1.2.3.04"))
  .map(([parts, gap, tail]) => {
    const text = parts.join(":");
    if (gap > parts.length) return text + tail;
    return `${parts.slice(0, gap).join(":")}::${parts.slice(gap).join(":")}${tail}`;
  });

describe("parseIPv4 and parseIPv6", () => {
  test("accept the same strings as node:net", () => {
    const texts = fc.oneof(addressLikeText, ipv6LikeText, fc.ipV4(), fc.ipV6(), fc.string());
    const counts: Record<number, number> = { 0: 0, 4: 0, 6: 0 };
    fc.assert(
      fc.property(texts, (text) => {
        // The parsers do not support zones.
        fc.pre(!text.includes("%"));
        const version = isIP(text);
        counts[version] = (counts[version] as number) + 1;
        expect([text, parsedIPv4(text) !== undefined]).toEqual([text, version === 4]);
        expect([text, parsedIPv6(text) !== undefined]).toEqual([text, version === 6]);
      }),
      { numRuns: 5000 },
    );
    // The comparison is meaningful only if the generated strings are of all three kinds.
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(100);
  });

  test("accept IPv4 parts 0 to 255, and reject larger and malformed ones", () => {
    expect(parsedIPv4("0.0.0.0")).toEqual([0, 0, 0, 0]);
    expect(parsedIPv4("255.255.255.255")).toEqual([255, 255, 255, 255]);
    expect(parsedIPv4("255.255.255.256")).toBeUndefined();
    expect(parsedIPv4("1.2.3")).toBeUndefined();
    expect(parsedIPv4("1.2.3.4.5")).toBeUndefined();
    expect(parsedIPv4("1.2.3.04")).toBeUndefined();
    expect(parsedIPv4("1.2.3.-4")).toBeUndefined();
    expect(parsedIPv4("1.2.3.4 ")).toBeUndefined();
    expect(parsedIPv4("1.2.3.4\n")).toBeUndefined();
    expect(parsedIPv4("")).toBeUndefined();
  });

  test("accept :: at the start, in the middle and at the end, once", () => {
    expect(parsedIPv6("::")).toEqual(Array(16).fill(0));
    expect(parsedIPv6("1::")).toEqual([0, 1, ...Array(14).fill(0)]);
    expect(parsedIPv6("::1")).toEqual([...Array(15).fill(0), 1]);
    const seven = [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7];
    expect(parsedIPv6("1:2:3:4:5:6:7::")).toEqual([...seven, 0, 0]);
    expect(parsedIPv6("::1:2:3:4:5:6:7")).toEqual([0, 0, ...seven]);
    expect(parsedIPv6("1:2:3:4::5:6:7:8")).toBeUndefined();
    expect(parsedIPv6("1::2::3")).toBeUndefined();
    expect(parsedIPv6(":::")).toBeUndefined();
    expect(parsedIPv6(":1:2:3:4:5:6:7")).toBeUndefined();
    expect(parsedIPv6("1:2:3:4:5:6:7:")).toBeUndefined();
  });

  test("accept IPv4 notation only in the last four bytes of an IPv6 address", () => {
    expect(parsedIPv6("::ffff:192.0.2.1")).toEqual([...Array(10).fill(0), 255, 255, 192, 0, 2, 1]);
    expect(parsedIPv6("1:2:3:4:5:6:1.2.3.4")?.slice(12)).toEqual([1, 2, 3, 4]);
    expect(parsedIPv6("1:2:3:4:5:6:7:1.2.3.4")).toBeUndefined();
    expect(parsedIPv6("::1.2.3.4:5")).toBeUndefined();
    expect(parsedIPv6("1.2.3.4::")).toBeUndefined();
    expect(parsedIPv6("1.2.3.4")).toBeUndefined();
  });
});

describe("formatIPv4 and formatIPv6", () => {
  test("write text that parses to the same bytes, at any offset", () => {
    // Two of three bytes are zero, so that runs of zeros have all lengths and positions.
    const byte = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(255));
    const address = fc.array(byte, { minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(address, fc.nat(9), (bytes, offset) => {
        const memory = new Uint8Array(offset + 16);
        memory.set(bytes, offset);
        expect(parsedIPv6(formatIPv6(memory, offset))).toEqual(bytes);
        expect(parsedIPv4(formatIPv4(memory, offset))).toEqual(bytes.slice(0, 4));
      }),
      { numRuns: 2000 },
    );
  });

  test("write IPv6 addresses other than IPv4-mapped ones as new URL does (RFC 5952)", () => {
    const group = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(0xffff));
    const address = fc.array(group, { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(address, (parts) => {
        const bytes = new Uint8Array(parts.flatMap((part) => [part >> 8, part & 255]));
        fc.pre(!isMappedIPv4(bytes, 0));
        const text = parts.map((part) => part.toString(16)).join(":");
        expect(`[${formatIPv6(bytes, 0)}]`).toBe(new URL(`http://[${text}]`).hostname);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["2001:0db8::0001", "2001:db8::1", "RFC 5952, 4.1: leading zeros are removed"],
    ["2001:db8:0:0:0:0:2:1", "2001:db8::2:1", "RFC 5952, 4.2.1: a run of zeros is shortened fully"],
    [
      "2001:db8:0:1:1:1:1:1",
      "2001:db8:0:1:1:1:1:1",
      "RFC 5952, 4.2.2: a single zero group is kept",
    ],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1", "RFC 5952, 4.2.3: the longest run is shortened"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", "RFC 5952, 4.2.3: the first of equal runs"],
    ["2001:DB8::ABCD", "2001:db8::abcd", "RFC 5952, 4.3: lower case"],
    ["::ffff:c000:201", "::ffff:192.0.2.1", "RFC 5952, 5: IPv4-mapped"],
    ["0:0:0:0:0:0:0:0", "::", "all zeros"],
    ["1:0:0:0:0:0:0:0", "1::", "zeros at the end"],
    ["0:0:0:0:0:0:0:1", "::1", "zeros at the start"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", "no zeros"],
    [
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "all bits set",
    ],
  ])("write %s as %s (%s)", (text, formatted, _rule) => {
    expect(formatIPv6(new Uint8Array(parsedIPv6(text) as number[]), 0)).toBe(formatted);
  });
});

test("isMappedIPv4 is true for addresses in ::ffff:0:0/96 only", () => {
  const isMapped = (text: string) => isMappedIPv4(new Uint8Array(parsedIPv6(text) as number[]), 0);
  expect(isMapped("::ffff:0.0.0.0")).toBe(true);
  expect(isMapped("::ffff:255.255.255.255")).toBe(true);
  expect(isMapped("::fffe:1.2.3.4")).toBe(false);
  expect(isMapped("::1.2.3.4")).toBe(false);
  expect(isMapped("1::ffff:1.2.3.4")).toBe(false);
  expect(isMapped("::1:ffff:1.2.3.4")).toBe(false);
});
