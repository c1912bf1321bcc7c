/**
 * `TailBuffer`: the base class of `DgramBuffer`, with its memory and the methods that append to it.
 */

import { genuineLengthOf } from "../../ffi/native.ts";
import {
  checkWideInteger,
  highWord,
  lowWord,
  writeU16,
  writeU16Le,
  writeU32,
  writeU32Le,
} from "../support/bytes.ts";
import { checkBytes, checkInteger } from "../support/check.ts";
import { changedError } from "./source-bytes.ts";
import { varintLength, writeVarint } from "./varint.ts";

const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const U64_MAX = 0xffff_ffff_ffff_ffffn;
const I64_MIN = -0x8000_0000_0000_0000;
const I64_MAX = 0x7fff_ffff_ffff_ffffn;

/** The minimum capacity in bytes after growth, so that a few small puts grow a buffer once. */
const GROWTH_MIN = 64;

/**
 * @internal The memory of all buffers with capacity 0.
 *
 * Never exposed to callers: if one transferred its `ArrayBuffer`, all these buffers would be
 * affected.
 */
export const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(new ArrayBuffer(0));

/**
 * @internal Returns zeroed memory with a fixed address.
 *
 * `new Uint8Array(length)` would store a small array in the garbage-collected heap, and move it
 * when its `buffer` is first read, which would invalidate pointers to it.
 *
 * @throws RangeError if the memory is not available.
 */
export function allocate(capacity: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(capacity));
}

/** Ensures a capacity of at least `end` bytes, and keeps the contents. */
function reserve(buffer: TailBuffer, end: number): void {
  const old = buffer._bytes;
  if (end <= old.length) return;
  const grown = allocate(Math.max(end, old.length * 2, GROWTH_MIN));
  grown.set(old);
  buffer._bytes = grown;
}

/** Extends the payload by `count` bytes for the caller to write, and returns their index. */
function extend(buffer: TailBuffer, count: number): number {
  const at = buffer._end;
  reserve(buffer, at + count);
  buffer._end = at + count;
  return at;
}

/**
 * A byte buffer that grows at its end.
 *
 * The `put` methods append to the payload. They throw a `TypeError` if a number has the wrong type,
 * and a `RangeError` if it is out of range or memory to grow is not available. The payload is then unchanged.
 */
export abstract class TailBuffer {
  /**
   * @internal The memory of the buffer: headroom, payload and spare capacity. Has a fixed address
   * and length, and may be a part of an `ArrayBuffer`.
   */
  _bytes: Uint8Array = NO_BYTES;
  /** @internal The index in `_bytes` of the first byte of the payload. */
  _start = 0;
  /** @internal The index in `_bytes` after the last byte of the payload. */
  _end = 0;

  /** The total size in bytes: headroom, payload and spare capacity. */
  get capacity(): number {
    return this._bytes.length;
  }

  /** The number of bytes that can be appended before the buffer grows. */
  get spareCapacity(): number {
    return this._bytes.length - this._end;
  }

  /**
   * Appends a copy of `bytes`.
   *
   * @throws TypeError if `bytes` is not a `Uint8Array`, or its `ArrayBuffer` was transferred.
   */
  putSlice(bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    // The length that `set` copies, whatever the object says. May run code of the caller.
    const length = genuineLengthOf(bytes);
    const at = this._end;
    const end = at + length;
    reserve(this, end);
    const memory = this._bytes;
    // `bytes` may be a view of the memory that `reserve` has replaced: it can still be copied from.
    // `_end` is set last, because `set` throws if another thread has grown `bytes` in between.
    memory.set(bytes, at);
    // A `DataView` that inherits from `Uint8Array` may have elements that run code.
    if (this._end !== at || this._bytes !== memory) throw changedError("bytes", bytes);
    this._end = end;
  }

  /** Appends `count` bytes with the value `value`, 0..255. */
  putBytes(value: number, count: number): void {
    checkInteger("value", value, 0, 0xff);
    checkInteger("count", count, 0, COUNT_MAX);
    const at = extend(this, count);
    this._bytes.fill(value, at, at + count);
  }

