/** The UDP side of tunnels: batches to and from a socket. */

import {
  isClosedError,
  Pending,
  RecvBatch,
  SendBatch,
  type SocketAddress,
  SocketError,
  type UdpSocket,
} from "../../lib/index.ts";
import type { Counters } from "./counters.ts";

const SEND_BATCH_DATAGRAMS = 64;
/** The consecutive errors of a receive after which it pauses. */
const RECEIVE_ERRORS_MAX = 16;
const RECEIVE_PAUSE_MS = 10;

/** SOL_SOCKET and SO_RCVBUF of Linux, socket(7). */
const [SOL_SOCKET, SO_RCVBUF] = [1, 8];
/** A hundred peers that send at the same time overflow a buffer of the default size. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024;

/** Requests a larger receive buffer, up to the limit of the system. The portable backend has none. */
export function enlargeReceiveBuffer(socket: UdpSocket): void {
  if (socket.backend === "native") socket.setOption(SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
}

/** Collects the datagrams of a tick of the event loop, and sends them with one system call. */
export class UdpSender {
  readonly #socket: UdpSocket;
  readonly #counters: Counters;
  readonly #batch: SendBatch = new SendBatch({ datagrams: SEND_BATCH_DATAGRAMS, prefixBytes: 0 });
  #flush: ReturnType<typeof setImmediate> | undefined;

  constructor(socket: UdpSocket, counters: Counters) {
    this.#socket = socket;
    this.#counters = counters;
  }

  /** Queues a datagram. Its bytes are borrowed until it is sent, in the next tick at the latest. */
  push(bytes: Uint8Array, offset: number, length: number, to?: SocketAddress): void {
    if (this.#batch.isFull) this.flush();
    this.#batch.pushSlice(bytes, offset, length, to);
    const { toUdp } = this.#counters;
    toUdp.datagrams++;
    toUdp.bytes += length;
    // `node:quic` calls back for each DATAGRAM, with microtasks in between.
    this.#flush ??= setImmediate(() => {
      this.#flush = undefined;
      this.flush();
    });
  }

  /** Sends the queued datagrams. Drops those that the send buffer has no room for. */
  flush(): void {
    const batch = this.#batch;
    while (batch.length > 0) {
      try {
        if (this.#socket.pollSendBatch(null, batch) !== Pending) continue;
        this.#counters.drops.blocked += batch.length;
      } catch (error) {
        if (!isClosedError(error)) throw error;
        this.#counters.drops.closed += batch.length;
      }
      batch.clear();
    }
  }

  /** Sends what is queued, and stops. */
  close(): void {
    this.flush();
    clearImmediate(this.#flush);
    this.#flush = undefined;
  }
}

/** Shared by all sockets: the datagrams are copied before the next receive. */
const received = new RecvBatch();

/**
 * Receives from a socket until it is closed, and calls `onBatch` for each batch, which is valid until
 * the call returns.
 */
export function receiveBatches(
  socket: UdpSocket,
  counters: Counters,
  onBatch: (batch: RecvBatch) => void,
): void {
  const receive = () => {
    for (let errors = 0; errors < RECEIVE_ERRORS_MAX; ) {
      try {
        if (socket.pollRecvBatch(receive, received) === Pending) return;
      } catch (error) {
        if (isClosedError(error)) return;
        if (!(error instanceof SocketError)) throw error;
        counters.transportErrors++;
        errors++;
        continue;
      }
      errors = 0;
      onBatch(received);
    }
    setTimeout(receive, RECEIVE_PAUSE_MS);
  };
  receive();
}
