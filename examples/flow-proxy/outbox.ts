/**
 * Where the answers of all flows meet on their way into the tunnel. Flows receive straight into
 * its buffers, one behind the other, and what came in one turn of the event loop leaves in one
 * batch. While it is full, flows wait: their answers stay in the kernel.
 */

import {
  DatagramInfo,
  type DatagramSocket,
  DGRAM_HEADROOM,
  type DgramBuffer,
  type RecvRange,
  type SocketAddress,
  type Waker,
} from "../../lib/index.ts";
import { BatchSender, newBuffer, resetBuffer } from "./batch.ts";
import type { HalfCounts } from "./counts.ts";

/** Datagrams it holds: four batches of a busy upstream. */
const OUTBOX_DATAGRAMS = 256;
/** Datagrams that one flow takes at a time. */
const FLOW_BATCH_DATAGRAMS = 32;

/** Collects datagrams for one socket that is not connected. */
export class Outbox {
  /** The buffers to receive into: `room` says which part. */
  readonly buffers: DgramBuffer[] = [];
  readonly info: DatagramInfo[] = [];
  readonly #sender: BatchSender;
  readonly #room: RecvRange & { start: number; count: number };
  readonly #waiting: Waker[] = [];
  #filled = 0;
  #flushScheduled = false;

  constructor(socket: DatagramSocket, counts: HalfCounts) {
    this.#sender = new BatchSender(socket, counts);
    for (let i = 0; i < OUTBOX_DATAGRAMS; i++) {
      this.buffers.push(newBuffer(DGRAM_HEADROOM));
      this.info.push(new DatagramInfo());
    }
    this.#room = { info: this.info, start: 0, count: 0 };
  }

  /** The part to receive into next; absent, and `waker` is called later, when it is full. */
  room(waker: Waker): RecvRange | undefined {
    if (this.#filled === OUTBOX_DATAGRAMS && !this.#flush()) {
      this.#waiting.push(waker);
      return undefined;
    }
    this.#room.start = this.#filled;
    this.#room.count = Math.min(OUTBOX_DATAGRAMS - this.#filled, FLOW_BATCH_DATAGRAMS);
    return this.#room;
  }

  /** Takes `count` datagrams that were received into the room; `keep` prepares or refuses each. */
  commit(
    count: number,
    to: SocketAddress,
    keep: (buffer: DgramBuffer, i: number) => boolean,
  ): void {
    const end = this.#filled + count;
    for (let i = this.#filled; i < end; i++) {
      const buffer = this.buffers[i] as DgramBuffer;
      if (keep(buffer, i)) this.#put(i, buffer, to);
      else resetBuffer(buffer, DGRAM_HEADROOM);
    }
    if (!this.#flushScheduled && this.#filled > 0) {
      this.#flushScheduled = true;
      // Runs when all sockets that are ready in this turn have been called.
      queueMicrotask(this.#flush);
    }
  }

  /** Keeps the filled buffers together: one that was refused is behind them. */
  #put(i: number, buffer: DgramBuffer, to: SocketAddress): void {
    this.buffers[i] = this.buffers[this.#filled] as DgramBuffer;
    this.buffers[this.#filled++] = buffer;
    this.#sender.add(buffer, to);
  }

  /** Sends what goes: whether there is room again. */
  readonly #flush = (): boolean => {
    this.#flushScheduled = false;
    if (!this.#sender.flush(this.#flush)) return this.#filled < OUTBOX_DATAGRAMS;
    for (let i = 0; i < this.#filled; i++) {
      resetBuffer(this.buffers[i] as DgramBuffer, DGRAM_HEADROOM);
    }
    this.#filled = 0;
    for (const waker of this.#waiting.splice(0)) waker();
    return true;
  };
}
