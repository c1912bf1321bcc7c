/**
 * Bytes that grow at the tail, and all that appends to them: the half of `DgramBuffer` that knows
 * nothing of prefixes.
 */

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
import { varintLength, writeVarint } from "./varint.ts";

const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const U64_MAX = 0xffff_ffff_ffff_ffffn;
const I64_MIN = -0x8000_0000_0000_0000;
const I64_MAX = 0x7fff_ffff_ffff_ffffn;

/** Growing makes at least this much, in bytes, so that a few small puts grow a buffer once. */
const GROWTH_MIN = 64;

/**
 * The store of every buffer that has no capacity.
 *
 * It is never handed out: who got hold of it could transfer it away, for all buffers at once.
 *
 * @internal
 */
export const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(new ArrayBuffer(0));

/**
 * Zeroed memory that stays where it is. A `Uint8Array` made by length alone may lie in the garbage
 * collector's heap, and move when its `buffer` is asked for: a pointer taken before is then stale.
 *
 * @internal
 */
export function allocate(capacity: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(capacity));
}

/** Makes the store reach to `end` at least, keeping all that is in it. */
function reserve(buffer: TailBuffer, end: number): void {
  const old = buffer._bytes;
  if (end <= old.length) return;
  const grown = allocate(Math.max(end, old.length * 2, GROWTH_MIN));
  grown.set(old);
  buffer._bytes = grown;
}

/** Takes `count` bytes at the tail into the payload, for the caller to fill; answers where. */
function extend(buffer: TailBuffer, count: number): number {
  const at = buffer._end;
  reserve(buffer, at + count);
  buffer._end = at + count;
  return at;
}

/**
 * Bytes with room behind them; the methods append there and grow the memory when needed.
 *
 * Whatever throws leaves the bytes as they were. A value of the wrong type or out of its range is
 * a `RangeError`, and so is more memory than there is.
 */
export abstract class TailBuffer {
  /**
   * The whole capacity, from the first byte of headroom on. It lies still, it has a fixed length,
   * and it may be any part of an `ArrayBuffer`.
   *
   * @internal
   */
  _bytes: Uint8Array = NO_BYTES;
  /** Where the payload begins in `_bytes`. @internal */
  _start = 0;
  /** Where the payload ends in `_bytes`. @internal */
  _end = 0;

  /** The whole size in bytes: headroom, payload and spare. */
  get capacity(): number {
    return this._bytes.length;
  }

  /** How many bytes can be put at the tail before the buffer grows. */
  get spareCapacity(): number {
    return this._bytes.length - this._end;
  }

  /**
   * Appends a copy of `bytes`.
   *
   * @throws {TypeError} when `bytes` is no `Uint8Array`.
   */
  putSlice(bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    const at = this._end;
    const end = at + bytes.length;
    reserve(this, end);
    // A view of the store that was outgrown is still good to copy from. The end moves last, since
    // memory that another thread grows meanwhile no longer fits, and `set` throws.
    this._bytes.set(bytes, at);
    this._end = end;
  }

  /** Appends `count` bytes of `value`, which is 0 to 255. */
  putBytes(value: number, count: number): void {
    checkInteger("value", value, 0, 0xff);
    checkInteger("count", count, 0, COUNT_MAX);
    const at = extend(this, count);
    this._bytes.fill(value, at, at + count);
  }

  /** Appends one byte, 0 to 255. */
  putU8(value: number): void {
    checkInteger("value", value, 0, 0xff);
    const at = extend(this, 1);
    this._bytes[at] = value;
  }

  /** Appends one byte, -128 to 127. */
  putI8(value: number): void {
    checkInteger("value", value, -0x80, 0x7f);
    const at = extend(this, 1);
    this._bytes[at] = value;
  }

  /** Appends 16 bits, 0 to 2^16-1, big-endian. */
  putU16(value: number): void {
    checkInteger("value", value, 0, 0xffff);
    const at = extend(this, 2);
    writeU16(this._bytes, at, value);
  }

  /** Appends 16 bits, 0 to 2^16-1, little-endian. */
  putU16Le(value: number): void {
    checkInteger("value", value, 0, 0xffff);
    const at = extend(this, 2);
    writeU16Le(this._bytes, at, value);
  }

  /** Appends 16 bits, -2^15 to 2^15-1, big-endian. */
  putI16(value: number): void {
    checkInteger("value", value, -0x8000, 0x7fff);
    const at = extend(this, 2);
    writeU16(this._bytes, at, value);
  }

  /** Appends 16 bits, -2^15 to 2^15-1, little-endian. */
  putI16Le(value: number): void {
    checkInteger("value", value, -0x8000, 0x7fff);
    const at = extend(this, 2);
    writeU16Le(this._bytes, at, value);
  }

  /** Appends 32 bits, 0 to 2^32-1, big-endian. */
  putU32(value: number): void {
    checkInteger("value", value, 0, 0xffff_ffff);
    const at = extend(this, 4);
    writeU32(this._bytes, at, value);
  }

  /** Appends 32 bits, 0 to 2^32-1, little-endian. */
  putU32Le(value: number): void {
    checkInteger("value", value, 0, 0xffff_ffff);
    const at = extend(this, 4);
    writeU32Le(this._bytes, at, value);
  }

  /** Appends 32 bits, -2^31 to 2^31-1, big-endian. */
  putI32(value: number): void {
    checkInteger("value", value, -0x8000_0000, 0x7fff_ffff);
    const at = extend(this, 4);
    writeU32(this._bytes, at, value);
  }

  /** Appends 32 bits, -2^31 to 2^31-1, little-endian. */
  putI32Le(value: number): void {
    checkInteger("value", value, -0x8000_0000, 0x7fff_ffff);
    const at = extend(this, 4);
    writeU32Le(this._bytes, at, value);
  }

  /** Appends 64 bits, 0 to 2^64-1, big-endian; a `number` must be a safe integer. */
  putU64(value: number | bigint): void {
    checkWideInteger("value", value, 0, U64_MAX);
    put64(this, value);
  }

  /** Appends 64 bits, 0 to 2^64-1, little-endian; a `number` must be a safe integer. */
  putU64Le(value: number | bigint): void {
    checkWideInteger("value", value, 0, U64_MAX);
    put64Le(this, value);
  }

  /** Appends 64 bits, -2^63 to 2^63-1, big-endian; a `number` must be a safe integer. */
  putI64(value: number | bigint): void {
    checkWideInteger("value", value, I64_MIN, I64_MAX);
    put64(this, value);
  }

  /** Appends 64 bits, -2^63 to 2^63-1, little-endian; a `number` must be a safe integer. */
  putI64Le(value: number | bigint): void {
    checkWideInteger("value", value, I64_MIN, I64_MAX);
    put64Le(this, value);
  }

  /** Appends a QUIC varint (RFC 9000, section 16), 0 to 2^62-1; a `number` must be safe. */
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
