/** The common base of `UdpSocket` and `UnixDatagram`: the traits on top of an engine. */

import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { checkRecvBatch, type RecvBatch } from "../batch/recv-batch.ts";
import { checkSendBatch, type SendBatch } from "../batch/send-batch.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import { checkPeer } from "../datagram/destination.ts";
import { checkBufferType, type Payload, type Sendable, type Target } from "../datagram/payload.ts";
import {
  checkRecvRange,
  checkSendRange,
  type RecvRange,
  type SendRange,
} from "../datagram/ranges.ts";
import { checkRecvMetaType, RecvMeta } from "../datagram/recv-meta.ts";
import type { Backend, Engine } from "../engine/engine.ts";
import { checkOptionName, checkOptionValue, OPTION_BYTES_MAX } from "../linux/option-arguments.ts";
import { checkWaker, Pending, type Poll, startPromise, type Waker } from "../poll/poll.ts";
import { SharedWaker } from "../poll/shared-waker.ts";
import { checkInteger, classNameFor, constructorError, inspectAs } from "../support/check.ts";
import { closedError, SocketError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { PoolBufIo } from "../traits/pool-io.ts";
import type { SendManyOptions } from "../traits/send.ts";
import { DatagramSocket, type RawPoolBufDatagramIo } from "../traits/socket.ts";

import {
  type AsSocketStats,
  emptySocketStats,
  type QuicAuditStats,
  type SocketStats,
} from "../traits/stats.ts";
import { GroupedSend } from "./grouped-send.ts";

/**
 * The metadata of single receives without any of the caller's. One for all sockets: no code of the
 * caller runs from the moment a receive sets it until its length is returned.
 */
const ownMeta = new RecvMeta();

/** Stores the waker of a poll in `shared`, see there, and returns the result. */
function stored(
  shared: SharedWaker | null,
  result: Poll<number>,
  waker: Waker | null,
): Poll<number> {
  return shared === null ? result : shared.store(result, waker);
}

/** A socket of the operating system. `using` and `await using` close it. */
export abstract class EngineSocket extends DatagramSocket implements AsSocketStats {
  static {
    inspectAs(EngineSocket.prototype, (socket) => {
      const { localAddr, peerAddr, backend, isClosed } = socket;
      const { datagramsReceived, datagramsSent } = socket.counters;
      const peer = peerAddr === undefined ? "" : `peer: ${peerAddr}, `;
      return (
        `${classNameFor(socket)} { local: ${localAddr}, ${peer}backend: ${backend}, ` +
        `${isClosed ? "closed" : "open"}, received: ${datagramsReceived}, sent: ${datagramsSent} }`
      );
    });
  }

  /** @internal */
  readonly _engine: Engine;
  readonly #isConnected: boolean;
  #isClosed = false;
  #bufIo: RawPoolBufDatagramIo | undefined;

  /** A receive of one datagram passes its buffer to the engine in arrays that are allocated once. */
  readonly #oneTarget: Target[] = [];
  readonly #oneMeta: RecvMeta[] = [];

  // Created when a call first waits or polls: with their functions, they have 200 bytes each.
  #recvWaker: SharedWaker | undefined;
  #sendWaker: SharedWaker | undefined;

  /** @internal */
  protected constructor(engine: Engine) {
    super();
    if (typeof engine?.receive !== "function") {
      throw constructorError(new.target.name, "its static methods open sockets");
    }
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

  /** Returns what `JSON.stringify` prints: the class, the addresses as text, and the counters. */
  toJSON(): {
    type: string;
    localAddr: string;
    peerAddr?: string;
    backend: Backend;
    isClosed: boolean;
    counters: SocketCounters;
  } {
    const { backend, isClosed, counters } = this;
    const localAddr = this.localAddr.toString();
    const peer = this.peerAddr === undefined ? {} : { peerAddr: this.peerAddr.toString() };
    return { type: classNameFor(this), localAddr, ...peer, backend, isClosed, counters };
  }

  /** A copy of the counters, which start at 0 when the socket is opened. */
  get counters(): SocketCounters {
    return { ...this._engine.counters };
  }

  /**
   * The number of datagrams that the socket has received from the system and not returned yet, because
   * it reads ahead or GRO has merged datagrams. The next receives return them first. They are dropped
   * and counted (`counters.datagramsDropped`) when the socket is closed or its descriptor transferred.
   *
   * After `asRawIo()` no others are read ahead, so that a program which receives this many datagrams
   * has processed all that were taken from the descriptor.
   */
  get unreadDatagrams(): number {
    return this._engine.unread;
  }

  /** A copy of `counters.sendDrops` by error code, such as `{ EPERM: 2, EMSGSIZE: 1 }`. */
  get sendDropsByCode(): Record<string, number> {
    return { ...this._engine.sendDropsByCode };
  }

  /** The sizes of the kernel's buffers in bytes, as the kernel reports them (socket(7)). */
  get bufferBytes(): { receive: number; send: number } {
    return this._engine.controls.bufferBytes;
  }

  /**
   * Returns the value of a socket option that is a C `int`. `level` and `name` are constants of the
   * system: socket(7), ip(7), ipv6(7), udp(7).
   *
   * @example
   * ```ts
   * socket.getOption(1, 38); // SOL_SOCKET, SO_PROTOCOL: 17
   * ```
   * @throws SocketError if the system refuses (`ENOPROTOOPT` for an unknown option); with code
   * `ERR_NOT_SUPPORTED` without the native backend.
   */
  getOption(level: number, name: number): number;
  /** Returns the value of a socket option as bytes, of which there are at most `bytesMax`. */
  getOption(level: number, name: number, bytesMax: number): Uint8Array;
  getOption(level: number, name: number, bytesMax?: number): number | Uint8Array {
    checkOptionName(level, name);
    const { controls } = this._engine;
    if (bytesMax === undefined) return controls.getOption(level, name);
    checkInteger("bytesMax", bytesMax, 0, OPTION_BYTES_MAX);
    return controls.getOption(level, name, bytesMax);
  }

  /**
   * Sets a socket option to a C `int`, -2^31..2^32-1, or to the bytes of a struct.
   *
   * Options that the library uses itself must be left to it: those of `enableMetadata`, IP_RECVERR,
   * IPV6_RECVERR and SO_PEEK_OFF.
   *
   * @throws SocketError if the system refuses; with code `ERR_NOT_SUPPORTED` without the native
   * backend.
   * @throws TypeError for another type of value.
   * @throws RangeError for numbers out of range, and for UDP_SEGMENT, UDP_GRO and UDP_CORK: the socket
   * would not split or combine datagrams correctly (see the option `offload`).
   */
  setOption(level: number, name: number, value: number | Uint8Array): void {
    checkOptionName(level, name);
    this._engine.controls.setOption(level, name, checkOptionValue(value));
  }

  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    return this.#sendOne(waker, buf, undefined);
  }

  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    if (this.#isConnected) checkPeer(this.peerAddr, address);
    else checkAddress("address", address);
    return this.#sendOne(waker, buf, this.#isConnected ? undefined : address);
  }

  /** @internal Polls the engine to send. All callers share the waker that `poll` gets. */
  protected _pollEngineSend(
    waker: Waker | null,
    poll: (waker: Waker | null) => Poll<number>,
  ): Poll<number> {
    checkWaker(waker);
    const shared = this.#sharedSend(waker);
    return stored(shared, poll(shared?.wake ?? null), waker);
  }

  /** @internal Polls the engine to receive. All callers share the waker that `poll` gets. */
  protected _pollEngineRecv(
    waker: Waker | null,
    poll: (waker: Waker | null) => Poll<number>,
  ): Poll<number> {
    checkWaker(waker);
    const shared = this.#sharedRecv(waker);
    return stored(shared, poll(shared?.wake ?? null), waker);
  }

  #sendOne(waker: Waker | null, buf: Payload, to: SocketAddress | undefined): Poll<number> {
    checkWaker(waker);
    checkBufferType("buf", buf);
    const shared = this.#sharedSend(waker);
    const result = this._engine.sendOne(shared?.wake ?? null, buf, to);
    return stored(shared, result, waker) === Pending ? Pending : buf.length;
  }

  override pollSendMany(
    waker: Waker | null,
    bufs: readonly Sendable[],
    range?: SendRange,
  ): Poll<number> {
    checkWaker(waker);
    const { to, start, end } = checkSendRange(bufs, range);
    if (this.#isConnected && to !== undefined) {
      // The engine sends no more with one call.
      const checkedEnd = Math.min(end, start + BATCH_COUNT_MAX);
      for (const address of Array.isArray(to) ? to.slice(start, checkedEnd) : [to]) {
        checkPeer(this.peerAddr, address as SocketAddress);
      }
    }
    const shared = this.#sharedSend(waker);
    const destinations = this.#isConnected ? undefined : to;
    const result = this._engine.send(shared?.wake ?? null, bufs, start, end, destinations);
    return stored(shared, result, waker);
  }

  override sendMany(bufs: readonly Sendable[], options?: SendManyOptions): Promise<number> {
    if (options === undefined || this.#isConnected || !this._engine.prefersGroups) {
      return super.sendMany(bufs, options);
    }
    return startPromise(() =>
      Array.isArray(options?.to) ? this.#sendGrouped(bufs, options) : super.sendMany(bufs, options),
    );
  }

  /** Sends to several peers, grouped by peer if that is faster. */
  async #sendGrouped(bufs: readonly Sendable[], options: SendManyOptions): Promise<number> {
    const { groupByPeer = true, signal } = options;
    const range = checkSendRange(bufs, options);
    const grouped = groupByPeer ? GroupedSend.of(bufs, range) : undefined;
    if (grouped === undefined) return super.sendMany(bufs, options);
    try {
      return await super.sendMany(grouped.bufs, { to: grouped.to, signal });
    } catch (error) {
      if (error instanceof SocketError && error.index !== undefined) {
        error.index = grouped.indices[error.index];
      }
      throw error;
    } finally {
      grouped.release();
    }
  }

  override pollRecv(waker: Waker | null, buf: Target): Poll<number> {
    return this.pollRecvFrom(waker, buf, ownMeta);
  }

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    checkWaker(waker);
    checkBufferType("buf", buf);
    checkRecvMetaType("meta", meta);
    this.#oneTarget[0] = buf;
    this.#oneMeta[0] = meta;
    const shared = this.#sharedRecv(waker);
    const result = this._engine.receive(shared?.wake ?? null, this.#oneTarget, 0, 1, this.#oneMeta);
    return stored(shared, result, waker) === Pending ? Pending : meta.length;
  }

  override pollRecvMany(
    waker: Waker | null,
    bufs: readonly Target[],
    range?: RecvRange,
  ): Poll<number> {
    checkWaker(waker);
    const { meta, start, end } = checkRecvRange(bufs, range);
    this._recvError?.throwIfSet();
    const shared = this.#sharedRecv(waker);
    const result = this._engine.receive(shared?.wake ?? null, bufs, start, end, meta);
    return stored(shared, result, waker);
  }

  override pollRecvBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    checkWaker(waker);
    checkRecvBatch(batch);
    batch._clear();
    this._recvError?.throwIfSet();
    const shared = this.#sharedRecv(waker);
    return stored(shared, this._engine.receiveBatch(shared?.wake ?? null, batch), waker);
  }

  override pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    checkWaker(waker);
    checkSendBatch(batch);
    if (this.#isConnected) batch._checkAddresses((address) => checkPeer(this.peerAddr, address));
    if (this._engine.sendBatch !== undefined) {
      const shared = this.#sharedSend(waker);
      return stored(shared, this._engine.sendBatch(shared?.wake ?? null, batch), waker);
    }
    if (this.#isClosed) throw closedError("send");
    batch._refuseMetadata("requires the native backend");
    return super.pollSendBatch(waker, batch);
  }

  /** As `DatagramSocket.asRawIo`. The socket reads no datagrams ahead from now on. */
  override asRawIo(): number | undefined {
    this._engine.stopReadingAhead?.();
    return this._engine.fd;
  }

  override intoFd(): number | undefined {
    const fd = this._engine.release();
    if (fd === undefined) return undefined;
    this.#isClosed = true;
    this.#wakeAll();
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
    this.#wakeAll();
  }

  /** Wakes all waiters, which then get the error of a closed socket. */
  #wakeAll(): void {
    this.#recvWaker?.wake();
    this.#sendWaker?.wake();
  }

  /** Returns the waker that the engine gets in place of `waker`; `null` to try only. */
  #sharedRecv(waker: Waker | null): SharedWaker | null {
    if (waker === null) return null;
    this.#recvWaker ??= new SharedWaker(() => this._recvQueue);
    return this.#recvWaker;
  }

  /** As `#sharedRecv`. */
  #sharedSend(waker: Waker | null): SharedWaker | null {
    if (waker === null) return null;
    this.#sendWaker ??= new SharedWaker(() => this._sendQueue);
    return this.#sendWaker;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
