/**
 * One flow of the egress: its connected upstream socket, with what goes there and what comes back.
 */

import { Pending, SendBatch, type SocketAddress, type UdpSocket } from "../../lib/index.ts";
import { flushBatch, receiveBatch } from "./batch.ts";
import type { HalfCounts } from "./counts.ts";
import type { FlowId } from "./flow-id.ts";
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
  readonly #around: FlowSurroundings;
  /** Copies of what came before the socket was open; absent afterwards. */
  #early: Uint8Array[] | undefined = [];
  #socket: UdpSocket | undefined;
  /** Lent by the egress while there is something to send. */
  #out: SendBatch | undefined;
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
    const early = this.#early ?? [];
    this.#early = undefined;
    if (early.length > 0) {
      const out = new SendBatch({ datagrams: early.length, prefixBytes: 0 });
      for (const datagram of early) out.push(datagram);
      this.#send(socket, out);
    }
    this.#receive();
  }

  /** Whether it is to be lent a batch before the next `add`. */
  get needsBatch(): boolean {
    return this.#socket !== undefined && this.#out === undefined;
  }

  /** Lends it an empty batch to line up datagrams in. */
  lend(batch: SendBatch): void {
    this.#out = batch;
  }

  /** Sends what was added, and gives the batch back, empty. */
  giveBack(): void {
    if (this.#out !== undefined) this.#send(this.#socket as UdpSocket, this.#out);
    this.#out = undefined;
  }

  /** Takes a datagram to send, which is lent until the batch is given back. */
  add(bytes: Uint8Array, offset: number, length: number): void {
    const out = this.#out;
    if (out !== undefined) {
      if (out.isFull) this.#send(this.#socket as UdpSocket, out);
      out.pushSlice(bytes, offset, length);
    } else if (this.#early !== undefined && this.#early.length < OPENING_DATAGRAMS_MAX) {
      this.#early.push(bytes.slice(offset, offset + length));
    } else {
      this.#around.counts.drops.opening++;
    }
  }

  /** Sends a batch. What a full socket does not take is dropped: others must not wait. */
  #send(socket: UdpSocket, batch: SendBatch): void {
    if (flushBatch(socket, null, batch, this.#around.counts)) return;
    this.#around.counts.drops.blocked += batch.length;
    batch.clear();
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
      const batch = outbox.room(this.#receive);
      if (batch === undefined) return;
      if (receiveBatch(socket, this.#receive, batch, counts) === Pending) return;
      touch(this, performance.now());
      outbox.commit(this);
    }
  };
}
