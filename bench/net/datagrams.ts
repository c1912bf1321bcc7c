/**
 * The datagrams of the network benchmarks: 64 different ones, the same in C (reference.c), so that
 * whoever receives one can tell whether it is as it was sent. Their length and how many go in a
 * batch, the environment says.
 */

import process from "node:process";

/** Variables of a peer's environment. */
export const BYTES_VARIABLE = "DATAGRAM_BENCH_BYTES";
export const BATCH_VARIABLE = "DATAGRAM_BENCH_BATCH";
export const MEMORY_VARIABLE = "DATAGRAM_BENCH_MEMORY";

/** Their length where nobody says one. */
export const DEFAULT_DATAGRAM_BYTES = 1200;
/** Datagrams a batch where nobody says how many. */
export const DEFAULT_BATCH = 64;

/** Their length. */
export const DATAGRAM_BYTES: number = Number(process.env[BYTES_VARIABLE] ?? DEFAULT_DATAGRAM_BYTES);

/** Datagrams a batch. */
export const BATCH: number = Number(process.env[BATCH_VARIABLE] ?? DEFAULT_BATCH);

/** Room for a datagram and what a relay puts in front of it. */
export const SLOT_BYTES: number = DATAGRAM_BYTES + 64;

/** What a relay puts in front of each. */
export const PREFIX: Uint8Array<ArrayBuffer> = Uint8Array.from({ length: 8 }, (_, i) => 0xc0 + i);

/** How many different ones there are. */
const DIFFERENT = 64;

const isOneBuffer = process.env[MEMORY_VARIABLE] === "one buffer";
const oneBuffer = new Uint8Array(isOneBuffer ? BATCH * DATAGRAM_BYTES : 0);

/** A batch: each in memory of its own, or ("one buffer") cut from one, one behind the other. */
export const datagrams: readonly Uint8Array<ArrayBuffer>[] = Array.from(
  { length: BATCH },
  (_, i) => {
    const bytes = isOneBuffer
      ? oneBuffer.subarray(i * DATAGRAM_BYTES, (i + 1) * DATAGRAM_BYTES)
      : new Uint8Array(DATAGRAM_BYTES);
    for (let at = 0; at < bytes.length; at++) bytes[at] = (i % DIFFERENT) + 7 * at;
    return bytes;
  },
);

const expected = Array.from({ length: DIFFERENT }, (_, i) =>
  Uint8Array.from({ length: DATAGRAM_BYTES }, (_, at) => i + 7 * at),
);

/** Datagrams of a message that the C programs send by GSO: 65,507 bytes is the most IPv4 takes. */
export function segmentsOf(bytes: number): number {
  return Math.min(DIFFERENT, Math.floor(65_507 / bytes));
}

/** @throws Error when `bytes` are none of them. */
export function checkDatagram(bytes: Uint8Array): void {
  const sent = expected[bytes[0] ?? DIFFERENT];
  if (sent === undefined || Buffer.compare(bytes, sent) !== 0) {
    throw new Error(`received ${bytes.length} bytes that nobody sent`);
  }
}
