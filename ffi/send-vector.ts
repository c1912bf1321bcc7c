/** Vectors to send with: how messages are put together of pieces. */

import { MMSGHDR } from "./layout.ts";
import {
  carryOf,
  HEADER_WORDS,
  IOVEC_WORDS,
  MessageVector,
  writeAddress,
} from "./message-vector.ts";

/** An address as the kernel reads it: `length` bytes in `words`. */
export interface EncodedAddress {
  readonly words: Int32Array;
  readonly length: number;
}

/** What a message is made of. Only read during the call: one object will do for all. */
export interface Message {
  /** The first of the slots that it has, one behind the other. */
  slot: number;
  slots: number;
  /** How many datagrams that is. */
  datagrams: number;
  /** Bytes of control messages. */
  controlBytes: number;
}

/** Slices of arrays: of the `i`th, `lengths[i]` bytes from `starts[i]` on. */
export interface Slices {
  readonly views: readonly Uint8Array[];
  readonly starts: Uint32Array;
  readonly lengths: Uint32Array;
}

/** A vector to send with: buffers in slots, and messages made of one slot or of several. */
export class SendVector extends MessageVector {
  #destinations: (EncodedAddress | undefined)[] = [];
  /** The first slot of each message, and how many datagrams it is. */
  #firsts: number[] = [];
  #datagrams: number[] = [];
  #nextSlot = 0;
  #nextBuffer = 0;

  override reserve(count: number): void {
    const before = this.capacity;
    super.reserve(count);
    if (this.capacity === before) return;
    this.#destinations = new Array<EncodedAddress | undefined>(this.capacity).fill(undefined);
    this.#firsts = Array.from({ length: this.capacity }, (_, m) => m);
    this.#datagrams = new Array<number>(this.capacity).fill(1);
  }

  /** Starts with the first slot again. */
  rewind(): void {
    this.#nextSlot = this.#nextBuffer = 0;
  }

  /** The slot that the next piece gets. */
  get nextSlot(): number {
    return this.#nextSlot;
  }

  /**
   * Adds `length` bytes of `view` from `start` on: in a slot of their own or, with `mayJoin`, in
   * the one before if they lie right behind what that has. The kernel takes 38 ns for each piece
   * of 1200 bytes more that a message is gathered of.
   *
   * @throws RangeError when `view` is shorter: its memory was detached or shrunk.
   */
  append(view: Uint8Array, start: number, length: number, mayJoin: boolean): void {
    const i = this.#nextBuffer++;
    this.hold(i, view, start, length);
    const words = this.words;
    const baseLow = this.basesLow[i] as number;
    const low = (baseLow + start) | 0;
    const high = (this.basesHigh[i] as number) + carryOf(low, baseLow);
    const iovec = this.iovecs + this.#nextSlot * IOVEC_WORDS;
    if (mayJoin) {
      const before = iovec - IOVEC_WORDS;
      const bytes = words[before + 2] as number;
      if ((((words[before] as number) + bytes) | 0) === low && words[before + 1] === high) {
        words[before + 2] = bytes + length;
        return;
      }
    }
    words[iovec] = low;
    words[iovec + 1] = high;
    words[iovec + 2] = length;
    this.#nextSlot++;
  }

