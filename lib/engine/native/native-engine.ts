/**
 * The engine on the C shim: `recvmmsg`, `sendmmsg` and `sendto` on a descriptor that nothing else
 * reads, and the reactor for readiness.
 *
 * Memory: each direction has one vector, which lives as long as the engine and holds every buffer
 * that it points to. No system call blocks, so the kernel uses an address only while a call runs.
 */

import { NAME_CAPACITY_MAX, type Native } from "../../../ffi/native.ts";
import { AF_INET6, AF_UNIX, SOCKADDR_IN6_BYTES } from "../../address/sockaddr.ts";
import { SocketAddress } from "../../address/socket-address.ts";
import type { RecvBatch } from "../../batch/recv-batch.ts";
import type { SendBatch } from "../../batch/send-batch.ts";
import type { BufferRange } from "../../batch/targets.ts";
import { newCounters, type SocketCounters } from "../../datagram/counters.ts";
import type { Destinations } from "../../datagram/destination.ts";
import type { Capabilities, MetadataOptions } from "../../datagram/metadata-options.ts";
import type { Payload, Sendable, Target } from "../../datagram/payload.ts";
import type { RecvMeta } from "../../datagram/recv-meta.ts";
import type { UdpControls } from "../../datagram/udp-interface.ts";
import { EAGAIN, IPPROTO_UDP, UDP_GRO } from "../../linux/constants.ts";
import { ErrorQueue, type TransportErrorHandler } from "../../linux/error-queue.ts";
import { NO_OFFLOAD, type Offload } from "../../linux/offload.ts";
import { IpSocketOptions } from "../../linux/socket-options.ts";
import { callWaker, Pending, type Poll, type Waker } from "../../poll/poll.ts";
import type { Registration } from "../../readiness/interest.ts";
import type { Reactor } from "../../readiness/reactor.ts";
import { checkResult, closedError, SocketError } from "../../support/errors.ts";
import { BATCH_COUNT_MAX } from "../../support/limits.ts";
import type { Engine, SendErrors } from "../engine.ts";
import { disableGro } from "./disable-gro.ts";
import { type FdDatagram, FdSource, type FdTargets } from "./fd-datagrams.ts";
import { type EarlyDatagram, NativeReceiver } from "./native-receiver.ts";
import { NativeSender } from "./native-sender.ts";
import { SendPath } from "./send-path.ts";
import { SocketErrors } from "./socket-errors.ts";

/** The arguments of a `NativeEngine`. */
export interface NativeEngineInit {
  readonly native: Native;
  readonly reactor: Reactor;
  /** An open, bound, non-blocking datagram socket, which the engine takes ownership of. */
  readonly fd: number;
  /** The offloads to use. Default: none. */
  readonly offload?: Offload | undefined;
  /** The handling of refused datagrams. Default: `"throw"`. */
  readonly sendErrors?: SendErrors | undefined;
  /** Whether receives of one datagram may read several from the kernel. Default true. */
  readonly readAhead?: boolean | undefined;
  /** How long to wait for datagrams after a burst, in microseconds. Default 0. */
  readonly burstDelayUs?: number | undefined;
  /** Datagrams that the previous owner of the descriptor has received, at most 1024. */
  readonly received?: readonly EarlyDatagram[] | undefined;
}

/** The number of tries that ICMP errors may fail in one call, before the call waits. */
const ICMP_RETRIES_MAX = 8;

/** Drives a socket through the C shim. */
export class NativeEngine implements Engine {
  readonly backend = "native";
  readonly counters: SocketCounters = newCounters();
  readonly sendDropsByCode: Record<string, number> = {};
  readonly localAddr: SocketAddress;
  readonly peerAddr: SocketAddress | undefined;

  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #registration: Registration;
  readonly #isUnix: boolean;
  readonly #options: IpSocketOptions;
  readonly #errors: SocketErrors;
  readonly #receiver: NativeReceiver;
  readonly #sends: SendPath;
  /** The range of the current receive: one object for all calls, which do not nest. */
  readonly #range: BufferRange = { start: 0, count: 0 };
  readonly #usesGro: boolean;
  #fd: number;
  #isRef = true;
  /** The latest value, which remains readable after the socket was closed. */
  #socketDrops: number | undefined = 0;

