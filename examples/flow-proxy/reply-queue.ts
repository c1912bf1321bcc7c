/**
 * Where the answers of all flows meet on their way into the tunnel. Flows receive into its batches,
 * and what came in one turn of the event loop leaves together, straight from there. While all its
 * batches are taken, flows wait: their answers stay in the kernel.
 */

import { MAX_DATAGRAM_SIZE, RecvBatch, type SocketAddress, type Waker } from "../../lib/index.ts";
import { type BatchTarget, flushBatch, newSendBatch } from "./batch.ts";
import type { HalfCounts } from "./counts.ts";
import type { FlowId } from "./flow-id.ts";

/** Batches it has: so many flows can answer in a turn before what they said is sent. */
const OUTBOX_BATCHES = 32;
/** Messages that one flow takes at a time. */
const FLOW_BATCH_MESSAGES = 32;

/** Whose answers they are. */
export interface Answerer {
  readonly ingress: SocketAddress;
  readonly id: FlowId;
}

/** Collects datagrams for one socket that is not connected. */
export class Outbox {
  readonly #socket: BatchTarget;
  readonly #counts: HalfCounts;
  readonly #out = newSendBatch();
  /** The first `#filled` have answers of the flow at the same index; all others are free. */
  readonly #batches: RecvBatch[] = [];
  readonly #flows: Answerer[] = [];
  #filled = 0;
  /** The next answer to line up: datagram `#next` of batch `#current`. */
  #current = 0;
  #next = 0;
  readonly #waiting: Waker[] = [];
  #flushScheduled = false;

  constructor(socket: BatchTarget, counts: HalfCounts) {
    this.#socket = socket;
    this.#counts = counts;
  }

  /** The batch to receive into next; absent, and `waker` is called later, when all are taken. */
  room(waker: Waker): RecvBatch | undefined {
    // Flows that waited are called by a flush, and may take all batches again.
    while (this.#filled === OUTBOX_BATCHES) {
      if (this.#flush()) continue;
      this.#waiting.push(waker);
      return undefined;
    }
    const i = this.#filled;
    this.#batches[i] ??= new RecvBatch({ messages: FLOW_BATCH_MESSAGES });
    return this.#batches[i];
  }

  /** Takes what was received into the room. */
  commit(flow: Answerer): void {
    this.#flows[this.#filled++] = flow;
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    // Runs when all sockets that are ready in this turn have been called.
    queueMicrotask(this.#flush);
  }

  /** Sends what goes: whether there is room again. */
  readonly #flush = (): boolean => {
    this.#flushScheduled = false;
    do {
      this.#lineUp();
      if (!flushBatch(this.#socket, this.#flush, this.#out, this.#counts)) {
        return this.#filled < OUTBOX_BATCHES;
      }
    } while (this.#current < this.#filled);
    this.#filled = this.#current = 0;
    for (const waker of this.#waiting.splice(0)) waker();
    return true;
  };

  /** Puts answers into the line until it is full. */
  #lineUp(): void {
    for (; this.#current < this.#filled; this.#current++, this.#next = 0) {
      const batch = this.#batches[this.#current] as RecvBatch;
      const flow = this.#flows[this.#current] as Answerer;
      while (this.#next < batch.length) {
        if (this.#out.isFull) return;
        this.#push(batch, this.#next++, flow);
      }
    }
  }

  #push(batch: RecvBatch, i: number, { id, ingress }: Answerer): void {
    const length = batch.lengthAt(i);
    if (length > MAX_DATAGRAM_SIZE) {
      this.#counts.drops.oversize++;
      return;
    }
    this.#out.prefixVarint(id).pushSlice(batch.bytes, batch.offsetAt(i), length, ingress);
  }
}
