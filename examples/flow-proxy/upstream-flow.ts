/** A flow of the egress: its connected upstream socket, and its traffic in both directions. */

import { Pending, SendBatch } from "../../lib/index.ts";
import { flushBatch, receiveBatch } from "./batch-io.ts";
import type { EndpointCounters } from "./counters.ts";
import { FlowEntry } from "./flow-table.ts";
import type { ProxySocket } from "./open-socket.ts";
import type { Rebinding } from "./rebinding.ts";
import { ReplyAllowance } from "./reply-allowance.ts";
import type { FlowKey, ReplyFlow, ReplyQueue } from "./reply-queue.ts";
import type { Runtime } from "./runtime.ts";

/** The maximum number of datagrams that are queued while the upstream socket is being opened. */
const EARLY_DATAGRAMS_MAX = 64;

/** Shared by all flows of an egress. */
export interface FlowContext {
  readonly runtime: Runtime;
  readonly counters: EndpointCounters;
  /** See `ReplyAllowance`. */
  readonly replyFactor: number;
  readonly replies: ReplyQueue;
  /** Opens an upstream socket. */
  readonly openSocket: () => Promise<ProxySocket>;
  /** Called when the upstream socket of a flow is open. Not called if the flow was closed before. */
  readonly onOpen: (socket: ProxySocket) => void;
  /** Called when replies of a flow have been received. Returns false if they must be dropped. */
  readonly onReply: (flow: UpstreamFlow, nowMs: number) => boolean;
}

/** A flow of the egress. */
export class UpstreamFlow extends FlowEntry implements ReplyFlow {
  readonly key: FlowKey;
  readonly allowance: ReplyAllowance;
  rebinding: Rebinding | undefined = undefined;
  readonly #context: FlowContext;
  /** Copies of the datagrams that arrived before the socket was open. Absent once it is. */
  #early: Uint8Array[] | undefined = [];
  #socket: ProxySocket | undefined;
  /** Attached by the egress while there are datagrams to send. */
  #out: SendBatch | undefined;
  #isClosed = false;

  constructor(key: FlowKey, context: FlowContext) {
    super();
    this.key = key;
    this.allowance = new ReplyAllowance(context.replyFactor);
    this.#context = context;
  }

  /** The upstream socket, once it is open. */
  get socket(): ProxySocket | undefined {
    return this.#socket;
  }

  /**
   * Opens the upstream socket, sends the datagrams that have arrived before, and starts to receive.
   *
   * @throws SocketError if the socket cannot be opened.
   */
  async open(): Promise<void> {
    const socket = await this.#context.openSocket();
    if (this.#isClosed) {
      socket.close();
      return;
    }
    this.#socket = socket;
    this.#context.onOpen(socket);
    const early = this.#early ?? [];
    this.#early = undefined;
    if (early.length > 0) {
      const out = new SendBatch({ datagrams: early.length, prefixBytes: 0 });
      for (const datagram of early) out.push(datagram);
      this.#send(socket, out);
    }
    this.#receive();
  }

  /** Whether the flow was closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether a send batch must be attached before the next `push`. */
  get needsBatch(): boolean {
    return this.#socket !== undefined && this.#out === undefined;
  }

  /** Attaches an empty send batch. It is borrowed until `flush`. */
  attachBatch(batch: SendBatch): void {
    this.#out = batch;
  }

  /** Queues a datagram. Its bytes are borrowed until `flush`. */
  push(bytes: Uint8Array, offset: number, length: number): void {
    const out = this.#out;
    if (out !== undefined) {
      if (out.isFull) this.#send(this.#socket as ProxySocket, out);
      out.pushSlice(bytes, offset, length);
    } else if (this.#early !== undefined && this.#early.length < EARLY_DATAGRAMS_MAX) {
      this.#early.push(bytes.slice(offset, offset + length));
    } else {
      this.#context.counters.drops.opening++;
    }
  }

  /** Sends the queued datagrams, and detaches the send batch, which is empty then. */
  flush(): void {
    if (this.#out !== undefined) this.#send(this.#socket as ProxySocket, this.#out);
    this.#out = undefined;
  }

  /** Sends a batch. Drops what a full socket does not accept, so that other flows need not wait. */
  #send(socket: ProxySocket, batch: SendBatch): void {
    if (flushBatch(socket, null, batch, this.#context.counters)) return;
    this.#context.counters.drops.blocked += batch.length;
    batch.clear();
  }

  /** Closes the flow. Returns the number of datagrams that were queued for the unopened socket. */
  close(): number {
    this.#isClosed = true;
    this.#socket?.close();
    const dropped = this.#early?.length ?? 0;
    this.#early = undefined;
    return dropped;
  }

  /** Receives replies until the socket would block. Passes itself as the waker. */
  readonly #receive = (): void => {
    const { runtime, replies, counters, onReply } = this.#context;
    const socket = this.#socket as ProxySocket;
    while (!this.#isClosed) {
      const batch = replies.reserve(this.#receive);
      if (batch === undefined) return;
      const received = receiveBatch(socket, this.#receive, batch, counters, runtime);
      if (received === Pending) return;
      if (onReply(this, runtime.nowMs())) replies.commit(this);
      else counters.drops.stale += batch.length;
    }
  };
}
