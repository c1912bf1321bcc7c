/**
 * Conversion of IP addresses between text and bytes in network byte order.
 *
 * The text of an IPv4 address has four decimal parts without leading zeros. The text of an IPv6
 * address is parsed according to RFC 4291, section 2.2, and formatted according to RFC 5952.
 *
 * The parsers return `false` for other text; they may have written some of the bytes then.
 */

/** Parses an IPv4 address into 4 bytes at `offset`, and returns whether `text` is one. */
export function parseIPv4(text: string, bytes: Uint8Array, offset: number): boolean {
  const parts = text.split(".");
  if (parts.length !== 4) return false;
  for (const [index, part] of parts.entries()) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return false;
    bytes[offset + index] = Number(part);
  }
  return true;
}

/** Parses an IPv6 address without a zone into 16 bytes at `offset`; returns whether it is one. */
export function parseIPv6(text: string, bytes: Uint8Array, offset: number): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const head = parseGroups(halves[0] as string, halves.length === 1);
  const tail = parseGroups(halves[1] ?? "", true);
  if (head === undefined || tail === undefined) return false;
  const zeros = 16 - head.length - tail.length;
  // "::" represents at least one group, of 2 bytes.
  if (halves.length === 1 ? zeros !== 0 : zeros < 2) return false;
  bytes.set(head, offset);
  bytes.fill(0, offset + head.length, offset + head.length + zeros);
  bytes.set(tail, offset + head.length + zeros);
  return true;
}

/**
 * Returns whether `text` is an IPv4 address, or an IPv6 address without a zone. Not imported from
 * `node:net`, which takes 8 ms to load.
 */
export function isIP(text: string): boolean {
  const bytes = new Uint8Array(16);
  return parseIPv4(text, bytes, 0) || parseIPv6(text, bytes, 0);
}

/**
 * Returns the bytes of hexadecimal groups separated by colons, or `undefined` for other text. If
 * `allowIPv4`, the last group may be an IPv4 address.
 */
function parseGroups(text: string, allowIPv4: boolean): number[] | undefined {
  if (text === "") return [];
  const out: number[] = [];
  const groups = text.split(":");
  for (const [index, group] of groups.entries()) {
    if (allowIPv4 && index === groups.length - 1 && group.includes(".")) {
      const quad = new Uint8Array(4);
      if (!parseIPv4(group, quad, 0)) return undefined;
      out.push(...quad);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16);
      out.push(value >> 8, value & 0xff);
    } else {
      return undefined;
    }
  }
  return out.length <= 16 ? out : undefined;
}

/** Formats the 4 bytes at `offset` as `192.0.2.1`. */
export function formatIPv4(bytes: Uint8Array, offset: number): string {
  return bytes.subarray(offset, offset + 4).join(".");
}

/** Formats the 16 bytes at `offset` as `2001:db8::1`, or `::ffff:192.0.2.1` if IPv4-mapped. */
export function formatIPv6(bytes: Uint8Array, offset: number): string {
  if (isMappedIPv4(bytes, offset)) return `::ffff:${formatIPv4(bytes, offset + 12)}`;
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((bytes[offset + 2 * i] as number) << 8) | (bytes[offset + 2 * i + 1] as number),
  );
  const run = longestZeroRun(groups);
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

/** Returns whether the 16 bytes at `offset` are in `::ffff:0:0/96` (RFC 4291, section 2.5.5.2). */
export function isMappedIPv4(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return false;
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    // Of runs of equal length, the first is shortened (RFC 5952, section 4.2.3).
    if (length > best.length) best = { start: index + 1 - length, length };
  }
  return best;
}
