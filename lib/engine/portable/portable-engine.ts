/**
 * The engine on `Bun.udpSocket` alone: for systems other than Linux, for Bun without a working
 * `cc`, and on request.
 *
 * Bun receives by itself and passes one datagram per callback, so there is a queue between the
 * callback and `recv`. It is bounded: datagrams that arrive while it is full are dropped and
 * counted.
 */

import { SocketAddress } from "../../address/socket-address.ts";
import type { RecvBatch } from "../../batch/recv-batch.ts";
import { newCounters, type SocketCounters } from "../../datagram/counters.ts";
import type { Destinations } from "../../datagram/destination.ts";
import {
  type Capabilities,
  METADATA_KINDS,
  type MetadataOptions,
} from "../../datagram/metadata-options.ts";
import { type Payload, type Sendable, storeDatagram, type Target } from "../../datagram/payload.ts";
import { readDatagrams, readTargets } from "../../datagram/ranges.ts";
import type { RecvMeta } from "../../datagram/recv-meta.ts";
import type { UdpControls } from "../../datagram/udp-interface.ts";
import { DeferredError } from "../../poll/deferred-error.ts";
import { callWaker, Pending, type Poll, type Waker } from "../../poll/poll.ts";
import {
  closedError,
  mayBeTransportError,
  SocketError,
  unsupportedError,
} from "../../support/errors.ts";
import { setImmediate, startTimer } from "../../support/timers.ts";
import type { Engine, SendErrors } from "../engine.ts";
import { RetryWindow } from "../retry-window.ts";
import { destinationFault } from "../send-hints.ts";
import { BunControls } from "./bun-controls.ts";
import { type BunSocket, fromBunError, openBunSocket, sendUnconnected } from "./bun-socket.ts";

/** The default length of the receive queue: 4 MiB of datagrams of 1500 bytes. */
const RECEIVE_QUEUE_DATAGRAMS = 2800;

/** The arguments of a `PortableEngine`. */
export interface PortableInit {
  /** The address to bind to. */
  readonly local: SocketAddress;
  /** The peer to connect to. */
  readonly peer?: SocketAddress | undefined;
  /** The maximum number of queued datagrams. Default: `RECEIVE_QUEUE_DATAGRAMS`. */
  readonly receiveQueueDatagrams?: number | undefined;
  /** The handling of refused datagrams. Default: `"throw"`. */
  readonly sendErrors?: SendErrors | undefined;
}

/** The number of targets that are checked even if the queue is empty. */
const CHECKED_MIN = 2;

interface Queued {
  readonly bytes: Uint8Array;
  readonly peer: SocketAddress;
}

/** After this time a blocked send is retried: Bun does not always call `drain`. */
const SEND_RETRY_MS = 5;

/** Returns whether an error of a send is probably about an earlier datagram. */
function isIcmpError(error: unknown): error is SocketError {
  // EMSGSIZE mostly means that the datagram itself is too long.
  return mayBeTransportError(error) && (error as SocketError).code !== "EMSGSIZE";
}

/** Drives a socket through `Bun.udpSocket`. */
export class PortableEngine implements Engine {
  readonly backend = "portable";
  readonly counters: SocketCounters = newCounters();
  readonly sendDropsByCode: Record<string, number> = {};
  readonly prefersGroups = false;
  readonly fd = undefined;
  localAddr: SocketAddress = SocketAddress.ip("0.0.0.0", 0);
  peerAddr: SocketAddress | undefined;

  #socket: BunSocket | undefined;
  readonly #queue: Queued[] = [];
  #taken = 0;
  readonly #queueMax: number;
  readonly #receiveError: DeferredError<SocketError> = new DeferredError();
  readonly #sendError: DeferredError<SocketError> = new DeferredError();
  readonly #dropsRefused: boolean;
  readonly #noBuffers: RetryWindow = new RetryWindow();
  #readWaker: Waker | null = null;
  #writeWaker: Waker | null = null;
  #wakeScheduled = false;
  readonly #peers = new Map<string, SocketAddress>();

  private constructor(init: PortableInit) {
    this.#queueMax = init.receiveQueueDatagrams ?? RECEIVE_QUEUE_DATAGRAMS;
    this.#dropsRefused = init.sendErrors === "drop";
  }

  /**
   * Opens a socket with `Bun.udpSocket`.
   *
   * @throws SocketError if the system refuses.
   */
  static async open(init: PortableInit): Promise<PortableEngine> {
    const engine = new PortableEngine(init);
    const socket = await openBunSocket(init.local, init.peer, {
      data: (_socket: unknown, bytes: Buffer, port: number, address: string) =>
        engine.#onData(bytes, port, address),
      drain: () => engine.#wakeWriter(),
      error: (...args: unknown[]) => engine.#onError(args),
    });
    engine.#socket = socket;
    engine.localAddr = SocketAddress.ip(socket.address.address, socket.address.port);
    const remote = socket.remoteAddress;
    if (remote) engine.peerAddr = SocketAddress.ip(remote.address, remote.port);
    return engine;
  }

