/** An incremental decoder of the capsule protocol (RFC 9297, section 3). */

import { loadVarint, VARINT_LENGTH_MAX } from "../buffer/varint.ts";
import { checkBytes, checkInteger, typeError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { DATAGRAM_CAPSULE } from "./capsule.ts";
import { CONNECT_UDP_PAYLOAD_MAX } from "./http-datagram.ts";

/** Options of a {@link CapsuleDecoder}. */
export interface CapsuleDecoderOptions {
  /** The types of capsules to decode. Others are skipped. Default: only DATAGRAM, 0. */
  readonly types?: readonly number[] | undefined;
  /**
   * The longest value of these capsules in bytes, 0..2^31-1. A longer one is an error. Default
   * 65,535: a UDP payload of the maximum length and a context ID.
   */
  readonly valueBytesMax?: number | undefined;
}

const DECODER_OPTIONS = optionKinds<CapsuleDecoderOptions>({ types: "any", valueBytesMax: "any" });

const VALUE_BYTES_LIMIT = 2 ** 31 - 1;
const VALUE_BYTES_DEFAULT = CONNECT_UDP_PAYLOAD_MAX + VARINT_LENGTH_MAX;

/** The peer violated the capsule protocol. The stream is to be aborted (RFC 9297, section 3.3). */
export class CapsuleError extends Error {
  override readonly name: string = "CapsuleError";
  /** `"ERR_CAPSULE_TOO_LONG"` or `"ERR_CAPSULE_INCOMPLETE"`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

if (isShared("CapsuleError", CapsuleError)) {
  // @ts-expect-error See `isShared`.
  CapsuleError = sharedClass("CapsuleError");
}

/** Receives a capsule. `value` is borrowed: it is valid until the function returns. */
export type CapsuleHandler = (type: number, value: Uint8Array) => void;

/** What the decoder reads next. */
type State = "type" | "length" | "value" | "skip";

/**
 * Splits a byte stream, in chunks of any size, into capsules. Capsules of unknown types are skipped
 * as required, without storing them, however long they are. The memory for a value is allocated only
 * if it arrives in several chunks, and is reused.
 *
 * @example
 * ```ts
 * const decoder = new CapsuleDecoder((type, value) => receive(value));
 * for await (const chunk of stream) decoder.push(chunk);
 * decoder.end();
 * ```
 */
export class CapsuleDecoder {
  readonly #handler: CapsuleHandler;
  readonly #types: ReadonlySet<number | bigint>;
  readonly #valueBytesMax: number;
  #state: State = "type";
  #type = 0;
  /** The bytes of a varint that is incomplete. */
  readonly #varint = new Uint8Array(VARINT_LENGTH_MAX);
  #varintBytes = 0;
  /** The bytes of a value that arrives in several chunks, and their number. */
  #value = new Uint8Array(0);
  #valueBytes = 0;
  /** The bytes of the value that are missing. */
  #missing: number | bigint = 0;
  /** The first error, in an object because a handler may throw anything. */
  #failure: { readonly error: unknown } | undefined;
  #isBusy = false;

  /** @throws TypeError or RangeError if an argument is invalid. */
  constructor(handler: CapsuleHandler, options: CapsuleDecoderOptions = {}) {
    if (typeof handler !== "function") throw typeError("handler", "function", handler);
    checkOptions("options", options, DECODER_OPTIONS);
    const { types = [DATAGRAM_CAPSULE], valueBytesMax = VALUE_BYTES_DEFAULT } = options;
    if (!Array.isArray(types)) throw typeError("types", "array of integers", types);
    for (const type of types) checkInteger("types", type, 0, Number.MAX_SAFE_INTEGER);
    checkInteger("valueBytesMax", valueBytesMax, 0, VALUE_BYTES_LIMIT);
    this.#handler = handler;
    this.#types = new Set(types);
    this.#valueBytesMax = valueBytesMax;
  }

  /**
   * Decodes the next bytes of the stream, and calls the handler for each complete capsule.
   *
   * @throws CapsuleError if a value is longer than `valueBytesMax`. An error that the handler throws
   * is thrown too. After either, the stream cannot be continued: later calls throw the same error.
   */
  push(chunk: Uint8Array): void {
    checkBytes("chunk", chunk);
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#isBusy) throw new Error("push was called by the handler of the same decoder");
    this.#isBusy = true;
    try {
      let offset = 0;
      while (offset < chunk.length) offset = this.#step(chunk, offset);
    } catch (error) {
      this.#failure = { error };
      throw error;
    } finally {
      this.#isBusy = false;
    }
  }

  /**
   * Reports the end of the stream.
   *
   * @throws CapsuleError if it ends within a capsule: it is malformed (RFC 9297, section 3.3).
   */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state === "type" && this.#varintBytes === 0) return;
    throw new CapsuleError("ERR_CAPSULE_INCOMPLETE", "the stream ended within a capsule");
  }

  /** Consumes bytes at `offset`, and returns the offset of the next ones. */
  #step(chunk: Uint8Array, offset: number): number {
    if (this.#state === "skip") return this.#skip(chunk, offset);
    if (this.#state === "value") return this.#readValue(chunk, offset);
    this.#varint[this.#varintBytes++] = chunk[offset] as number;
    const length = 1 << ((this.#varint[0] as number) >> 6);
    if (this.#varintBytes === length) {
      this.#varintBytes = 0;
      const value = loadVarint(this.#varint, 0, length);
      if (this.#state === "type") this.#beginCapsule(value);
      else this.#beginValue(value);
    }
    return offset + 1;
  }

  #beginCapsule(type: number | bigint): void {
    // -1 stands for all types to be skipped.
    this.#type = this.#types.has(type) ? (type as number) : -1;
    this.#state = "length";
  }

  #beginValue(length: number | bigint): void {
    this.#missing = length;
    if (this.#type === -1) {
      this.#state = length === 0 ? "type" : "skip";
      return;
    }
    if (length > this.#valueBytesMax) {
      const limit = `${this.#valueBytesMax} bytes`;
      const message = `capsule ${this.#type} has ${length} bytes, limit ${limit}`;
      throw new CapsuleError("ERR_CAPSULE_TOO_LONG", message);
    }
    this.#valueBytes = 0;
    this.#state = "value";
    if (length === 0) this.#deliver(this.#value.subarray(0, 0));
  }

  #readValue(chunk: Uint8Array, offset: number): number {
    const missing = this.#missing as number;
    const count = Math.min(missing, chunk.length - offset);
    const end = offset + count;
    if (count === missing && this.#valueBytes === 0) {
      this.#deliver(chunk.subarray(offset, end));
      return end;
    }
    this.#grow(this.#valueBytes + count, this.#valueBytes + missing);
    this.#value.set(chunk.subarray(offset, end), this.#valueBytes);
    this.#valueBytes += count;
    this.#missing = missing - count;
    if (this.#missing === 0) this.#deliver(this.#value.subarray(0, this.#valueBytes));
    return end;
  }

  /** Grows with the bytes that have arrived: a peer must send them before memory is allocated. */
  #grow(needed: number, total: number): void {
    if (this.#value.length >= needed) return;
    const grown = new Uint8Array(Math.min(total, Math.max(needed, 2 * this.#value.length)));
    grown.set(this.#value.subarray(0, this.#valueBytes));
    this.#value = grown;
  }

  #deliver(value: Uint8Array): void {
    this.#state = "type";
    this.#handler(this.#type, value);
  }

  #skip(chunk: Uint8Array, offset: number): number {
    const available = chunk.length - offset;
    if (this.#missing > available) {
      this.#missing = subtract(this.#missing, available);
      return chunk.length;
    }
    this.#state = "type";
    return offset + Number(this.#missing);
  }
}

if (isShared("CapsuleDecoder", CapsuleDecoder)) {
  // @ts-expect-error See `isShared`.
  CapsuleDecoder = sharedClass("CapsuleDecoder");
}

function subtract(value: number | bigint, count: number): number | bigint {
  return typeof value === "number" ? value - count : value - BigInt(count);
}
