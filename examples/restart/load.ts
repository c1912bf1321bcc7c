/** The load generator: numbered requests from several clients, and a count of the replies to each. */

import {
  isClosedError,
  RecvMeta,
  type SocketAddress,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";

/**
 * The outstanding requests of a client. All clients together stay below what a receive buffer of
 * 208 KiB, the default of Linux, has room for: 768 bytes for each small datagram.
 */
const WINDOW = 48;
const CLIENTS = 4;
const REQUEST_BYTES = 64;
/** The maximum number of requests of a client: each has a byte that counts its replies. */
const REQUESTS_MAX = 1 << 22;
/** How long replies are awaited after the last request. */
const LAST_REPLY_MS = 2000;

/** How long duplicates of the last replies are awaited. */
const DUPLICATE_MS = 50;

/** What the clients have counted. */
export interface LoadCounts {
  readonly requests: number;
  /** Requests that were answered at least once. */
  readonly answered: number;
  /** Requests without a reply. */
  readonly lost: number;
  /** Replies to requests that had one already. */
  readonly twice: number;
  /** Datagrams that are no reply to a request of the client. */
  readonly wrong: number;
  /** The longest time between two replies, in milliseconds. */
  readonly longestPauseMs: number;
}

/** The time of the latest reply to any client. */
class PauseClock {
  longestMs = 0;
  #lastMs = performance.now();

  record(): void {
    const nowMs = performance.now();
    this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }
}

/** A client with its own socket and numbers. */
class LoadClient {
  requests = 0;
  answered = 0;
  twice = 0;
  wrong = 0;
  readonly #socket: UdpSocket;
  readonly #index: number;
  readonly #clock: PauseClock;
  readonly #replies = new Uint8Array(REQUESTS_MAX);
  readonly #buffers = Array.from({ length: WINDOW }, () => new Uint8Array(REQUEST_BYTES + 1));
  readonly #payloads = Array.from({ length: WINDOW }, () => new Uint8Array(REQUEST_BYTES));

  constructor(socket: UdpSocket, index: number, clock: PauseClock) {
    this.#socket = socket;
    this.#index = index;
    this.#clock = clock;
  }

  get outstanding(): number {
    return this.requests - this.answered;
  }

  /** Keeps a window of requests outstanding until `stop` aborts, then waits for the last replies. */
  async run(stop: AbortSignal): Promise<void> {
    const meta = this.#buffers.map(() => new RecvMeta());
    await this.#send(WINDOW);
    try {
      while (!stop.aborted || this.outstanding > 0) {
        const count = await this.#socket.recvMany(this.#buffers, { meta });
        this.#clock.record();
        let fresh = 0;
        for (let i = 0; i < count; i++) {
          if (this.#check(this.#buffers[i] as Uint8Array, (meta[i] as RecvMeta).length)) fresh++;
        }
        if (!stop.aborted) await this.#send(Math.min(fresh, REQUESTS_MAX - this.requests));
      }
    } catch (error) {
      if (!isClosedError(error)) throw error;
    }
  }

  /** Counts the replies that have arrived since `run` ended: there should be none. */
  countRemaining(): void {
    const meta = [new RecvMeta()];
    const buffer = this.#buffers[0] as Uint8Array;
    while (this.#socket.tryRecvMany([buffer], { meta }) !== WouldBlock) {
      this.#check(buffer, (meta[0] as RecvMeta).length);
    }
  }

  close(): void {
    this.#socket.close();
  }

  async #send(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const words = new DataView((this.#payloads[i] as Uint8Array).buffer);
      words.setUint32(0, this.#index);
      words.setUint32(4, this.requests++);
    }
    await this.#socket.sendMany(this.#payloads, { count });
  }

  /** Counts a reply. Returns whether it is the first one to its request. */
  #check(reply: Uint8Array, length: number): boolean {
    const words = new DataView(reply.buffer);
    const number = words.getUint32(4);
    const isOwn = length === REQUEST_BYTES && words.getUint32(0) === this.#index;
    if (!isOwn || number >= this.requests) {
      this.wrong++;
      return false;
    }
    if (this.#replies[number] !== 0) {
      this.twice++;
      return false;
    }
    this.#replies[number] = 1;
    this.answered++;
    return true;
  }
}

/** Sends requests to `target` until `stop` aborts, and counts the replies. */
export async function runLoad(target: SocketAddress, stop: AbortSignal): Promise<LoadCounts> {
  const clock = new PauseClock();
  const clients: LoadClient[] = [];
  try {
    for (let index = 0; index < CLIENTS; index++) {
      clients.push(new LoadClient(await UdpSocket.connect(target), index, clock));
    }
    const runs = Promise.all(clients.map((client) => client.run(stop)));
    await Promise.race([runs, new Promise((resolve) => stop.addEventListener("abort", resolve))]);
    await Promise.race([runs.then(() => Bun.sleep(DUPLICATE_MS)), Bun.sleep(LAST_REPLY_MS)]);
    for (const client of clients) client.countRemaining();
  } finally {
    for (const client of clients) client.close();
  }
  const sum = (count: (client: LoadClient) => number) =>
    clients.reduce((total, client) => total + count(client), 0);
  return {
    requests: sum(({ requests }) => requests),
    answered: sum(({ answered }) => answered),
    lost: sum(({ outstanding }) => outstanding),
    twice: sum(({ twice }) => twice),
    wrong: sum(({ wrong }) => wrong),
    longestPauseMs: clock.longestMs,
  };
}