  #onData(bytes: Buffer, port: number, address: string): void {
    this.counters.receiveCalls++;
    if (this.#queue.length - this.#taken >= this.#queueMax) {
      this.counters.datagramsDropped++;
      return;
    }
    this.#queue.push({ bytes, peer: this.#peer(address, port) });
    // Bun receives until the socket is empty, which never happens under a flood: a reader that is
    // woken only in a later tick would find the queue full, and the remaining datagrams dropped.
    if (2 * (this.#queue.length - this.#taken) >= this.#queueMax) this.#wakeReader();
    else this.#wakeReaderLater();
  }

  /** Returns the same object for the same peer. The cache is cleared when it is full. */
  #peer(address: string, port: number): SocketAddress {
    const key = `${address} ${port}`;
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      if (this.#peers.size >= 4096) this.#peers.clear();
      peer = SocketAddress.ip(address, port);
      this.#peers.set(key, peer);
    }
    return peer;
  }

  #onError(args: unknown[]): void {
    // bun-types documents (socket, error); on Linux Bun passes the error first. Accepts both.
    const error = args.find((argument) => argument instanceof Error);
    if (this.peerAddr === undefined && mayBeTransportError(error)) return;
    this.counters.receiveErrors++;
    this.#receiveError.set(fromBunError(error, "recvmmsg", this.peerAddr));
    this.#wakeReaderLater();
  }

  /**
   * Wakes the reader after all callbacks of this tick. Bun runs microtasks between the callbacks,
   * so a reader that is woken at once would receive the datagrams one by one.
   */
  #wakeReaderLater(): void {
    if (this.#wakeScheduled || this.#readWaker === null) return;
    this.#wakeScheduled = true;
    setImmediate(() => {
      this.#wakeScheduled = false;
      this.#wakeReader();
    });
  }

  #wakeReader(): void {
    const waker = this.#readWaker;
    this.#readWaker = null;
    if (waker !== null) callWaker(waker);
  }

  #wakeWriter(): void {
    const waker = this.#writeWaker;
    this.#writeWaker = null;
    if (waker !== null) callWaker(waker);
  }

  receive(
    waker: Waker | null,
    bufs: readonly Target[],
    start: number,
    end: number,
    meta: readonly RecvMeta[] | undefined,
  ): Poll<number> {
    if (this.#socket === undefined) throw closedError("recv");
    const queued = this.unread;
    const limit = Math.min(end - start, Math.max(CHECKED_MIN, queued));
    const { targets, metas } = readTargets({ meta, start, end: start + limit }, bufs);
    // Reading them may have run code of the caller, which received datagrams or closed the socket.
    const count = this.#available(waker, limit);
    if (count === Pending) return Pending;
    const datagrams = this.#take(count);
    const lengths = datagrams.map(({ bytes }, i) => this.#store(bytes, targets[i] as Target));
    // Last, because it may run code of the caller as well.
    for (const [i, { bytes, peer }] of datagrams.entries()) {
      metas[i]?._set(lengths[i] as number, bytes.length, peer);
    }
    return count;
  }

  receiveBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    const available = this.#available(waker, batch.messagesMax);
    if (available === Pending) return Pending;
    // Throws if the batch is not usable, before the datagrams are taken.
    batch._nextView();
    for (const { bytes, peer } of this.#take(available)) {
      const length = this.#store(bytes, batch._nextView());
      batch._nextMeta()._set(length, bytes.length, peer);
      batch._add(length);
    }
    return available;
  }

  /**
   * Returns how many datagrams can be taken, up to `wanted`. If the queue is empty, stores `waker`
   * and returns `Pending`.
   */
  #available(waker: Waker | null, wanted: number): Poll<number> {
    if (this.#socket === undefined) throw closedError("recv");
    if (wanted === 0) return 0;
    const available = Math.min(wanted, this.unread);
    if (available > 0) return available;
    this.#receiveError.throwIfSet();
    this.counters.receiveWouldBlocks++;
    if (waker !== null) this.#readWaker = waker;
    return Pending;
  }

  /** Copies a datagram into `target`, and returns the number of bytes stored. */
  #store(bytes: Uint8Array, target: Target): number {
    const length = storeDatagram(target, bytes);
    if (bytes.length > length) this.counters.datagramsTruncated++;
    this.counters.bytesReceived += length;
    return length;
  }

  /** Takes `count` datagrams from the queue. Compacts the array when half of it is taken. */
  #take(count: number): Queued[] {
    const datagrams = this.#queue.slice(this.#taken, this.#taken + count);
    this.counters.datagramsReceived += count;
    this.counters.messagesReceived += count;
    this.#taken += count;
    if (this.#taken * 2 >= this.#queue.length) {
      this.#queue.splice(0, this.#taken);
      this.#taken = 0;
    }
    return datagrams;
  }

  send(
    waker: Waker | null,
    bufs: readonly Sendable[],
    start: number,
    end: number,
    to: Destinations,
  ): Poll<number> {
    if (this.#socket === undefined) throw closedError("send");
    const datagrams = readDatagrams({ to, start, end }, bufs);
    this.#sendError.throwIfSet();
    for (const [i, { bytes, address }] of datagrams.entries()) {
      let result: "sent" | "full" | "dropped";
      try {
        result = this.#sendOrDrop(bytes, address);
      } catch (error) {
        if (i === 0) {
          if ((error as SocketError).code !== "ERR_SOCKET_CLOSED") this.counters.sendErrors++;
          throw error;
        }
        // An ICMP error about an earlier datagram is reported once: it must not be lost. A refused
        // datagram fails again when it is sent again.
        if (this.peerAddr !== undefined && isIcmpError(error)) {
          this.counters.sendErrors++;
          this.#sendError.set(error);
        }
        return i;
      }
      if (result === "full") {
        this.counters.sendWouldBlocks++;
        if (i > 0) return i;
        if (waker !== null) this.#waitWritable(waker);
        return Pending;
      }
    }
    return datagrams.length;
  }

  sendOne(waker: Waker | null, buf: Payload, to: SocketAddress | undefined): Poll<number> {
    return this.send(waker, [buf], 0, 1, to);
  }

  /** Sends a datagram. With `sendErrors: "drop"`, drops one that is refused. */
  #sendOrDrop(bytes: Uint8Array, address: SocketAddress | undefined): "sent" | "full" | "dropped" {
    try {
      return this.#countSent(this.#sendOne(bytes, address), bytes);
    } catch (error) {
      const { code } = error as SocketError;
      if (code === "ERR_SOCKET_CLOSED" || code === "EDESTADDRREQ") throw error;
      const isBlocked = code === "ENOBUFS" && this.peerAddr !== undefined;
      if (isBlocked && this.#noBuffers.remainingMs() > 0) return "full";
      if (!this.#dropsRefused) throw error;
      // If the same datagram can be sent now, the error was about an earlier one.
      const result = mayBeTransportError(error) ? this.#retry(bytes, address) : undefined;
      if (result !== undefined) {
        this.counters.transportErrors++;
        return result;
      }
      this.counters.sendDrops++;
      this.sendDropsByCode[code] = (this.sendDropsByCode[code] ?? 0) + 1;
      return "dropped";
    }
  }

  #retry(bytes: Uint8Array, address: SocketAddress | undefined): "sent" | "full" | undefined {
    try {
      return this.#countSent(this.#sendOne(bytes, address), bytes);
    } catch {
      return undefined;
    }
  }

  #countSent(isSent: boolean, { length }: Uint8Array): "sent" | "full" {
    if (!isSent) return "full";
    this.#noBuffers.reset();
    this.counters.datagramsSent++;
    this.counters.messagesSent++;
    this.counters.bytesSent += length;
    return "sent";
  }

  enableMetadata(_options: MetadataOptions): Capabilities {
    if (this.#socket === undefined) throw closedError("setsockopt");
    const none = Object.fromEntries(METADATA_KINDS.map((kind) => [kind, false]));
    return { ...(none as Capabilities), gso: false, gro: false };
  }

  setTransportErrorHandler(_handler: unknown): void {
    throw unsupportedError("setsockopt", "transport errors need the native backend");
  }

  #sendOne(bytes: Uint8Array, address: SocketAddress | undefined): boolean {
    const socket = this.#socket;
    if (socket === undefined) throw closedError("send");
    this.counters.sendCalls++;
    try {
      if (this.peerAddr !== undefined) return socket.send(bytes);
      if (address === undefined) throw noDestinationError();
      const fault = destinationFault(address);
      if (fault !== undefined) throw refusedError(address, fault);
      return sendUnconnected(socket, bytes, address);
    } catch (error) {
      throw fromBunError(error, "send", address ?? this.peerAddr);
    }
  }

  #waitWritable(waker: Waker): void {
    this.#writeWaker = waker;
    // Unreferenced: the socket keeps the process alive by itself, if it is meant to.
    startTimer(SEND_RETRY_MS, () => this.#wakeWriter());
  }

  get controls(): UdpControls {
    if (this.#socket === undefined) throw closedError("setsockopt");
    return new BunControls(this.#socket);
  }

  ref(): void {
    this.#socket?.ref();
  }

  get unread(): number {
    return this.#queue.length - this.#taken;
  }

  unref(): void {
    this.#socket?.unref();
  }

  close(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.counters.datagramsDropped += this.unread;
    this.#queue.length = this.#taken = 0;
    socket.close();
    this.#wakeReader();
    this.#wakeWriter();
  }

  release(): number | undefined {
    return undefined;
  }
}

/** Returns the error for a destination that the kernel would refuse. */
function refusedError(address: SocketAddress, detail: string): SocketError {
  const { EINVAL } = process.getBuiltinModule("node:os").constants.errno;
  return new SocketError({ errno: EINVAL, syscall: "send", address, detail });
}

function noDestinationError(): SocketError {
  const detail = "an unconnected socket needs a destination";
  return new SocketError({ errno: 0, code: "EDESTADDRREQ", syscall: "send", detail });
}