  constructor(init: NativeEngineInit) {
    const { native, reactor, fd, offload = NO_OFFLOAD, sendErrors = "throw" } = init;
    this.#native = native;
    this.#reactor = reactor;
    this.#fd = fd;
    this.localAddr = decodeName(native, native.name(fd));
    this.peerAddr = this.#readPeer();
    const family = (this.localAddr._encoded.words[0] as number) & 0xffff;
    this.#isUnix = family === AF_UNIX;
    const isIPv6 = family === AF_INET6;
    const nameCapacity = this.#isUnix ? NAME_CAPACITY_MAX : SOCKADDR_IN6_BYTES;
    const common = { native, fd, nameCapacity, counters: this.counters };
    const { gso, gro } = this.#isUnix ? NO_OFFLOAD : offload;
    this.#options = new IpSocketOptions(native, fd, isIPv6);
    const sender = new NativeSender({
      ...common,
      isIPv6,
      trafficClass: this.#options.trafficClass,
      peer: this.peerAddr,
      usesGso: gso,
      isIcmpError: () => this.#sends.sawIcmpError(),
    });
    this.#usesGro = !this.#isUnix && enableGro(native, fd, gro);
    // A Unix peer counts on the kernel's queue: reading ahead would let it send more.
    const readsAhead = !this.#isUnix && init.readAhead !== false;
    const local = this.#isUnix ? this.localAddr : undefined;
    this.#receiver = new NativeReceiver({ ...common, usesGro: this.#usesGro, readsAhead, local });
    if (init.received !== undefined) this.#receiver.prepend(init.received);
    // The kernel reports ICMP errors to connected sockets. Without the queue it drops those that
    // end a batch early.
    if (this.peerAddr !== undefined && !this.#isUnix) this.#options.setReceiveErrors(true);
    const registration = reactor.add(fd);
    this.#registration = registration;
    registration.read.burstDelayUs = init.burstDelayUs ?? 0;
    const queue = this.#isUnix ? undefined : new ErrorQueue(native, fd);
    this.#errors = new SocketErrors({ queue, reactor, registration, counters: this.counters });
    this.#sends = new SendPath({
      sender,
      errors: this.#errors,
      reactor,
      interest: registration.write,
      peer: this.peerAddr,
      isUnix: this.#isUnix,
      dropsRefused: sendErrors === "drop",
      counters: this.counters,
      dropsByCode: this.sendDropsByCode,
    });
    native.own(fd);
    reactor.ref();
  }

  get prefersGroups(): boolean {
    return this.#sends.usesGso;
  }

  get fd(): number | undefined {
    return this.#fd === -1 ? undefined : this.#fd;
  }

  get unread(): number {
    return this.#receiver.unread;
  }

  get socketDrops(): number | undefined {
    if (this.#fd !== -1) this.#socketDrops = this.#options.socketDrops;
    return this.#socketDrops;
  }

  stopReadingAhead(): void {
    this.#receiver.stopReadingAhead();
  }

  // ----------------------------------------------------------------------------- receive ----

  receive(
    waker: Waker | null,
    bufs: readonly Target[],
    start: number,
    end: number,
    meta: readonly RecvMeta[] | undefined,
  ): Poll<number> {
    if (this.#fd === -1) throw closedError("recv");
    const count = Math.min(end - start, BATCH_COUNT_MAX);
    if (count === 0) return 0;
    const receiver = this.#receiver;
    receiver.enter();
    try {
      const range = this.#range;
      range.start = start;
      range.count = count;
      receiver.load(bufs, range, meta);
      if (!this.#mayReceive(waker)) return Pending;
      let result = receiver.receive(bufs, range, meta);
      for (let retries = 0; this.#shouldRetryReceive(result, retries); retries++) {
        result = receiver.receive(bufs, range, meta);
      }
      return this.#received(result, waker);
    } finally {
      receiver.leave();
    }
  }

  /** Receives one datagram of a Unix socket, and the descriptors that it passes. */
  receiveFds(waker: Waker | null, buf: Target, meta: RecvMeta, targets: FdTargets): Poll<number> {
    return this.#receiver.using(targets.list, () => this.receive(waker, [buf], 0, 1, [meta]));
  }

  receiveBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    const receiver = this.#receiver;
    receiver.enter();
    try {
      if (!this.#mayReceive(waker)) return Pending;
      let result = receiver.receiveBatch(batch);
      for (let retries = 0; this.#shouldRetryReceive(result, retries); retries++) {
        result = receiver.receiveBatch(batch);
      }
      return this.#received(result, waker);
    } finally {
      receiver.leave();
    }
  }

  /** Returns whether to make a system call now. If not, the reactor calls `waker`. */
  #mayReceive(waker: Waker | null): boolean {
    if (this.#fd === -1) throw closedError("recv");
    const interest = this.#registration.read;
    if (!this.#reactor.mayRun(interest, waker)) return false;
    // Right after a receive that emptied the socket, another call would find nothing. The reactor
    // reports a datagram that has arrived meanwhile.
    const isDrained = waker !== null && this.#receiver.isDrained;
    this.#receiver.clearDrained();
    if (isDrained) this.#reactor.wait(interest, waker);
    return !isDrained;
  }

  /** Returns whether a receive failed only because of ICMP errors that the handler now gets. */
  #shouldRetryReceive(result: number, retries: number): boolean {
    if (result >= 0 || result === -EAGAIN || !this.#errors.hasHandler) return false;
    return retries < ICMP_RETRIES_MAX && this.#errors.isIcmpError(-result);
  }

  #received(result: number, waker: Waker | null): Poll<number> {
    if (result < 0) return this.#receiveFailed(-result, waker);
    this.#reactor.recordDatagrams(this.#registration.read, result);
    return result;
  }

  #receiveFailed(errno: number, waker: Waker | null): Pending {
    const interest = this.#registration.read;
    if (errno === EAGAIN) {
      this.counters.receiveWouldBlocks++;
      // An error that is queued after the system call is reported like one that the call returns.
      const queued = interest.mayHaveError ? this.#errors.drain().errno : 0;
      if (queued === 0 || this.#errors.hasHandler) {
        if (waker !== null) this.#reactor.waitForDatagram(interest, waker);
        return Pending;
      }
      throw this.#receiveError(queued);
    }
    if (this.#errors.isIcmpError(errno) && this.#errors.hasHandler) {
      // A flood. The kernel has cleared the error, so the socket is ready when it has a datagram.
      if (waker !== null) this.#reactor.wait(interest, waker);
      return Pending;
    }
    throw this.#receiveError(errno);
  }

  #receiveError(errno: number): SocketError {
    this.counters.receiveErrors++;
    this.#registration.read.emptyEvents = 0;
    return new SocketError({ errno, syscall: "recvmmsg", address: this.peerAddr });
  }

  // -------------------------------------------------------------------------------- send ----

  send(
    waker: Waker | null,
    bufs: readonly Sendable[],
    start: number,
    end: number,
    to: Destinations,
  ): Poll<number> {
    return this.#sends.send(
      waker,
      bufs,
      { start, count: Math.min(end - start, BATCH_COUNT_MAX) },
      to,
    );
  }

  sendOne(waker: Waker | null, buf: Payload, to: SocketAddress | undefined): Poll<number> {
    return this.#sends.sendOne(waker, buf, to);
  }

  /** Sends one datagram on a Unix socket, and passes descriptors with it. */
  sendFds(waker: Waker | null, datagram: FdDatagram): Poll<number> {
    const { counters } = this;
    const source = new FdSource({ native: this.#native, fd: this.#fd, counters, datagram });
    return this.#sends.sendSource(waker, source);
  }

  sendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    if (this.#isUnix) batch._refuseMetadata("Unix datagrams have none");
    return this.#sends.sendBatch(waker, batch);
  }

  // ---------------------------------------------------------------------------- settings ----

  setTransportErrorHandler(handler: TransportErrorHandler | undefined): void {
    this.#checkOpen();
    this.#options.setReceiveErrors(handler !== undefined || this.peerAddr !== undefined);
    this.#errors.setHandler(handler);
  }

  #readPeer(): SocketAddress | undefined {
    const length = this.#native.peerName(this.#fd);
    // Fails with ENOTCONN if there is no peer. For a socket pair it succeeds: the peer is unnamed.
    return length < 0 ? undefined : decodeName(this.#native, length);
  }

  get controls(): UdpControls {
    this.#checkOpen();
    return this.#options;
  }

  enableMetadata(options: MetadataOptions): Capabilities {
    this.#checkOpen();
    const enabled = this.#options.enableMetadata(options);
    if (Object.values(enabled).includes(true)) this.#receiver.readMetadata(this.localAddr);
    return { ...enabled, gso: this.#sends.usesGso, gro: this.#usesGro };
  }

  #checkOpen(): void {
    if (this.#fd === -1) throw closedError("setsockopt");
  }

  // ---------------------------------------------------------------------------- lifetime ----

  ref(): void {
    if (this.#isRef || this.#fd === -1) return;
    this.#isRef = true;
    this.#reactor.ref();
  }

  unref(): void {
    if (!this.#isRef || this.#fd === -1) return;
    this.#isRef = false;
    this.#reactor.unref();
  }

  close(): void {
    const fd = this.#detach();
    if (fd === undefined) return;
    this.#options.close();
    this.#native.close(fd);
  }

  release(): number | undefined {
    const fd = this.#detach();
    if (fd === undefined) return undefined;
    this.#native.disown(fd);
    if (!this.#isUnix) {
      if (this.#usesGro) this.counters.datagramsDropped += disableGro(this.#native, fd);
      this.#options.setReceiveErrors(false);
    }
    this.#options.close();
    return fd;
  }

  /** Ends the use of the descriptor, wakes all waiters, and returns the descriptor. */
  #detach(): number | undefined {
    const fd = this.#fd;
    if (fd === -1) return undefined;
    this.unref();
    const { read, write } = this.#registration;
    const wakers = [read.takeWaker(), write.takeWaker()];
    this.#reactor.remove(this.#registration);
    this.#socketDrops = this.socketDrops;
    this.counters.datagramsDropped += this.#receiver.close();
    this.#sends.close();
    this.#errors.close();
    this.#fd = -1;
    // Waiters poll again, and are rejected because the socket is closed.
    for (const waker of wakers) if (waker !== null) callWaker(waker);
    return fd;
  }
}

/** Decodes the address that `getsockname` or `getpeername` stored in the scratch memory. */
function decodeName(native: Native, length: number): SocketAddress {
  checkResult(length, "getsockname");
  return SocketAddress._decode(native.scratch, 0, length);
}

/**
 * Enables GRO if requested, and returns whether it is enabled. If the previous owner of the
 * descriptor has enabled it, it stays enabled: the receive buffer may contain merged messages,
 * which could not be split without the option.
 */
function enableGro(native: Native, fd: number, isRequested: boolean): boolean {
  if (isRequested) return native.setIntOption(fd, IPPROTO_UDP, UDP_GRO, 1) >= 0;
  return native.getIntOption(fd, IPPROTO_UDP, UDP_GRO) >= 0 && native.scratch[0] === 1;
}
