/** Datagrams in buffers that are handed over, on top of any socket. */

import type { DgramBuffer } from "../buffer/buffer.ts";
import { type DgramBufferFactory, dgramBufferFactory } from "../buffer/pool.ts";
import { checkInteger } from "../support/check.ts";
import { Pending, type Poll, type Waker } from "./poll.ts";
import { type DatagramSocket, RawPoolBufDatagramIo } from "./socket.ts";

/** Buffers made ahead for one batch. */
const BATCH = 64;

/** The buffered way into a socket: every datagram comes in a buffer of its own. */
export class PoolBufIo extends RawPoolBufDatagramIo {
  readonly #socket: DatagramSocket;
  readonly #factory: DgramBufferFactory;
  /** Empty buffers, which the next datagrams are put in. */
  readonly #empty: DgramBuffer[] = [];

  constructor(socket: DatagramSocket, factory: DgramBufferFactory = dgramBufferFactory) {
    super();
    this.#socket = socket;
    this.#factory = factory;
  }

  override pollSendDatagrams(waker: Waker | null, datagrams: DgramBuffer[]): Poll<number> {
    return this.#socket.pollSendMany(waker, datagrams);
  }

  override pollRecvDgram(waker: Waker | null): Poll<DgramBuffer> {
    this.#socket._throwDeferredRecvError();
    const buffer = this.#empty.pop() ?? this.#factory.getMaxDgramBuf();
    try {
      if (this.#socket.pollRecv(waker, buffer) !== Pending) return buffer;
    } catch (error) {
      this.#empty.push(buffer);
      throw error;
    }
    this.#empty.push(buffer);
    return Pending;
  }

  override pollRecvDatagrams(
    waker: Waker | null,
    buffers: DgramBuffer[],
    limit: number,
  ): Poll<number> {
    checkInteger("limit", limit, 0, Number.MAX_SAFE_INTEGER);
    while (this.#empty.length < Math.min(limit, BATCH)) {
      this.#empty.push(this.#factory.getMaxDgramBuf());
    }
    const count = Math.min(limit, this.#empty.length);
    const result = this.#socket.pollRecvMany(waker, this.#empty, { count });
    if (result !== Pending) buffers.push(...this.#empty.splice(0, result));
    return result;
  }
}
