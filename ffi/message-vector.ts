/**
 * The vectors of `recvmmsg` and `sendmmsg`, in memory that JavaScript and the kernel share:
 * message headers, iovecs, control messages and addresses.
 *
 * A vector holds a reference to every buffer that it points to until the slot is set to another
 * one, so that a buffer cannot be garbage-collected while its address is in use. This also allows
 * it to reuse the address while a slot is set to the same view again (saves 15 ns per datagram).
 */

import { IOVEC, MMSGHDR } from "./layout.ts";
import { addressOf, byteLengthOf } from "./memory.ts";
import type { Shim } from "./symbols.ts";

/** The sizes in 32-bit words of a message header and an iovec. */
export const HEADER_WORDS: number = MMSGHDR.size / 4;
export const IOVEC_WORDS: number = IOVEC.size / 4;
const HEADER_NAME = MMSGHDR.name / 4;
export const HEADER_NAME_LENGTH: number = MMSGHDR.nameLength / 4;

const SIGN_BIT = 0x8000_0000 | 0;
const CAPACITY_MIN = 8;

/** The maximum length of a buffer in bytes: only the low word of `iov_len` is written. */
const BUFFER_BYTES_MAX = 2 ** 32 - 1;

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

/** The base of the vectors of both directions: the memory block, the buffers and addresses. */
export class MessageVector {
  /** Space in bytes for one address, a multiple of 4. `sockaddr_in6` has 28, `sockaddr_un` 110. */
  readonly nameCapacity: number;
  /** Space in bytes for the control messages of one message (cmsg(3)), a multiple of 8. */
  readonly controlCapacity: number;
  protected readonly shim: Shim;
  #capacity = 0;
  /** The whole memory block. */
  words: Int32Array = new Int32Array(0);
  #address = 0;
  protected iovecs = 0;
  #names = 0;
  #controls = 0;
  protected views: (Uint8Array | undefined)[] = [];
  /** For each slot, the view that it covers completely. */
  #wholes: (Uint8Array | undefined)[] = [];
  protected byteLengths: number[] = [];
  protected basesLow: Int32Array = new Int32Array(0);
  protected basesHigh: Int32Array = new Int32Array(0);

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
    this.views = new Array<Uint8Array | undefined>(capacity).fill(undefined);
    this.#wholes = new Array<Uint8Array | undefined>(capacity).fill(undefined);
    this.byteLengths = new Array<number>(capacity).fill(0);
    this.basesLow = new Int32Array(capacity);
    this.basesHigh = new Int32Array(capacity);
  }

  /**
   * Sets slot `i` to `length` bytes of `view` at `start`.
   *
   * @throws RangeError if `view` is shorter: its memory was detached or shrunk.
   */
  setBuffer(i: number, view: Uint8Array, start: number, length: number): void {
    this.hold(i, view, start, length);
    this.#wholes[i] = undefined;
    const baseLow = this.basesLow[i] as number;
    const low = (baseLow + start) | 0;
    const words = this.words;
    const iovec = this.iovecs + i * IOVEC_WORDS;
    words[iovec] = low;
    words[iovec + 1] = (this.basesHigh[i] as number) + carryOf(low, baseLow);
    words[iovec + 2] = length;
  }

  /** Sets slot `i` to all of `view`. */
  setView(i: number, view: Uint8Array): void {
    this.setBuffer(i, view, 0, view.byteLength);
    this.#wholes[i] = view;
  }

  /**
   * Returns how many slots from `slot` on, up to `count`, already cover the views from `start` on
   * and need not be set again.
   */
  countUnchanged(slot: number, views: readonly unknown[], start: number, count: number): number {
    const wholes = this.#wholes;
    const lengths = this.byteLengths;
    let i = 0;
    while (i < count) {
      const view = wholes[slot + i];
      // A view that was detached or resized has another length.
      if (view === undefined || view !== views[start + i]) break;
      if (lengths[slot + i] !== view.byteLength) break;
      i++;
    }
    return i;
  }

  /** Holds `view` as buffer `i`, of which `length` bytes at `start` are used. */
  protected hold(i: number, view: Uint8Array, start: number, length: number): void {
    const { byteLength } = view;
    if (length < 0 || start + length > byteLength) {
      throw new RangeError(
        `buffer expected ${start + length} bytes, got ${byteLength}: was it transferred?`,
      );
    }
    // A view that was detached or resized has another byteLength: its address is taken again.
    if (this.views[i] !== view || this.byteLengths[i] !== byteLength) {
      this.pin(i, view, byteLength);
    }
  }

  /** Releases the buffers of the first `count` slots, so that they can be garbage-collected. */
  release(count: number): void {
    for (let i = 0; i < count; i++) this.views[i] = this.#wholes[i] = undefined;
  }

  /** Releases the buffers of all slots. */
  releaseAll(): void {
    this.release(this.#capacity);
  }

  /**
   * Takes the address of `view`. SAFETY: `views[i]` holds `view` as long as the address is used.
   *
   * @throws RangeError if `view` has fewer bytes than `byteLength`, or more than an iovec can have.
   */
  protected pin(i: number, view: Uint8Array, byteLength: number): void {
    const limit = Math.min(byteLengthOf(view), BUFFER_BYTES_MAX);
    if (byteLength > limit) {
      throw new RangeError(`buffer expected ${limit} bytes at most, got ${byteLength}`);
    }
    const address = addressOf(view);
    this.views[i] = view;
    this.byteLengths[i] = byteLength;
    this.basesLow[i] = (address % 2 ** 32) | 0;
    this.basesHigh[i] = Math.floor(address / 2 ** 32);
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
