/**
 * QUIC varints, compared with a naive implementation that uses `bigint` for all values. Each run
 * processes 64 different values of one length, as a batch would contain.
 */

import { decodeVarint, encodeVarint, varintLength } from "../../lib/index.ts";
import type { Comparison } from "./comparison.ts";

const COUNT = 64;
const LENGTH_MAX = 8;

/** Values of 1, 2, 4 and 8 bytes, and values that exceed the safe integers of `number`. */
const KINDS: readonly { readonly name: string; readonly values: readonly (number | bigint)[] }[] = [
  { name: "varint of 1 byte", values: spread(0, 63) },
  { name: "varint of 2 bytes", values: spread(64, 2 ** 14 - 1) },
  { name: "varint of 4 bytes", values: spread(2 ** 14, 2 ** 30 - 1) },
  { name: "varint of 8 bytes", values: spread(2 ** 30, 2 ** 53 - 1) },
  {
    name: "varint of 8 bytes, bigint",
    values: spread(0, COUNT - 1).map((i) => 2n ** 61n + BigInt(i)),
  },
];

/** Returns `COUNT` integers, evenly spaced from `first` to `last`. */
function spread(first: number, last: number): number[] {
  const step = (last - first) / (COUNT - 1);
  return Array.from({ length: COUNT }, (_, i) => Math.floor(first + i * step));
}

/** Implements RFC 9000, section 16 literally. */
function encodeNaively(value: bigint, bytes: Uint8Array, offset: number): number {
  const exponent = value < 1n << 6n ? 0n : value < 1n << 14n ? 1n : value < 1n << 30n ? 2n : 3n;
  const length = 1n << exponent;
  const tagged = (exponent << (8n * length - 2n)) | value;
  for (let i = 0n; i < length; i++) {
    bytes[offset + Number(i)] = Number((tagged >> (8n * (length - 1n - i))) & 0xffn);
  }
  return Number(length);
}

function decodeNaively(bytes: Uint8Array, offset: number): bigint {
  const length = 1 << ((bytes[offset] as number) >> 6);
  let value = BigInt((bytes[offset] as number) & 0x3f);
  for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(bytes[offset + i] as number);
  return value;
}

/** @throws Error if the two implementations do not agree. */
function checkSame(values: readonly (number | bigint)[]): void {
  const [ours, naive] = [new Uint8Array(LENGTH_MAX), new Uint8Array(LENGTH_MAX)];
  for (const value of values) {
    const length = encodeVarint(value, ours);
    const isSame =
      encodeNaively(BigInt(value), naive, 0) === length &&
      Buffer.compare(ours.subarray(0, length), naive.subarray(0, length)) === 0 &&
      decodeVarint(ours) === value &&
      decodeNaively(naive, 0) === BigInt(value);
    if (!isSame) throw new Error(`${value}: expected ${naive.toHex()}, got ${ours.toHex()}`);
  }
}

/** The results of runs are the sum of the lengths, or the number of correctly decoded values. */
function comparisonsOf(name: string, values: readonly (number | bigint)[]): Comparison[] {
  checkSame(values);
  const wide = values.map(BigInt);
  const bytes = new Uint8Array(new ArrayBuffer(COUNT * LENGTH_MAX));
  for (const [i, value] of values.entries()) encodeVarint(value, bytes, i * LENGTH_MAX);
  const lengths = values.reduce<number>((sum, value) => sum + varintLength(value), 0);
  const common = { parameters: {}, operations: COUNT };
  return [
    {
      ...common,
      scenario: `encode, ${name}`,
      expected: lengths,
      variants: [
        {
          name: "encodeVarint",
          run() {
            let sum = 0;
            for (let i = 0; i < COUNT; i++) {
              sum += encodeVarint(values[i] as number | bigint, bytes, i * LENGTH_MAX);
            }
            return sum;
          },
        },
        {
          name: "naive, all bigint",
          run() {
            let sum = 0;
            for (let i = 0; i < COUNT; i++) {
              sum += encodeNaively(wide[i] as bigint, bytes, i * LENGTH_MAX);
            }
            return sum;
          },
        },
      ],
    },
    {
      ...common,
      scenario: `decode, ${name}`,
      expected: COUNT,
      variants: [
        {
          name: "decodeVarint",
          run() {
            let same = 0;
            for (let i = 0; i < COUNT; i++) {
              if (decodeVarint(bytes, i * LENGTH_MAX) === values[i]) same++;
            }
            return same;
          },
        },
        {
          name: "naive, all bigint",
          run() {
            let same = 0;
            for (let i = 0; i < COUNT; i++) {
              if (decodeNaively(bytes, i * LENGTH_MAX) === wide[i]) same++;
            }
            return same;
          },
        },
      ],
    },
    {
      ...common,
      scenario: `length, ${name}`,
      expected: lengths,
      variants: [
        {
          name: "varintLength",
          run() {
            let sum = 0;
            for (let i = 0; i < COUNT; i++) sum += varintLength(values[i] as number | bigint);
            return sum;
          },
        },
      ],
    },
  ];
}

export const comparisons: readonly Comparison[] = KINDS.flatMap(({ name, values }) =>
  comparisonsOf(name, values),
);
