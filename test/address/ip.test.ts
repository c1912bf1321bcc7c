/** IP addresses as text: what is read, what is refused, and how it is written. */

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

/** Where the bytes stand in a larger array, whose rest must stay as it is. */
const OFFSET = 5;
const UNTOUCHED = 0xa5;

function readIPv4(text: string): number[] | undefined {
  const bytes = new Uint8Array(OFFSET + 4 + OFFSET).fill(UNTOUCHED);
  if (!parseIPv4(text, bytes, OFFSET)) return undefined;
  return checkedAround(bytes, 4);
}

function readIPv6(text: string): number[] | undefined {
  const bytes = new Uint8Array(OFFSET + 16 + OFFSET).fill(UNTOUCHED);
  if (!parseIPv6(text, bytes, OFFSET)) return undefined;
  return checkedAround(bytes, 16);
}

/** The `length` bytes at `OFFSET`, when nothing around them was written. */
function checkedAround(bytes: Uint8Array, length: number): number[] {
  const around = [...bytes.subarray(0, OFFSET), ...bytes.subarray(OFFSET + length)];
  expect(around).toEqual(around.map(() => UNTOUCHED));
  return [...bytes.subarray(OFFSET, OFFSET + length)];
}

/** Strings made of what addresses are made of: most are none, many nearly are one. */
const nearlyAnAddress = fc
  .array(
    fc.constantFrom("::", ":", "0", "1", "ff", "FFFF", "12345", "g", ".", "255", "256", "1.2.3.4"),
    { maxLength: 17 },
  )
  .map((parts) => parts.join(""));

const groups = fc.array(fc.constantFrom("0", "1", "ab", "fFfF", "0db8"), {
  minLength: 1,
  maxLength: 9,
});
/** Eight groups or so, perhaps with a "::" somewhere, perhaps with IPv4 at the end. */
const nearlyIPv6 = fc
  .tuple(groups, fc.nat(9), fc.constantFrom("", ":1.2.3.4", ":1.2.3", ":1.2.3.04"))
  .map(([parts, gap, tail]) => {
    const text = parts.join(":");
    if (gap > parts.length) return text + tail;
    return `${parts.slice(0, gap).join(":")}::${parts.slice(gap).join(":")}${tail}`;
  });

describe("parseIPv4 and parseIPv6", () => {
  test("take what node:net takes and refuse what it refuses", () => {
    const texts = fc.oneof(nearlyAnAddress, nearlyIPv6, fc.ipV4(), fc.ipV6(), fc.string());
    const counts: Record<number, number> = { 0: 0, 4: 0, 6: 0 };
    fc.assert(
      fc.property(texts, (text) => {
        // A zone is no matter of these two.
        fc.pre(!text.includes("%"));
        const version = isIP(text);
        counts[version] = (counts[version] as number) + 1;
        expect([text, readIPv4(text) !== undefined]).toEqual([text, version === 4]);
        expect([text, readIPv6(text) !== undefined]).toEqual([text, version === 6]);
      }),
      { numRuns: 5000 },
    );
    // The strings above must be of all three kinds, or the comparison says little.
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(100);
  });

  test("read IPv4 at zero, at the maximum, and refuse one more", () => {
    expect(readIPv4("0.0.0.0")).toEqual([0, 0, 0, 0]);
    expect(readIPv4("255.255.255.255")).toEqual([255, 255, 255, 255]);
    expect(readIPv4("255.255.255.256")).toBeUndefined();
    expect(readIPv4("1.2.3")).toBeUndefined();
    expect(readIPv4("1.2.3.4.5")).toBeUndefined();
    expect(readIPv4("1.2.3.04")).toBeUndefined();
    expect(readIPv4("1.2.3.-4")).toBeUndefined();
    expect(readIPv4("1.2.3.4 ")).toBeUndefined();
    expect(readIPv4("1.2.3.4\n")).toBeUndefined();
    expect(readIPv4("")).toBeUndefined();
  });

  test("read every place that :: can have", () => {
    expect(readIPv6("::")).toEqual(Array(16).fill(0));
    expect(readIPv6("1::")).toEqual([0, 1, ...Array(14).fill(0)]);
    expect(readIPv6("::1")).toEqual([...Array(15).fill(0), 1]);
    const seven = [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7];
    expect(readIPv6("1:2:3:4:5:6:7::")).toEqual([...seven, 0, 0]);
    expect(readIPv6("::1:2:3:4:5:6:7")).toEqual([0, 0, ...seven]);
    expect(readIPv6("1:2:3:4::5:6:7:8")).toBeUndefined();
    expect(readIPv6("1::2::3")).toBeUndefined();
    expect(readIPv6(":::")).toBeUndefined();
    expect(readIPv6(":1:2:3:4:5:6:7")).toBeUndefined();
    expect(readIPv6("1:2:3:4:5:6:7:")).toBeUndefined();
  });

  test("read IPv4 in the last four bytes of IPv6 and nowhere else", () => {
    expect(readIPv6("::ffff:192.0.2.1")).toEqual([...Array(10).fill(0), 255, 255, 192, 0, 2, 1]);
    expect(readIPv6("1:2:3:4:5:6:1.2.3.4")?.slice(12)).toEqual([1, 2, 3, 4]);
    expect(readIPv6("1:2:3:4:5:6:7:1.2.3.4")).toBeUndefined();
    expect(readIPv6("::1.2.3.4:5")).toBeUndefined();
    expect(readIPv6("1.2.3.4::")).toBeUndefined();
    expect(readIPv6("1.2.3.4")).toBeUndefined();
  });
});

