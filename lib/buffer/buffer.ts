/**
 * `DgramBuffer`: bytes with headroom, so that a prefix is put in front of a payload, or taken off
 * it, without moving the payload.
 */

import { copySmall, hexGroups, zero } from "../support/bytes.ts";
import { checkBytes, checkInteger, typeError } from "../support/check.ts";
import { allocate, NO_BYTES, TailBuffer } from "./tail-buffer.ts";
import {
  checkWhole,
  loadVarint,
  varintLength,
  varintLengthOfFirstByte,
  writeVarint,
} from "./varint.ts";

const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/** A plain `Uint8Array` over the same memory, pinned there, when its length can never change. */
function adopt(name: string, bytes: Uint8Array): Uint8Array {
  checkBytes(name, bytes);
  const memory = bytes.buffer;
  if (memory instanceof ArrayBuffer ? memory.resizable : memory.growable) {
    throw typeError(name, "Uint8Array over memory of fixed length", memory);
  }
  return new Uint8Array(memory, bytes.byteOffset, bytes.length);
}

/**
 * A byte buffer with headroom: `[headroom][payload][spare]`.
 *
 * Headroom and payload are the buffer's data; the spare capacity behind them is filled by the
 * `put` methods, which grow the buffer when it does not suffice. `tryAddPrefix` takes bytes out of
 * the headroom, `advance` gives them back: neither moves the payload nor allocates.
 *
 * Every method that takes a count throws a `RangeError` when it is no integer from 0 to 2^53-1,
 * and whatever throws leaves the buffer as it was. Source bytes may be any `Uint8Array` (a
 * `Buffer`, a part of a larger `ArrayBuffer`, shared or resizable memory, a view of this buffer).
 * Growing beyond what memory there is, or beyond the engine's limit, is a `RangeError` too.
 *
 * @example
 * const buffer = DgramBuffer.withCapacityAndHeadroom(1516, 16);
 * buffer.putSlice(payload);
 * buffer.tryAddVarintPrefix(flowId);
 * socket.trySend(buffer.asSlice());
 */
export class DgramBuffer extends TailBuffer {
  static {
    // What `Bun.inspect` and `console.log` print. A method could not have this name in a class
    // whose declarations are emitted file by file.
    Object.defineProperty(DgramBuffer.prototype, Symbol.for("nodejs.util.inspect.custom"), {
      value(this: DgramBuffer): string {
        return this.toString();
      },
    });
  }

  // The latest view that `asSlice` made, and what it was made of.
  /** @internal */
  _view: Uint8Array | undefined = undefined;
  /** @internal */
  _viewBytes: Uint8Array = NO_BYTES;
  /** @internal */
  _viewStart = 0;
  /** @internal */
  _viewEnd = 0;

  /** A buffer with a copy of `bytes` as its payload, no headroom, no spare capacity. */
  static fromSlice(bytes: Uint8Array): DgramBuffer {
    checkBytes("bytes", bytes);
    const copy = allocate(bytes.length);
    copy.set(bytes);
    return take(copy, 0, copy.length);
  }

  /**
   * An empty buffer with room for `capacity` bytes.
   *
   * @throws {RangeError} when there is no such memory.
   */
  static withCapacity(capacity: number): DgramBuffer {
    return DgramBuffer.withCapacityAndHeadroom(capacity, 0);
  }

  /**
   * An empty buffer whose first `headroom` bytes, all zero, are headroom.
   *
   * @param capacity the whole size in bytes, headroom included.
   * @throws {RangeError} when `headroom` is greater than `capacity`.
   */
  static withCapacityAndHeadroom(capacity: number, headroom: number): DgramBuffer {
    checkInteger("capacity", capacity, 0, COUNT_MAX);
    checkInteger("headroom", headroom, 0, capacity);
    return take(allocate(capacity), headroom, headroom);
  }

  /**
   * Takes `bytes` over without copying; the first `headroom` of them become headroom, the rest
   * is the payload.
   *
   * The memory is the buffer's from now on: do not write to it, nor transfer its `ArrayBuffer`.
   * Shared memory is accepted, and whoever shares it sees and may change the bytes. Memory that
   * can be resized is not, since it could shrink under the buffer.
   *
   * @throws {TypeError} when `bytes` is no `Uint8Array`, or over a resizable `ArrayBuffer` or a
   * growable `SharedArrayBuffer`.
   * @throws {RangeError} when `headroom` is greater than the length of `bytes`.
   */
  static fromVecWithHeadroom(bytes: Uint8Array, headroom: number): DgramBuffer {
    const adopted = adopt("bytes", bytes);
    checkInteger("headroom", headroom, 0, adopted.length);
    return take(adopted, headroom, adopted.length);
  }

  /** Takes `bytes` over as the payload: {@link fromVecWithHeadroom} with no headroom. */
  static from(bytes: Uint8Array): DgramBuffer {
    return DgramBuffer.fromVecWithHeadroom(bytes, 0);
  }

  /** The payload's length in bytes. */
  get length(): number {
    return this._end - this._start;
  }

  /** Whether there is no payload. */
  get isEmpty(): boolean {
    return this._end === this._start;
  }

  /** How many bytes of prefix fit in front of the payload. */
  get headroom(): number {
    return this._start;
  }

  /** Keeps the first `count` bytes of the payload; does nothing when there are no more. */
  truncate(count: number): void {
    checkInteger("count", count, 0, COUNT_MAX);
    if (count < this._end - this._start) this._end = this._start + count;
  }

