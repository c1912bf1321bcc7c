/**
 * The requests of the load generator. The header of a request identifies the client and the
 * request; length and contents follow from the header. A reply can therefore be compared byte by
 * byte without storing the request.
 *
 * Like the packets of a QUIC connection that has much to send, requests have the maximum length,
 * except the last one of each run of `RUN_REQUESTS`. The kernel can then send a run as the segments
 * of one message.
 *
 * `[client, 4 bytes][sequence number, 4][run ID, 4][part of a random text, 52..1188]`
 */

/** The minimum and maximum length of a request in bytes. */
export const REQUEST_BYTES_MIN = 64;
export const REQUEST_BYTES_MAX = 1200;

/**
 * The number of requests of a client of which only the last may be shorter than the maximum: as many
 * as fit into a GSO message (65,507 bytes over IPv4), each with a flow ID of up to 8 bytes.
 */
export const RUN_REQUESTS = 54;

const HEADER_BYTES = 12;
const TEXT_BYTES = 2 ** 16;

/** The sequence number of a valid reply, or what is wrong with the reply. */
export type ReplyResult = number | "altered" | "misdelivered";

/** Writes requests, and checks replies, which must be equal to their requests. */
export class RequestGenerator {
  readonly #text: Buffer = Buffer.from(crypto.getRandomValues(new Uint8Array(TEXT_BYTES)));
  readonly #runId: number = crypto.getRandomValues(new Uint32Array(1))[0] as number;

  /** Writes request `sequence` of `client` to `bytes` at `offset`, and returns its length. */
  write(bytes: Buffer, offset: number, client: number, sequence: number): number {
    const hash = hashOf(client, sequence);
    const start = this.#textStart(hash);
    const length = requestBytes(hash, sequence);
    bytes.writeUInt32BE(client, offset);
    bytes.writeUInt32BE(sequence, offset + 4);
    bytes.writeUInt32BE(this.#runId, offset + 8);
    this.#text.copy(bytes, offset + HEADER_BYTES, start, start + length - HEADER_BYTES);
    return length;
  }

  /** Checks a reply that `client` received: `length` bytes of `bytes` at `offset`. */
  checkReply(bytes: Buffer, offset: number, length: number, client: number): ReplyResult {
    if (length < REQUEST_BYTES_MIN) return "altered";
    if (bytes.readUInt32BE(offset + 8) !== this.#runId) return "altered";
    const addressee = bytes.readUInt32BE(offset);
    const sequence = bytes.readUInt32BE(offset + 4);
    const hash = hashOf(addressee, sequence);
    if (length !== requestBytes(hash, sequence)) return "altered";
    const start = this.#textStart(hash);
    const end = start + length - HEADER_BYTES;
    const result = bytes.compare(this.#text, start, end, offset + HEADER_BYTES, offset + length);
    if (result !== 0) return "altered";
    return addressee === client ? sequence : "misdelivered";
  }

  #textStart(hash: number): number {
    return hash % (TEXT_BYTES - REQUEST_BYTES_MAX);
  }
}

/** Returns a 32-bit hash, which selects the part of the text, and the length of a short request. */
function hashOf(client: number, sequence: number): number {
  let hash = Math.imul(client + 1, 0x9e37_79b1) ^ Math.imul(sequence + 1, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2_ae35);
  return (hash ^ (hash >>> 13)) >>> 0;
}

function requestBytes(hash: number, sequence: number): number {
  if ((sequence + 1) % RUN_REQUESTS !== 0) return REQUEST_BYTES_MAX;
  return REQUEST_BYTES_MIN + ((hash >>> 8) % (REQUEST_BYTES_MAX - REQUEST_BYTES_MIN + 1));
}
