/** The buffers that sockets send from and receive into, and their checks. */

import { byteLengthOf, copyBytes, hasLostMemory, isUint8Array } from "../../ffi/native.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { checkBytes, stateError, typeError } from "../support/check.ts";

/** The bytes to send: a whole `Uint8Array`, or the payload of a `DgramBuffer`. Never modified. */
export type Payload = Uint8Array | DgramBuffer;

/** What `send` and its relatives accept: text is sent as UTF-8, and of a view its bytes. */
export type Sendable = Payload | string | ArrayBufferLike | ArrayBufferView;

/**
 * A buffer to receive into. A `Uint8Array` is filled from its start. A `DgramBuffer`, which must
 * not have a payload yet, keeps its headroom and receives the datagram as its payload; its spare
 * capacity is the limit.
 *
 * A call refuses a `DgramBuffer` that it would fill twice (`RangeError`). The same array may occur
 * several times, as may arrays that share memory: each datagram then overwrites the one before.
 */
export type Target = Uint8Array | DgramBuffer;

/**
 * Checks the type of a buffer. Engines check the remaining properties when they load the buffer.
 *
 * @throws TypeError for another type.
 */
export function checkBufferType(name: string, value: unknown): asserts value is Payload {
  if (!DgramBuffer._isGenuine(value)) checkBytes(name, value);
}

/**
 * Returns what to send as a payload: arrays and buffers themselves, of others a view or, of text, the
 * UTF-8 bytes.
 *
 * @throws TypeError for a value of another type.
 */
export function toPayload(name: string, value: unknown): Payload {
  return value instanceof Uint8Array || DgramBuffer._isGenuine(value)
    ? value
    : bytesOfValue(name, value);
}

function bytesOfValue(name: string, value: unknown): Uint8Array {
  if (typeof value === "string") return encoder.encode(value);
  if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) {
    return new Uint8Array(value);
  }
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  throw typeError(name, "Uint8Array, DgramBuffer, string, ArrayBuffer or view", value);
}

const encoder = new TextEncoder();

/**
 * Checks a buffer to send from.
 *
 * @throws TypeError for another type.
 * @throws RangeError if its memory was transferred: an empty datagram would be sent instead.
 */
export function checkPayload(name: string, value: unknown): asserts value is Payload {
  if (DgramBuffer._isGenuine(value)) checkMemory(name, value);
  else if (!isUint8Array(value)) throw typeError(name, "Uint8Array", value);
  else if (hasLostMemory(value)) throw lostMemory(name);
}

/**
 * Checks a buffer to receive into. A `Uint8Array` whose memory was transferred has a length of 0
 * and is accepted: the datagram is reported as truncated.
 *
 * @throws TypeError for another type.
 * @throws RangeError for a `DgramBuffer` that has a payload, which would be overwritten, or whose
 * memory was transferred.
 */
export function checkTarget(name: string, value: unknown): asserts value is Target {
  if (!DgramBuffer._isGenuine(value)) {
    if (!isUint8Array(value)) throw typeError(name, "Uint8Array", value);
  } else if (value._end !== value._start) {
    throw stateError(name, "DgramBuffer without payload", `${value.length} bytes of payload`);
  } else {
    checkMemory(name, value);
  }
}

function checkMemory(name: string, buffer: DgramBuffer): void {
  if (buffer._end > byteLengthOf(buffer._bytes)) throw lostMemory(name);
}

/** Returns the error for a buffer whose memory was transferred, or has shrunk. */
export function lostMemory(name: string): RangeError {
  return stateError(name, "memory", "memory that was transferred");
}

/** @throws RangeError if the fields of a `DgramBuffer` were overwritten with other than integers. */
export function checkPayloadFields(name: string, start: number, length: number): void {
  if (start >>> 0 === start && length >>> 0 === length) return;
  throw stateError(name, "DgramBuffer with a valid payload", `${length} bytes at ${start}`);
}

/** Returns the bytes of a payload as a view. */
export function payloadBytes(payload: Payload): Uint8Array {
  return DgramBuffer._isGenuine(payload) ? payload.asSlice() : payload;
}

/** Copies a datagram into a checked target, and returns the number of bytes that fit. */
export function storeDatagram(target: Target, datagram: Uint8Array): number {
  const isBuffer = DgramBuffer._isGenuine(target);
  const bytes = isBuffer ? target._bytes : target;
  const start = isBuffer ? target._end : 0;
  const room = byteLengthOf(bytes) - start;
  const fitting = datagram.length > room ? datagram.subarray(0, room) : datagram;
  // Copying to transferred memory would throw even if there is nothing to copy.
  if (fitting.length > 0) copyBytes(fitting, bytes, start);
  if (isBuffer) target._end = start + fitting.length;
  return fitting.length;
}
