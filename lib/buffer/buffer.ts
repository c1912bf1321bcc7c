/**
 * `DgramBuffer`: a byte buffer with headroom, so that a prefix can be added to a payload or removed
 * from it without moving the payload.
 */

import { byteLengthOf } from "../../ffi/native.ts";
import { hexGroups, zero } from "../support/bytes.ts";
import {
  checkBytes,
  checkInteger,
  classNameFor,
  inspectAs,
  showState,
  typeError,
} from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { adopt, changedError, copyPrefix } from "./source-bytes.ts";
import { allocate, NO_BYTES, TailBuffer } from "./tail-buffer.ts";
import {
  checkWhole,
  loadVarint,
  varintLength,
  varintLengthOfFirstByte,
  writeVarint,
} from "./varint.ts";

const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/** The maximum number of bytes that `console.log` prints. */
const SHOWN_BYTES_MAX = 64;

/**
 * A byte buffer with headroom: `[headroom][payload][spare capacity]`.
 *
 * The `put` methods append to the payload. They use the spare capacity, and grow the buffer when
 * that is too small. `tryAddPrefix` turns the end of the headroom into payload, and `advance` turns
 * the start of the payload into headroom. Both neither move the payload nor allocate.
 *
 * Source bytes may be any `Uint8Array`: a `Buffer`, a part of a larger `ArrayBuffer`, a view of
 * this buffer, or a view of shared or resizable memory.
 *
 * Methods that take a count throw a `RangeError` if it is not an integer 0..2^53-1. Methods that
 * allocate throw a `RangeError` if the memory is not available or exceeds the engine's limit. A
 * method that throws leaves the payload and the headroom unchanged.
 *
 * @example
 * ```ts
 * const buffer = DgramBuffer.withCapacityAndHeadroom(1516, 16);
 * buffer.putSlice(payload);
 * buffer.tryAddVarintPrefix(flowId);
 * socket.trySend(buffer.asSlice());
 * ```
 */
export class DgramBuffer extends TailBuffer {
  static {
    inspectAs(DgramBuffer.prototype, (buffer) => buffer._inspect());
  }

  /** The slot that the latest receive loaded the buffer into. Also the mark of a genuine buffer. */
  #slot = -1;

  /** @internal Returns whether `value` is a genuine buffer: no `Proxy`, no object that inherits. */
  static _isGenuine(value: unknown): value is DgramBuffer {
    return typeof value === "object" && value !== null && #slot in value;
  }

  /**
   * @internal Loads `buffer` into slot `slot` of a receive. Returns false if the receive has loaded
   * it before: `loaded[i]` is the buffer of slot i, for all slots before this one.
   */
  static _claim(buffer: DgramBuffer, slot: number, loaded: readonly unknown[]): boolean {
    const before = buffer.#slot;
    if (before >= 0 && before < slot && loaded[before] === buffer) return false;
    buffer.#slot = slot;
    return true;
  }

  // The view that `asSlice` returned last, and the memory and the range that it covers.
  /** @internal */
  _view: Uint8Array | undefined = undefined;
  /** @internal */
  _viewBytes: Uint8Array = NO_BYTES;
  /** @internal */
  _viewStart = 0;
  /** @internal */
  _viewEnd = 0;

  /**
   * Returns a buffer with a copy of `bytes` as its payload. It has no headroom and no spare
   * capacity.
   *
   * @throws TypeError if `bytes` is not a `Uint8Array`.
   */
  static fromSlice(bytes: Uint8Array): DgramBuffer {
    checkBytes("bytes", bytes);
    const copy = allocate(byteLengthOf(bytes));
    copy.set(bytes);
    return bufferOver(copy, 0, copy.length);
  }

  /**
   * Returns an empty buffer with a capacity of `capacity` bytes and no headroom.
   *
   * @throws RangeError if the memory is not available.
   */
  static withCapacity(capacity: number): DgramBuffer {
    return DgramBuffer.withCapacityAndHeadroom(capacity, 0);
  }

  /**
   * Returns an empty buffer with `headroom` zero bytes of headroom.
   *
   * @param capacity the total size in bytes, including the headroom.
   * @throws RangeError if `headroom` exceeds `capacity`, or the memory is not available.
   */
  static withCapacityAndHeadroom(capacity: number, headroom: number): DgramBuffer {
    checkInteger("capacity", capacity, 0, COUNT_MAX);
    checkInteger("headroom", headroom, 0, capacity);
    return bufferOver(allocate(capacity), headroom, headroom);
  }

