/** Vectors to receive with, and to hand what was received on to where it belongs. */

import { MMSGHDR } from "./layout.ts";
import { addressOf } from "./memory.ts";
import { HEADER_NAME_LENGTH, HEADER_WORDS, MessageVector } from "./message-vector.ts";
import type { Shim } from "./symbols.ts";

const HEADER_FLAGS = MMSGHDR.flags / 4;
const HEADER_LENGTH = MMSGHDR.length / 4;
/** <linux/socket.h>. */
const MSG_CTRUNC = 8;

/** A message of several datagrams, or the end of one: `length` bytes of `bytes` from `offset` on. */
export interface Segments {
  bytes: Uint8Array;
  offset: number;
  length: number;
  /** The length of each datagram; the last may be shorter. */
  stride: number;
  /** How many they are. */
  datagrams: number;
}

/** Buffers to copy to, one a slot. */
export class ScatterVector extends MessageVector {
  constructor(shim: Shim) {
    super(shim, 0, 0);
  }

  /**
   * Copies the first `count` datagrams of `segments` to the slots from `slot` on, each as far as
   * it fits: how many bytes that was.
   */
  scatter({ bytes, offset, length, stride }: Segments, slot: number, count: number): number {
    // SAFETY: both are held by this object or the caller while the call lasts.
    const address = addressOf(bytes) + offset;
    return this.shim.batch_scatter(address, length, stride, this.iovecAddress(slot), count);
  }
}

/** A vector to receive with: every datagram brings its source address. */
export class ReceiveVector extends MessageVector {
  /**
   * Receives into slots `from` to `from + count - 1`: how many, or -errno. Never waits.
   *
   * @param controlBytes room to give to the control messages of each: `controlCapacity`, or 0.
   */
  receive(
    fd: number,
    from: number,
    count: number,
    flags = 0,
    controlBytes: number = this.controlCapacity,
  ): number {
    const headers = this.headerAddress(from);
    const { nameCapacity } = this;
    return this.shim.batch_receive(fd, headers, count, nameCapacity, controlBytes, flags);
  }

  /** The real length of datagram `i` in bytes, also of what did not fit. */
  lengthAt(i: number): number {
    return this.words[i * HEADER_WORDS + HEADER_LENGTH] as number;
  }

  /** `msg_flags` of datagram `i`. */
  flagsAt(i: number): number {
    return this.words[i * HEADER_WORDS + HEADER_FLAGS] as number;
  }

  /** Whether datagram `i` had control messages for which there was no room. */
  isControlTruncatedAt(i: number): boolean {
    return (this.flagsAt(i) & MSG_CTRUNC) !== 0;
  }

  /** The length of the control messages of datagram `i` in bytes. */
  controlLengthAt(i: number): number {
    return this.words[i * HEADER_WORDS + MMSGHDR.controlLength / 4] as number;
  }

  /** The length of the source address of datagram `i` in bytes; 0 when it has none. */
  nameLengthAt(i: number): number {
    return this.words[i * HEADER_WORDS + HEADER_NAME_LENGTH] as number;
  }
}
