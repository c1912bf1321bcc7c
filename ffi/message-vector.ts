/**
 * The vectors of `recvmmsg` and `sendmmsg`, in memory that JavaScript and the kernel share:
 * message headers, iovecs, control messages and addresses.
 *
 * A vector holds a reference to every buffer that it points to until the slot is set to another
 * one, so that a buffer cannot be garbage-collected while its address is in use. This also allows
 * it to reuse the address while a slot is set to the same view again (saves 15 ns per datagram).
 *
 * Reading the elements of a caller's array may run code of the caller (accessors, a `Proxy`), which
 * may transfer the memory of elements that were read before. Buffers are therefore set in two
 * steps. The `load` methods store the elements and take their addresses. When all are loaded, the
 * vector checks that each still has the memory that it had. That step and the system call that
 * follows run no code of the caller.
 */

import { ptr } from "bun:ffi";
import { IOVEC, MMSGHDR } from "./layout.ts";
import { addressOf } from "./memory.ts";
import type { Shim } from "./symbols.ts";
import { bufferOf, byteLengthOf, hasLength, lengthOf } from "./typed-arrays.ts";

/** The sizes in 32-bit words of a message header and an iovec. */
export const HEADER_WORDS: number = MMSGHDR.size / 4;
export const IOVEC_WORDS: number = IOVEC.size / 4;
const HEADER_NAME = MMSGHDR.name / 4;
export const HEADER_NAME_LENGTH: number = MMSGHDR.nameLength / 4;

const SIGN_BIT = 0x8000_0000 | 0;
const CAPACITY_MIN = 8;

/** The maximum length of a buffer in bytes: only the low word of `iov_len` is written. */
const BUFFER_BYTES_MAX = 2 ** 32 - 1;

/** The buffer of a slot that holds none. Not an array of any caller. */
const NO_VIEW = new Uint8Array(0);

/** The arrays of a vector without slots, which nothing writes to. */
const NO_WORDS = new Int32Array(0);
const NO_NUMBERS: number[] = [];
const NO_VIEWS: Uint8Array[] = [];

/** Writes a 64-bit address as two 32-bit words, little-endian. */
export function writeAddress(words: Int32Array, index: number, address: number): void {
  words[index] = (address % 2 ** 32) | 0;
  words[index + 1] = Math.floor(address / 2 ** 32);
}

/** Returns 1 if adding to the low word `before` of an address overflowed to `low`, else 0. */
export function carryOf(low: number, before: number): number {
  // Unsigned comparison in 32-bit arithmetic.
  return (low ^ SIGN_BIT) < (before ^ SIGN_BIT) ? 1 : 0;
}

/** @throws RangeError if `length` bytes at `start` exceed `byteLength`. */
export function checkPart(start: number, length: number, byteLength: number): void {
  if (length < 0 || start + length > byteLength) {
    throw new RangeError(
      `"buffer" expected ${start + length} bytes, got ${byteLength}: was it transferred?`,
    );
  }
}

/** @throws RangeError if a buffer is longer than the 32 bits of its length allow. */
export function checkBufferBytes(bytes: number): void {
  if (bytes <= BUFFER_BYTES_MAX) return;
  throw new RangeError(`"buffer" expected ${BUFFER_BYTES_MAX} bytes at most, got ${bytes}`);
}

/** Makes the engine move `view` to its final place (ffi/memory.ts). Must precede `ptr`. */
function settleMemory(view: Uint8Array): void {
  try {
    bufferOf(view);
  } catch {
    throw new TypeError('"buffer" expected Uint8Array, got an object that inherits from it');
  }
}

/** The base of the vectors of both directions: the memory block, the buffers and addresses. */
export class MessageVector {
  /** Space in bytes for one address, a multiple of 4. `sockaddr_in6` has 28, `sockaddr_un` 110. */
  readonly nameCapacity: number;
  /** Space in bytes for the control messages of one message (cmsg(3)), a multiple of 8. */
  readonly controlCapacity: number;
  protected readonly shim: Shim;
  #capacity = 0;
  /** The whole memory block. */
  words: Int32Array = NO_WORDS;
  #address = 0;
  protected iovecs = 0;
  #names = 0;
  #controls = 0;
  /** The buffers. SAFETY: those whose address was taken are genuine arrays. */
  protected views: Uint8Array[] = NO_VIEWS;
  /** The lengths of the views; -1 if the address could not be taken. */
  protected byteLengths: number[] = NO_NUMBERS;
  /** The first byte of a part; -1 for a whole view. */
  protected starts: number[] = NO_NUMBERS;
  /** The element that `countCovered` has read last. */
  uncovered: unknown;
  protected basesLow: Int32Array = NO_WORDS;
  protected basesHigh: Int32Array = NO_WORDS;

