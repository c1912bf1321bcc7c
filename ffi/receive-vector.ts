/** Vectors to receive with, and to copy received datagrams to the caller's buffers. */

import { MMSGHDR } from "./layout.ts";
import { addressOf } from "./memory.ts";
import { HEADER_NAME_LENGTH, HEADER_WORDS, MessageVector } from "./message-vector.ts";
import type { Shim } from "./symbols.ts";

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

/** A vector of buffers to copy to, one per slot. */
export class ScatterVector extends MessageVector {
  constructor(shim: Shim) {
    super(shim, 0, 0);
  }

  /**
   * Copies the first `count` datagrams of `segments` to the slots from `slot` on, each as far as
   * it fits, and returns the number of bytes copied.
   */
  scatter({ bytes, offset, length, stride }: Segments, slot: number, count: number): number {
    // SAFETY: the caller holds `bytes` and this object holds the targets during the call.
    const address = addressOf(bytes) + offset;
    return this.shim.batch_scatter(address, length, stride, this.iovecAddress(slot), count);
  }
}

/** A vector to receive with. */
export class ReceiveVector extends MessageVector {
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
