/**
 * Batches in and out of a socket, in the poll style of the library: datagrams are sent on from
 * where they were received, nothing is allocated for one, and who cannot go on leaves a waker and
 * returns.
 */

import {
  BATCH_COUNT_MAX,
  type DatagramSocketRecv,
  type DatagramSocketSend,
  DGRAM_HEADROOM,
  isClosedError,
  MAX_DATAGRAM_SIZE,
  Pending,
  type Poll,
  RecvBatch,
  SendBatch,
  SocketError,
  type Waker,
} from "../../lib/index.ts";
import type { HalfCounts } from "./counts.ts";
import { FLOW_ID_BYTES_MAX } from "./flow-id.ts";

/** Messages taken by one system call, at the most; each may have many datagrams. */
const BATCH_MESSAGES = 64;

/** The longest datagram from the tunnel. */
export const TUNNEL_DATAGRAM_BYTES_MAX: number = DGRAM_HEADROOM + MAX_DATAGRAM_SIZE;

/** Errors that one receive takes in a row before it pauses, so that a lasting one does not spin. */
const RECEIVE_ERRORS_MAX = 16;
const RECEIVE_PAUSE_MS = 10;

/** What batches are received from. */
export type BatchSource = Pick<DatagramSocketRecv, "pollRecvBatch">;
/** What batches are sent by. */
export type BatchTarget = Pick<DatagramSocketSend, "pollSendBatch">;

/** A line of datagrams for a socket that all flows share: as long as they get. */
export function newSendBatch(): SendBatch {
  return new SendBatch({ datagrams: BATCH_COUNT_MAX, prefixBytes: FLOW_ID_BYTES_MAX });
}

/**
 * Receives as `pollRecvBatch` does, but counts errors instead of throwing them: they are ICMP's
 * about earlier datagrams, and what came is behind them. A closed socket is pending for ever.
 */
export function receiveBatch(
  socket: BatchSource,
  waker: Waker,
  batch: RecvBatch,
  counts: HalfCounts,
): Poll<number> {
  for (let errors = 0; errors < RECEIVE_ERRORS_MAX; errors++) {
    try {
      return socket.pollRecvBatch(waker, batch);
    } catch (error) {
      if (isClosedError(error)) return Pending;
      if (!(error instanceof SocketError)) throw error;
      counts.socketErrors++;
    }
  }
  setTimeout(waker, RECEIVE_PAUSE_MS);
  return Pending;
}

/**
 * Sends what goes of a batch: whether that was all. With a waker, it is called when the rest may
 * go.
 *
 * An error costs one datagram at the most. ICMP's about an earlier datagram costs none: the
 * second try goes through. If that fails too, the error is about the datagram itself (too long,
 * no route, a firewall's), which is dropped.
 */
export function flushBatch(
  socket: BatchTarget,
  waker: Waker | null,
  batch: SendBatch,
  counts: HalfCounts,
): boolean {
  let failedBefore = false;
  while (batch.length > 0) {
    try {
      if (socket.pollSendBatch(waker, batch) === Pending) return false;
      failedBefore = false;
    } catch (error) {
      if (isClosedError(error)) {
        batch.clear();
        return true;
      }
      if (!(error instanceof SocketError)) throw error;
      counts.socketErrors++;
      if (failedBefore) {
        counts.drops.failed++;
        batch.drop(1);
      }
      failedBefore = !failedBefore;
    }
  }
  return true;
}

/** What a `Receiver` does with its datagrams. */
export interface Sink {
  /** Whether it takes no more until what it took is sent. */
  readonly isFull: boolean;
  /** Takes datagram `i` of a batch, which is lent until `flush` has sent it. */
  take(batch: RecvBatch, i: number, nowMs: number): void;
  /** Sends what was taken: whether all is done. If not, `waker` is called to try again. */
  flush(waker: Waker): boolean;
}

/** Lines up what is taken for one socket: `take` pushes what it keeps into `out`. */
export function sinkInto(
  socket: BatchTarget,
  out: SendBatch,
  counts: HalfCounts,
  take: Sink["take"],
): Sink {
  return {
    get isFull() {
      return out.isFull;
    },
    take,
    flush: (waker) => flushBatch(socket, waker, out, counts),
  };
}

/** What a `Receiver` is made of. */
export interface ReceiverInit {
  readonly sink: Sink;
  readonly counts: HalfCounts;
  /** Longer datagrams are counted and dropped. */
  readonly datagramBytesMax: number;
}

/**
 * Takes batches from a socket as they come and gives them to a sink. While the sink cannot send
 * on, nothing is received: the kernel's buffer fills instead, which is the backpressure of UDP.
 */
export class Receiver {
  readonly #socket: BatchSource;
  readonly #init: ReceiverInit;
  readonly #batch = new RecvBatch({ messages: BATCH_MESSAGES });
  /** Datagrams of the batch before it were taken, or dropped. */
  #next = 0;
  #receivedAtMs = 0;

  constructor(socket: BatchSource, init: ReceiverInit) {
    this.#socket = socket;
    this.#init = init;
  }

  /** Goes on as far as it can, and is its own waker. To be called once; closing ends it. */
  readonly run = (): void => {
    const { sink, counts } = this.#init;
    while (sink.flush(this.run)) {
      if (this.#next >= this.#batch.length) {
        this.#next = 0;
        if (receiveBatch(this.#socket, this.run, this.#batch, counts) === Pending) return;
        this.#receivedAtMs = performance.now();
      }
      this.#takeOn();
    }
  };

  #takeOn(): void {
    const { sink, counts, datagramBytesMax } = this.#init;
    const batch = this.#batch;
    while (this.#next < batch.length && !sink.isFull) {
      const i = this.#next++;
      if (batch.lengthAt(i) > datagramBytesMax) counts.drops.oversize++;
      else sink.take(batch, i, this.#receivedAtMs);
    }
  }
}
