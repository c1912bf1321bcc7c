/**
 * As much of QPACK (RFC 9204) as the client needs: it encodes all fields as literals, and decodes the
 * status of a response. The dynamic table has no room by default, so no stream of it is needed.
 */

/** Status codes in the static table, by index (RFC 9204, appendix A). */
const STATIC_STATUS: Readonly<Record<number, number>> = {
  24: 103,
  25: 200,
  26: 304,
  27: 404,
  28: 503,
  63: 100,
  64: 204,
  65: 206,
  66: 302,
  67: 400,
  68: 403,
  69: 421,
  70: 425,
  71: 500,
};
/** The Huffman codes of digits: 5 bits for 0 to 2, 6 bits for 3 to 9 (RFC 7541, appendix B). */
const SHORT_DIGITS = 3;
const FIRST_LONG_CODE = 0x19;

/** Encodes a field section. */
export function encodeFields(fields: readonly (readonly [string, string])[]): Uint8Array {
  // Required insert count and base: 0.
  const out: number[] = [0, 0];
  for (const [name, value] of fields) {
    pushInteger(out, 0b0010_0000, 3, name.length);
    out.push(...new TextEncoder().encode(name));
    pushInteger(out, 0, 7, value.length);
    out.push(...new TextEncoder().encode(value));
  }
  return Uint8Array.from(out);
}

/** Returns the status of a response. @throws Error if the section has none, or is malformed. */
export function decodeStatus(section: Uint8Array): number {
  const reader = new Reader(section);
  reader.integer(8);
  reader.integer(7);
  const first = reader.peek();
  if ((first & 0b1100_0000) === 0b1100_0000) {
    const status = STATIC_STATUS[reader.integer(6)];
    if (status !== undefined) return status;
  } else if ((first & 0b1111_0000) === 0b0101_0000 || (first & 0b1111_0000) === 0b0111_0000) {
    // A literal value with the name of an entry of the static table.
    if (STATIC_STATUS[reader.integer(4)] !== undefined) return Number(reader.digits());
  }
  throw new Error("the first field of the response is not :status");
}

function pushInteger(out: number[], flags: number, bits: number, value: number): void {
  const limit = 2 ** bits - 1;
  if (value < limit) {
    out.push(flags | value);
    return;
  }
  out.push(flags | limit);
  let left = value - limit;
  for (; left >= 0x80; left >>= 7) out.push((left & 0x7f) | 0x80);
  out.push(left);
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  peek(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new Error("the field section is too short");
    return byte;
  }

  /** Reads an integer with a prefix of `bits` bits (RFC 7541, section 5.1). */
  integer(bits: number): number {
    const limit = 2 ** bits - 1;
    let value = this.peek() & limit;
    this.#at++;
    if (value < limit) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = this.peek();
      this.#at++;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  /** Reads a string of digits. */
  digits(): string {
    const isHuffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    if (!isHuffman) return new TextDecoder().decode(bytes);
    let bits = "";
    for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
    let text = "";
    while (bits.length >= 5 && !/^1+$/.test(bits)) {
      const short = Number.parseInt(bits.slice(0, 5), 2);
      const isShort = short < SHORT_DIGITS;
      const long = Number.parseInt(bits.slice(0, 6), 2) - FIRST_LONG_CODE + SHORT_DIGITS;
      text += isShort ? short : long;
      bits = bits.slice(isShort ? 5 : 6);
    }
    return text;
  }
}
