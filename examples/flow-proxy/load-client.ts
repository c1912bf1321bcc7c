/**
 * A client of the load generator: keeps a window of requests outstanding, sends new ones in batches
 * as replies arrive, and records the state of each request.
 */

import {
  DgramBuffer,
  isClosedError,
  Pending,
  RecvMeta,
  SocketError,
  type UdpSocket,
} from "../../lib/index.ts";
import { REQUEST_BYTES_MAX, type RequestGenerator } from "./request.ts";

/**
 * The number of requests whose state is stored, and the maximum distance between the oldest
 * outstanding request and the latest one.
 */
const HISTORY = 4096;
/** The maximum number of datagrams that a call sends or receives. */
const BATCH = 32;
const RETRY_MS = 10;

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
  /** Shared by all clients: each adds to it. */
  readonly counters: LoadCounters;
  /** Shared by all clients: replies are checked before the next receive. */
  readonly replyBuffers: ReplyBuffers;
}

/** The buffers and metadata objects to receive a batch of replies into. */
export class ReplyBuffers {
  readonly buffers: Buffer[] = [];
  readonly meta: RecvMeta[] = [];

  constructor() {
    for (let i = 0; i < BATCH; i++) {
      this.buffers.push(Buffer.from(new ArrayBuffer(2 * REQUEST_BYTES_MAX)));
      this.meta.push(new RecvMeta());
    }
  }
}

/** A client with its own socket. */
export class LoadClient {
  readonly #options: LoadClientOptions;
  /** Request `sequence` has its state, number and time at index `sequence % HISTORY`. */
  readonly #states = new Uint8Array(HISTORY);
  readonly #sequences = new Uint32Array(HISTORY);
  readonly #sentAtMs = new Float64Array(HISTORY);
  /** The requests to send next: `#batch` is the range of `#sendBuffers` that is not sent yet. */
  readonly #sendBuffers: DgramBuffer[];
  readonly #batch = { start: 0, count: 0 };
  /** The sequence number of the next request. */
  #next = 0;
  /** No request before this one is outstanding. */
  #oldest = 0;
  #outstanding = 0;
  #isSending = true;

  constructor(options: LoadClientOptions) {
    this.#options = options;
    this.#sendBuffers = Array.from({ length: Math.min(BATCH, options.window) }, () =>
      DgramBuffer.withCapacity(REQUEST_BYTES_MAX),
    );
  }

  /** The number of requests that neither have a reply nor count as lost. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Receives replies and sends requests until both would block. Passes itself as the waker. */
  readonly run = (): void => {
    const { socket, counters } = this.#options;
    for (let errors = 0; errors < BATCH; ) {
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
    const { counters } = this.#options;
    for (; this.#oldest < this.#next; this.#oldest++) {
      const i = this.#oldest % HISTORY;
      if (this.#states[i] !== OUTSTANDING) continue;
      if ((this.#sentAtMs[i] as number) > sentBeforeMs) return;
      this.#states[i] = LOST;
      this.#outstanding--;
      counters.lost++;
    }
  }

  close(): void {
    this.#options.socket.close();
  }

  /** Receives and checks a batch of replies. Returns whether there was any. */
  #receive(): boolean {
    const { socket, generator, index, counters, replyBuffers } = this.#options;
    const { buffers, meta } = replyBuffers;
    const count = socket.pollRecvMany(this.run, buffers, { meta });
    if (count === Pending) return false;
    for (let i = 0; i < count; i++) {
      const length = (meta[i] as RecvMeta).datagramLength;
      const result = generator.checkReply(buffers[i] as Buffer, length, index);
      if (typeof result === "string") counters[result]++;
      else this.#recordReply(result, length);
    }
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
    if (batch.count === 0) this.#fillBatch();
    if (batch.count === 0) return false;
    const sent = socket.pollSendMany(this.run, this.#sendBuffers, batch);
    if (sent === Pending) return false;
    for (let i = batch.start; i < batch.start + sent; i++) {
      counters.requestBytes += (this.#sendBuffers[i] as DgramBuffer).length;
    }
    counters.requests += sent;
    batch.start += sent;
    batch.count -= sent;
    return true;
  }

  #fillBatch(): void {
    const { generator, index, window } = this.#options;
    const batch = this.#batch;
    const nowMs = performance.now();
    batch.start = 0;
    while (
      this.#isSending &&
      batch.count < this.#sendBuffers.length &&
      this.#outstanding < window &&
      this.#hasHistory()
    ) {
      const i = this.#next % HISTORY;
      this.#states[i] = OUTSTANDING;
      this.#sequences[i] = this.#next;
      this.#sentAtMs[i] = nowMs;
      const buffer = this.#sendBuffers[batch.count++] as DgramBuffer;
      buffer.clear();
      generator.write(buffer, index, this.#next++);
      this.#outstanding++;
    }
  }

  /** Returns whether the state of one more request can be stored. */
  #hasHistory(): boolean {
    while (this.#oldest < this.#next && this.#states[this.#oldest % HISTORY] !== OUTSTANDING) {
      this.#oldest++;
    }
    return this.#next - this.#oldest < HISTORY;
  }
}
