/**
 * The vectors that `recvmmsg` and `sendmmsg` work on, in memory that JavaScript and the kernel
 * share: headers, one iovec a datagram, and room for one address each.
 *
 * A vector also owns what it points to. It keeps every buffer it was given in `views` until the
 * slot is given another, so a buffer cannot be collected while an address of it stands here; and
 * since it is the owner, it may take the address once and use it again for as long as the slot
 * gets the same view (15 ns saved a datagram).
 */

import { IOVEC, MMSGHDR } from "./layout.ts";
import { addressOf, byteLengthOf } from "./memory.ts";
import type { Shim } from "./symbols.ts";

/** Words of a header, and of an iovec. */
export const HEADER_WORDS: number = MMSGHDR.size / 4;
export const IOVEC_WORDS: number = IOVEC.size / 4;
const HEADER_NAME = MMSGHDR.name / 4;
export const HEADER_NAME_LENGTH: number = MMSGHDR.nameLength / 4;

const SIGN_BIT = 0x8000_0000 | 0;
const CAPACITY_MIN = 8;

/** Bytes of a buffer: only the low word of its length is written to an iovec. */
const BUFFER_BYTES_MAX = 2 ** 32 - 1;

/** Writes a 64-bit address as two 32-bit words, little-endian. */
export function writeAddress(words: Int32Array, index: number, address: number): void {
  words[index] = (address % 2 ** 32) | 0;
  words[index + 1] = Math.floor(address / 2 ** 32);
}

/** 1 where the low word of an address wrapped round as something was added to `before`, else 0. */
export function carryOf(low: number, before: number): number {
  // Unsigned comparison in 32-bit arithmetic.
  return (low ^ SIGN_BIT) < (before ^ SIGN_BIT) ? 1 : 0;
}

/** What the two directions share: the block, the buffers and the addresses. */
export class MessageVector {
  /** Bytes of room for one address: 28 fit `sockaddr_in6`, 110 `sockaddr_un`. A multiple of 4. */
  readonly nameCapacity: number;
  /** Bytes of room for control messages of one datagram (cmsg(3)). A multiple of 8. */
  readonly controlCapacity: number;
  protected readonly shim: Shim;
  #capacity = 0;
  /** All words of the vector; an address starts at `nameIndex`. */
  words: Int32Array = new Int32Array(0);
  #address = 0;
  protected iovecs = 0;
  #names = 0;
  #controls = 0;
  protected views: (Uint8Array | undefined)[] = [];
  /** By slot, the view that it is all of. */
  #wholes: (Uint8Array | undefined)[] = [];
  protected byteLengths: number[] = [];
  protected basesLow: Int32Array = new Int32Array(0);
  protected basesHigh: Int32Array = new Int32Array(0);

  constructor(shim: Shim, nameCapacity: number, controlCapacity: number) {
    this.shim = shim;
    this.nameCapacity = nameCapacity;
    this.controlCapacity = controlCapacity;
  }

  /** Datagrams that one call can take. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Where in `words` the address of datagram `i` starts. */
  nameIndex(i: number): number {
    return this.#names + ((i * this.nameCapacity) >> 2);
  }

  /** Where in `words` the control messages of datagram `i` start. */
  controlIndex(i: number): number {
    return this.#controls + ((i * this.controlCapacity) >> 2);
  }

  /** Makes room for `count` datagrams; forgets all buffers when it must grow. */
  reserve(count: number): void {
    if (count <= this.#capacity) return;
    let capacity = Math.max(CAPACITY_MIN, this.#capacity);
    while (capacity < count) capacity *= 2;
    // All in one block: headers, iovecs, control messages (8-aligned, as both are), addresses.
    const iovecs = capacity * HEADER_WORDS;
    const controls = iovecs + capacity * IOVEC_WORDS;
    const names = controls + ((capacity * this.controlCapacity) >> 2);
    const words = new Int32Array(new ArrayBuffer(names * 4 + capacity * this.nameCapacity));
    // SAFETY: `words` holds the block for as long as `#address` is used.
    const address = addressOf(words);
    for (let i = 0; i < capacity; i++) {
      const header = i * HEADER_WORDS;
      writeAddress(words, header + MMSGHDR.vector / 4, address + iovecs * 4 + i * IOVEC.size);
      words[header + MMSGHDR.vectorLength / 4] = 1;
      // The kernel looks at a name only where its length is not 0.
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
   * Lets slot `i` be `length` bytes of `view` from `start` on.
   *
   * @throws RangeError when `view` is shorter: its memory was detached or shrunk.
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

  /** Lets slot `i` be all of `view`. */
  setView(i: number, view: Uint8Array): void {
    this.setBuffer(i, view, 0, view.byteLength);
    this.#wholes[i] = view;
  }

  /**
   * How many slots from `slot` on have been all of the views from `start` on since they were set:
   * of `count` at the most.
   */
  holding(slot: number, views: readonly unknown[], start: number, count: number): number {
    const wholes = this.#wholes;
    const lengths = this.byteLengths;
    let i = 0;
    while (i < count) {
      const view = wholes[slot + i];
      // One that was detached or resized since has another length.
      if (view === undefined || view !== views[start + i]) break;
      if (lengths[slot + i] !== view.byteLength) break;
      i++;
    }
    return i;
  }

  /** Has buffer `i` be `view`, of which `length` bytes from `start` on are used. */
  protected hold(i: number, view: Uint8Array, start: number, length: number): void {
    const { byteLength } = view;
    if (length < 0 || start + length > byteLength) {
      throw new RangeError(
        `buffer expected ${start + length} bytes, got ${byteLength}: was it transferred?`,
      );
    }
    // A view that was detached or resized since has another byteLength, and gets looked at anew.
    if (this.views[i] !== view || this.byteLengths[i] !== byteLength) {
      this.pin(i, view, byteLength);
    }
  }

  /** Forgets the buffers of the first `count` datagrams, so that they can be collected. */
  release(count: number): void {
    for (let i = 0; i < count; i++) this.views[i] = this.#wholes[i] = undefined;
  }

  /**
   * SAFETY: `views[i]` holds `view` from here on, so the address stays good.
   *
   * @throws RangeError when it has fewer bytes than the `byteLength` it says, or too many.
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
