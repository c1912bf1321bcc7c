/**
 * The engine on `Bun.udpSocket` alone: for other systems than Linux, for where `cc` does not
 * work, and for whoever asks for it.
 *
 * Bun reads by itself and hands out one datagram a callback, so there is a queue between it and
 * `recv`. It is bounded; what comes when it is full is dropped, and counted.
 */

import { SocketAddress } from "../address/address.ts";
import type { RecvBatch } from "../batch/recv-batch.ts";
import { newCounters, type SocketCounters } from "../datagram/counters.ts";
import { type Destinations, destination } from "../datagram/destination.ts";
import {
  type DatagramInfo,
  type Payload,
  payloadBytes,
  storeDatagram,
  type Target,
} from "../datagram/info.ts";
import { type Capabilities, RECEIVE_METADATA, type ReceiveMetadata } from "../datagram/metadata.ts";
import { closedError, SocketError, unsupportedError } from "../support/errors.ts";
import { callWaker, Pending, type Poll, type Waker } from "../traits/poll.ts";
import { checkEntries } from "../traits/recv.ts";
import { checkDatagrams } from "../traits/send.ts";
import { BunControls } from "./bun-controls.ts";
import {
  type BunSocket,
  fromBunError,
  isIcmpError,
  openBunSocket,
  sendUnconnected,
} from "./bun-socket.ts";
import type { UdpControls } from "./controls.ts";
import type { Engine } from "./engine.ts";

/** What is queued at the most when nothing else is asked for: 4 MiB of datagrams of 1500 bytes. */
const RECEIVE_QUEUE_DATAGRAMS = 2800;

/** What a `PortableEngine` is made of, as `Bun.udpSocket` takes it. */
export interface PortableInit {
  readonly hostname?: string | undefined;
  readonly port?: number | undefined;
  readonly connect?: { readonly hostname: string; readonly port: number } | undefined;
  /** Datagrams that wait for `recv` at the most. Default: `RECEIVE_QUEUE_DATAGRAMS`. */
  readonly receiveQueueDatagrams?: number | undefined;
}

interface Queued {
  readonly bytes: Uint8Array;
  readonly peer: SocketAddress;
}

/** A datagram that nobody took for this long is not left to `drain`, which may never come. */
const SEND_RETRY_MS = 5;

/** Drives a socket by `Bun.udpSocket`. */
export class PortableEngine implements Engine {
  readonly backend = "portable";
  readonly counters: SocketCounters = newCounters();
  readonly fd = undefined;
  localAddr: SocketAddress = SocketAddress.ip("0.0.0.0", 0);
  peerAddr: SocketAddress | undefined;

  #socket: BunSocket | undefined;
  readonly #queue: Queued[] = [];
  #taken = 0;
  readonly #queueMax: number;
  #error: SocketError | undefined;
  /** An error that ended a batch early, which the next send throws. */
  #sendError: SocketError | undefined;
  #readWaker: Waker | null = null;
  #writeWaker: Waker | null = null;
  #wakeScheduled = false;
  readonly #peers = new Map<string, SocketAddress>();

  private constructor(queueMax: number) {
    this.#queueMax = queueMax;
  }

