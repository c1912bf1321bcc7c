/** The messages of a `RecvBatch` that the kernel filled, and their control messages. */

import { NAME_CAPACITY_MAX, type Native, type ReceiveVector } from "../../ffi/native.ts";
import { addressAt } from "../address/address-cache.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import { RECV_CONTROL_CAPACITY } from "../linux/cmsg.ts";
import { readMetadata, readStride } from "../linux/recv-cmsg.ts";
import { MAX_BUF_SIZE } from "../support/limits.ts";

/** The socket that a batch receives from. */
export interface MessageSource {
  readonly native: Native;
  readonly fd: number;
  /**
   * Whether to provide space for control messages. Not for Unix sockets: SCM_RIGHTS would open the
   * sender's descriptors in this process.
   */
  readonly hasControl: boolean;
  /**
   * The bound address of the socket, if receive metadata was enabled or the socket is a Unix socket:
   * then lost control messages are reported, even if there is no space for any.
   */
  readonly local?: SocketAddress | undefined;
}

/** A vector with one message per `MAX_BUF_SIZE` bytes of a batch's memory. */
export class KernelMessages {
  readonly #vector: ReceiveVector;
  #hasControl = false;
  #local: SocketAddress | undefined;

  /** @param bytes the memory, which the vector keeps alive. */
  constructor(native: Native, bytes: Uint8Array, messagesMax: number) {
    const vector = native.receiveVector(NAME_CAPACITY_MAX, RECV_CONTROL_CAPACITY);
    vector.reserve(messagesMax);
    for (let m = 0; m < messagesMax; m++) {
      vector.setBuffer(m, bytes, m * MAX_BUF_SIZE, MAX_BUF_SIZE);
    }
    this.#vector = vector;
  }

  /** Receives up to `limit` messages, and returns their number or -errno. */
  receive({ fd, hasControl, local }: MessageSource, limit: number, flags: number): number {
    this.#hasControl = hasControl;
    this.#local = local;
    return this.#vector.receive(fd, 0, limit, flags, hasControl ? RECV_CONTROL_CAPACITY : 0);
  }

  /** Returns the number of bytes stored for message `m`. */
  bytesAt(m: number): number {
    return Math.min(this.#vector.lengthAt(m), MAX_BUF_SIZE);
  }

  /** Returns the length of message `m` in bytes, including what did not fit. */
  lengthAt(m: number): number {
    return this.#vector.lengthAt(m);
  }

  /** Returns the stride of message `m` in bytes; 0 if it is a single datagram. */
  strideAt(m: number): number {
    const vector = this.#vector;
    const length = vector.controlLengthAt(m);
    return length > 0 ? readStride(vector.words, vector.controlIndex(m), length) : 0;
  }

  /** Returns whether control messages of message `m` were lost for lack of space. */
  isControlTruncatedAt(m: number): boolean {
    const isReported = this.#hasControl || this.#local !== undefined;
    return isReported && this.#vector.isControlTruncatedAt(m);
  }

  /** Returns the source address of message `m`. */
  peerAt(m: number): SocketAddress | undefined {
    return addressAt(this.#vector, m);
  }

  /** Writes the metadata of a datagram of `length` bytes in message `m` into `meta`. */
  readMeta(m: number, length: number, meta: RecvMeta): void {
    const vector = this.#vector;
    const real = vector.lengthAt(m);
    // Only a single datagram can exceed the slot: GRO merges up to 64 KiB.
    meta._set(length, real > MAX_BUF_SIZE ? real : length, this.peerAt(m));
    meta.controlTruncated = this.isControlTruncatedAt(m);
    if (!this.#hasControl || this.#local === undefined) return;
    const bytes = vector.controlLengthAt(m);
    readMetadata(vector.words, vector.controlIndex(m), bytes, meta, this.#local);
  }
}
