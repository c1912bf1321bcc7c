/** A tunnel of the client: a request stream for one local peer. */

import { Channel } from "./channel.ts";
import type { Counters } from "./counters.ts";
import { countRefusal } from "./counters.ts";
import type { DatagramReceiver, DatagramRouter } from "./datagram-router.ts";
import type { Headers, QuicSession, QuicStream } from "./node-quic.ts";

/** Datagrams that wait until the proxy has accepted the request. */
const WAITING_MAX = 64;

/** What a tunnel needs of the client. */
export interface ClientTunnelContext {
  readonly session: QuicSession;
  readonly router: DatagramRouter;
  readonly counters: Counters;
  readonly headers: Headers;
  readonly usesDatagrams: boolean;
  readonly onPayload: (bytes: Uint8Array, offset: number, length: number) => void;
  /** Called once, when the tunnel has ended; with the response if it was refused. */
  readonly onEnd: (refusal?: Headers) => void;
}

/** A tunnel. Datagrams wait until the response has arrived. */
export class ClientTunnel implements DatagramReceiver {
  readonly #context: ClientTunnelContext;
  #stream: QuicStream | undefined;
  #channel: Channel | undefined;
  #waiting: Uint8Array[] = [];
  #isClosed = false;

  constructor(context: ClientTunnelContext) {
    this.#context = context;
  }

  /** Returns whether the proxy has accepted the request. */
  get isOpen(): boolean {
    return this.#channel !== undefined && !this.#isClosed;
  }

  /** Sends the request. */
  async open(): Promise<void> {
    const { session, headers } = this.#context;
    try {
      const stream = await session.createBidirectionalStream();
      this.#stream = stream;
      stream.closed.then(
        () => this.close(),
        () => this.close(),
      );
      stream.onheaders = (response) => this.#onResponse(response);
      // The stream must have a writer, or the request ends it.
      void stream.writer;
      if (!stream.sendHeaders(headers, { terminal: false })) this.close();
    } catch {
      // The connection is lost.
      this.close();
    }
  }

  /** Sends a payload, which is copied. `flush` must follow. */
  send(bytes: Uint8Array, offset: number, length: number): void {
    const { drops } = this.#context.counters;
    if (this.#isClosed) drops.closed++;
    else if (this.#channel !== undefined) this.#channel.send(bytes, offset, length);
    else if (this.#waiting.length < WAITING_MAX) {
      this.#waiting.push(bytes.slice(offset, offset + length));
    } else drops.opening++;
  }

  flush(): void {
    this.#channel?.flush();
  }

  receive(bytes: Uint8Array, contextId: number | bigint, payloadOffset: number): void {
    if (!this.#isClosed) this.#channel?.receive(bytes, contextId, payloadOffset);
  }

  abort(code: bigint): void {
    this.#context.counters.aborted++;
    this.close(code);
  }

  /** Ends the tunnel. */
  close(code?: bigint, refusal?: Headers): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { router, counters, onEnd } = this.#context;
    const id = this.#stream?.id ?? null;
    if (id !== null) router.remove(id);
    counters.drops[refusal === undefined ? "closed" : "failed"] += this.#waiting.length;
    this.#waiting = [];
    if (this.#channel !== undefined) this.#channel.close(code);
    else if (this.#stream?.destroyed === false) this.#stream.writer.endSync();
    onEnd(refusal);
  }

  #onResponse(response: Headers): void {
    const stream = this.#stream as QuicStream;
    if (this.#isClosed || this.#channel !== undefined) return;
    const status = Number(response[":status"]);
    // Any 2xx accepts the request (RFC 9298, section 3.5).
    if (!(status >= 200 && status <= 299)) {
      countRefusal(this.#context.counters, status);
      this.close(undefined, response);
      return;
    }
    const { session, router, counters, usesDatagrams, onPayload } = this.#context;
    counters.opened++;
    const channel = new Channel({
      session,
      stream,
      carrier: usesDatagrams && session.maxDatagramSize > 0 ? "frames" : "capsules",
      counters,
      onPayload,
      onEnd: (fault) => (fault === undefined ? this.close() : this.abort(fault)),
    });
    this.#channel = channel;
    router.add(stream.id as bigint, this);
    for (const payload of this.#waiting) channel.send(payload, 0, payload.length);
    channel.flush();
    this.#waiting = [];
  }
}