  constructor(shim: Shim, nameCapacity: number, controlCapacity: number) {
    this.shim = shim;
    this.nameCapacity = nameCapacity;
    this.controlCapacity = controlCapacity;
  }

  /** The number of slots. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Returns the index in `words` of the address of message `i`. */
  nameIndex(i: number): number {
    return this.#names + ((i * this.nameCapacity) >> 2);
  }

  /** Returns the index in `words` of the control messages of message `i`. */
  controlIndex(i: number): number {
    return this.#controls + ((i * this.controlCapacity) >> 2);
  }

  /** Makes room for `count` slots. If the vector must grow, all slots are reset. */
  reserve(count: number): void {
    if (count <= this.#capacity) return;
    let capacity = Math.max(CAPACITY_MIN, this.#capacity);
    while (capacity < count) capacity *= 2;
    // One block: headers, iovecs, control messages (8-aligned like the former), addresses.
    const iovecs = capacity * HEADER_WORDS;
    const controls = iovecs + capacity * IOVEC_WORDS;
    const names = controls + ((capacity * this.controlCapacity) >> 2);
    const words = new Int32Array(new ArrayBuffer(names * 4 + capacity * this.nameCapacity));
    // SAFETY: `this.words` holds the block for as long as `#address` is used.
    const address = addressOf(words);
    for (let i = 0; i < capacity; i++) {
      const header = i * HEADER_WORDS;
      writeAddress(words, header + MMSGHDR.vector / 4, address + iovecs * 4 + i * IOVEC.size);
      words[header + MMSGHDR.vectorLength / 4] = 1;
      // The kernel ignores the name while its length is 0.
      writeAddress(words, header + HEADER_NAME, address + names * 4 + i * this.nameCapacity);
      if (this.controlCapacity > 0) {
        const control = address + controls * 4 + i * this.controlCapacity;
        writeAddress(words, header + MMSGHDR.control / 4, control);
      }
    }
    this.#capacity = capacity;
    this.words = words;
    this.#address = address;
    this.iovecs = iovecs;
    this.#controls = controls;
    this.#names = names;
    this.views = new Array<Uint8Array>(capacity).fill(NO_VIEW);
    this.byteLengths = new Array<number>(capacity).fill(-1);
    this.starts = new Array<number>(capacity).fill(0);
    this.basesLow = new Int32Array(capacity);
    this.basesHigh = new Int32Array(capacity);
  }

  /**
   * Sets slot `i` to `length` bytes of `view` at `start`. For buffers of the library: between this
   * call and the system call, no code of the caller may run.
   *
   * @throws RangeError if `view` is shorter: its memory was detached or shrunk.
   */
  setBuffer(i: number, view: Uint8Array, start: number, length: number): void {
    this.hold(i, view, start, length);
    this.starts[i] = start;
    this.writeIovec(i, start, length);
  }

  /** Sets slot `i` to all of `view`, as `setBuffer` does. */
  setView(i: number, view: Uint8Array): void {
    this.setBuffer(i, view, 0, byteLengthOf(view));
  }

  /**
   * Reads elements `start` to `start + count - 1` of `bufs`, until one is not the view that the slot
   * (slot `slot` for the first) is loaded with. Returns the number of elements before that one, which
   * is then `uncovered`: it must not be read again.
   *
   * A loop in this class: a call per element would take 5 ns.
   */
  countCovered(slot: number, bufs: readonly unknown[], start: number, count: number): number {
    const { views, starts } = this;
    for (let i = 0; i < count; i++) {
      const buf = bufs[start + i];
      if (views[slot + i] !== buf || (starts[slot + i] as number) >= 0) {
        this.uncovered = buf;
        return i;
      }
    }
    return count;
  }

  /** Returns whether slot `i` is loaded with all of `view`, and need not be loaded again. */
  covers(i: number, view: unknown): boolean {
    return this.views[i] === view && (this.starts[i] as number) < 0;
  }

  /**
   * Loads slot `i` with all of `view`, and returns its length. The first step of two, see above.
   *
   * @throws TypeError if `view` is no genuine array.
   */
  loadWhole(i: number, view: Uint8Array): number {
    this.views[i] = view;
    this.starts[i] = -1;
    return this.#pin(i, view, lengthOf(view));
  }

  /** Loads slot `i` with a part of `view` from `start` on. Keeps the address of the same view. */
  protected load(i: number, view: Uint8Array, start: number): void {
    this.starts[i] = start;
    if (this.views[i] === view) return;
    this.views[i] = view;
    this.#pin(i, view, lengthOf(view));
  }

  /**
   * Checks that buffer `i` still has the length and address that were taken, or takes them again.
   * Returns the length in bytes. The second step of two: runs no code of the caller.
   *
   * @throws TypeError if the buffer is no genuine array.
   */
  protected settle(i: number): number {
    const view = this.views[i] as Uint8Array;
    const byteLength = this.byteLengths[i] as number;
    if (byteLength >= 0 && hasLength(view, byteLength)) return byteLength;
    return this.#pin(i, view, -1);
  }

  /** Holds `view` as buffer `i`, of which `length` bytes at `start` are used. As `settle` does. */
  protected hold(i: number, view: Uint8Array, start: number, length: number): void {
    if (this.views[i] !== view) {
      this.views[i] = view;
      this.starts[i] = 0;
      this.byteLengths[i] = -1;
    }
    checkPart(start, length, this.settle(i));
  }

  /** Releases the buffers of the first `count` slots, so that they can be garbage-collected. */
  release(count: number): void {
    this.views.fill(NO_VIEW, 0, count);
    this.uncovered = undefined;
  }

  /** Releases the buffers of all slots. */
  releaseAll(): void {
    this.release(this.#capacity);
  }

  /**
   * Releases the buffers and the memory of all slots: 2 KiB if there are 8. The next `reserve`
   * allocates memory again. Must not be called between `reserve` and the system call.
   */
  free(): void {
    this.#capacity = 0;
    this.words = this.basesLow = this.basesHigh = NO_WORDS;
    this.#address = this.iovecs = this.#names = this.#controls = 0;
    this.views = NO_VIEWS;
    this.byteLengths = this.starts = NO_NUMBERS;
    this.uncovered = undefined;
  }

  /**
   * Takes the address of buffer `i`, and returns its length. SAFETY: `views[i]` holds `view` for as
   * long as the address is used. It is used only after `settle` in the same call of the library.
   *
   * @param byteLength the length; -1 if unknown.
   * @throws TypeError if it is no genuine array; RangeError if it is longer than an iovec.
   */
  #pin(i: number, view: Uint8Array, byteLength: number): number {
    // Not usable if one of the following throws.
    this.byteLengths[i] = -1;
    settleMemory(view);
    const bytes = byteLength >= 0 ? byteLength : byteLengthOf(view);
    checkBufferBytes(bytes);
    const address = bytes === 0 ? 1 : ptr(view);
    this.basesLow[i] = (address % 2 ** 32) | 0;
    this.basesHigh[i] = Math.floor(address / 2 ** 32);
    this.byteLengths[i] = bytes;
    return bytes;
  }

  /** Points iovec `i` at `length` bytes of buffer `i` at `start`. The caller has checked them. */
  protected writeIovec(i: number, start: number, length: number): void {
    const baseLow = this.basesLow[i] as number;
    const low = (baseLow + start) | 0;
    const words = this.words;
    const iovec = this.iovecs + i * IOVEC_WORDS;
    words[iovec] = low;
    words[iovec + 1] = (this.basesHigh[i] as number) + carryOf(low, baseLow);
    words[iovec + 2] = length;
  }

  protected headerAddress(i: number): number {
    return this.#address + i * MMSGHDR.size;
  }

  protected iovecAddress(slot: number): number {
    return this.#address + this.iovecs * 4 + slot * IOVEC.size;
  }

  protected setNameLength(i: number, length: number): void {
    this.words[i * HEADER_WORDS + HEADER_NAME_LENGTH] = length;
  }
}