  /**
   * Returns a buffer that uses the memory of `bytes`, without a copy. The first `headroom` bytes
   * become headroom, the remaining ones the payload.
   *
   * The buffer owns the memory from then on: the caller must not write to it, nor transfer its
   * `ArrayBuffer`. Shared memory is accepted; other threads can then read and change the bytes.
   * Resizable memory is rejected, because it could shrink while the buffer uses it.
   *
   * @throws TypeError if `bytes` is not a `Uint8Array`, or its memory is a resizable `ArrayBuffer`
   * or a growable `SharedArrayBuffer`.
   * @throws RangeError if `headroom` exceeds the length of `bytes`.
   */
  static fromVecWithHeadroom(bytes: Uint8Array, headroom: number): DgramBuffer {
    const adopted = adopt("bytes", bytes);
    checkInteger("headroom", headroom, 0, adopted.length);
    return bufferOver(adopted, headroom, adopted.length);
  }

  /**
   * Returns a buffer that uses the memory of `bytes` as its payload, without a copy. The same as
   * `fromVecWithHeadroom(bytes, 0)`.
   *
   * @throws TypeError as {@link fromVecWithHeadroom} does.
   */
  static from(bytes: Uint8Array): DgramBuffer {
    return DgramBuffer.fromVecWithHeadroom(bytes, 0);
  }

  /** The length of the payload in bytes. */
  get length(): number {
    return this._end - this._start;
  }

  /** Whether the payload is empty. */
  get isEmpty(): boolean {
    return this._end === this._start;
  }

  /** The length of the headroom in bytes: a prefix of up to this length fits before the payload. */
  get headroom(): number {
    return this._start;
  }

  /**
   * Shortens the payload to its first `count` bytes. Does nothing if it is not longer.
   *
   * @throws RangeError if `count` is not an integer 0..2^53-1.
   */
  truncate(count: number): void {
    checkInteger("count", count, 0, COUNT_MAX);
    if (count < this._end - this._start) this._end = this._start + count;
  }

  /**
   * Removes the first `count` bytes from the payload. They become headroom.
   *
   * @throws RangeError if `count` is not an integer from 0 to the length of the payload.
   */
  advance(count: number): void {
    checkInteger("count", count, 0, this._end - this._start);
    this._start += count;
  }

  /**
   * Copies `prefix` into the headroom, directly before the payload, and makes it part of the
   * payload. Returns `false` and changes nothing if the headroom is too small.
   *
   * @throws TypeError if `prefix` is not a `Uint8Array`.
   * @throws RangeError if the memory of `prefix` was transferred.
   */
  tryAddPrefix(prefix: Uint8Array): boolean {
    checkBytes("prefix", prefix);
    // Read once. It may be overridden, but the loop of `copySmall` relies on it.
    const { length } = prefix;
    const { _bytes: bytes, _start: end } = this;
    const start = end - length;
    if (start < 0) return false;
    copyPrefix(prefix, length, bytes, start);
    if (this._start !== end || this._bytes !== bytes) throw changedError("prefix", prefix);
    this._start = start;
    return true;
  }

  /**
   * Ensures that the headroom has at least `headroom` bytes. Does nothing if it has.
   *
   * Otherwise moves the payload, into new memory if headroom and payload exceed the capacity. The
   * headroom then has exactly `headroom` bytes, all zero. The time is proportional to the length
   * of the payload.
   *
   * @throws RangeError if `headroom` is not an integer 0..2^53-1, or the memory is not available.
   */
  spliceHeadroom(headroom: number): void {
    checkInteger("headroom", headroom, 0, COUNT_MAX);
    const { _bytes: bytes, _start: start, _end: end } = this;
    if (headroom <= start) return;
    const needed = headroom + end - start;
    if (needed <= bytes.length) {
      if (end > start) bytes.copyWithin(headroom, start, end);
      zero(bytes, headroom);
    } else {
      const moved = allocate(needed);
      if (end > start) moved.set(this.asSlice(), headroom);
      this._bytes = moved;
    }
    this._start = headroom;
    this._end = needed;
  }

  /** Sets the lengths of payload **and** headroom to 0. Keeps the capacity. */
  clear(): void {
    this._start = 0;
    this._end = 0;
  }

  /**
   * Returns the payload as a view, without a copy: a write to the view changes the buffer.
   *
   * The view keeps its address and length: it does not include bytes that are added later, and does
   * not follow the payload when `spliceHeadroom` or growth moves it. Further calls return the same
   * object until the payload moves or its length changes.
   */
  asSlice(): Uint8Array {
    // `_bytes` has fixed-length memory, so a view of it never changes its address or length. A
    // view of the same array with the same start and end therefore is the current payload.
    const { _bytes: bytes, _start: start, _end: end, _view: view } = this;
    if (
      view !== undefined &&
      this._viewBytes === bytes &&
      this._viewStart === start &&
      this._viewEnd === end
    ) {
      return view;
    }
    this._viewBytes = bytes;
    this._viewStart = start;
    this._viewEnd = end;
    this._view = bytes === NO_BYTES ? new Uint8Array(0) : bytes.subarray(start, end);
    return this._view;
  }

  /** Returns the payload as a view to write to: the same object as {@link asSlice} returns. */
  asMutSlice(): Uint8Array {
    return this.asSlice();
  }

