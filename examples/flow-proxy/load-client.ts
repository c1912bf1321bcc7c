/**
 * A client of the load generator: keeps a window of requests outstanding, sends new ones in bursts
 * as replies arrive, and records the state of each request.
 */

import {
  isClosedError,
  Pending,
  RecvBatch,
  SendBatch,
  SocketError,
  type UdpSocket,
} from "../../lib/index.ts";
import { REQUEST_BYTES_MAX, type RequestGenerator } from "./request.ts";
import type { RequestBudget } from "./request-budget.ts";

/**
 * The number of requests whose state is stored, and the maximum distance between the oldest
 * outstanding request and the latest one.
 */
const HISTORY = 4096;
/** The maximum number of consecutive errors of a socket. After that the client pauses. */
const ERRORS_MAX = 32;
const RETRY_MS = 10;
/** The maximum number of messages per receive. With GRO, a message contains several replies. */
const REPLY_MESSAGES = 32;

/** After this time without a reply, a request counts as lost. A late reply is still accepted. */
export const REPLY_TIMEOUT_MS = 1000;

/** The states of a request. */
const OUTSTANDING = 1;
const REPLIED = 2;
const LOST = 3;

/** The counters of all clients, added up. */
export interface LoadCounters {
  /** Requests sent. */
  requests: number;
  requestBytes: number;
  /** Valid replies: unaltered and received by the right client. Duplicates are not included. */
  replies: number;
  replyBytes: number;
  /** Requests without a valid reply. */
  lost: number;
  /** Valid replies that arrived after the timeout. They are included in `replies`. */
  late: number;
  /** Further replies to a request that had its reply. */
  duplicated: number;
  /** Replies that differ from the request. */
  altered: number;
  /** Replies to a request of another client. */
  misdelivered: number;
  /** Errors that the clients' sockets reported, such as `ECONNREFUSED`. */
  socketErrors: number;
}

export interface LoadClientOptions {
  /** Identifies the client in its requests. */
  readonly index: number;
  readonly socket: UdpSocket;
  readonly generator: RequestGenerator;
  /** The maximum number of outstanding requests. */
  readonly window: number;
  /** Shared by all clients: limits their outstanding requests. */
  readonly budget: RequestBudget;
  /** Shared by all clients: each adds to it. */
  readonly counters: LoadCounters;
  /** Shared by all clients: replies are checked before the next receive. */
  readonly replies: ReplyBatch;
}

/** A batch to receive replies into, and its memory as a `Buffer`. */
export class ReplyBatch {
  readonly batch: RecvBatch = new RecvBatch({ messages: REPLY_MESSAGES });
  readonly bytes: Buffer = Buffer.from(this.batch.bytes.buffer);
}

/** A client with its own socket. */
export class LoadClient {
  readonly #options: LoadClientOptions;
  /** Request `sequence` has its state, number and time at index `sequence % HISTORY`. */
  readonly #states = new Uint8Array(HISTORY);
  readonly #sequences = new Uint32Array(HISTORY);
  readonly #sentAtMs = new Float64Array(HISTORY);
  /** The requests to send next, in adjacent memory, so that the kernel gathers no pieces. */
  readonly #batch: SendBatch;
  readonly #batchBytes: Buffer;
  /** The sequence number of the next request. */
  #next = 0;
  /** No request before this one is outstanding. */
  #oldest = 0;
  #outstanding = 0;
  #isSending = true;

  constructor(options: LoadClientOptions) {
    this.#options = options;
    const { window } = options;
    this.#batch = new SendBatch({ datagrams: window, prefixBytes: 0 });
    this.#batchBytes = Buffer.from(new ArrayBuffer(window * REQUEST_BYTES_MAX));
  }

