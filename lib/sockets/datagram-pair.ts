/** Two sockets of one process that are connected without the kernel, for tests and pipes. */

import {
  checkPayload,
  checkTarget,
  type Payload,
  payloadBytes,
  storeDatagram,
  type Target,
} from "../datagram/payload.ts";
import { checkRecvMeta, type RecvMeta } from "../datagram/recv-meta.ts";
import { callWaker, checkWaker, Pending, type Poll, type Waker } from "../poll/poll.ts";
import { checkInteger, inspectAs, showState } from "../support/check.ts";
import { closedError, SocketError } from "../support/errors.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { sharedClass } from "../support/thread-state.ts";
import { DatagramSocket } from "../traits/socket.ts";

/** The default length of the queue of an end. */
const QUEUE_DATAGRAMS = 256;

/** Options of `DatagramPair.create`. */
export interface DatagramPairOptions {
  /** The maximum number of datagrams queued at an end, 1..2^31-1. Sends then wait. Default 256. */
  readonly queueDatagrams?: number | undefined;
}

const PAIR_OPTIONS = optionKinds<DatagramPairOptions>({ queueDatagrams: "any" });

/**
 * One end of an in-process pair. No datagram is lost: while the queue of an end is full, sends to it
 * wait. Implements only the two base methods, so it is also an example of a user-defined socket.
 *
 * @example
 * ```ts
 * const [a, b] = DatagramPair.create();
 * await a.send(new Uint8Array([1, 2, 3]));
 * await b.recv(new Uint8Array(100)); // 3
 * ```
 */
export class DatagramPair extends DatagramSocket {
  static {
    inspectAs(DatagramPair.prototype, (end) => showState("DatagramPair", end.toJSON()));
  }

  readonly #queueMax: number;
  readonly #arrived: Uint8Array[] = [];
  #peer: DatagramPair | undefined;
  #readWaker: Waker | null = null;
  /** The waker of the peer, which waits for room at this end. */
  #roomWaker: Waker | null = null;
  #isClosed = false;

  private constructor(queueMax: number) {
    super();
    this.#queueMax = queueMax;
  }

  /** Creates both ends. */
  static create(options: DatagramPairOptions = {}): [DatagramPair, DatagramPair] {
    checkOptions("options", options, PAIR_OPTIONS);
    const { queueDatagrams = QUEUE_DATAGRAMS } = options;
    checkInteger("queueDatagrams", queueDatagrams, 1, 2 ** 31 - 1);
    const left = new DatagramPair(queueDatagrams);
    const right = new DatagramPair(queueDatagrams);
    left.#peer = right;
    right.#peer = left;
    return [left, right];
  }

  /** Returns what `JSON.stringify` prints: the number of datagrams to receive, never their bytes. */
  toJSON(): { queuedDatagrams: number; isClosed: boolean } {
    return { queuedDatagrams: this.#arrived.length, isClosed: this.#isClosed };
  }

  /** @throws SocketError with code `ECONNREFUSED` if the other end is closed. */
  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    checkWaker(waker);
    checkPayload("buf", buf);
    const peer = this.#peer;
    if (this.#isClosed || peer === undefined) throw closedError("send");
    if (peer.#isClosed) {
      throw new SocketError({
        errno: 0,
        code: "ECONNREFUSED",
        syscall: "send",
        detail: "the other end is closed",
      });
    }
    if (peer.#arrived.length >= peer.#queueMax) {
      if (waker !== null) peer.#roomWaker = waker;
      return Pending;
    }
    // Copies the bytes; `slice` of a `Buffer` would not.
    const datagram = new Uint8Array(payloadBytes(buf));
    peer.#arrived.push(datagram);
    const reader = peer.#readWaker;
    peer.#readWaker = null;
    if (reader !== null) callWaker(reader);
    // Not `buf.length`: the reader that was woken may have changed `buf`.
    return datagram.length;
  }

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    checkWaker(waker);
    checkTarget("buf", buf);
    checkRecvMeta("meta", meta);
    if (this.#isClosed) throw closedError("recv");
    const datagram = this.#arrived.shift();
    if (datagram === undefined) {
      if (waker !== null) this.#readWaker = waker;
      return Pending;
    }
    const length = storeDatagram(buf, datagram);
    meta._set(length, datagram.length, undefined);
    const sender = this.#roomWaker;
    this.#roomWaker = null;
    if (sender !== null) callWaker(sender);
    return length;
  }

  /** Closes this end. Callers that wait on it, or to send to it, get an error. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#arrived.length = 0;
    const peer = this.#peer;
    const wakers = [this.#readWaker, this.#roomWaker, peer === undefined ? null : peer.#roomWaker];
    this.#readWaker = this.#roomWaker = null;
    if (peer !== undefined) peer.#roomWaker = null;
    for (const waker of wakers) if (waker !== null) callWaker(waker);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

// @ts-expect-error See `sharedClass`.
DatagramPair = sharedClass("DatagramPair", DatagramPair);
