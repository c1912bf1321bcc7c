/**
 * The datagrams of the network benchmarks: 64 different ones, the same as in
 * reference/datagrams.c, so that a receiver can check that they are unaltered. Environment
 * variables set their length and the batch size.
 */

import process from "node:process";

/** Environment variables of peers. */
export const BYTES_VARIABLE = "DATAGRAM_BENCH_BYTES";
export const BATCH_VARIABLE = "DATAGRAM_BENCH_BATCH";
export const MEMORY_VARIABLE = "DATAGRAM_BENCH_MEMORY";
export const ORDER_VARIABLE = "DATAGRAM_BENCH_ORDER";

/** The length of a datagram if the environment does not set one. */
export const DEFAULT_DATAGRAM_BYTES = 1200;
/** The number of datagrams per batch if the environment does not set one. */
export const DEFAULT_BATCH = 64;
/** The number of datagrams per batch to many peers: the maximum of one system call. */
export const LARGE_BATCH = 1024;

/** The length of a datagram. */
export const DATAGRAM_BYTES: number = Number(process.env[BYTES_VARIABLE] ?? DEFAULT_DATAGRAM_BYTES);

/** The number of datagrams per batch. */
export const BATCH: number = Number(process.env[BATCH_VARIABLE] ?? DEFAULT_BATCH);

/** The size of a buffer for a datagram and the prefix of a relay. */
export const SLOT_BYTES: number = DATAGRAM_BYTES + 64;

/** The prefix that a relay adds. */
export const PREFIX: Uint8Array<ArrayBuffer> = Uint8Array.from({ length: 8 }, (_, i) => 0xc0 + i);

/** The number of different datagrams. */
const DIFFERENT = 64;

const isOneBuffer = process.env[MEMORY_VARIABLE] === "one buffer";
const oneBuffer = new Uint8Array(isOneBuffer ? BATCH * DATAGRAM_BYTES : 0);

/** A batch. Each datagram has its own memory, or all are adjacent in one buffer. */
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

/**
 * Returns a batch to many ports as datagrams and the port of each, in turn (p0 p1 ... p0 p1 ...), or
 * grouped by port if the environment says so. A port gets the same datagrams in both orders.
 */
export function batchTo(
  ports: readonly number[],
): { readonly data: Uint8Array<ArrayBuffer>; readonly port: number }[] {
  const isGrouped = process.env[ORDER_VARIABLE] === "grouped";
  const each = BATCH / ports.length;
  return datagrams.map((_, i) => {
    const d = isGrouped ? (i % each) * ports.length + Math.floor(i / each) : i;
    return { data: datagrams[d] as Uint8Array<ArrayBuffer>, port: ports[d % ports.length] ?? 0 };
  });
}

const expected = Array.from({ length: DIFFERENT }, (_, i) =>
  Uint8Array.from({ length: DATAGRAM_BYTES }, (_, at) => i + 7 * at),
);

/**
 * Returns the number of datagrams per GSO message of the C programs: 64, or as many as fit in
 * 65,507 bytes, the maximum UDP payload over IPv4.
 */
export function segmentsOf(bytes: number): number {
  return Math.min(DIFFERENT, Math.floor(65_507 / bytes));
}

/** @throws Error if `bytes` is not equal to one of the datagrams. */
export function checkDatagram(bytes: Uint8Array): void {
  const sent = expected[bytes[0] ?? DIFFERENT];
  if (sent === undefined || Buffer.compare(bytes, sent) !== 0) {
    throw new Error(`received ${bytes.length} bytes that are not one of the datagrams sent`);
  }
}