  /** The number of requests that neither have a reply nor count as lost. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Receives replies and sends requests until both would block. Passes itself as the waker. */
  readonly run = (): void => {
    const { socket, counters } = this.#options;
    for (let errors = 0; errors < ERRORS_MAX; ) {
      try {
        const hasReceived = this.#receive();
        const hasSent = this.#send();
        if (hasReceived || hasSent) continue;
        return;
      } catch (error) {
        if (isClosedError(error) || socket.isClosed) return;
        if (!(error instanceof SocketError)) throw error;
        counters.socketErrors++;
        errors++;
      }
    }
    setTimeout(this.run, RETRY_MS);
  };

  /** Stops sending requests. Replies are still received. */
  stopSending(): void {
    this.#isSending = false;
  }

  /** Counts outstanding requests sent before `sentBeforeMs` as lost: the window gets room. */
  expireRequests(sentBeforeMs: number): void {
    const { counters, budget } = this.#options;
    for (; this.#oldest < this.#next; this.#oldest++) {
      const i = this.#oldest % HISTORY;
      if (this.#states[i] !== OUTSTANDING) continue;
      if ((this.#sentAtMs[i] as number) > sentBeforeMs) return;
      this.#states[i] = LOST;
      this.#outstanding--;
      budget.give(1);
      counters.lost++;
    }
  }

  close(): void {
    this.#options.socket.close();
  }

  /** Receives and checks a batch of replies. Returns whether there was any. */
  #receive(): boolean {
    const { socket, generator, index, counters, replies, budget } = this.#options;
    const { batch, bytes } = replies;
    const outstanding = this.#outstanding;
    if (socket.pollRecvBatch(this.run, batch) === Pending) return false;
    for (let i = 0; i < batch.length; i++) {
      const length = batch.lengthAt(i);
      const result = generator.checkReply(bytes, batch.offsetAt(i), length, index);
      if (typeof result === "string") counters[result]++;
      else this.#recordReply(result, length);
    }
    budget.give(outstanding - this.#outstanding);
    return true;
  }

  #recordReply(sequence: number, length: number): void {
    const { counters } = this.#options;
    const i = sequence % HISTORY;
    // The state of an old request is not stored any more. Its reply counts as a duplicate.
    const state = this.#sequences[i] === sequence ? this.#states[i] : REPLIED;
    if (state !== OUTSTANDING && state !== LOST) {
      counters.duplicated++;
      return;
    }
    if (state === OUTSTANDING) {
      this.#outstanding--;
    } else {
      counters.lost--;
      counters.late++;
    }
    counters.replies++;
    counters.replyBytes += length;
    this.#states[i] = REPLIED;
  }

  /** Sends the requests that the window allows. Returns whether any was sent. */
  #send(): boolean {
    const { socket, counters } = this.#options;
    const batch = this.#batch;
    if (batch.length === 0) this.#fillBatch();
    if (batch.length === 0) return false;
    const sent = socket.pollSendBatch(this.run, batch);
    if (sent === Pending) return false;
    counters.requests += sent;
    return true;
  }

  /**
   * Fills the batch once half of the window is free, if the budget allows: requests are sent in
   * bursts, not one per reply.
   */
  #fillBatch(): void {
    const { generator, index, window, budget, counters } = this.#options;
    const room = Math.min(window - this.#outstanding, this.#historyRoom());
    if (!this.#isSending || 2 * room < window) return;
    const count = budget.take(room, this.run);
    const batch = this.#batch;
    const bytes = this.#batchBytes;
    const nowMs = performance.now();
    for (let offset = 0; batch.length < count; ) {
      const i = this.#next % HISTORY;
      this.#states[i] = OUTSTANDING;
      this.#sequences[i] = this.#next;
      this.#sentAtMs[i] = nowMs;
      const length = generator.write(bytes, offset, index, this.#next++);
      batch.pushSlice(bytes, offset, length);
      counters.requestBytes += length;
      offset += length;
    }
    this.#outstanding += count;
  }

  /** Returns the number of further requests whose state can be stored. */
  #historyRoom(): number {
    while (this.#oldest < this.#next && this.#states[this.#oldest % HISTORY] !== OUTSTANDING) {
      this.#oldest++;
    }
    return HISTORY - (this.#next - this.#oldest);
  }
}
