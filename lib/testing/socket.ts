/** A datagram socket of a simulated network. */

import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { newCounters, type SocketCounters } from "../datagram/counters.ts";
import { checkPeer } from "../datagram/destination.ts";
import {
  checkPayload,
  checkTarget,
  type Payload,
  payloadBytes,
  storeDatagram,
  type Target,
} from "../datagram/payload.ts";
import { checkRecvMeta, type RecvMeta } from "../datagram/recv-meta.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import { Pending, type Poll, type Waker } from "../poll/poll.ts";
import { SharedWaker } from "../poll/shared-waker.ts";
import { inspectAs, typeError } from "../support/check.ts";
import { closedError, SocketError } from "../support/errors.ts";
import { sharedClass } from "../support/thread-state.ts";
import { PoolBufIo } from "../traits/pool-io.ts";
import { DatagramSocket, type RawPoolBufDatagramIo } from "../traits/socket.ts";
import type { SimDatagram } from "./event.ts";
import { ERRNO, headerBytes } from "./icmp.ts";
import type { SimSocketSettings } from "./socket-options.ts";
import { WakeSlot } from "./wake-slot.ts";
import type { Wire } from "./wire.ts";

/** The maximum payload of a UDP datagram over IPv4 in bytes (RFC 791: 65535 with both headers). */
const PAYLOAD_BYTES_MAX = 65_507;
/** The maximum time of a block that `blockedSends` causes, in milliseconds. */
const BLOCKED_MS_MAX = 5;

/**
 * A socket of a `SimNetwork`, with the interface of `UdpSocket` as far as it does not depend on an
 * operating system: all polls and promises of `DatagramSocket`, `localAddr`, `peerAddr`, `counters`,
 * `onTransportError`, `close` and disposal. It has no descriptor. Created by `SimNetwork.bind`.
 */
export class SimSocket extends DatagramSocket {
  static {
    inspectAs(SimSocket.prototype, (socket) => {
      const peer = socket.peerAddr === undefined ? "" : `peer: ${socket.peerAddr}, `;
      const state = socket.isClosed ? "closed" : "open";
      return `SimSocket { local: ${socket.localAddr}, ${peer}${state} }`;
    });
  }

  /** The engine that drives the socket. */
  readonly backend = "simulated" as const;
  /** The address of the socket on its own host. */
  readonly localAddr: SocketAddress;
  readonly #settings: SimSocketSettings;
  readonly #wire: Wire;
  readonly #counters: SocketCounters = newCounters();
  readonly #dropsByCode: Record<string, number> = {};
  readonly #queue: SimDatagram[] = [];
  readonly #recvWaker: SharedWaker = new SharedWaker(() => this._recvQueue);
  readonly #sendWaker: SharedWaker = new SharedWaker(() => this._sendQueue);
  readonly #readSlot: WakeSlot;
  readonly #writeSlot: WakeSlot;
  #isClosed = false;
  #bufIo: RawPoolBufDatagramIo | undefined;
  /** The ICMP error that the next call throws. */
  #error: TransportError | undefined;
  #handler: ((error: TransportError) => void) | undefined;
  /** The number of datagrams that have not left the host. */
  #queuedToSend = 0;
  /** Until when sends block (`blockedSends`). */
  #blockedUntilMs = 0;

  /** @internal */
  constructor(localAddr: SocketAddress, settings: SimSocketSettings, wire: Wire) {
    super();
    this.localAddr = localAddr;
    this.#settings = settings;
    this.#wire = wire;
    this.#readSlot = new WakeSlot(wire, settings.spuriousWakes);
    this.#writeSlot = new WakeSlot(wire, settings.spuriousWakes);
  }

  /** The connected peer; absent if there is none. */
  override get peerAddr(): SocketAddress | undefined {
    return this.#settings.connect;
  }

