/** Vectors to receive with, and to copy received datagrams to the caller's buffers. */

import { MMSGHDR } from "./layout.ts";
import { addressOf } from "./memory.ts";
import {
  carryOf,
  checkPart,
  HEADER_NAME_LENGTH,
  HEADER_WORDS,
  IOVEC_WORDS,
  MessageVector,
} from "./message-vector.ts";
import { hasLength } from "./typed-arrays.ts";

const HEADER_FLAGS = MMSGHDR.flags / 4;
const HEADER_LENGTH = MMSGHDR.length / 4;
/** <linux/socket.h>. */
const MSG_CTRUNC = 8;

/** A message of several datagrams, or its end: `length` bytes of `bytes` at `offset`. */
export interface Segments {
  bytes: Uint8Array;
  offset: number;
  length: number;
  /** The length of each datagram in bytes. The last may be shorter. */
  stride: number;
  /** The number of datagrams. */
  datagrams: number;
}

/** A vector to receive with, or to copy received datagrams to. */
export class ReceiveVector extends MessageVector {
  override loadWhole(i: number, view: Uint8Array): number {
    const byteLength = super.loadWhole(i, view);
    this.writeIovec(i, 0, byteLength);
    return byteLength;
  }

  /** Loads slot `i` with the bytes of `view` from `start` on, an integer of 0 or more. */
  loadTail(i: number, view: Uint8Array, start: number): void {
    this.load(i, view, start);
  }

  /**
   * Checks the buffers of slots `slot` to `slot + count - 1`, which are loaded, and points the slots
   * at them. Call it directly before the slots are used.
   *
   * @throws TypeError if one is no genuine array; RangeError if the memory of one was detached or
   * has shrunk.
   */
  prepare(slot: number, count: number): void {
    const { words, views, byteLengths, starts, basesLow, basesHigh } = this;
    let iovec = this.iovecs + slot * IOVEC_WORDS;
    for (let i = slot; i < slot + count; i++, iovec += IOVEC_WORDS) {
      const byteLength = byteLengths[i] as number;
      const start = starts[i] as number;
      // A negative length must not get to `hasLength`: the view may be no genuine array.
      const isSettled = byteLength >= 0 && hasLength(views[i] as Uint8Array, byteLength);
      if (!isSettled || start > byteLength) {
        this.#prepareSlot(i);
      } else if (start >= 0) {
        const baseLow = basesLow[i] as number;
        const low = (baseLow + start) | 0;
        words[iovec] = low;
        words[iovec + 1] = (basesHigh[i] as number) + carryOf(low, baseLow);
        words[iovec + 2] = byteLength - start;
      }
      // Otherwise the slot covers a whole view, and was pointed at it before.
    }
  }

  #prepareSlot(i: number): void {
    const byteLength = this.settle(i);
    const start = Math.max(0, this.starts[i] as number);
    checkPart(start, 0, byteLength);
    this.writeIovec(i, start, byteLength - start);
  }

  /** Returns the length of the buffer of slot `i` in bytes. */
  roomAt(i: number): number {
    return (this.words[this.iovecs + i * IOVEC_WORDS + 2] as number) >>> 0;
  }

  /** Returns the index at which slot `i` starts in its view. */
  startAt(i: number): number {
    return this.starts[i] as number;
  }

  /**
   * Copies the first `count` datagrams of `segments` to the slots from `slot` on, each as far as
   * it fits, and returns the number of bytes copied. The slots must be prepared.
   */
  scatter({ bytes, offset, length, stride }: Segments, slot: number, count: number): number {
    // SAFETY: the caller holds `bytes` and this object holds the targets during the call.
    const address = addressOf(bytes) + offset;
    return this.shim.batch_scatter(address, length, stride, this.iovecAddress(slot), count);
  }

  /**
   * Receives into slots `start` to `start + count - 1` without blocking. Returns the number of
   * messages, or -errno.
   *
   * @param controlBytes the space for the control messages of each: `controlCapacity`, or 0.
   */
  receive(
    fd: number,
    start: number,
    count: number,
    flags = 0,
    controlBytes: number = this.controlCapacity,
  ): number {
    const headers = this.headerAddress(start);
    const { nameCapacity } = this;
    return this.shim.batch_receive(fd, headers, count, nameCapacity, controlBytes, flags);
  }

  /** Returns the length of message `i` in bytes, including what did not fit (MSG_TRUNC). */
  lengthAt(i: number): number {
    return this.words[i * HEADER_WORDS + HEADER_LENGTH] as number;
  }

  /** Returns the `msg_flags` of message `i`. */
  flagsAt(i: number): number {
    return this.words[i * HEADER_WORDS + HEADER_FLAGS] as number;
  }

  /** Returns whether control messages of message `i` did not fit (MSG_CTRUNC). */
  isControlTruncatedAt(i: number): boolean {
    return (this.flagsAt(i) & MSG_CTRUNC) !== 0;
  }

  /** Returns the length of the control messages of message `i` in bytes. */
  controlLengthAt(i: number): number {
    return this.words[i * HEADER_WORDS + MMSGHDR.controlLength / 4] as number;
  }

  /** Returns the length of the source address of message `i` in bytes; 0 if it has none. */
  nameLengthAt(i: number): number {
    return this.words[i * HEADER_WORDS + HEADER_NAME_LENGTH] as number;
  }
}
