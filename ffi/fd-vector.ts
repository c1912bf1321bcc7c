/** A vector to receive the descriptors that Unix datagrams pass (unix(7), SCM_RIGHTS). */

import { addressOf } from "./memory.ts";
import { ReceiveVector } from "./receive-vector.ts";
import type { Shim } from "./symbols.ts";

/** The maximum number of descriptors that one datagram passes: SCM_MAX_FD of the kernel (unix(7)). */
export const FDS_MAX = 253;

/** `struct cmsghdr`. */
const HEADER_BYTES = 16;

/**
 * The space in bytes for control messages that sockets get besides the descriptors if their owner
 * has enabled them: 32 for SO_PASSCRED, 24 for SO_PASSPIDFD.
 */
const OTHER_MESSAGES_BYTES = 56;

/** Receives one message at a time, and the descriptors that it passes. */
export class FdVector extends ReceiveVector {
  /** SAFETY: this object holds the memory, and uses its address only in `receive`. */
  readonly #fds: Int32Array = new Int32Array(new ArrayBuffer(4 * FDS_MAX));
  readonly #descriptors: number;
  #count = 0;

  /** The maximum number of descriptors that the next receive accepts, at most `FDS_MAX`. */
  fdsMax: number = FDS_MAX;

  /** @param descriptors the `struct descriptors` of the thread, which exists as long as the thread. */
  constructor(shim: Shim, descriptors: number, nameCapacity: number) {
    super(shim, nameCapacity, OTHER_MESSAGES_BYTES + HEADER_BYTES + 4 * (FDS_MAX + 1));
    this.#descriptors = descriptors;
  }

  /**
   * As `ReceiveVector.receive`, of one message. The thread owns the descriptors, which `takeFds`
   * then returns.
   */
  override receive(fd: number, start: number, _count: number): number {
    const message = this.headerAddress(start);
    const control = OTHER_MESSAGES_BYTES + HEADER_BYTES + 4 * this.fdsMax;
    const result = this.shim.fds_receive(
      this.#descriptors,
      fd,
      message,
      this.nameCapacity,
      control,
      addressOf(this.#fds),
      this.fdsMax,
    );
    this.#count = Math.max(0, result);
    return result < 0 ? result : 1;
  }

  /** Returns the descriptors of the latest receive, once. The thread still owns them. */
  takeFds(): number[] {
    const fds = Array.from(this.#fds.subarray(0, this.#count));
    this.#count = 0;
    return fds;
  }
}