describe("formatIPv4 and formatIPv6", () => {
  test("write what is read again as the same bytes, wherever they stand", () => {
    // Bytes that are often zero, so that runs of them come in all lengths and places.
    const byte = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(255));
    const address = fc.array(byte, { minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(address, fc.nat(9), (bytes, offset) => {
        const memory = new Uint8Array(offset + 16);
        memory.set(bytes, offset);
        expect(readIPv6(formatIPv6(memory, offset))).toEqual(bytes);
        expect(readIPv4(formatIPv4(memory, offset))).toEqual(bytes.slice(0, 4));
      }),
      { numRuns: 2000 },
    );
  });

  test("write IPv6 as a URL does, which is RFC 5952 but for mapped IPv4", () => {
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
    // RFC 5952, section by section.
    ["4.1 leading zeros", "2001:0db8::0001", "2001:db8::1"],
    ["4.2.1 the whole run", "2001:db8:0:0:0:0:2:1", "2001:db8::2:1"],
    ["4.2.2 one group stays", "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["4.2.3 the longest run", "2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["4.2.3 the first of equals", "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["4.3 lower case", "2001:DB8::ABCD", "2001:db8::abcd"],
    ["5 mapped IPv4", "::ffff:c000:201", "::ffff:192.0.2.1"],
    ["all zeros", "0:0:0:0:0:0:0:0", "::"],
    ["a run at the end", "1:0:0:0:0:0:0:0", "1::"],
    ["a run at the start", "0:0:0:0:0:0:0:1", "::1"],
    ["no zeros", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    [
      "all ones",
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
  ])("%s: %s is written %s", (_rule, text, written) => {
    expect(formatIPv6(new Uint8Array(readIPv6(text) as number[]), 0)).toBe(written);
  });

  test("mapped is ::ffff:0:0/96 and no more", () => {
    const is = (text: string) => isMappedIPv4(new Uint8Array(readIPv6(text) as number[]), 0);
    expect(is("::ffff:0.0.0.0")).toBe(true);
    expect(is("::ffff:255.255.255.255")).toBe(true);
    expect(is("::fffe:1.2.3.4")).toBe(false);
    expect(is("::1.2.3.4")).toBe(false);
    expect(is("1::ffff:1.2.3.4")).toBe(false);
    expect(is("::1:ffff:1.2.3.4")).toBe(false);
  });
});
