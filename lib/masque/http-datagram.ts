/**
 * HTTP/3 Datagrams (RFC 9297, section 2.1) that carry UDP (RFC 9298, section 5). The payload of a
 * QUIC DATAGRAM frame is:
 *
 *     quarter stream ID (varint) | context ID (varint) | UDP payload
 *
 * The first two form a prefix of 2 to 16 bytes, which fits the default headroom of a buffer.
 */

import { DgramBuffer } from "../buffer/buffer.ts";
import { loadVarint, VARINT_MAX, varintLength, writeVarint } from "../buffer/varint.ts";
import {
  checkBytes,
  checkInteger,
  inspectAs,
  numberError,
  rangeError,
  showFields,
  typeError,
} from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

/** The longest UDP payload in an HTTP Datagram in bytes (RFC 9298, section 5). */
export const CONNECT_UDP_PAYLOAD_MAX = 65_527;

/** The largest quarter stream ID: 2^60-1 (RFC 9297, section 2.1). */
const QUARTER_STREAM_ID_MAX = 0x0fff_ffff_ffff_ffffn;

/** The memory in which a prefix is encoded before it is copied: two varints of 8 bytes. */
const scratch = new Uint8Array(16);

/** Views of `scratch` by length. */
const scratchViews = Array.from({ length: 17 }, (_, length) => scratch.subarray(0, length));

/** Returns the quarter stream ID of a request stream: one opened by the client, bidirectional. */
function quarterStreamId(streamId: number | bigint): number | bigint {
  const isRequestStream =
    typeof streamId === "number"
      ? Number.isSafeInteger(streamId) && streamId >= 0 && streamId % 4 === 0
      : typeof streamId === "bigint" &&
        streamId >= 0n &&
        streamId <= VARINT_MAX &&
        !(streamId & 3n);
  if (!isRequestStream) {
    const expected = "multiple of 4 from 0 to 2^62-4 (a request stream)";
    throw typeof streamId === "bigint"
      ? rangeError("streamId", expected, streamId)
      : numberError("streamId", expected, streamId);
  }
  return typeof streamId === "number" ? streamId / 4 : streamId >> 2n;
}

/** Encodes the prefix in `scratch`, and returns its length in bytes. */
function encodePrefix(streamId: number | bigint, contextId: number | bigint): number {
  const quarter = quarterStreamId(streamId);
  const first = varintLength(quarter);
  const second = varintLength(contextId);
  writeVarint(scratch, 0, quarter, first);
  writeVarint(scratch, first, contextId, second);
  return first + second;
}

/**
 * Returns the prefix of all HTTP Datagrams of a request stream and a context, for
 * `DgramBuffer.tryAddPrefix` and `SendBatch.prefix`. The caller owns the memory.
 *
 * @param streamId The ID of the request stream: a multiple of 4 below 2^62.
 * @param contextId The context ID, 0..2^62-1. Default 0: UDP payloads (RFC 9298, section 5).
 * @throws RangeError if one of them is out of range.
 * @example
 * ```ts
 * const prefix = httpDatagramPrefix(stream.id);
 * for (const buffer of replies) if (buffer.tryAddPrefix(prefix)) send(buffer);
 * ```
 */
export function httpDatagramPrefix(
  streamId: number | bigint,
  contextId: number | bigint = 0,
): Uint8Array {
  return scratch.slice(0, encodePrefix(streamId, contextId));
}

/**
 * Writes the prefix in front of the payload of `buffer`, into its headroom. Returns false, and
 * changes nothing, if the headroom is too small. Allocates nothing.
 *
 * @throws RangeError if an ID is out of range; see {@link httpDatagramPrefix}.
 */
export function tryAddHttpDatagramPrefix(
  buffer: DgramBuffer,
  streamId: number | bigint,
  contextId: number | bigint = 0,
): boolean {
  checkBuffer(buffer);
  return buffer.tryAddPrefix(scratchViews[encodePrefix(streamId, contextId)] as Uint8Array);
}