  /**
   * Adds views `from` to `end - 1` one after the other, as `append` with `mayJoin` does, as long
   * as each is an array of `length` bytes: how many were. A loop of its own, as `append` is too
   * long for the compiler to inline, and a call to it takes longer than what it does (11 ns each,
   * 4 in a loop); so has `appendSlices`.
   */
  appendRun(views: readonly unknown[], from: number, end: number, length: number): number {
    const { words, basesLow, basesHigh, byteLengths } = this;
    const held = this.views;
    let i = this.#nextBuffer;
    let iovec = this.iovecs + this.#nextSlot * IOVEC_WORDS;
    let at = from;
    for (; at < end; at++, i++) {
      const view = views[at];
      if (!(view instanceof Uint8Array) || view.byteLength !== length) break;
      if (held[i] !== view || byteLengths[i] !== length) this.pin(i, view, length);
      const low = basesLow[i] as number;
      const high = basesHigh[i] as number;
      const before = iovec - IOVEC_WORDS;
      const bytes = words[before + 2] as number;
      if ((((words[before] as number) + bytes) | 0) === low && words[before + 1] === high) {
        words[before + 2] = bytes + length;
      } else {
        words[iovec] = low;
        words[iovec + 1] = high;
        words[iovec + 2] = length;
        iovec += IOVEC_WORDS;
      }
    }
    this.#nextBuffer = i;
    this.#nextSlot = (iovec - this.iovecs) / IOVEC_WORDS;
    return at - from;
  }

  /**
   * Adds slices `from` to `end - 1` one after the other, as `append` does, the first with
   * `mayJoin` and the others in any case. One without bytes adds nothing.
   *
   * @throws RangeError as `append`.
   */
  appendSlices(
    { views, starts, lengths }: Slices,
    from: number,
    end: number,
    mayJoin: boolean,
  ): void {
    const { words, basesLow, basesHigh } = this;
    let i = this.#nextBuffer;
    let iovec = this.iovecs + this.#nextSlot * IOVEC_WORDS;
    let joins = mayJoin;
    for (let at = from; at < end; at++) {
      const length = lengths[at] as number;
      if (length === 0) continue;
      const start = starts[at] as number;
      this.hold(i, views[at] as Uint8Array, start, length);
      const baseLow = basesLow[i] as number;
      const low = (baseLow + start) | 0;
      const high = (basesHigh[i] as number) + carryOf(low, baseLow);
      i++;
      const before = iovec - IOVEC_WORDS;
      const bytes = joins ? (words[before + 2] as number) : 0;
      if (
        joins &&
        (((words[before] as number) + bytes) | 0) === low &&
        words[before + 1] === high
      ) {
        words[before + 2] = bytes + length;
      } else {
        words[iovec] = low;
        words[iovec + 1] = high;
        words[iovec + 2] = length;
        iovec += IOVEC_WORDS;
        joins = true;
      }
    }
    this.#nextBuffer = i;
    this.#nextSlot = (iovec - this.iovecs) / IOVEC_WORDS;
  }

  /** Says what message `m` is made of. */
  setMessage(m: number, { slot, slots, datagrams, controlBytes }: Message): void {
    const header = m * HEADER_WORDS;
    this.words[header + MMSGHDR.controlLength / 4] = controlBytes;
    this.#datagrams[m] = datagrams;
    if (this.#firsts[m] !== slot) {
      writeAddress(this.words, header + MMSGHDR.vector / 4, this.iovecAddress(slot));
      this.#firsts[m] = slot;
    }
    this.words[header + MMSGHDR.vectorLength / 4] = slots;
  }

  /** How many datagrams the first `count` messages are. */
  datagramsIn(count: number): number {
    let datagrams = 0;
    for (let m = 0; m < count; m++) datagrams += this.#datagrams[m] as number;
    return datagrams;
  }

  /** Sets where message `m` goes; `undefined`: where the socket is connected to. */
  setDestination(m: number, destination: EncodedAddress | undefined): void {
    if (this.#destinations[m] === destination) return;
    this.#destinations[m] = destination;
    // One that does not fit is of another family: the kernel sees it by the start, and refuses it.
    const length = Math.min(destination?.length ?? 0, this.nameCapacity);
    this.setNameLength(m, length);
    if (destination === undefined) return;
    const { words } = destination;
    const target = this.words;
    const index = this.nameIndex(m);
    for (let word = 0; word < (length + 3) >> 2; word++)
      target[index + word] = words[word] as number;
  }

  /** Sends messages `from` to `from + count - 1`: how many went, or -errno. Never waits. */
  send(fd: number, from: number, count: number): number {
    return this.shim.batch_send(fd, this.headerAddress(from), count);
  }
}
