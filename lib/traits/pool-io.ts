/** Buffered I/O over any socket: each datagram is received in a buffer of its own. */

import type { DgramBuffer } from "../buffer/buffer.ts";
import { type DgramBufferFactory, dgramBufferFactory } from "../buffer/pool.ts";
import { Pending, type Poll, type Waker } from "../poll/poll.ts";
import { inspectAs, showState } from "../support/check.ts";
import { checkRecvArguments, type DatagramSocket, RawPoolBufDatagramIo } from "./socket.ts";

/** The maximum number of buffers to allocate for one batch. */
const BATCH = 64;

/** Receives each datagram in a new buffer, which the caller then owns. */
export class PoolBufIo extends RawPoolBufDatagramIo {
  static {
    inspectAs(PoolBufIo.prototype, (io) =>
      showState("PoolBufIo", { socket: Bun.inspect(io.#socket) }),
    );
  }

  readonly #socket: DatagramSocket;
  readonly #factory: DgramBufferFactory;
  /** Empty buffers for the next datagrams. */
  readonly #empty: DgramBuffer[] = [];

  constructor(socket: DatagramSocket, factory: DgramBufferFactory = dgramBufferFactory) {
    super();
    this.#socket = socket;
    this.#factory = factory;
  }

  /** Returns what `JSON.stringify` prints: the socket. */
  toJSON(): { socket: DatagramSocket } {
    return { socket: this.#socket };
  }

  override pollSendDatagrams(waker: Waker | null, datagrams: DgramBuffer[]): Poll<number> {
    return this.#socket.pollSendMany(waker, datagrams);
  }

  override pollRecvDgram(waker: Waker | null): Poll<DgramBuffer> {
    this.#socket._recvError?.throwIfSet();
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
    checkRecvArguments(waker, buffers, limit);
    while (this.#empty.length < Math.min(limit, BATCH)) {
      this.#empty.push(this.#factory.getMaxDgramBuf());
    }
    const count = Math.min(limit, this.#empty.length);
    const result = this.#socket.pollRecvMany(waker, this.#empty, { count });
    if (result !== Pending) buffers.push(...this.#empty.splice(0, result));
    return result;
  }
}
