/**
 * The engine on the C shim: `recvmmsg` and `sendmmsg` on a descriptor that nothing else reads, and
 * the reactor for readiness.
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
import type { Payload, Target } from "../../datagram/payload.ts";
import type { RecvMeta } from "../../datagram/recv-meta.ts";
import type { UdpControls } from "../../datagram/udp-interface.ts";
import { EAGAIN, EDESTADDRREQ, ENOBUFS, IPPROTO_UDP, UDP_GRO } from "../../linux/constants.ts";
import {
  type DrainedErrors,
  ErrorQueue,
  isIcmpErrno,
  type TransportErrorHandler,
} from "../../linux/error-queue.ts";
import { NO_OFFLOAD, type Offload } from "../../linux/offload.ts";
import { IpSocketOptions } from "../../linux/socket-options.ts";
import { DeferredError } from "../../poll/deferred-error.ts";
import { callWaker, Pending, type Poll, type Waker } from "../../poll/poll.ts";
import type { Registration } from "../../readiness/interest.ts";
import type { Reactor } from "../../readiness/reactor.ts";
import { checkResult, closedError, errnoCode, SocketError } from "../../support/errors.ts";
import { BATCH_COUNT_MAX } from "../../support/limits.ts";
import type { Engine, SendErrors } from "../engine.ts";
import { NoBuffersWindow } from "../no-buffers-window.ts";
import { disableGro } from "./disable-gro.ts";
import { type EarlyDatagram, NativeReceiver } from "./native-receiver.ts";
import { NativeSender } from "./native-sender.ts";
import { BatchSource, ListSource, type SendSource } from "./send-source.ts";

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
  /** Datagrams that the previous owner of the descriptor has received, at most 1024. */
  readonly received?: readonly EarlyDatagram[] | undefined;
}

/** The number of tries that ICMP errors may fail in one call, before the call waits. */
const ICMP_RETRIES_MAX = 8;
/**
 * How long a send waits while ICMP errors fail all of its tries. Only a flood of thousands per
 * second does that.
 */