  /** Appends one byte, 0..255. */
  putU8(value: number): void {
    checkInteger("value", value, 0, 0xff);
    const at = extend(this, 1);
    this._bytes[at] = value;
  }

  /** Appends one byte, -128..127. */
  putI8(value: number): void {
    checkInteger("value", value, -0x80, 0x7f);
    const at = extend(this, 1);
    this._bytes[at] = value;
  }

  /** Appends 16 bits, 0..2^16-1, big-endian. */
  putU16(value: number): void {
    checkInteger("value", value, 0, 0xffff);
    const at = extend(this, 2);
    writeU16(this._bytes, at, value);
  }

  /** Appends 16 bits, 0..2^16-1, little-endian. */
  putU16Le(value: number): void {
    checkInteger("value", value, 0, 0xffff);
    const at = extend(this, 2);
    writeU16Le(this._bytes, at, value);
  }

  /** Appends 16 bits, -2^15..2^15-1, big-endian. */
  putI16(value: number): void {
    checkInteger("value", value, -0x8000, 0x7fff);
    const at = extend(this, 2);
    writeU16(this._bytes, at, value);
  }

  /** Appends 16 bits, -2^15..2^15-1, little-endian. */
  putI16Le(value: number): void {
    checkInteger("value", value, -0x8000, 0x7fff);
    const at = extend(this, 2);
    writeU16Le(this._bytes, at, value);
  }

  /** Appends 32 bits, 0..2^32-1, big-endian. */
  putU32(value: number): void {
    checkInteger("value", value, 0, 0xffff_ffff);
    const at = extend(this, 4);
    writeU32(this._bytes, at, value);
  }

  /** Appends 32 bits, 0..2^32-1, little-endian. */
  putU32Le(value: number): void {
    checkInteger("value", value, 0, 0xffff_ffff);
    const at = extend(this, 4);
    writeU32Le(this._bytes, at, value);
  }

  /** Appends 32 bits, -2^31..2^31-1, big-endian. */
  putI32(value: number): void {
    checkInteger("value", value, -0x8000_0000, 0x7fff_ffff);
    const at = extend(this, 4);
    writeU32(this._bytes, at, value);
  }

  /** Appends 32 bits, -2^31..2^31-1, little-endian. */
  putI32Le(value: number): void {
    checkInteger("value", value, -0x8000_0000, 0x7fff_ffff);
    const at = extend(this, 4);
    writeU32Le(this._bytes, at, value);
  }

  /** Appends 64 bits, 0..2^64-1, big-endian. A `number` must be a safe integer. */
  putU64(value: number | bigint): void {
    checkWideInteger("value", value, 0, U64_MAX);
    put64(this, value);
  }

  /** Appends 64 bits, 0..2^64-1, little-endian. A `number` must be a safe integer. */
  putU64Le(value: number | bigint): void {
    checkWideInteger("value", value, 0, U64_MAX);
    put64Le(this, value);
  }

  /** Appends 64 bits, -2^63..2^63-1, big-endian. A `number` must be a safe integer. */
  putI64(value: number | bigint): void {
    checkWideInteger("value", value, I64_MIN, I64_MAX);
    put64(this, value);
  }

  /** Appends 64 bits, -2^63..2^63-1, little-endian. A `number` must be a safe integer. */
  putI64Le(value: number | bigint): void {
    checkWideInteger("value", value, I64_MIN, I64_MAX);
    put64Le(this, value);
  }

  /**
   * Appends the shortest encoding of a QUIC varint (RFC 9000, section 16), 0..2^62-1. A `number`
   * must be a safe integer.
   */
  putVarint(value: number | bigint): void {
    const length = varintLength(value);
    const at = extend(this, length);
    writeVarint(this._bytes, at, value, length);
  }
}

function put64(buffer: TailBuffer, value: number | bigint): void {
  const at = extend(buffer, 8);
  writeU32(buffer._bytes, at, highWord(value));
  writeU32(buffer._bytes, at + 4, lowWord(value));
}

function put64Le(buffer: TailBuffer, value: number | bigint): void {
  const at = extend(buffer, 8);
  writeU32Le(buffer._bytes, at, lowWord(value));
  writeU32Le(buffer._bytes, at + 4, highWord(value));
}
