/** The common base of `UdpSocket` and `UnixDatagram`: the traits on top of an engine. */

import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { checkRecvBatch, type RecvBatch } from "../batch/recv-batch.ts";
import { checkSendBatch, type SendBatch } from "../batch/send-batch.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import { checkPeer } from "../datagram/destination.ts";
import { checkBufferType, type Payload, type Target } from "../datagram/payload.ts";
import {
  checkRecvRange,
  checkSendRange,
  type RecvRange,
  type SendRange,
} from "../datagram/ranges.ts";
import { checkRecvMetaType, RecvMeta } from "../datagram/recv-meta.ts";
import type { Backend, Engine } from "../engine/engine.ts";
import { Pending, type Poll, type Waker } from "../poll/poll.ts";
import { closedError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { PoolBufIo } from "../traits/pool-io.ts";
import { DatagramSocket, type RawPoolBufDatagramIo } from "../traits/socket.ts";
import {
  type AsSocketStats,
  emptySocketStats,
  type QuicAuditStats,
  type SocketStats,
} from "../traits/stats.ts";

/** A socket of the operating system. `using` and `await using` close it. */
export abstract class EngineSocket extends DatagramSocket implements AsSocketStats {
  /** @internal */
  readonly _engine: Engine;
  readonly #isConnected: boolean;
  #isClosed = false;
  #bufIo: RawPoolBufDatagramIo | undefined;

  /** Single datagrams are passed to the engine in arrays that are allocated once. */
  readonly #oneTarget: Target[] = [];
  readonly #onePayload: Payload[] = [];
  readonly #oneMeta: RecvMeta[] = [];
  readonly #ownMeta: RecvMeta = new RecvMeta();

  /** @internal */
  protected constructor(engine: Engine) {
    super();
    this._engine = engine;
    this.#isConnected = engine.peerAddr !== undefined;
  }

  /** The engine that drives the socket. */
  get backend(): Backend {
    return this._engine.backend;
  }

  /** The address that the socket is bound to, with the port that the system chose for port 0. */
  get localAddr(): SocketAddress {
    return this._engine.localAddr;
  }

  /** The connected peer; absent if there is none. */
  override get peerAddr(): SocketAddress | undefined {
    return this._engine.peerAddr;
  }

  /** Whether the socket was closed, or its descriptor transferred by `intoFd`. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** A copy of the counters, which start at 0 when the socket is opened. */
  get counters(): SocketCounters {
    return { ...this._engine.counters };
  }

  /** A copy of `counters.sendDrops` by error code, such as `{ EPERM: 2, EMSGSIZE: 1 }`. */
  get sendDropsByCode(): Record<string, number> {
    return { ...this._engine.sendDropsByCode };
  }

  /** The sizes of the kernel's buffers in bytes, as the kernel reports them (socket(7)). */
  get bufferBytes(): { receive: number; send: number } {
    return this._engine.controls.bufferBytes;
  }

  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    return this.#sendOne(waker, buf, undefined);
  }

  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    if (this.#isConnected) checkPeer(this.peerAddr, address);
    else checkAddress("address", address);
    return this.#sendOne(waker, buf, this.#isConnected ? undefined : address);
  }

  #sendOne(waker: Waker | null, buf: Payload, to: SocketAddress | undefined): Poll<number> {
    checkBufferType("buf", buf);
    this.#onePayload[0] = buf;
    const result = this._engine.send(waker, this.#onePayload, 0, 1, to);
    return result === Pending ? Pending : buf.length;
  }

  override pollSendMany(
    waker: Waker | null,
    bufs: readonly Payload[],
    range?: SendRange,
  ): Poll<number> {
    const { to, start, end } = checkSendRange(bufs, range);
    if (this.#isConnected && to !== undefined) {
      // The engine sends no more with one call.
      const checkedEnd = Math.min(end, start + BATCH_COUNT_MAX);
      for (const address of Array.isArray(to) ? to.slice(start, checkedEnd) : [to]) {
        checkPeer(this.peerAddr, address as SocketAddress);
      }
      return this._engine.send(waker, bufs, start, end, undefined);
    }
    return this._engine.send(waker, bufs, start, end, to);
  }

  override pollRecv(waker: Waker | null, buf: Target): Poll<number> {
    return this.pollRecvFrom(waker, buf, this.#ownMeta);
  }

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    checkBufferType("buf", buf);
    checkRecvMetaType("meta", meta);
    this.#oneTarget[0] = buf;
    this.#oneMeta[0] = meta;
    const result = this._engine.receive(waker, this.#oneTarget, 0, 1, this.#oneMeta);
    return result === Pending ? Pending : meta.length;
  }

  override pollRecvMany(
    waker: Waker | null,
    bufs: readonly Target[],
    range?: RecvRange,
  ): Poll<number> {
    this._recvError?.throwIfSet();
    const { meta, start, end } = checkRecvRange(bufs, range);
    return this._engine.receive(waker, bufs, start, end, meta);
  }

  override pollRecvBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    checkRecvBatch(batch);
    batch._clear();
    this._recvError?.throwIfSet();
    return this._engine.receiveBatch(waker, batch);
  }

  override pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    checkSendBatch(batch);
    if (this.#isConnected) batch._checkAddresses((address) => checkPeer(this.peerAddr, address));
    if (this._engine.sendBatch !== undefined) return this._engine.sendBatch(waker, batch);
    if (this.#isClosed) throw closedError("send");
    batch._refuseMetadata("requires the native backend");
    return super.pollSendBatch(waker, batch);
  }

  override asRawIo(): number | undefined {
    return this._engine.fd;
  }

  override intoFd(): number | undefined {
    const fd = this._engine.release();
    if (fd !== undefined) this.#isClosed = true;
    return fd;
  }

  override asBufIo(): RawPoolBufDatagramIo | undefined {
    this.#bufIo ??= new PoolBufIo(this);
    return this.#bufIo;
  }

  /** Returns the counts of datagrams and bytes. The other fields are for transport protocols. */
  asSocketStats(): SocketStats {
    const { datagramsSent, datagramsReceived, bytesSent, bytesReceived } = this._engine.counters;
    return {
      ...emptySocketStats(),
      packetsSent: datagramsSent,
      packetsRecvd: datagramsReceived,
      bytesSent,
      bytesRecvd: bytesReceived,
    };
  }

  asQuicStats(): QuicAuditStats | undefined {
    return undefined;
  }

  /** Keeps the process alive while the socket is open, which is the default. */
  ref(): this {
    this._engine.ref();
    return this;
  }

  /** Allows the process to exit while the socket is open. */
  unref(): this {
    this._engine.unref();
    return this;
  }

  /** Completes at once, and closes nothing: UDP and Unix datagrams have no shutdown exchange. */
  pollShutdown(_waker: Waker): Poll<undefined> {
    return undefined;
  }

  /** Closes the socket. Pending promises reject with code `ERR_SOCKET_CLOSED`. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this._engine.close();
    // The caller's own poll may have replaced the wakers of the queues.
    this._recvQueue?.wake();
    this._sendQueue?.wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
