/** Passes the DATAGRAM frames of a connection to its tunnels. */

import { HttpDatagramHeader } from "../../lib/masque/index.ts";
import type { Counters } from "./counters.ts";
import { endSession, PENDING_DATAGRAMS_MAX, STREAM_ERROR } from "./http3.ts";
import type { QuicSession } from "./node-quic.ts";

/** Datagrams that are kept until the request of their stream arrives: UDP may reorder packets. */
const EARLY_DATAGRAMS_MAX = 64;
const EARLY_MS_MAX = 1000;

/** The receiver of the datagrams of a stream. */
export interface DatagramReceiver {
  /** The payload starts at `payloadOffset`. The bytes are not reused. */
  receive(bytes: Uint8Array, contextId: number | bigint, payloadOffset: number): void;
  /** The datagram violates the protocol: the stream is to be aborted with this code. */
  abort(code: bigint): void;
}

interface EarlyDatagram {
  readonly streamId: number | bigint;
  readonly contextId: number | bigint;
  readonly payloadOffset: number;
  readonly bytes: Uint8Array;
}

/** The tunnels of a connection by their stream. */
export class DatagramRouter {
  readonly #session: QuicSession;
  readonly #counters: Counters;
  readonly #receivers = new Map<number | bigint, DatagramReceiver>();
  readonly #header = new HttpDatagramHeader();
  /** The largest stream ID that has been used: datagrams of smaller ones are not early. */
  #latest = -1n;
  #early: EarlyDatagram[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(session: QuicSession, counters: Counters) {
    this.#session = session;
    this.#counters = counters;
    session.maxPendingDatagrams = PENDING_DATAGRAMS_MAX;
    session.ondatagram = (bytes) => this.#receive(bytes);
    session.ondatagramstatus = (_, status) => {
      if (status === "abandoned") counters.drops.queueFull++;
      else if (status === "lost") counters.lost++;
    };
  }

  /** The number of streams with a receiver. */
  get size(): number {
    return this.#receivers.size;
  }

  /** Adds the receiver of a stream, and passes on the datagrams that have arrived before. */
  add(streamId: bigint, receiver: DatagramReceiver): void {
    this.#receivers.set(toKey(streamId), receiver);
    this.markUsed(streamId);
  }

  /** Removes the receiver of a stream. */
  remove(streamId: bigint): void {
    this.#receivers.delete(toKey(streamId));
  }

  /** Records that the request of a stream has arrived, whether it became a tunnel or not. */
  markUsed(streamId: bigint): void {
    if (streamId > this.#latest) this.#latest = streamId;
    const early = this.#early;
    if (early.length === 0) return;
    this.#early = early.filter((one) => one.streamId > this.#latest);
    for (const one of early) if (one.streamId <= this.#latest) this.#deliver(one);
  }

  /** Drops the datagrams that are kept. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dropEarly();
    this.#receivers.clear();
  }

  #receive(bytes: Uint8Array): void {
    const header = this.#header;
    const fault = header.parse(bytes);
    if (fault === "stream ID") {
      this.#counters.drops.malformed++;
      // A connection error (RFC 9297, section 2.1).
      endSession(this.#session, STREAM_ERROR.datagram);
      return;
    }
    if (fault !== undefined) {
      this.#counters.drops.malformed++;
      this.#receivers.get(header.streamId)?.abort(STREAM_ERROR.datagram);
      return;
    }
    const { streamId, contextId, payloadOffset } = header;
    const receiver = this.#receivers.get(streamId);
    if (receiver !== undefined) receiver.receive(bytes, contextId, payloadOffset);
    else this.#keep({ streamId, contextId, payloadOffset, bytes });
  }

  #keep(datagram: EarlyDatagram): void {
    if (datagram.streamId <= this.#latest || this.#early.length >= EARLY_DATAGRAMS_MAX) {
      this.#counters.drops.unknownStream++;
      return;
    }
    this.#early.push(datagram);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#dropEarly();
    }, EARLY_MS_MAX);
  }

  #deliver({ streamId, contextId, payloadOffset, bytes }: EarlyDatagram): void {
    const receiver = this.#receivers.get(streamId);
    if (receiver === undefined) this.#counters.drops.unknownStream++;
    else receiver.receive(bytes, contextId, payloadOffset);
  }

  #dropEarly(): void {
    this.#counters.drops.unknownStream += this.#early.length;
    this.#early = [];
  }
}

/** Returns the key of a stream as `HttpDatagramHeader` has it. */
function toKey(streamId: bigint): number | bigint {
  return streamId <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(streamId) : streamId;
}
