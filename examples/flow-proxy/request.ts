/**
 * The requests of the load generator. The header of a request identifies the client and the
 * request; length and contents follow from the header. A reply can therefore be compared byte by
 * byte without storing the request.
 *
 * `[client, 4 bytes][sequence number, 4][run ID, 4][part of a random text, 52..1188]`
 */

import type { DgramBuffer } from "../../lib/index.ts";

/** The minimum and maximum length of a request in bytes. */
export const REQUEST_BYTES_MIN = 64;
export const REQUEST_BYTES_MAX = 1200;

const HEADER_BYTES = 12;
const TEXT_BYTES = 2 ** 16;

/** The sequence number of a valid reply, or what is wrong with the reply. */
export type ReplyResult = number | "altered" | "misdelivered";

/** Writes requests, and checks replies, which must be equal to their requests. */
export class RequestGenerator {
  readonly #text: Buffer = Buffer.from(crypto.getRandomValues(new Uint8Array(TEXT_BYTES)));
  readonly #runId: number = crypto.getRandomValues(new Uint32Array(1))[0] as number;

  /** Appends request `sequence` of `client` to an empty buffer. */
  write(buffer: DgramBuffer, client: number, sequence: number): void {
    const hash = hashOf(client, sequence);
    const start = this.#textStart(hash);
    buffer.putU32(client);
    buffer.putU32(sequence);
    buffer.putU32(this.#runId);
    buffer.putSlice(this.#text.subarray(start, start + requestBytes(hash) - HEADER_BYTES));
  }

  /** Checks a reply that `client` received: the first `length` bytes of `bytes`. */
  checkReply(bytes: Buffer, length: number, client: number): ReplyResult {
    if (length < REQUEST_BYTES_MIN || bytes.readUInt32BE(8) !== this.#runId) return "altered";
    const addressee = bytes.readUInt32BE(0);
    const sequence = bytes.readUInt32BE(4);
    const hash = hashOf(addressee, sequence);
    if (length !== requestBytes(hash)) return "altered";
    const start = this.#textStart(hash);
    const end = start + length - HEADER_BYTES;
    if (bytes.compare(this.#text, start, end, HEADER_BYTES, length) !== 0) return "altered";
    return addressee === client ? sequence : "misdelivered";
  }

  #textStart(hash: number): number {
    return hash % (TEXT_BYTES - REQUEST_BYTES_MAX);
  }
}

/** Returns a 32-bit hash, which the length of a request and its part of the text depend on. */
function hashOf(client: number, sequence: number): number {
  let hash = Math.imul(client + 1, 0x9e37_79b1) ^ Math.imul(sequence + 1, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2_ae35);
  return (hash ^ (hash >>> 13)) >>> 0;
}

function requestBytes(hash: number): number {
  return REQUEST_BYTES_MIN + ((hash >>> 8) % (REQUEST_BYTES_MAX - REQUEST_BYTES_MIN + 1));
}
