/**
 * IP addresses as text and as bytes in network order.
 *
 * IPv4 is dotted decimal, four parts, no leading zeros. IPv6 is read as RFC 4291 section 2.2 has
 * it and written as RFC 5952 wants it.
 */

/** Reads four dotted decimals into `bytes` at `offset`; false, and nothing certain, if it is none. */
export function parseIPv4(text: string, bytes: Uint8Array, offset: number): boolean {
  const parts = text.split(".");
  if (parts.length !== 4) return false;
  for (const [index, part] of parts.entries()) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return false;
    bytes[offset + index] = Number(part);
  }
  return true;
}

/** Reads an IPv6 address without zone into 16 bytes at `offset`; false if it is none. */
export function parseIPv6(text: string, bytes: Uint8Array, offset: number): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const head = parseGroups(halves[0] as string, halves.length === 1);
  const tail = parseGroups(halves[1] ?? "", true);
  if (head === undefined || tail === undefined) return false;
  const zeros = 16 - head.length - tail.length;
  // "::" stands for one group at least.
  if (halves.length === 1 ? zeros !== 0 : zeros < 2) return false;
  bytes.set(head, offset);
  bytes.fill(0, offset + head.length, offset + head.length + zeros);
  bytes.set(tail, offset + head.length + zeros);
  return true;
}

/** Whether `text` is an address, without zone. `node:net` has the same, but takes 8 ms to load. */
export function isIP(text: string): boolean {
  const bytes = new Uint8Array(16);
  return parseIPv4(text, bytes, 0) || parseIPv6(text, bytes, 0);
}

/** The bytes of groups between colons; the last may be dotted IPv4 where `allowIPv4`. */
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

/** `192.0.2.1` from four bytes at `offset`. */
export function formatIPv4(bytes: Uint8Array, offset: number): string {
  return bytes.subarray(offset, offset + 4).join(".");
}

/** `2001:db8::1` from sixteen bytes at `offset`; IPv4-mapped ones as `::ffff:192.0.2.1`. */
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

/** Whether sixteen bytes at `offset` are in `::ffff:0:0/96` (RFC 4291 section 2.5.5.2). */
export function isMappedIPv4(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return false;
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    // The first of equals wins: RFC 5952 section 4.2.3.
    if (length > best.length) best = { start: index + 1 - length, length };
  }
  return best;
}
