/**
 * The replies of all flows on their way into the tunnel. Flows receive into the batches of the
 * queue. The replies of all flows that received in the same tick of the event loop are sent
 * together, from these batches. While all batches are in use, flows do not receive: their replies
 * stay in the kernel's receive buffers.
 */

import { MAX_DATAGRAM_SIZE, RecvBatch, type SocketAddress, type Waker } from "../../lib/index.ts";
import { type BatchTarget, flushBatch, newSendBatch } from "./batch-io.ts";
import type { EndpointCounters } from "./counters.ts";
import type { ReplyAllowance } from "./reply-allowance.ts";
import type { FlowId } from "./tunnel-datagram.ts";

/** The number of batches: the maximum number of receives before the replies are sent. */
const BATCHES = 32;
/** The maximum number of messages per receive of a flow. */
const BATCH_MESSAGES = 32;

/** Identifies a flow of an egress. */
export interface FlowKey {
  /** The address of the ingress that the flow comes from, which may change. */
  ingress: SocketAddress;
  readonly id: FlowId;
}

/** A flow that receives replies. */
export interface ReplyFlow {
  readonly key: FlowKey;
  readonly allowance: ReplyAllowance;
}

/** A queue of replies for the tunnel socket of an egress, which is not connected. */
export class ReplyQueue {
  readonly #socket: BatchTarget;
  readonly #counters: EndpointCounters;
  readonly #out = newSendBatch();
  /** The first `#committed` batches contain replies of the flow at the same index in `#flows`. */
  readonly #batches: RecvBatch[] = [];
  readonly #flows: ReplyFlow[] = [];
  #committed = 0;
  /** The next reply to push into `#out`: datagram `#next` of batch `#current`. */
  #current = 0;
  #next = 0;
  readonly #waiting: Waker[] = [];
  #isFlushScheduled = false;

  constructor(socket: BatchTarget, counters: EndpointCounters) {
    this.#socket = socket;
    this.#counters = counters;
  }

  /**
   * Returns a batch to receive replies into. If all are in use, stores `waker` and returns
   * `undefined`.
   */
  reserve(waker: Waker): RecvBatch | undefined {
    // A flush wakes waiting flows, which may reserve all batches again: hence the loop.
    while (this.#committed === BATCHES) {
      if (this.#flush()) continue;
      this.#waiting.push(waker);
      return undefined;
    }
    const i = this.#committed;
    this.#batches[i] ??= new RecvBatch({ messages: BATCH_MESSAGES });
    return this.#batches[i];
  }

  /** Queues the replies of `flow` that were received into the reserved batch. */
  commit(flow: ReplyFlow): void {
    this.#flows[this.#committed++] = flow;
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    // The microtask runs after the wakers of all sockets that are ready in this tick.
    queueMicrotask(this.#flush);
  }

  /** Sends queued replies until the socket is full. Returns whether a batch is free. */
  readonly #flush = (): boolean => {
    this.#isFlushScheduled = false;
    do {
      this.#fillSendBatch();
      if (!flushBatch(this.#socket, this.#flush, this.#out, this.#counters)) {
        return this.#committed < BATCHES;
      }
    } while (this.#current < this.#committed);
    this.#committed = this.#current = 0;
    for (const waker of this.#waiting.splice(0)) waker();
    return true;
  };

  /** Pushes replies into `#out` until none is left or it is full. */
  #fillSendBatch(): void {
    for (; this.#current < this.#committed; this.#current++, this.#next = 0) {
      const batch = this.#batches[this.#current] as RecvBatch;
      const flow = this.#flows[this.#current] as ReplyFlow;
      while (this.#next < batch.length) {
        if (this.#out.isFull) return;
        this.#push(batch, this.#next++, flow);
      }
    }
  }

  #push(batch: RecvBatch, i: number, { key, allowance }: ReplyFlow): void {
    const length = batch.lengthAt(i);
    if (length > MAX_DATAGRAM_SIZE) {
      this.#counters.drops.oversize++;
      return;
    }
    if (!allowance.take(length)) {
      this.#counters.drops.amplified++;
      return;
    }
    const { id, ingress } = key;
    this.#out.prefixVarint(id).pushSlice(batch.bytes, batch.offsetAt(i), length, ingress);
  }
}
