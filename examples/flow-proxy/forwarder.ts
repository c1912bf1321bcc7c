/** Forwards datagrams from a socket to a sink, with backpressure. */

import {
  DGRAM_HEADROOM,
  MAX_DATAGRAM_SIZE,
  Pending,
  RecvBatch,
  type SendBatch,
  type Waker,
} from "../../lib/index.ts";
import { type BatchSource, type BatchTarget, flushBatch, receiveBatch } from "./batch-io.ts";
import type { EndpointCounters } from "./counters.ts";
import { type Runtime, systemRuntime } from "./runtime.ts";

/** The maximum number of messages per receive. With GRO, a message contains several datagrams. */
const BATCH_MESSAGES = 64;

/** The maximum length of a datagram from the tunnel, in bytes. */
export const TUNNEL_DATAGRAM_BYTES_MAX: number = DGRAM_HEADROOM + MAX_DATAGRAM_SIZE;

/** Where a `Forwarder` sends its datagrams. */
export interface Sink {
  /** Whether the sink must be flushed before the next `write`. */
  readonly isFull: boolean;
  /** Queues datagram `i` of `batch`, or drops it. Its bytes are borrowed until `flush` sent it. */
  write(batch: RecvBatch, i: number, nowMs: number): void;
  /**
   * Sends the queued datagrams. Returns false if it must be called again to send the remaining
   * ones, and calls `waker` when it is time.
   */
  flush(waker: Waker): boolean;
}

/** Creates a sink that sends `out` with `socket`. `write` pushes datagrams into `out`. */
export function batchSink(
  socket: BatchTarget,
  out: SendBatch,
  counters: EndpointCounters,
  write: Sink["write"],
): Sink {
  return {
    get isFull() {
      return out.isFull;
    },
    write,
    flush: (waker) => flushBatch(socket, waker, out, counters),
  };
}

export interface ForwarderOptions {
  readonly sink: Sink;
  readonly counters: EndpointCounters;
  /** The maximum length of a datagram in bytes. Longer ones are counted and dropped. */
  readonly datagramBytesMax: number;
  /** Default: the operating system. */
  readonly runtime?: Runtime | undefined;
}

/**
 * Receives batches and writes their datagrams to a sink. Receives nothing while the sink cannot
 * send: datagrams then stay in the kernel's receive buffer, and the kernel drops what does not fit.
 */
export class Forwarder {
  readonly #socket: BatchSource;
  readonly #options: ForwarderOptions;
  readonly #batch = new RecvBatch({ messages: BATCH_MESSAGES });
  /** The next datagram of the batch to write. */
  #next = 0;
  #receivedAtMs = 0;

  constructor(socket: BatchSource, options: ForwarderOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  /**
   * Forwards datagrams until a socket would block. To be called once: it passes itself as the
   * waker. Ends when the socket is closed.
   */
  readonly run = (): void => {
    const { sink, counters, runtime = systemRuntime } = this.#options;
    while (sink.flush(this.run)) {
      if (this.#next >= this.#batch.length) {
        this.#next = 0;
        const received = receiveBatch(this.#socket, this.run, this.#batch, counters, runtime);
        if (received === Pending) return;
        this.#receivedAtMs = runtime.nowMs();
      }
      this.#writeBatch();
    }
  };

  /** Writes datagrams of the batch until none is left or the sink is full. */
  #writeBatch(): void {
    const { sink, counters, datagramBytesMax } = this.#options;
    const batch = this.#batch;
    while (this.#next < batch.length && !sink.isFull) {
      const i = this.#next++;
      if (batch.lengthAt(i) > datagramBytesMax) counters.drops.oversize++;
      else sink.write(batch, i, this.#receivedAtMs);
    }
  }
}
