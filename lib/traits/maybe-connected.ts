/**
 * Code that always says where to, over a socket that may be connected: `sendTo` becomes `send`
 * when it is.
 */

import type { SocketAddress } from "../address/address.ts";
import { checkSendBatch, type SendBatch } from "../batch/send-batch.ts";
import { checkPeer, destination } from "../datagram/destination.ts";
import type { Payload } from "../datagram/info.ts";
import { AsDatagramSocketSend } from "./forward.ts";
import type { WaitOptions } from "./operations.ts";
import type { Poll, Waker, WouldBlock } from "./poll.ts";
import {
  checkBatch,
  type DatagramSocketSend,
  type SendManyOptions,
  type SendRange,
} from "./send.ts";

/**
 * A send half that takes destinations whether its socket is connected or not.
 *
 * It asks for the peer once, when it is made. From then on a destination other than that peer is
 * an error, always (a connected socket would send to its peer whatever it is told).
 */
export class MaybeConnectedSocket<
  T extends DatagramSocketSend = DatagramSocketSend,
> extends AsDatagramSocketSend {
  readonly #inner: T;
  readonly #peer: SocketAddress | undefined;

  constructor(inner: T) {
    super();
    this.#inner = inner;
    this.#peer = inner.peerAddr;
  }

  /** The wrapped socket. */
  get inner(): T {
    return this.#inner;
  }

  /** The wrapped socket, to go on without the wrapper. */
  intoInner(): T {
    return this.#inner;
  }

  override asDatagramSocketSend(): DatagramSocketSend {
    return this.#inner;
  }

  /** The peer the socket had when it was wrapped. */
  override get peerAddr(): SocketAddress | undefined {
    return this.#peer;
  }

  /** @throws SocketError with code `EISCONN` when the socket has another peer. */
  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    if (this.#peer === undefined) return this.#inner.pollSendTo(waker, buf, address);
    checkPeer(this.#peer, address);
    return this.#inner.pollSend(waker, buf);
  }

  /** @throws SocketError with code `EISCONN` when the socket has another peer; none is sent then. */
  override pollSendMany(
    waker: Waker | null,
    bufs: readonly Payload[],
    batch?: SendRange,
  ): Poll<number> {
    return this.#inner.pollSendMany(waker, bufs, this.#checked(bufs, batch));
  }

  /** @throws SocketError with code `EISCONN` when the socket has another peer; none is sent then. */
  override async sendMany(bufs: readonly Payload[], options?: SendManyOptions): Promise<number> {
    return this.#inner.sendMany(bufs, this.#checked(bufs, options));
  }

  /** @throws SocketError with code `EISCONN` when the socket has another peer; none is sent then. */
  override trySendMany(bufs: readonly Payload[], batch?: SendRange): number | WouldBlock {
    return this.#inner.trySendMany(bufs, this.#checked(bufs, batch));
  }

  /**
   * Sends what waits in `batch` as any socket does. Where there is a peer, all destinations are
   * it, and the batch forgets them: its datagrams go to the peer from then on.
   *
   * @throws SocketError with code `EISCONN` when the socket has another peer; none is sent then.
   */
  override pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    return this.#inner.pollSendBatch(waker, this.#forPeer(batch));
  }

  /** Sends all that waits in `batch`, to where `pollSendBatch` does. */
  override async sendBatch(batch: SendBatch, options?: WaitOptions): Promise<number> {
    return this.#inner.sendBatch(this.#forPeer(batch), options);
  }

  /** Sends what goes now of `batch`, to where `pollSendBatch` does, or answers `WouldBlock`. */
  override trySendBatch(batch: SendBatch): number | WouldBlock {
    return this.#inner.trySendBatch(this.#forPeer(batch));
  }

  #forPeer(batch: SendBatch): SendBatch {
    checkSendBatch(batch);
    const peer = this.#peer;
    if (peer !== undefined) {
      batch._checkAddresses((address) => checkPeer(peer, address));
      batch._forgetAddresses();
    }
    return batch;
  }

  /** The batch without the destinations, when all of them are the peer. */
  #checked<B extends SendRange>(bufs: readonly Payload[], batch: B | undefined): B | undefined {
    if (this.#peer === undefined || batch?.to === undefined) return batch;
    const { to, start, end } = checkBatch(bufs, batch);
    for (let i = start; i < end; i++) checkPeer(this.#peer, destination(to, i) as SocketAddress);
    return { ...batch, to: undefined };
  }

  /** @throws SocketError with code `EISCONN` when the socket has another peer. */
  override async sendTo(
    buf: Payload,
    address: SocketAddress,
    options?: WaitOptions,
  ): Promise<number> {
    if (this.#peer === undefined) return this.#inner.sendTo(buf, address, options);
    checkPeer(this.#peer, address);
    return this.#inner.send(buf, options);
  }

  /** @throws SocketError with code `EISCONN` when the socket has another peer. */
  override trySendTo(buf: Payload, address: SocketAddress): number | WouldBlock {
    if (this.#peer === undefined) return this.#inner.trySendTo(buf, address);
    checkPeer(this.#peer, address);
    return this.#inner.trySend(buf);
  }
}