  /**
   * Takes `count` bytes off the front of the payload; they become headroom.
   *
   * @throws {RangeError} when there are fewer.
   */
  advance(count: number): void {
    checkInteger("count", count, 0, this._end - this._start);
    this._start += count;
  }

  /**
   * Writes `prefix` in front of the payload, into the headroom.
   *
   * @returns false, and nothing changed, when there is not enough headroom.
   * @throws {TypeError} when `prefix` is no `Uint8Array`.
   */
  tryAddPrefix(prefix: Uint8Array): boolean {
    checkBytes("prefix", prefix);
    const start = this._start - prefix.length;
    if (start < 0) return false;
    copySmall(prefix, this._bytes, start);
    this._start = start;
    return true;
  }

  /**
   * Makes the headroom at least `headroom` bytes; does nothing when it is.
   *
   * Otherwise the headroom is exactly that afterwards, all zero, and the payload has moved, into
   * new memory when the capacity does not hold both. This takes time in proportion to the payload.
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

  /** Drops payload **and** headroom; keeps the capacity. */
  clear(): void {
    this._start = 0;
    this._end = 0;
  }

  /**
   * The payload as a view, not a copy: writing to it writes to the buffer.
   *
   * It is valid until the buffer grows; bytes put or prefixed later are not part of it. Asked
   * again while nothing changed, the buffer answers the same view.
   */
  asSlice(): Uint8Array {
    // A typed array over memory of fixed length keeps its place and its length for ever, and
    // `_bytes` is one. So a view of the same bytes between the same indices is this payload.
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

  /** The payload as a view to write to: the same one as {@link asSlice} gives. */
  asMutSlice(): Uint8Array {
    return this.asSlice();
  }

  /**
   * Takes the memory out: `[data, start]`, where `data` is headroom and payload and the payload
   * begins at `start`. The buffer is empty and without capacity afterwards.
   */
  intoParts(): [data: Uint8Array, start: number] {
    const { _bytes: bytes, _start: start, _end: end } = this;
    this._give(NO_BYTES, 0);
    this._view = undefined;
    this._viewBytes = NO_BYTES;
    return [bytes === NO_BYTES ? new Uint8Array(0) : bytes.subarray(0, end), start];
  }

  /** A buffer of the same headroom and payload in memory of its own, without spare capacity. */
  clone(): DgramBuffer {
    const copy = allocate(this._end);
    copy.set(this._bytes.subarray(0, this._end));
    return take(copy, this._start, this._end);
  }

  /** The payload for people: `[]`, or `[0x00010203_04, len=5]`. */
  override toString(): string {
    return this.isEmpty ? "[]" : `[0x${hexGroups(this.asSlice())}, len=${this.length}]`;
  }

  /**
   * Appends a copy of `src`: the bytes, or a buffer's payload, its own too.
   *
   * @throws {TypeError} when `src` is neither.
   */
  put(src: DgramBuffer | Uint8Array): void {
    if (src instanceof DgramBuffer) this.putSlice(src.asSlice());
    else if (src instanceof Uint8Array) this.putSlice(src);
    else throw typeError("src", "DgramBuffer or Uint8Array", src);
  }

  /**
   * Writes a QUIC varint (RFC 9000, section 16) in front of the payload, into the headroom.
   *
   * @returns false, and nothing changed, when there is not enough headroom.
   * @throws {RangeError} when the value is no integer from 0 to 2^62-1 (a `number`: 2^53-1).
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
   * Takes a QUIC varint (RFC 9000, section 16) off the front of the payload, as `advance` does.
   *
   * @returns the value, a `number` when it is a safe integer, else a `bigint`.
   * @throws {RangeError} when the payload ends before the varint does.
   */
  readVarint(): number | bigint {
    const length = checkWhole(this._bytes, this._start, this._end);
    const value = loadVarint(this._bytes, this._start, length);
    this._start += length;
    return value;
  }

  /**
   * As `readVarint`, for payload that anybody may have sent: absent, and nothing changed, when it
   * ends before the varint does.
   */
  tryReadVarint(): number | bigint | undefined {
    const left = this._end - this._start;
    if (left === 0) return undefined;
    const length = varintLengthOfFirstByte(this._bytes[this._start] as number);
    return length > left ? undefined : this.readVarint();
  }

  /**
   * Makes the buffer empty, with `headroom` zero bytes of headroom, whatever it had: what a buffer
   * that is used again and again needs between two datagrams.
   *
   * @throws {RangeError} when `headroom` is no integer from 0 to the capacity.
   */
  reset(headroom: number): void {
    checkInteger("headroom", headroom, 0, this._bytes.length);
    zero(this._bytes, headroom);
    this._start = headroom;
    this._end = headroom;
  }

  /**
   * Makes `bytes`, fixed in length and place, the store of a buffer that is empty from now on.
   *
   * @internal
   */
  _give(bytes: Uint8Array, headroom: number): void {
    this._bytes = bytes;
    this._start = headroom;
    this._end = headroom;
  }
}

/** A buffer over memory that is its own. */
function take(bytes: Uint8Array, start: number, end: number): DgramBuffer {
  const buffer = new DgramBuffer();
  if (bytes.length > 0) buffer._bytes = bytes;
  buffer._start = start;
  buffer._end = end;
  return buffer;
}