  /**
   * Detaches the memory and returns it as `[data, start]`: `data` is a view of headroom and
   * payload, and the payload begins at index `start`. The caller owns the memory. The buffer is
   * left empty, with capacity 0.
   */
  intoParts(): [data: Uint8Array, start: number] {
    const { _bytes: bytes, _start: start, _end: end } = this;
    this._give(NO_BYTES, 0);
    this._view = undefined;
    this._viewBytes = NO_BYTES;
    return [bytes === NO_BYTES ? new Uint8Array(0) : bytes.subarray(0, end), start];
  }

  /** Returns a copy with the same headroom and payload, and without spare capacity. */
  clone(): DgramBuffer {
    const copy = allocate(this._end);
    copy.set(this._bytes.subarray(0, this._end));
    return bufferOver(copy, this._start, this._end);
  }

  /** Returns the payload in hexadecimal: `[]`, or `[0x00010203_04, len=5]`. */
  override toString(): string {
    return this.isEmpty ? "[]" : `[0x${hexGroups(this.asSlice())}, len=${this.length}]`;
  }

  /** @internal Returns what `console.log` prints: one line, with the first bytes of the payload. */
  _inspect(): string {
    const { length, headroom, capacity } = this;
    const shown = this.asSlice().subarray(0, SHOWN_BYTES_MAX).toHex();
    const more = length > SHOWN_BYTES_MAX ? ` ... ${length - SHOWN_BYTES_MAX} more` : "";
    const payload = length === 0 ? "empty" : `${shown}${more}`;
    return showState(classNameFor(this), { length, headroom, capacity, payload });
  }

  /**
   * Returns what `JSON.stringify` prints: the payload in hexadecimal, without the bytes before and
   * after it, which may be those of earlier datagrams.
   */
  toJSON(): { headroom: number; length: number; payload: string } {
    const { headroom, length } = this;
    return { headroom, length, payload: this.asSlice().toHex() };
  }

  /**
   * Appends a copy of `src`: bytes, or the payload of a buffer, which may be this one.
   *
   * @throws TypeError if `src` is neither a `DgramBuffer` nor a `Uint8Array`.
   */
  put(src: DgramBuffer | Uint8Array): void {
    if (src instanceof DgramBuffer) this.putSlice(src.asSlice());
    else if (src instanceof Uint8Array) this.putSlice(src);
    else throw typeError("src", "DgramBuffer or Uint8Array", src);
  }

  /**
   * Adds the shortest encoding of a QUIC varint (RFC 9000, section 16) as a prefix, as
   * `tryAddPrefix` does. Returns `false` and changes nothing if the headroom is too small.
   *
   * @throws RangeError if `value` is not an integer 0..2^62-1 (2^53-1 for a `number`).
   */
  tryAddVarintPrefix(value: number | bigint): boolean {
    const length = varintLength(value);
    const start = this._start - length;
    if (start < 0) return false;
    writeVarint(this._bytes, start, value, length);
    this._start = start;
    return true;
  }

  /**
   * Reads a QUIC varint (RFC 9000, section 16) at the start of the payload, and removes it as
   * `advance` does. Returns a `number` if the value is a safe integer, and a `bigint` otherwise.
   *
   * @throws RangeError if the payload ends before the varint does.
   */
  readVarint(): number | bigint {
    const length = checkWhole(this._bytes, this._start, this._end);
    const value = loadVarint(this._bytes, this._start, length);
    this._start += length;
    return value;
  }

  /**
   * Reads a varint as `readVarint` does, for untrusted payloads: returns `undefined` and changes
   * nothing if the payload ends before the varint does.
   */
  tryReadVarint(): number | bigint | undefined {
    const left = this._end - this._start;
    if (left === 0) return undefined;
    const length = varintLengthOfFirstByte(this._bytes[this._start] as number);
    return length > left ? undefined : this.readVarint();
  }

  /**
   * Empties the buffer and sets its headroom to `headroom` zero bytes, so that it can be reused for
   * the next datagram.
   *
   * @throws RangeError if `headroom` is not an integer from 0 to the capacity.
   */
  reset(headroom: number): void {
    checkInteger("headroom", headroom, 0, this._bytes.length);
    zero(this._bytes, headroom);
    this._start = headroom;
    this._end = headroom;
  }

  /**
   * @internal Replaces the memory of the buffer, which is empty afterwards. `bytes` must have a
   * fixed address and length.
   */
  _give(bytes: Uint8Array, headroom: number): void {
    this._bytes = bytes;
    this._start = headroom;
    this._end = headroom;
  }
}

if (isShared("DgramBuffer", DgramBuffer)) {
  // @ts-expect-error See `isShared`.
  DgramBuffer = sharedClass("DgramBuffer");
}

/** Returns a buffer that owns `bytes`, with the payload from `start` to `end - 1`. */
function bufferOver(bytes: Uint8Array, start: number, end: number): DgramBuffer {
  const buffer = new DgramBuffer();
  if (bytes.length > 0) buffer._bytes = bytes;
  buffer._start = start;
  buffer._end = end;
  return buffer;
}
