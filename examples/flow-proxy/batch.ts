/**
 * Batches in and out of a socket, in the poll style of the library: nothing is allocated for a
 * datagram, and who cannot go on leaves a waker and returns.
 */

import {
  DatagramInfo,
  type DatagramSocket,
  DGRAM_HEADROOM,
  DgramBuffer,
  isClosedError,
  MAX_DATAGRAM_SIZE,
  Pending,
  type Poll,
  type RecvRange,
  type SocketAddress,
  SocketError,
  type Waker,
} from "../../lib/index.ts";
import type { HalfCounts } from "./counts.ts";

/** Datagrams taken by one system call, at the most. */
export const BATCH_DATAGRAMS = 64;

/** Errors that one receive takes in a row before it pauses, so that a lasting one does not spin. */
const RECEIVE_ERRORS_MAX = 16;
const RECEIVE_PAUSE_MS = 10;

/**
 * An empty buffer for one datagram of up to 1500 bytes, with `headroom` in front. Without any, it
 * has room for a flow ID that comes with the datagram.
 */
export function newBuffer(headroom: number): DgramBuffer {
  return DgramBuffer.withCapacityAndHeadroom(DGRAM_HEADROOM + MAX_DATAGRAM_SIZE, headroom);
}

/** Makes a buffer of `newBuffer(headroom)` as it was. */
export function resetBuffer(buffer: DgramBuffer, headroom: number): void {
  buffer.clear();
  if (headroom > 0) buffer.spliceHeadroom(headroom);
}

/**
 * Receives as `pollRecvMany` does, but counts errors instead of throwing them: they are ICMP's
 * about earlier datagrams, and what came is behind them. A closed socket is pending for ever.
 */
export function receiveBatch(
  socket: DatagramSocket,
  waker: Waker,
  into: { readonly buffers: readonly DgramBuffer[]; readonly batch: RecvRange },
  counts: HalfCounts,
): Poll<number> {
  for (let errors = 0; errors < RECEIVE_ERRORS_MAX; errors++) {
    try {
      return socket.pollRecvMany(waker, into.buffers, into.batch);
    } catch (error) {
      if (isClosedError(error)) return Pending;
      if (!(error instanceof SocketError)) throw error;
      counts.socketErrors++;
    }
  }
  setTimeout(waker, RECEIVE_PAUSE_MS);
  return Pending;
}

/** What a `Receiver` does with its datagrams. */
export interface Sink {
  /** Takes one datagram, to be sent at the next `flush`. The buffer is lent until that is done. */
  take(buffer: DgramBuffer, info: DatagramInfo, nowMs: number): void;
  /** Sends what was taken: whether all is done. If not, `waker` is called to try again. */
  flush(waker: Waker): boolean;
}

/**
 * Takes batches from a socket as they come and gives them to a sink. While the sink cannot send
 * on, nothing is received: the kernel's buffer fills instead, which is the backpressure of UDP.
 */
export class Receiver {
  readonly #socket: DatagramSocket;
  readonly #sink: Sink;
  readonly #counts: HalfCounts;
  readonly #headroom: number;
  readonly #buffers: DgramBuffer[];
  readonly #info: DatagramInfo[];
  readonly #into: { readonly buffers: DgramBuffer[]; readonly batch: RecvRange };
  #used = 0;

  constructor(
    socket: DatagramSocket,
    { sink, counts, headroom }: { sink: Sink; counts: HalfCounts; headroom: number },
  ) {
    this.#socket = socket;
    this.#sink = sink;
    this.#counts = counts;
    this.#headroom = headroom;
    this.#buffers = Array.from({ length: BATCH_DATAGRAMS }, () => newBuffer(headroom));
    this.#info = this.#buffers.map(() => new DatagramInfo());
    this.#into = { buffers: this.#buffers, batch: { info: this.#info } };
  }

  /** Goes on as far as it can, and is its own waker. To be called once; closing ends it. */
  readonly run = (): void => {
    for (;;) {
      if (!this.#sink.flush(this.run)) return;
      this.#recycle();
      const count = receiveBatch(this.#socket, this.run, this.#into, this.#counts);
      if (count === Pending) return;
      this.#used = count;
      const nowMs = performance.now();
      for (let i = 0; i < count; i++) {
        const info = this.#info[i] as DatagramInfo;
        if (info.truncated) this.#counts.drops.oversize++;
        else this.#sink.take(this.#buffers[i] as DgramBuffer, info, nowMs);
      }
    }
  };

  #recycle(): void {
    for (let i = 0; i < this.#used; i++) {
      resetBuffer(this.#buffers[i] as DgramBuffer, this.#headroom);
    }
    this.#used = 0;
  }
}

/** Datagrams on their way out of a socket. */
export class BatchSender {
  readonly #socket: DatagramSocket;
  readonly #counts: HalfCounts;
  readonly #buffers: DgramBuffer[] = [];
  readonly #to: SocketAddress[] = [];
  /** What is left: a part of `#buffers`. */
  readonly #batch = {
    to: undefined as SocketAddress[] | undefined,
    start: 0,
    count: 0,
  };
  #failedBefore = false;

  constructor(socket: DatagramSocket, counts: HalfCounts) {
    this.#socket = socket;
    this.#counts = counts;
  }

  /** How many datagrams are waiting. */
  get count(): number {
    return this.#batch.count;
  }

  /** Adds a datagram, with `to` always or never. The buffer must keep until it is sent. */
  add(buffer: DgramBuffer, to?: SocketAddress): void {
    const batch = this.#batch;
    const end = batch.start + batch.count++;
    this.#buffers[end] = buffer;
    if (to !== undefined) {
      this.#to[end] = to;
      batch.to = this.#to;
    }
  }

  /**
   * Sends what goes: whether that was all. With a waker, it is called when the rest may go.
   *
   * An error costs one datagram at the most. ICMP's about an earlier datagram costs none: the
   * second try goes through. If that fails too, the error is about the datagram itself (too long,
   * no route, a firewall's), which is dropped.
   */
  flush(waker: Waker | null): boolean {
    const batch = this.#batch;
    while (batch.count > 0) {
      try {
        const sent = this.#socket.pollSendMany(waker, this.#buffers, batch);
        if (sent === Pending) return false;
        this.#skip(sent);
      } catch (error) {
        if (isClosedError(error)) this.#skip(batch.count);
        else this.#failed(error);
      }
    }
    batch.start = 0;
    return true;
  }

  /** Gives up what is left: how many those were. */
  dropRest(): number {
    const { count } = this.#batch;
    this.#batch.start = this.#batch.count = 0;
    return count;
  }

  /** Forgets the buffers it sent, so that they can be collected. */
  forget(): void {
    this.#buffers.length = 0;
  }

  #skip(count: number): void {
    this.#batch.start += count;
    this.#batch.count -= count;
    this.#failedBefore = false;
  }

  #failed(error: unknown): void {
    if (!(error instanceof SocketError)) throw error;
    this.#counts.socketErrors++;
    if (this.#failedBefore) {
      this.#counts.drops.failed++;
      this.#skip(1);
    } else {
      this.#failedBefore = true;
    }
  }
}
