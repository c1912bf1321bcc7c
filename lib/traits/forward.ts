/**
 * Wrappers: a subclass names its inner socket and inherits the whole interface. Promises are queued
 * by the inner socket, so callers of both are served in one order.
 */

import type { SocketAddress } from "../address/socket-address.ts";
import type { RecvBatch } from "../batch/recv-batch.ts";
import type { SendBatch } from "../batch/send-batch.ts";
import type { Destination } from "../datagram/destination.ts";
import type { Payload, Sendable, Target } from "../datagram/payload.ts";
import type { RecvRange, SendRange } from "../datagram/ranges.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import type { UdpSocketHandle } from "../datagram/udp-interface.ts";
import type { WaitOptions } from "../poll/operation-queue.ts";
import { type Poll, startPromise, type Waker, type WouldBlock } from "../poll/poll.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { DatagramSocketRecv, type RecvManyOptions } from "./recv.ts";
import { DatagramSocketSend, type SendManyOptions } from "./send.ts";

/** A send half that forwards every call to another one. */
export abstract class AsDatagramSocketSend extends DatagramSocketSend {
  /** Returns the inner socket. Must return the same one while a caller waits on it. */
  abstract asDatagramSocketSend(): DatagramSocketSend;

  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    return this.asDatagramSocketSend().pollSend(waker, buf);
  }

  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    return this.asDatagramSocketSend().pollSendTo(waker, buf, address);
  }

  override pollSendMany(
    waker: Waker | null,
    bufs: readonly Sendable[],
    batch?: SendRange,
  ): Poll<number> {
    return this.asDatagramSocketSend().pollSendMany(waker, bufs, batch);
  }

  override pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    return this.asDatagramSocketSend().pollSendBatch(waker, batch);
  }

  override asUdpSocket(): UdpSocketHandle | undefined {
    return this.asDatagramSocketSend().asUdpSocket();
  }

  override get peerAddr(): SocketAddress | undefined {
    return this.asDatagramSocketSend().peerAddr;
  }

  override send(buf: Sendable, options?: WaitOptions): Promise<number> {
    return startPromise(() => this.asDatagramSocketSend().send(buf, options));
  }

  override sendTo(buf: Sendable, address: Destination, options?: WaitOptions): Promise<number> {
    return startPromise(() => this.asDatagramSocketSend().sendTo(buf, address, options));
  }

  override sendMany(bufs: readonly Sendable[], options?: SendManyOptions): Promise<number> {
    return startPromise(() => this.asDatagramSocketSend().sendMany(bufs, options));
  }

  override sendBatch(batch: SendBatch, options?: WaitOptions): Promise<number> {
    return startPromise(() => this.asDatagramSocketSend().sendBatch(batch, options));
  }

  override trySend(buf: Sendable): number | WouldBlock {
    return this.asDatagramSocketSend().trySend(buf);
  }

  override trySendTo(buf: Sendable, address: Destination): number | WouldBlock {
    return this.asDatagramSocketSend().trySendTo(buf, address);
  }

  override trySendMany(bufs: readonly Sendable[], batch?: SendRange): number | WouldBlock {
    return this.asDatagramSocketSend().trySendMany(bufs, batch);
  }

  override trySendBatch(batch: SendBatch): number | WouldBlock {
    return this.asDatagramSocketSend().trySendBatch(batch);
  }
}

if (isShared("AsDatagramSocketSend", AsDatagramSocketSend)) {
  // @ts-expect-error See `isShared`.
  AsDatagramSocketSend = sharedClass("AsDatagramSocketSend");
}

/** A receive half that forwards every call to another one. */
export abstract class AsDatagramSocketRecv extends DatagramSocketRecv {
  /** Returns the inner socket. Must return the same one while a caller waits on it. */
  abstract asDatagramSocketRecv(): DatagramSocketRecv;

  /** Returns the same socket, for code that does not modify it. */
  asSharedDatagramSocketRecv(): DatagramSocketRecv {
    return this.asDatagramSocketRecv();
  }

  override pollRecv(waker: Waker | null, buf: Target): Poll<number> {
    return this.asDatagramSocketRecv().pollRecv(waker, buf);
  }

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    return this.asDatagramSocketRecv().pollRecvFrom(waker, buf, meta);
  }

  override pollRecvMany(
    waker: Waker | null,
    bufs: readonly Target[],
    batch?: RecvRange,
  ): Poll<number> {
    return this.asDatagramSocketRecv().pollRecvMany(waker, bufs, batch);
  }

  override pollRecvBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    return this.asDatagramSocketRecv().pollRecvBatch(waker, batch);
  }

  override asUdpSocket(): UdpSocketHandle | undefined {
    return this.asSharedDatagramSocketRecv().asUdpSocket();
  }

  override recv(buf: Target, options?: WaitOptions): Promise<number> {
    return startPromise(() => this.asDatagramSocketRecv().recv(buf, options));
  }

  override recvFrom(buf: Target, options?: WaitOptions): Promise<RecvMeta> {
    return startPromise(() => this.asDatagramSocketRecv().recvFrom(buf, options));
  }

  override recvMany(bufs: readonly Target[], options?: RecvManyOptions): Promise<number> {
    return startPromise(() => this.asDatagramSocketRecv().recvMany(bufs, options));
  }

  override recvBatch(batch: RecvBatch, options?: WaitOptions): Promise<number> {
    return startPromise(() => this.asDatagramSocketRecv().recvBatch(batch, options));
  }

  override tryRecv(buf: Target): number | WouldBlock {
    return this.asDatagramSocketRecv().tryRecv(buf);
  }

  override tryRecvMany(bufs: readonly Target[], batch?: RecvRange): number | WouldBlock {
    return this.asDatagramSocketRecv().tryRecvMany(bufs, batch);
  }

  override tryRecvBatch(batch: RecvBatch): number | WouldBlock {
    return this.asDatagramSocketRecv().tryRecvBatch(batch);
  }
}

if (isShared("AsDatagramSocketRecv", AsDatagramSocketRecv)) {
  // @ts-expect-error See `isShared`.
  AsDatagramSocketRecv = sharedClass("AsDatagramSocketRecv");
}