  /** Whether the socket was closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** A copy of the counters, which start at 0. */
  get counters(): SocketCounters {
    return { ...this.#counters };
  }

  /** A copy of `counters.sendDrops` by error code. */
  get sendDropsByCode(): Record<string, number> {
    return { ...this.#dropsByCode };
  }

  /** Whether a promise of this socket is pending. */
  get isWaiting(): boolean {
    return (this._recvQueue?.isBusy ?? false) || (this._sendQueue?.isBusy ?? false);
  }

  /** The number of datagrams in the receive queue. */
  get receiveQueueLength(): number {
    return this.#queue.length;
  }

  /** Returns what `JSON.stringify` prints: the addresses as text, and the counters. */
  toJSON(): { localAddr: string; peerAddr?: string; isClosed: boolean; counters: SocketCounters } {
    const { localAddr, peerAddr, isClosed, counters } = this;
    const peer = peerAddr === undefined ? {} : { peerAddr: peerAddr.toString() };
    return { localAddr: localAddr.toString(), ...peer, isClosed, counters };
  }

  override asBufIo(): RawPoolBufDatagramIo {
    this.#bufIo ??= new PoolBufIo(this);
    return this.#bufIo;
  }

  /**
   * Passes ICMP errors about earlier datagrams to `handler`, in a later microtask, as
   * `UdpSocket.onTransportError` does. With `undefined`, a connected socket throws each of them
   * once, from the next call; an unconnected socket never does.
   */
  onTransportError(handler: ((error: TransportError) => void) | undefined): void {
    if (handler !== undefined && typeof handler !== "function") {
      throw typeError("handler", "function", handler);
    }
    if (this.#isClosed) throw closedError("setsockopt");
    this.#handler = handler;
  }

  // -------------------------------------------------------------------------------- send ----

  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    return this.#send(waker, buf, this.peerAddr);
  }

  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    if (this.peerAddr === undefined) checkAddress("address", address);
    else checkPeer(this.peerAddr, address);
    return this.#send(waker, buf, this.peerAddr ?? address);
  }

  #send(waker: Waker | null, buf: Payload, to: SocketAddress | undefined): Poll<number> {
    checkPayload("buf", buf);
    if (this.#isClosed) throw closedError("send");
    this.#counters.sendCalls++;
    if (this.#settings.sendErrors === "drop") this.#error = undefined;
    this.#throwTransportError("send");
    if (this.#isFull()) {
      this.#counters.sendWouldBlocks++;
      this.#writeSlot.store(waker && this.#sendWaker.wake);
      return this.#sendWaker.store(Pending, waker);
    }
    const { length } = buf;
    const code = this.#refusalOf(length, to);
    if (code === undefined) this.#transmit(buf, to as SocketAddress);
    else this.#refuse(code, length, to);
    return length;
  }

  #isFull(): boolean {
    const { sendQueueDatagrams, blockedSends } = this.#settings;
    if (this.#queuedToSend >= sendQueueDatagrams) return true;
    if (this.#wire.nowMs < this.#blockedUntilMs) return true;
    if (!this.#wire.random.chance(blockedSends)) return false;
    const delayMs = this.#wire.random.between(0.001, BLOCKED_MS_MAX);
    this.#blockedUntilMs = this.#wire.nowMs + delayMs;
    this.#wire.schedule(delayMs, () => this.#writeSlot.ready());
    return true;
  }

  /** Returns the code of the error with which a datagram is refused; absent if it can be sent. */
  #refusalOf(length: number, to: SocketAddress | undefined): keyof typeof ERRNO | undefined {
    if (to === undefined) return "EDESTADDRREQ";
    if (to.family !== this.localAddr.family) return "EAFNOSUPPORT";
    if (to.port === 0) return "EINVAL";
    const isTooLong =
      this.#settings.pathMtuDiscovery === "on" && length + headerBytes(to) > this.#wire.pathMtu(to);
    return length > PAYLOAD_BYTES_MAX || isTooLong ? "EMSGSIZE" : undefined;
  }

  #refuse(code: keyof typeof ERRNO, bytes: number, to: SocketAddress | undefined): void {
    if (this.#settings.sendErrors === "drop" && code !== "EDESTADDRREQ") {
      this.#counters.sendDrops++;
      this.#dropsByCode[code] = (this.#dropsByCode[code] ?? 0) + 1;
      return;
    }
    this.#counters.sendErrors++;
    throw new SocketError({
      errno: ERRNO[code],
      code,
      syscall: "send",
      detail: `datagram of ${bytes} bytes`,
      ...(to === undefined ? {} : { address: to.toString() }),
    });
  }

  #transmit(buf: Payload, to: SocketAddress): void {
    const payload = payloadBytes(buf).slice();
    const { pathMtuDiscovery } = this.#settings;
    const isWithinPathMtu = payload.length + headerBytes(to) <= this.#wire.pathMtu(to);
    const mayFragment =
      pathMtuDiscovery === "off" || (pathMtuDiscovery === "system" && !isWithinPathMtu);
    this.#counters.datagramsSent++;
    this.#counters.messagesSent++;
    this.#counters.bytesSent += payload.length;
    const departureMs = this.#wire.transmit(to, payload, { mayFragment });
    if (departureMs <= this.#wire.nowMs) return;
    this.#queuedToSend++;
    this.#wire.schedule(departureMs - this.#wire.nowMs, () => {
      this.#queuedToSend--;
      if (2 * this.#queuedToSend <= this.#settings.sendQueueDatagrams) this.#writeSlot.ready();
    });
  }

  // ----------------------------------------------------------------------------- receive ----

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    checkTarget("buf", buf);
    checkRecvMeta("meta", meta);
    if (this.#isClosed) throw closedError("recv");
    this.#counters.receiveCalls++;
    this.#throwTransportError("recv");
    const isPartial =
      this.#queue.length > 0 && this.#wire.random.chance(this.#settings.partialReceives);
    const datagram = isPartial ? undefined : this.#queue.shift();
    if (datagram === undefined) {
      this.#counters.receiveWouldBlocks++;
      this.#readSlot.store(waker && this.#recvWaker.wake);
      if (isPartial) this.#readSlot.ready();
      return this.#recvWaker.store(Pending, waker);
    }
    const { payload, from } = datagram;
    const length = storeDatagram(buf, payload);
    this.#counters.datagramsReceived++;
    this.#counters.messagesReceived++;
    this.#counters.bytesReceived += length;
    if (payload.length > length) this.#counters.datagramsTruncated++;
    meta._set(length, payload.length, from);
    this.#wire.received(datagram);
    return length;
  }

  /** @internal Appends a datagram to the receive queue. Returns false if it is full. */
  _deliver(datagram: SimDatagram): boolean {
    if (this.#queue.length >= this.#settings.receiveQueueDatagrams) {
      this.#counters.datagramsDropped++;
      return false;
    }
    this.#queue.push(datagram);
    return true;
  }

  /** @internal Wakes the receiver after a delivery was recorded. */
  _wakeReader(): void {
    this.#readSlot.ready();
  }

  // ------------------------------------------------------------------------------ errors ----

  /** @internal Reports an ICMP error about a datagram of this socket. */
  _transportError(error: TransportError): void {
    this.#counters.transportErrors++;
    const handler = this.#handler;
    if (handler !== undefined) {
      this.#wire.callLater(() => handler(error));
      return;
    }
    if (this.peerAddr === undefined) return;
    this.#error = error;
    this.#readSlot.ready();
    this.#writeSlot.ready();
  }

  #throwTransportError(syscall: "send" | "recv"): void {
    const error = this.#error;
    if (error === undefined) return;
    this.#error = undefined;
    this.#counters[syscall === "send" ? "sendErrors" : "receiveErrors"]++;
    const { code, errno, destination } = error;
    throw new SocketError({ errno, code, syscall, address: String(destination) });
  }

  // ---------------------------------------------------------------------------- lifetime ----

  /** Has no effect: a simulated socket does not keep the process alive. */
  ref(): this {
    return this;
  }

  /** Has no effect: a simulated socket does not keep the process alive. */
  unref(): this {
    return this;
  }

  /**
   * Closes the socket. Pending promises reject with code `ERR_SOCKET_CLOSED`, and datagrams in the
   * receive queue are lost. Idempotent.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#counters.datagramsDropped += this.#queue.length;
    for (const datagram of this.#queue.splice(0)) this.#wire.discarded(datagram);
    this.#wire.unbind();
    this.#recvWaker.wake();
    this.#sendWaker.wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

// @ts-expect-error See `sharedClass`.
SimSocket = sharedClass("SimSocket", SimSocket);
