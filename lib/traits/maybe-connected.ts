/** Sends with destinations on sockets that may be connected: `sendTo` then becomes `send`. */

import type { SocketAddress } from "../address/socket-address.ts";
import { checkSendBatch, type SendBatch } from "../batch/send-batch.ts";
import { checkPeer, type Destination, destinationAt } from "../datagram/destination.ts";
import type { Payload, Sendable } from "../datagram/payload.ts";
import { checkSend, type SendRange } from "../datagram/ranges.ts";
import type { WaitOptions } from "../poll/operation-queue.ts";
import type { Poll, Waker, WouldBlock } from "../poll/poll.ts";
import { classNameFor, inspectAs, showState, typeError } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { AsDatagramSocketSend } from "./forward.ts";
import type { DatagramSocketSend, SendManyOptions } from "./send.ts";

/**
 * A send half that accepts destinations whether its socket is connected or not.
 *
 * The constructor reads the peer address once. After that, a destination other than this peer is
 * always an error: a connected socket would ignore it and send to its peer.
 */
export class MaybeConnectedSocket<
  T extends DatagramSocketSend = DatagramSocketSend,
> extends AsDatagramSocketSend {
  static {
    inspectAs(MaybeConnectedSocket.prototype, ({ peerAddr, inner }) =>
      showState("MaybeConnectedSocket", {
        peer: peerAddr ?? "none",
        inner: `a ${classNameFor(inner)}`,
      }),
    );
  }

  readonly #inner: T;
  readonly #peer: SocketAddress | undefined;

  /** @throws TypeError if `inner` has no method `pollSend`. */
  constructor(inner: T) {
    super();
    if (typeof inner?.pollSend !== "function") {
      throw typeError("inner", "DatagramSocketSend", inner);
    }
    this.#inner = inner;
    this.#peer = inner.peerAddr;
  }

  /** Returns what `JSON.stringify` prints: the peer as text, and the wrapped socket. */
  toJSON(): { peerAddr?: string; inner: T } {
    const peer = this.#peer === undefined ? {} : { peerAddr: this.#peer.toString() };
    return { ...peer, inner: this.#inner };
  }

  /** The wrapped socket. */
  get inner(): T {
    return this.#inner;
  }

  /** Returns the wrapped socket, to continue without the wrapper. */
  intoInner(): T {
    return this.#inner;
  }

  override asDatagramSocketSend(): DatagramSocketSend {
    return this.#inner;
  }

  /** The peer that the socket had when it was wrapped. */
  override get peerAddr(): SocketAddress | undefined {
    return this.#peer;
  }

  /** @throws SocketError with code `EISCONN` for another peer. */
  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    if (this.#peer === undefined) return this.#inner.pollSendTo(waker, buf, address);
    checkPeer(this.#peer, address);
    return this.#inner.pollSend(waker, buf);
  }

  /** @throws SocketError with code `EISCONN` for another peer, before any datagram is sent. */
  override pollSendMany(
    waker: Waker | null,
    bufs: readonly Sendable[],
    batch?: SendRange,
  ): Poll<number> {
    return this.#inner.pollSendMany(waker, bufs, this.#checked(bufs, batch));
  }

  /** @throws SocketError with code `EISCONN` for another peer, before any datagram is sent. */
  override async sendMany(bufs: readonly Sendable[], options?: SendManyOptions): Promise<number> {
    return this.#inner.sendMany(bufs, this.#checked(bufs, options));
  }

  /** @throws SocketError with code `EISCONN` for another peer, before any datagram is sent. */
  override trySendMany(bufs: readonly Sendable[], batch?: SendRange): number | WouldBlock {
    return this.#inner.trySendMany(bufs, this.#checked(bufs, batch));
  }

  /**
   * Sends as `DatagramSocketSend.pollSendBatch`. If there is a peer, removes the destinations of the
   * batch, which all must be this peer.
   *
   * @throws SocketError with code `EISCONN` for another peer, before any datagram is sent.
   */
  override pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    return this.#inner.pollSendBatch(waker, this.#forPeer(batch));
  }

  /** Sends all datagrams of `batch`, with the checks of `pollSendBatch`. */
  override async sendBatch(batch: SendBatch, options?: WaitOptions): Promise<number> {
    return this.#inner.sendBatch(this.#forPeer(batch), options);
  }

  /** Sends as `trySendBatch` does, with the checks of `pollSendBatch`. */
  override trySendBatch(batch: SendBatch): number | WouldBlock {
    return this.#inner.trySendBatch(this.#forPeer(batch));
  }

  #forPeer(batch: SendBatch): SendBatch {
    checkSendBatch(batch);
    const peer = this.#peer;
    if (peer !== undefined) {
      batch._checkAddresses((address) => checkPeer(peer, address));
      batch._clearAddresses();
    }
    return batch;
  }

  /** Returns the range without its destinations, which all must be the peer. */
  #checked<B extends SendRange>(bufs: readonly Sendable[], batch: B | undefined): B | undefined {
    if (this.#peer === undefined || batch?.to === undefined) return batch;
    const { to, start, end } = checkSend(bufs, batch);
    for (let i = start; i < end; i++) checkPeer(this.#peer, destinationAt(to, i) as SocketAddress);
    return { ...batch, to: undefined };
  }

  /** @throws SocketError with code `EISCONN` for another peer. */
  override async sendTo(
    buf: Sendable,
    address: Destination,
    options?: WaitOptions,
  ): Promise<number> {
    if (this.#peer === undefined) return this.#inner.sendTo(buf, address, options);
    checkPeer(this.#peer, address);
    return this.#inner.send(buf, options);
  }

  /** @throws SocketError with code `EISCONN` for another peer. */
  override trySendTo(buf: Sendable, address: Destination): number | WouldBlock {
    if (this.#peer === undefined) return this.#inner.trySendTo(buf, address);
    checkPeer(this.#peer, address);
    return this.#inner.trySend(buf);
  }
}

if (isShared("MaybeConnectedSocket", MaybeConnectedSocket)) {
  // @ts-expect-error See `isShared`.
  MaybeConnectedSocket = sharedClass("MaybeConnectedSocket");
}
