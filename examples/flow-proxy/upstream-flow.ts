/**
 * One flow of the egress: its connected upstream socket, with what goes there and what comes back.
 */

import { type DgramBuffer, Pending, type SocketAddress, type UdpSocket } from "../../lib/index.ts";
import { BatchSender, receiveBatch } from "./batch.ts";
import type { HalfCounts } from "./counts.ts";
import { addFlowId, type FlowId } from "./flow-id.ts";
import { FlowEntry } from "./flow-table.ts";
import type { Outbox } from "./outbox.ts";

/** Datagrams kept while the upstream socket is opening. */
const OPENING_DATAGRAMS_MAX = 64;

/** What all flows of an egress share. */
export interface FlowSurroundings {
  readonly counts: HalfCounts;
  readonly outbox: Outbox;
  /** Opens an upstream socket. */
  readonly openUpstream: () => Promise<UdpSocket>;
  /** Tells that an answer passed. */
  readonly touch: (flow: UpstreamFlow, nowMs: number) => void;
}

/** A flow, by its tunnel's far end and its ID. */
export class UpstreamFlow extends FlowEntry {
  readonly ingress: SocketAddress;
  readonly id: FlowId;
  /** Whether it is among those to flush; the egress's to know. */
  isTouched = false;
  readonly #around: FlowSurroundings;
  /** Copies of what came before the socket was open; absent afterwards. */
  #early: DgramBuffer[] | undefined = [];
  #socket: UdpSocket | undefined;
  #sender: BatchSender | undefined;
  #isClosed = false;

  constructor(ingress: SocketAddress, id: FlowId, around: FlowSurroundings) {
    super();
    this.ingress = ingress;
    this.id = id;
    this.#around = around;
  }

  /** The upstream socket, once it is open. */
  get socket(): UdpSocket | undefined {
    return this.#socket;
  }

  /** Opens the upstream socket and sends what came meanwhile. Throws what opening throws. */
  async open(): Promise<void> {
    const socket = await this.#around.openUpstream();
    if (this.#isClosed) {
      socket.close();
      return;
    }
    this.#socket = socket;
    this.#sender = new BatchSender(socket, this.#around.counts);
    for (const buffer of this.#early ?? []) this.#sender.add(buffer);
    this.#early = undefined;
    this.flush();
    this.#sender.forget();
    this.#receive();
  }

  /** Takes a datagram to send at the next flush. The buffer is lent until then. */
  add(buffer: DgramBuffer): void {
    if (this.#sender !== undefined) {
      this.#sender.add(buffer);
    } else if (this.#early !== undefined && this.#early.length < OPENING_DATAGRAMS_MAX) {
      this.#early.push(buffer.clone());
    } else {
      this.#around.counts.drops.opening++;
    }
  }

  /** Sends what was added. What a full socket does not take is dropped: others must not wait. */
  flush(): void {
    if (this.#sender === undefined || this.#sender.flush(null)) return;
    this.#around.counts.drops.blocked += this.#sender.dropRest();
  }

  /** Closes it: how many datagrams were still waiting for the socket to open. */
  close(): number {
    this.#isClosed = true;
    this.#socket?.close();
    const lost = this.#early?.length ?? 0;
    this.#early = undefined;
    return lost;
  }

  /** Takes answers until there are none; its own waker. */
  readonly #receive = (): void => {
    const { outbox, counts, touch } = this.#around;
    const socket = this.#socket as UdpSocket;
    while (!this.#isClosed) {
      const room = outbox.room(this.#receive);
      if (room === undefined) return;
      const into = { buffers: outbox.buffers, batch: room };
      const count = receiveBatch(socket, this.#receive, into, counts);
      if (count === Pending) return;
      touch(this, performance.now());
      outbox.commit(count, this.ingress, this.#prepare);
    }
  };

  readonly #prepare = (buffer: DgramBuffer, i: number): boolean => {
    const { outbox, counts } = this.#around;
    if (outbox.info[i]?.truncated) {
      counts.drops.oversize++;
      return false;
    }
    addFlowId(buffer, this.id);
    return true;
  };
}
