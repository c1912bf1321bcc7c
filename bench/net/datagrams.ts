/**
 * The datagrams of the network benchmarks: 64 different ones, the same in C (reference.c), so that
 * whoever receives one can tell whether it is as it was sent.
 */

/** Their length. */
export const DATAGRAM_BYTES = 1200;

/** Datagrams of a message that the C programs send by GSO: 65,507 bytes is the most IPv4 takes. */
export const SEGMENTS: number = Math.min(64, Math.floor(65_507 / DATAGRAM_BYTES));

/** Datagrams a batch, and as many different ones there are. */
export const BATCH = 64;

/** What a relay puts in front of each. */
export const PREFIX: Uint8Array<ArrayBuffer> = Uint8Array.from({ length: 8 }, (_, i) => 0xc0 + i);

/** Each in memory of its own, as a caller's are. */
export const datagrams: readonly Uint8Array<ArrayBuffer>[] = Array.from({ length: BATCH }, (_, i) =>
  Uint8Array.from({ length: DATAGRAM_BYTES }, (_, at) => i + 7 * at),
);

/** @throws Error when `bytes` are none of them. */
export function checkDatagram(bytes: Uint8Array): void {
  const expected = datagrams[bytes[0] ?? BATCH];
  if (expected === undefined || Buffer.compare(bytes, expected) !== 0) {
    throw new Error(`received ${bytes.length} bytes that nobody sent`);
  }
}
