/**
 * The datagrams of the load generator. Each says whose it is and which one, and the rest follows
 * from that: length, and a piece of one random text. So an answer is checked byte by byte without
 * anything being remembered of the question.
 *
 * `[client, 4 bytes][sequence, 4][run, 4][text]`
 */

import type { DgramBuffer } from "../../lib/index.ts";

/** Bytes of a question. */
export const QUESTION_BYTES_MIN = 64;
export const QUESTION_BYTES_MAX = 1200;

const HEADER_BYTES = 12;
const TEXT_BYTES = 2 ** 16;

/** What an answer turned out to be: a sequence number, or what is wrong with it. */
export type Answer = number | "altered" | "misdelivered";

/** Makes questions, and tells whether answers are theirs. */
export class Questions {
  readonly #text: Buffer = Buffer.from(crypto.getRandomValues(new Uint8Array(TEXT_BYTES)));
  readonly #run: number = crypto.getRandomValues(new Uint32Array(1))[0] as number;

  /** Puts question `sequence` of `client` into an empty buffer. */
  write(buffer: DgramBuffer, client: number, sequence: number): void {
    const at = mix(client, sequence);
    const start = this.#textStart(at);
    buffer.putU32(client);
    buffer.putU32(sequence);
    buffer.putU32(this.#run);
    buffer.putSlice(this.#text.subarray(start, start + questionBytes(at) - HEADER_BYTES));
  }

  /** Looks at the answer that `client` got: the first `length` bytes of `bytes`. */
  check(bytes: Buffer, length: number, client: number): Answer {
    if (length < QUESTION_BYTES_MIN || bytes.readUInt32BE(8) !== this.#run) return "altered";
    const addressee = bytes.readUInt32BE(0);
    const sequence = bytes.readUInt32BE(4);
    const at = mix(addressee, sequence);
    if (length !== questionBytes(at)) return "altered";
    const start = this.#textStart(at);
    const end = start + length - HEADER_BYTES;
    if (bytes.compare(this.#text, start, end, HEADER_BYTES, length) !== 0) return "altered";
    return addressee === client ? sequence : "misdelivered";
  }

  #textStart(at: number): number {
    return at % (TEXT_BYTES - QUESTION_BYTES_MAX);
  }
}

/** A number that looks random, and is the same for the same question. */
function mix(client: number, sequence: number): number {
  let value = Math.imul(client + 1, 0x9e37_79b1) ^ Math.imul(sequence + 1, 0x85eb_ca6b);
  value = Math.imul(value ^ (value >>> 15), 0xc2b2_ae35);
  return (value ^ (value >>> 13)) >>> 0;
}

function questionBytes(at: number): number {
  return QUESTION_BYTES_MIN + ((at >>> 8) % (QUESTION_BYTES_MAX - QUESTION_BYTES_MIN + 1));
}