const ICMP_FLOOD_MS = 1000;

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
  readonly #errorQueue: ErrorQueue;
  readonly #receiver: NativeReceiver;
  readonly #sender: NativeSender;
  readonly #listSource: ListSource;
  /** The range of the current receive: one object for all calls, which do not nest. */
  readonly #range: BufferRange = { start: 0, count: 0 };
  readonly #usesGro: boolean;
  #fd: number;
  #isRef = true;
  readonly #dropsRefused: boolean;
  /** Whether the sender has drained the ICMP error that made its call fail. */
  #sawIcmpError = false;
  readonly #noBuffers: NoBuffersWindow = new NoBuffersWindow();
  /** Limits how long a flood of ICMP errors is waited out. */
  readonly #icmpFlood: NoBuffersWindow = new NoBuffersWindow(ICMP_FLOOD_MS);
  /** The ICMP error that ended a batch early. */
  readonly #icmpError: DeferredError<SocketError> = new DeferredError();
  readonly #onErrorQueued = () => {
    if (this.#fd === -1 || !this.#errorQueue.hasHandler) return;
    this.#drainErrors();
    this.#reactor.waitForDatagram(this.#registration.error, this.#onErrorQueued);
  };

  constructor(init: NativeEngineInit) {
    const { native, reactor, fd, offload = NO_OFFLOAD, sendErrors = "throw" } = init;
    this.#native = native;
    this.#dropsRefused = sendErrors === "drop";
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
    this.#sender = new NativeSender({
      ...common,
      isIPv6,
      trafficClass: this.#options.trafficClass,
      peer: this.peerAddr,
      usesGso: gso,
      isIcmpError: () => {
        this.#sawIcmpError = this.#drainErrors().count > 0;
        return this.#sawIcmpError;
      },
    });
    this.#listSource = new ListSource(this.#sender);
    this.#usesGro = !this.#isUnix && enableGro(native, fd, gro);
    this.#receiver = new NativeReceiver({ ...common, usesGro: this.#usesGro });
    if (init.received !== undefined) this.#receiver.prepend(init.received);
    this.#errorQueue = new ErrorQueue(native, fd);
    // The kernel reports ICMP errors to connected sockets. Without the queue it drops those that
    // end a batch early.
    if (this.peerAddr !== undefined && !this.#isUnix) this.#options.setReceiveErrors(true);
    this.#registration = reactor.add(fd);
    native.own(fd);
    reactor.ref();
  }

  get prefersGroups(): boolean {
    return this.#sender.usesGso;
  }

  get fd(): number | undefined {
    return this.#fd === -1 ? undefined : this.#fd;
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
    if (result >= 0 || result === -EAGAIN || !this.#errorQueue.hasHandler) return false;
    return retries < ICMP_RETRIES_MAX && this.#isIcmpError(-result);
  }

  /** Empties the error queue. Returns whether an ICMP error made a call fail with `errno`. */
  #isIcmpError(errno: number): boolean {
    return this.#drainErrors().count > 0 || (!this.#isUnix && isIcmpErrno(errno));
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
      const queued = interest.hasErrorEvent ? this.#drainErrors().errno : 0;
      if (queued === 0 || this.#errorQueue.hasHandler) {
        if (waker !== null) this.#reactor.waitForDatagram(interest, waker);
        return Pending;
      }
      throw this.#receiveError(queued);
    }
    if (this.#isIcmpError(errno) && this.#errorQueue.hasHandler) {
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
    bufs: readonly Payload[],
    start: number,
    end: number,
    to: Destinations,
  ): Poll<number> {
    if (this.#fd === -1) throw closedError("send");
    const range = { start, count: Math.min(end - start, BATCH_COUNT_MAX) };
    this.#sender.load(bufs, range, to);
    return this.#send(waker, this.#listSource);
  }

  sendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    if (this.#isUnix) batch._refuseMetadata("Unix datagrams have none");
    this.#sender.checkIdle();
    return this.#send(waker, new BatchSource(batch));
  }

  /** Sends the datagrams of `source`. Returns the number of those that were sent or dropped. */
  #send(waker: Waker | null, source: SendSource): Poll<number> {
    if (this.#fd === -1) throw closedError("send");
    this.#icmpError.throwIfSet();
    const count = source.length;
    if (count === 0) return 0;
    const interest = this.#registration.write;
    if (!this.#reactor.mayRun(interest, waker)) return Pending;
    for (let retries = 0; source.length > 0; ) {
      const result = source.send(this.#sender);
      if (result >= 0) {
        this.#noBuffers.reset();
        this.#icmpFlood.reset();
        this.#reactor.recordDatagrams(interest, result);
        if (source.length > 0 && !this.#dropsRefused) {
          this.#deferIcmpError();
          break;
        }
        retries = 0;
        continue;
      }
      const outcome = this.#sendFailed(-result, source, waker, retries++);
      if (outcome === "retry") continue;
      if (outcome === "wait") return source.length < count ? count - source.length : Pending;
      if (outcome === "refused" && source.length < count) break;
      if (outcome === "refused") throw this.#sendError(-result, source);
    }
    return count - source.length;
  }

  /**
   * Handles a failed send. Returns "retry" if the datagram should be sent again, "wait" if the
   * reactor calls `waker`, "dropped" after the datagram was dropped, and "refused" otherwise.
   */
  #sendFailed(
    errno: number,
    source: SendSource,
    waker: Waker | null,
    retries: number,
  ): "retry" | "wait" | "dropped" | "refused" {
    if (errno === EAGAIN) return this.#wait(source, waker);
    if (errno === ENOBUFS && source.address === undefined) {
      // Only the connected peer is waited for: other destinations must not be delayed.
      const remainingMs = this.#noBuffers.remainingMs();
      if (remainingMs > 0) return this.#wait(source, waker, remainingMs);
    }
    // An ICMP error about an earlier datagram makes one call fail. The datagram was not sent, and
    // can be sent now.
    const isIcmp = this.#isIcmpError(errno) || this.#sawIcmpError;
    this.#sawIcmpError = false;
    if (isIcmp && (this.#errorQueue.hasHandler || this.#dropsRefused)) {
      if (retries < ICMP_RETRIES_MAX) return "retry";
      const remainingMs = this.#icmpFlood.remainingMs();
      if (remainingMs > 0) return this.#wait(source, waker, remainingMs);
    }
    if (!this.#dropsRefused || errno === EDESTADDRREQ) return "refused";
    const code = errnoCode(errno);
    this.counters.sendDrops++;
    this.sendDropsByCode[code] = (this.sendDropsByCode[code] ?? 0) + 1;
    source.drop();
    return "dropped";
  }

  /** Calls `waker` when the socket has room: on an event, or after `remainingMs` at most. */
  #wait(source: SendSource, waker: Waker | null, remainingMs?: number): "wait" {
    this.counters.sendWouldBlocks++;
    if (waker === null) return "wait";
    const interest = this.#registration.write;
    // The kernel reports no event when the queue of a device, or of a Unix peer that the socket is
    // not connected to, has room again.
    const hasEvent = remainingMs === undefined && (!this.#isUnix || source.address === undefined);
    if (hasEvent) this.#reactor.waitForDatagram(interest, waker);
    else this.#reactor.retryLater(interest, waker, remainingMs);
    return "wait";
  }

  #sendError(errno: number, { address, bytes }: SendSource): SocketError {
    this.counters.sendErrors++;
    const detail =
      errno === EDESTADDRREQ
        ? "an unconnected socket needs a destination"
        : `datagram of ${bytes} bytes`;
    return new SocketError({
      errno,
      syscall: "sendmmsg",
      address: address ?? this.peerAddr,
      detail,
    });
  }

  /**
   * Looks for the ICMP error that ended a batch early, which the kernel discards. The next call
   * throws it. A refused datagram is not in the queue: it fails again when it is sent again.
   */
  #deferIcmpError(): void {
    const { errno } = this.#drainErrors();
    if (errno === 0 || this.#errorQueue.hasHandler) return;
    this.counters.sendErrors++;
    this.#icmpError.set(new SocketError({ errno, syscall: "sendmmsg", address: this.peerAddr }));
  }

  // ------------------------------------------------------------------------------ errors ----

  /** Empties the error queue, and counts its entries. */
  #drainErrors(): DrainedErrors {
    if (this.#isUnix) return { count: 0, errno: 0 };
    this.#registration.read.hasErrorEvent = false;
    const drained = this.#errorQueue.drain();
    this.counters.transportErrors += drained.count;
    if (drained.count > 0) {
      const { read, error } = this.#registration;
      read.emptyEvents = error.emptyEvents = 0;
    }
    return drained;
  }

  setTransportErrorHandler(handler: TransportErrorHandler | undefined): void {
    this.#checkOpen();
    this.#options.setReceiveErrors(handler !== undefined || this.peerAddr !== undefined);
    this.#errorQueue.setHandler(handler);
    if (handler !== undefined) this.#reactor.wait(this.#registration.error, this.#onErrorQueued);
  }

  // ---------------------------------------------------------------------------- settings ----

  #readPeer(): SocketAddress | undefined {
    const length = this.#native.peerName(this.#fd);
    // Fails with ENOTCONN. The other end of a socket pair is connected, but has no name.
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
    return { ...enabled, gso: this.#sender.usesGso, gro: this.#usesGro };
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
    this.counters.datagramsDropped += this.#receiver.close();
    this.#sender.close();
    this.#errorQueue.close();
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