/** Why bytes are not a valid HTTP Datagram. */
export type HttpDatagramFault =
  /**
   * The quarter stream ID is missing, incomplete or above 2^60-1: a connection error of type
   * H3_DATAGRAM_ERROR, 0x33 (RFC 9297, section 2.1).
   */
  | "stream ID"
  /** The context ID is missing or incomplete: the request stream is to be aborted. */
  | "context ID"
  /** Context 0, and more than 65,527 bytes of payload: the stream is to be aborted (RFC 9298). */
  | "payload length";

/**
 * The parsed prefix of an HTTP Datagram. One object can parse any number of datagrams, and allocates
 * nothing for IDs below 2^53.
 *
 * @example
 * ```ts
 * const header = new HttpDatagramHeader();
 * if (header.parse(bytes) === undefined) forward(header.streamId, header.payloadOffset);
 * ```
 */
export class HttpDatagramHeader {
  static {
    inspectAs(HttpDatagramHeader.prototype, showFields);
  }

  /** The ID of the request stream, a multiple of 4: a `bigint` above 2^53-1. */
  streamId: number | bigint = 0;
  /** The context ID; 0 for UDP payloads. */
  contextId: number | bigint = 0;
  /** The offset of the payload in bytes, from the start of the datagram. */
  payloadOffset = 0;

  /**
   * Parses the prefix of a datagram in `bytes`. Returns undefined if it is valid, and otherwise the
   * reason: then only `streamId` is meaningful, except after `"stream ID"`. It is the ID of the
   * stream to abort.
   *
   * @param offset The start of the datagram in `bytes`. Default 0.
   * @param length The length of the datagram in bytes. Default: up to the end of `bytes`.
   * @throws RangeError if the datagram is not within `bytes`.
   */
  parse(bytes: Uint8Array, offset = 0, length?: number): HttpDatagramFault | undefined {
    checkBytes("bytes", bytes);
    checkInteger("offset", offset, 0, bytes.length);
    const count = length ?? bytes.length - offset;
    checkInteger("length", count, 0, bytes.length - offset);
    const end = offset + count;
    const first = wholeLength(bytes, offset, end);
    if (first === 0) return "stream ID";
    const quarter = loadVarint(bytes, offset, first);
    if (quarter > QUARTER_STREAM_ID_MAX) return "stream ID";
    const second = wholeLength(bytes, offset + first, end);
    this.streamId = timesFour(quarter);
    if (second === 0) return "context ID";
    this.contextId = loadVarint(bytes, offset + first, second);
    this.payloadOffset = first + second;
    const isTooLong = this.contextId === 0 && count - this.payloadOffset > CONNECT_UDP_PAYLOAD_MAX;
    return isTooLong ? "payload length" : undefined;
  }

  /**
   * Parses the datagram that is the payload of `buffer`, and removes the prefix: it becomes
   * headroom, and no byte is moved. Returns as {@link parse}; the buffer is unchanged if the
   * datagram is invalid.
   */
  strip(buffer: DgramBuffer): HttpDatagramFault | undefined {
    checkBuffer(buffer);
    const fault = this.parse(buffer._bytes, buffer.headroom, buffer.length);
    if (fault === undefined) buffer.advance(this.payloadOffset);
    return fault;
  }
}

if (isShared("HttpDatagramHeader", HttpDatagramHeader)) {
  // @ts-expect-error See `isShared`.
  HttpDatagramHeader = sharedClass("HttpDatagramHeader");
}

function checkBuffer(buffer: unknown): void {
  if (!DgramBuffer._isGenuine(buffer)) throw typeError("buffer", "DgramBuffer", buffer);
}

/** Returns the length of the varint at `start`, or 0 if it does not end at or before `end`. */
function wholeLength(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end) return 0;
  const length = 1 << ((bytes[start] as number) >> 6);
  return start + length > end ? 0 : length;
}

function timesFour(quarter: number | bigint): number | bigint {
  if (typeof quarter === "bigint") return quarter << 2n;
  const streamId = quarter * 4;
  return Number.isSafeInteger(streamId) ? streamId : BigInt(quarter) << 2n;
}
