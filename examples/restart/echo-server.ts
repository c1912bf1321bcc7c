/** An echo server that can stop without losing a datagram. */

import { RecvMeta, type SocketAddress, type UdpSocket, WouldBlock } from "../../lib/index.ts";

/** The number of datagrams to receive with one call. */
const BATCH = 64;
const REQUEST_BYTES_MAX = 1500;

/** What a server has done. */
export interface EchoCounts {
  /** Datagrams received. */
  readonly received: number;
  /** Replies sent. */
  readonly answered: number;
  /** Those that were answered after the server had stopped to read, included in `answered`. */
  readonly answeredAfterStop: number;
  /** Datagrams that were received and never returned: lost. */
  readonly dropped: number;
}

/** Answers every datagram with its own bytes. */
export class EchoServer {
  readonly socket: UdpSocket;
  readonly #buffers = Array.from({ length: BATCH }, () => new Uint8Array(REQUEST_BYTES_MAX));
  readonly #meta = Array.from({ length: BATCH }, () => new RecvMeta());
  #answered = 0;
  #answeredAfterStop = 0;

  constructor(socket: UdpSocket) {
    this.socket = socket;
  }

  get counts(): EchoCounts {
    const { datagramsReceived: received, datagramsDropped: dropped } = this.socket.counters;
    const [answered, answeredAfterStop] = [this.#answered, this.#answeredAfterStop];
    return { received, answered, answeredAfterStop, dropped };
  }

  /** Serves until `stop` aborts. All datagrams that it has received are answered then. */
  async serve(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      let count: number;
      try {
        count = await this.socket.recvMany(this.#buffers, { meta: this.#meta, signal: stop });
      } catch (error) {
        if (stop.aborted) break;
        throw error;
      }
      await this.#answer(count);
    }
    await this.#answerUnread();
  }

  /**
   * Answers everything that is in the receive buffer of a socket that gets nothing more, until it has
   * been empty for `quietMs`.
   */
  async drain(quietMs: number): Promise<void> {
    for (let lastMs = performance.now(); performance.now() - lastMs < quietMs; ) {
      const count = this.socket.tryRecvMany(this.#buffers, { meta: this.#meta });
      if (count === WouldBlock) {
        await Bun.sleep(1);
        continue;
      }
      await this.#answer(count);
      this.#answeredAfterStop += count;
      lastMs = performance.now();
    }
  }

  /** Answers what the library has read from the kernel (GRO, read-ahead), and reads nothing more. */
  async #answerUnread(): Promise<void> {
    // From here on the socket reads nothing ahead.
    this.socket.asRawIo();
    while (this.socket.unreadDatagrams > 0) {
      const count = this.socket.tryRecvMany(this.#buffers, {
        meta: this.#meta,
        count: Math.min(BATCH, this.socket.unreadDatagrams),
      });
      if (count === WouldBlock) return;
      await this.#answer(count);
      this.#answeredAfterStop += count;
    }
  }

  async #answer(count: number): Promise<void> {
    const to: SocketAddress[] = [];
    const replies: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const { peer, length } = this.#meta[i] as RecvMeta;
      to.push(peer as SocketAddress);
      replies.push((this.#buffers[i] as Uint8Array).subarray(0, length));
    }
    this.#answered += await this.socket.sendMany(replies, { to });
  }
}
