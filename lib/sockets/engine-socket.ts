/** What `UdpSocket` and `UnixDatagram` have in common: the traits, over whichever engine. */

import { checkAddress, type SocketAddress } from "../address/address.ts";
import { checkRecvBatch, type RecvBatch } from "../batch/recv-batch.ts";
import { checkSendBatch, type SendBatch } from "../batch/send-batch.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import { checkPeer } from "../datagram/destination.ts";
import {
  checkInfo,
  checkPayload,
  checkTarget,
  DatagramInfo,
  type Payload,
  type Target,
} from "../datagram/info.ts";
import type { Backend, Engine } from "../engine/engine.ts";
import { closedError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { Pending, type Poll, type Waker } from "../traits/poll.ts";
import { PoolBufIo } from "../traits/pool-io.ts";
import { checkTargets, type RecvRange } from "../traits/recv.ts";
import { checkDatagrams, checkRange, type SendRange } from "../traits/send.ts";
import { DatagramSocket, type RawPoolBufDatagramIo } from "../traits/socket.ts";
import {
  type AsSocketStats,
  emptySocketStats,
  type QuicAuditStats,
  type SocketStats,
} from "../traits/stats.ts";

/**
 * Buffers that are checked at every receive. Most receives fill few of many, and a check of all
 * is a good part of what an idle socket's answer costs: engines check others before they use them.
 */
const CHECKED_AHEAD = 2;

/** A socket of the system. Disposable; `using` and `await using` close it. */
export abstract class EngineSocket extends DatagramSocket implements AsSocketStats {
  /** @internal */
  readonly _engine: Engine;
  readonly #isConnected: boolean;
  #isClosed = false;
  #bufIo: RawPoolBufDatagramIo | undefined;

  /** Single datagrams go through the batch path, in arrays that are made once. */
  readonly #oneTarget: Target[] = [];
  readonly #onePayload: Payload[] = [];
  readonly #oneInfo: DatagramInfo[] = [];
  readonly #ownInfo: DatagramInfo = new DatagramInfo();

  /** @internal */
  protected constructor(engine: Engine) {
    super();
    this._engine = engine;
    this.#isConnected = engine.peerAddr !== undefined;
  }

  /** Which engine drives it. */
  get backend(): Backend {
    return this._engine.backend;
  }

  /** Where it is bound; with the port the system chose, if it was asked for 0. */
  get localAddr(): SocketAddress {
    return this._engine.localAddr;
  }

  /** Where it is connected to. */
  override get peerAddr(): SocketAddress | undefined {
    return this._engine.peerAddr;
  }

  /** Whether it was closed, or its descriptor handed over. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What it counted since it was opened: a snapshot. */
  get counters(): SocketCounters {
    return { ...this._engine.counters };
  }

  /** The sizes of its buffers in the kernel, in bytes as the kernel counts them (socket(7)). */
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
    checkPayload("buf", buf);
    this.#onePayload[0] = buf;
    const result = this._engine.send(waker, this.#onePayload, 0, 1, to);
    return result === Pending ? Pending : buf.length;
  }

  override pollSendMany(
    waker: Waker | null,
    bufs: readonly Payload[],
    batch?: SendRange,
  ): Poll<number> {
    this._throwDeferredSendError();
    const { to, start, end } = checkRange(bufs, batch);
    // What does not go in one call is checked before any goes.
    if (end - start > BATCH_COUNT_MAX) checkDatagrams(bufs, { to, start, end });
    if (this.#isConnected && to !== undefined) {
      for (const address of Array.isArray(to) ? to.slice(start, end) : [to]) {
        checkPeer(this.peerAddr, address as SocketAddress);
      }
      return this._engine.send(waker, bufs, start, end, undefined);
    }
    return this._engine.send(waker, bufs, start, end, to);
  }

  override pollRecv(waker: Waker | null, buf: Target): Poll<number> {
    return this.pollRecvFrom(waker, buf, this.#ownInfo);
  }

  override pollRecvFrom(waker: Waker | null, buf: Target, info: DatagramInfo): Poll<number> {
    checkTarget("buf", buf);
    checkInfo("info", info);
    this.#oneTarget[0] = buf;
    this.#oneInfo[0] = info;
    const result = this._engine.receive(waker, this.#oneTarget, 0, 1, this.#oneInfo);
    return result === Pending ? Pending : info.length;
  }

  override pollRecvMany(
    waker: Waker | null,
    bufs: readonly Target[],
    batch?: RecvRange,
  ): Poll<number> {
    this._throwDeferredRecvError();
    const end = checkTargets(bufs, batch, CHECKED_AHEAD);
    return this._engine.receive(waker, bufs, batch?.start ?? 0, end, batch?.info);
  }

  override pollRecvBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    checkRecvBatch(batch);
    batch._clear();
    this._throwDeferredRecvError();
    return this._engine.receiveBatch(waker, batch);
  }

  override pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    checkSendBatch(batch);
    this._throwDeferredSendError();
    if (this.#isConnected) batch._checkAddresses((address) => checkPeer(this.peerAddr, address));
    if (this._engine.sendBatch !== undefined) return this._engine.sendBatch(waker, batch);
    if (this.#isClosed) throw closedError("send");
    batch._refuseMetadata("it needs the shim");
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

  /** Datagrams and bytes as `SocketStats` names them; the rest is a transport's to know. */
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

  /** Keeps the process alive while open: so from the start, until `unref`. */
  ref(): this {
    this._engine.ref();
    return this;
  }

  /** Lets the process end though this is open. */
  unref(): this {
    this._engine.unref();
    return this;
  }

  /** Datagram sockets have nothing to say at the end: done at once, nothing is closed. */
  pollShutdown(_waker: Waker): Poll<undefined> {
    return undefined;
  }

  /** Closes it. Whoever waits on it is rejected with `ERR_SOCKET_CLOSED`. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this._engine.close();
    // Somebody's own poll may have put its waker in the place of theirs.
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