  /**
   * Opens a socket as `Bun.udpSocket` does.
   *
   * @throws SocketError for what the system refuses, Error of the resolver.
   */
  static async open(init: PortableInit): Promise<PortableEngine> {
    const engine = new PortableEngine(init.receiveQueueDatagrams ?? RECEIVE_QUEUE_DATAGRAMS);
    const socket = await openBunSocket({
      ...(init.hostname === undefined ? {} : { hostname: init.hostname }),
      ...(init.port === undefined ? {} : { port: init.port }),
      ...(init.connect === undefined ? {} : { connect: init.connect }),
      socket: {
        data: (_socket: unknown, bytes: Buffer, port: number, address: string) =>
          engine.#onData(bytes, port, address),
        drain: () => engine.#wakeWriter(),
        error: (...args: unknown[]) => engine.#onError(args),
      },
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
    // Bun reads until the socket is empty, which under a flood it never is: a reader that waited
    // for the end of the turn would find the queue full, and the rest dropped.
    if (2 * (this.#queue.length - this.#taken) >= this.#queueMax) this.#wakeReader();
    else this.#wakeReaderLater();
  }

  /** The same peer is the same object; forgotten all together when there are many. */
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
    // Bun's types say socket, error; on Linux the error comes first. Either order is taken.
    const error = args.find((argument) => argument instanceof Error);
    if (this.peerAddr === undefined && isIcmpError(error)) return;
    this.counters.receiveErrors++;
    this.#error = fromBunError(error, "recvmmsg");
    this.#wakeReaderLater();
  }

  /**
   * Bun calls back once a datagram, with microtasks between: a reader woken by each would get
   * them one by one. After all callbacks of this turn it finds them together.
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
    info: readonly DatagramInfo[] | undefined,
  ): Poll<number> {
    const available = this.#available(waker, end - start);
    if (available === Pending) return Pending;
    checkEntries(bufs, info, start, start + available);
    for (let i = 0; i < available; i++) {
      this.#store(this.#taken + i, bufs[start + i] as Target, info?.[start + i]);
    }
    return this.#took(available);
  }

  receiveBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    const available = this.#available(waker, batch.messagesMax);
    if (available === Pending) return Pending;
    for (let i = 0; i < available; i++) {
      batch._add(this.#store(this.#taken + i, batch._nextRoom(), batch._nextInfo()));
    }
    return this.#took(available);
  }

  /** How many of the `wanted` datagrams are queued; `Pending` if none, with `waker` kept. */
  #available(waker: Waker | null, wanted: number): Poll<number> {
    if (this.#socket === undefined) throw closedError("recv");
    if (wanted === 0) return 0;
    const available = Math.min(wanted, this.#queue.length - this.#taken);
    if (available > 0) return available;
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    this.counters.receiveWouldBlocks++;
    if (waker !== null) this.#readWaker = waker;
    return Pending;
  }

  /** Puts entry `i` of the queue into `target`: the bytes stored. */
  #store(i: number, target: Target, info: DatagramInfo | undefined): number {
    const { bytes, peer } = this.#queue[i] as Queued;
    const length = storeDatagram(target, bytes);
    if (bytes.length > length) this.counters.datagramsTruncated++;
    this.counters.bytesReceived += length;
    info?._set(length, bytes.length, peer);
    return length;
  }

  /** Takes `count` off the queue's front; moves the rest only when half of it is taken. */
  #took(count: number): number {
    this.counters.datagramsReceived += count;
    this.counters.messagesReceived += count;
    this.#taken += count;
    if (this.#taken * 2 >= this.#queue.length) {
      this.#queue.splice(0, this.#taken);
      this.#taken = 0;
    }
    return count;
  }

  send(
    waker: Waker | null,
    bufs: readonly Payload[],
    start: number,
    end: number,
    to: Destinations,
  ): Poll<number> {
    if (this.#socket === undefined) throw closedError("send");
    this.#throwSendError();
    checkDatagrams(bufs, { to, start, end });
    for (let i = start; i < end; i++) {
      const bytes = payloadBytes(bufs[i] as Payload);
      let result: boolean;
      try {
        result = this.#sendOne(bytes, destination(to, i));
      } catch (error) {
        this.counters.sendErrors++;
        if (i === start) throw error;
        this.#sendError = error as SocketError;
        return i - start;
      }
      if (!result) {
        this.counters.sendWouldBlocks++;
        if (i > start) return i - start;
        if (waker !== null) this.#waitWritable(waker);
        return Pending;
      }
      this.counters.datagramsSent++;
      this.counters.messagesSent++;
      this.counters.bytesSent += bytes.length;
    }
    return end - start;
  }

  #throwSendError(): void {
    const error = this.#sendError;
    if (error === undefined) return;
    this.#sendError = undefined;
    throw error;
  }

  receiveMetadata(_wanted: ReceiveMetadata): Capabilities {
    if (this.#socket === undefined) throw closedError("setsockopt");
    const none = Object.fromEntries(RECEIVE_METADATA.map((kind) => [kind, false]));
    return { ...(none as Capabilities), segmentation: false, coalescing: false };
  }

  tellTransportErrors(_tell: unknown): void {
    throw unsupportedError("setsockopt", "transport errors need the shim");
  }

  #sendOne(bytes: Uint8Array, address: SocketAddress | undefined): boolean {
    const socket = this.#socket;
    if (socket === undefined) throw closedError("send");
    this.counters.sendCalls++;
    try {
      if (this.peerAddr !== undefined) return socket.send(bytes);
      if (address === undefined)
        throw new SocketError({ errno: 0, code: "EDESTADDRREQ", syscall: "send" });
      return sendUnconnected(socket, bytes, address);
    } catch (error) {
      throw fromBunError(error, "send");
    }
  }

  #waitWritable(waker: Waker): void {
    this.#writeWaker = waker;
    // What keeps the process alive is the socket, as long as it does.
    setTimeout(() => this.#wakeWriter(), SEND_RETRY_MS).unref();
  }

  get controls(): UdpControls {
    if (this.#socket === undefined) throw closedError("setsockopt");
    return new BunControls(this.#socket);
  }

  ref(): void {
    this.#socket?.ref();
  }

  unref(): void {
    this.#socket?.unref();
  }

  close(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.counters.datagramsDropped += this.#queue.length - this.#taken;
    this.#queue.length = this.#taken = 0;
    socket.close();
    this.#wakeReader();
    this.#wakeWriter();
  }

  release(): number | undefined {
    return undefined;
  }
}
