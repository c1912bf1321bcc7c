/** QUIC varints beside the obvious way to write them: all in `bigint`, byte by byte. */

import { decodeVarint, encodeVarint, varintLength } from "../../lib/index.ts";
import { type Comparison, keep } from "./comparison.ts";

/** Values that take 1, 2, 4 and 8 bytes; the last two are a safe integer and one that is not. */
const VALUES: readonly (number | bigint)[] = [37, 15_293, 494_878_333, 2 ** 50, 2n ** 61n];

/** As RFC 9000, section 16, tells it. */
function encodeNaively(value: bigint, bytes: Uint8Array): number {
  const exponent = value < 1n << 6n ? 0n : value < 1n << 14n ? 1n : value < 1n << 30n ? 2n : 3n;
  const length = 1n << exponent;
  const tagged = (exponent << (8n * length - 2n)) | value;
  for (let i = 0n; i < length; i++) {
    bytes[Number(i)] = Number((tagged >> (8n * (length - 1n - i))) & 0xffn);
  }
  return Number(length);
}

function decodeNaively(bytes: Uint8Array): bigint {
  const length = 1 << ((bytes[0] as number) >> 6);
  let value = BigInt((bytes[0] as number) & 0x3f);
  for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(bytes[i] as number);
  return value;
}

/** Both encode and decode it alike, or there is nothing to compare. */
function checkSame(value: number | bigint): void {
  const [ours, naive] = [new Uint8Array(8), new Uint8Array(8)];
  const length = encodeVarint(value, ours);
  const isSame =
    encodeNaively(BigInt(value), naive) === length &&
    Buffer.compare(ours, naive) === 0 &&
    decodeVarint(ours) === value &&
    decodeNaively(naive) === BigInt(value);
  if (!isSame) throw new Error(`${value}: expected ${naive.toHex()}, got ${ours.toHex()}`);
}

export const comparisons: readonly Comparison[] = VALUES.flatMap((value) => {
  checkSame(value);
  const bytes = new Uint8Array(new ArrayBuffer(8));
  const length = encodeVarint(value, bytes);
  const wide = BigInt(value);
  const kind = typeof value === "bigint" ? "varint of a bigint" : "varint";
  return [
    {
      scenario: `${kind}: encode`,
      parameters: { bytes: length },
      ways: [
        { name: "encodeVarint", run: () => keep(encodeVarint(value, bytes)) },
        { name: "naive, all bigint", run: () => keep(encodeNaively(wide, bytes)) },
      ],
    },
    {
      scenario: `${kind}: decode`,
      parameters: { bytes: length },
      ways: [
        { name: "decodeVarint", run: () => keep(decodeVarint(bytes)) },
        { name: "naive, all bigint", run: () => keep(decodeNaively(bytes)) },
      ],
    },
    {
      scenario: `${kind}: length`,
      parameters: { bytes: length },
      ways: [{ name: "varintLength", run: () => keep(varintLength(value)) }],
    },
  ];
});
