/**
 * The engine on the C shim: `recvmmsg` and `sendmmsg` on a descriptor of its own, which nobody
 * else reads, with the reactor to say when.
 *
 * Memory: each direction has one vector, made at first use and kept as long as the engine; it
 * holds every buffer that it points to. All system calls return at once, so the kernel never has
 * an address of ours while JavaScript runs.
 */

import type { Native, ReceiveVector, ScatterVector, SendVector } from "../ffi/native.ts";
import { AF_INET6, AF_UNIX, knownAddresses, SocketAddress } from "./address.ts";
import {
  countSent,
  fillPayloads,
  fillTargets,
  type Run,
  scatterReceived,
  storeReceived,
} from "./batch.ts";
import { SEND_CONTROL_CAPACITY } from "./control.ts";
import { newCounters, type SocketCounters } from "./counters.ts";
import type { Engine, Membership } from "./engine.ts";
import { ErrorQueueReader } from "./error-queue.ts";
import { checkResult, closedError, errnoCode, SocketError } from "./errors.ts";
import type { DatagramInfo, Payload, Target } from "./info.ts";
import { IPPROTO_UDP, IpOptions, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, UDP_GRO } from "./options.ts";
import { Pending, type Poll, type Waker } from "./poll.ts";
import { callWaker, type Reactor, type Registration, warn } from "./readiness.ts";
import { BATCH_COUNT_MAX } from "./recv.ts";
import { RecvBatch } from "./recv-batch.ts";
import { Segmentation } from "./segmentation.ts";
import { destination } from "./send.ts";

/** errno(3) of Linux. */
const EAGAIN = 11;
const ENOBUFS = 105;

/** Bytes of room for a peer's address. */
const IP_NAME_CAPACITY = 28;
const UNIX_NAME_CAPACITY = 112;

/** Datagrams that a receive is always ready for. */
const EXPECTED_MIN = 4;

/** Memory to receive into that no socket has datagrams left in. */
const idleBatches: RecvBatch[] = [];
let scatterVector: ScatterVector | undefined;
let errorQueueReader: ErrorQueueReader | undefined;

/** What a `ShimEngine` is made of. */
export interface ShimEngineInit {
  readonly native: Native;
  readonly reactor: Reactor;
  /** An open, bound, non-blocking datagram socket, which becomes the engine's. */
  readonly fd: number;
  /** Whether datagrams may be joined to messages, both ways. Default: they may. */
  readonly offload?: boolean | undefined;
}

/** Drives a socket by the shim. */
export class ShimEngine implements Engine {
  readonly backend = "shim";
  readonly counters: SocketCounters = newCounters();
  localAddr: SocketAddress;
  peerAddr: SocketAddress | undefined;

  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #registration: Registration;
  readonly #family: number;
  readonly #options: IpOptions;
  readonly #received: ReceiveVector;
  readonly #sending: SendVector;
  readonly #segmentation: Segmentation | undefined;
  #fd: number;
  #isRef = true;
  #sendError: SocketError | undefined;
  #receiveError: SocketError | undefined;
  /**
   * Whether the last receive took all there was: asking again at once would find nothing, and
   * waiting tells at once of what came since.
   */
  #isDrained = false;
  /** Whether the kernel may hand over many datagrams in one message. */
  #isCoalescing = false;
  /** Received and not yet handed out: datagrams from `#restFrom` on. */
  #rest: RecvBatch | undefined;
  #restFrom = 0;
  /** Datagrams a message had lately. */
  #perMessage = 1;
  /** How many datagrams the next receive is likely to bring. */
  #expected = EXPECTED_MIN;

  constructor({ native, reactor, fd, offload = true }: ShimEngineInit) {
    this.#native = native;
    this.#reactor = reactor;
    this.#fd = fd;
    this.localAddr = readName(native, native.name(fd));
    this.peerAddr = this.#readPeer();
    this.#family = (this.localAddr._encoded.words[0] as number) & 0xffff;
    const nameCapacity = this.#family === AF_UNIX ? UNIX_NAME_CAPACITY : IP_NAME_CAPACITY;
    this.#received = native.receiveVector(nameCapacity);
    this.#sending = native.sendVector(nameCapacity, SEND_CONTROL_CAPACITY);
    if (this.#family !== AF_UNIX && offload) {
      this.#segmentation = new Segmentation(true);
      this.#isCoalescing = native.setIntOption(fd, IPPROTO_UDP, UDP_GRO, 1) >= 0;
    }
    this.#options = new IpOptions(native, fd, this.#family === AF_INET6);
    if (this.peerAddr !== undefined) this.#reportIcmp();
    this.#registration = reactor.add(fd, { isOwned: true });
    reactor.ref();
  }

  get fd(): number | undefined {
    return this.#fd === -1 ? undefined : this.#fd;
  }

  receive(
    waker: Waker | null,
    bufs: readonly Target[],
    start: number,
    end: number,
    info: readonly DatagramInfo[] | undefined,
  ): Poll<number> {
    if (this.#fd === -1) throw closedError("recv");
    this.#throwReceiveError();
    const limit = Math.min(end - start, BATCH_COUNT_MAX);
    if (limit === 0) return 0;
    const interest = this.#registration.read;
    if (!interest.mayRun(waker)) return Pending;
    if (this.#isDrained && waker !== null && this.#rest === undefined) {
      this.#isDrained = false;
      interest.wait(waker);
      return Pending;
    }
    const total = this.#isCoalescing
      ? this.#receiveCoalesced(bufs, { start, count: limit }, info)
      : this.#receiveDirect(bufs, { start, count: limit }, info);
    if (total < 0) return this.#receiveFailed(-total, waker);
    this.#isDrained &&= waker !== null;
    interest.moved(total);
    return total;
  }

  /** Straight into the caller's buffers, one message each. */
  #receiveDirect(
    bufs: readonly Target[],
    { start, count: limit }: Omit<Run, "slot">,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    this.#received.reserve(limit);
    // Setting up a slot costs as much as a short datagram: only as many as are likely, first.
    const first = Math.min(limit, this.#expected);
    const result = this.#receiveRun(bufs, { slot: 0, start, count: first }, info);
    if (result < 0) return result;
    const total =
      result === first && first < limit
        ? first +
          this.#receiveRest(bufs, { slot: first, start: start + first, count: limit - first }, info)
        : result;
    this.#isDrained = total < limit;
    this.#expected = Math.max(EXPECTED_MIN, 2 * total);
    return total;
  }

  /** Into memory of the library's, from where datagrams are copied; the rest waits there. */
  #receiveCoalesced(
    bufs: readonly Target[],
    { start, count: limit }: Omit<Run, "slot">,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    if (this.#rest === undefined) {
      const batch = idleBatches.pop() ?? new RecvBatch();
      // As many messages as are likely to have as many datagrams as there are buffers.
      const messages = Math.min(batch.messagesMax, Math.ceil(limit / this.#perMessage));
      const result = batch._receive(this.#native, this.#fd, messages);
      this.counters.receiveCalls++;
      if (result <= 0) {
        idleBatches.push(batch);
        return result;
      }
      this.#isDrained = result < messages;
      this.#perMessage = batch.length / result;
      this.counters.messagesReceived += result;
      this.#rest = batch;
      this.#restFrom = 0;
    }
    const rest = this.#rest;
    const count = Math.min(limit, rest.length - this.#restFrom);
    const told = { info, counters: this.counters };
    scatterVector ??= this.#native.scatterVector();
    scatterReceived(rest, this.#restFrom, scatterVector, bufs, { start, count }, told);
    this.#restFrom += count;
    if (this.#restFrom === rest.length) {
      idleBatches.push(rest);
      this.#rest = undefined;
    }
    return count;
  }

  /** One system call: how many datagrams it brought, or -errno. */
  #receiveRun(
    bufs: readonly Target[],
    run: Run,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    fillTargets(this.#received, bufs, run);
    const result = this.#received.receive(this.#fd, run.slot, run.count);
    this.counters.receiveCalls++;
    if (result > 0) {
      run.count = result;
      this.counters.messagesReceived += result;
      storeReceived(this.#received, bufs, run, {
        info,
        addresses: knownAddresses,
        counters: this.counters,
      });
    }
    return result;
  }

  /** What more there is behind the likely ones; an error of it is kept for the next call. */
  #receiveRest(
    bufs: readonly Target[],
    run: Run,
    info: readonly DatagramInfo[] | undefined,
  ): number {
    const result = this.#receiveRun(bufs, run, info);
    if (result < 0 && result !== -EAGAIN) this.#receiveError = this.#receiveErrorOf(-result);
    return Math.max(0, result);
  }

  #throwReceiveError(): void {
    const error = this.#receiveError;
    if (error === undefined) return;
    this.#receiveError = undefined;
    throw error;
  }

  #receiveFailed(errno: number, waker: Waker | null): Pending {
    const interest = this.#registration.read;
    if (errno === EAGAIN) {
      this.counters.receiveWouldBlocks++;
      if (interest.sawError) this.#drainErrorQueue();
      if (waker !== null) interest.wait(waker);
      return Pending;
    }
    throw this.#receiveErrorOf(errno);
  }

  #receiveErrorOf(errno: number): SocketError {
    this.counters.receiveErrors++;
    this.#drainErrorQueue();
    return new SocketError({ errno, syscall: "recvmmsg", ...this.#about() });
  }

  send(
    waker: Waker | null,
    bufs: readonly Payload[],
    start: number,
    end: number,
    to: SocketAddress | readonly SocketAddress[] | undefined,
  ): Poll<number> {
    if (this.#fd === -1) throw closedError("send");
    this.#throwSendError();
    const limit = Math.min(end - start, BATCH_COUNT_MAX);
    if (limit === 0) return 0;
    const interest = this.#registration.write;
    if (!interest.mayRun(waker)) return Pending;
    const result = this.#sendRun(bufs, { start, count: limit }, to);
    if (result < 0) return this.#sendFailed(-result, waker, bufs, start, to);
    interest.moved(result);
    countSent(bufs, start, result, this.counters);
    if (result < limit) this.#findDroppedError();
    return result;
  }

  /** One system call, or two where the first learned something: how many datagrams, or -errno. */
  #sendRun(
    bufs: readonly Payload[],
    run: Omit<Run, "slot">,
    to: SocketAddress | readonly SocketAddress[] | undefined,
  ): number {
    const sending = this.#sending;
    const rules = { isIPv6: this.#family === AF_INET6, segmentation: this.#segmentation };
    for (;;) {
      const messages = fillPayloads(sending, bufs, run, to, rules);
      const result = sending.send(this.#fd, 0, messages);
      this.counters.sendCalls++;
      if (result >= 0) {
        this.counters.messagesSent += result;
        return sending.datagramsIn(result);
      }
      const isSegmented = sending.datagramsIn(1) > 1;
      if (!isSegmented || !this.#segmentationRefused(-result, bufs, run.start, to)) return result;
    }
  }

  /** Whether a refused message of several datagrams is to be sent again one by one. */
  #segmentationRefused(
    errno: number,
    bufs: readonly Payload[],
    start: number,
    to: SocketAddress | readonly SocketAddress[] | undefined,
  ): boolean {
    const address = destination(to, start);
    const segmentBytes = bufs[start]?.length ?? 0;
    if (!this.#segmentation?.refused(errno, address, segmentBytes)) return false;
    this.counters.segmentationRefusals++;
    warnRefused(errno, segmentBytes, address ?? this.peerAddr);
    return true;
  }

  #sendFailed(
    errno: number,
    waker: Waker | null,
    bufs: readonly Payload[],
    start: number,
    to: SocketAddress | readonly SocketAddress[] | undefined,
  ): Pending {
    const interest = this.#registration.write;
    if (errno === EAGAIN || errno === ENOBUFS) {
      this.counters.sendWouldBlocks++;
      if (waker !== null) {
        // Nobody tells when a device's full queue has room again (ENOBUFS), nor when a full peer
        // has that this socket is not connected to: a Unix socket polls as writable then.
        const isTold = errno === EAGAIN && (this.#family !== AF_UNIX || to === undefined);
        if (isTold) interest.wait(waker);
        else interest.retryLater(waker);
      }
      return Pending;
    }
    this.counters.sendErrors++;
    this.#drainErrorQueue();
    const address = Array.isArray(to) ? (to[start] as SocketAddress) : (to as SocketAddress);
    const detail = `datagram of ${bufs[start]?.length} bytes`;
    const about = address === undefined ? this.#about() : { address: address.toString() };
    throw new SocketError({ errno, syscall: "sendmmsg", detail, ...about });
  }

  /**
   * Looks for the error that ended a batch early: the kernel dropped it. One that stays (too
   * long, no route) comes again with the first datagram that is left; one that ICMP reported does
   * not, and is found in the error queue alone.
   */
  #findDroppedError(): void {
    const errno = this.#drainErrorQueue();
    if (errno === 0) return;
    this.counters.sendErrors++;
    this.#sendError = new SocketError({ errno, syscall: "sendmmsg", ...this.#about() });
  }

  #throwSendError(): void {
    const error = this.#sendError;
    if (error === undefined) return;
    this.#sendError = undefined;
    throw error;
  }

  #drainErrorQueue(): number {
    if (this.#family === AF_UNIX) return 0;
    this.#registration.read.sawError = false;
    errorQueueReader ??= new ErrorQueueReader(this.#native);
    return errorQueueReader.drain(this.#fd);
  }

  /** ICMP errors reach a connected socket only; without the queue, some would be lost. */
  #reportIcmp(): void {
    if (this.#family !== AF_UNIX) this.#options.setReceiveErrors(true);
  }

  #about(): { address?: string } {
    return this.peerAddr === undefined ? {} : { address: this.peerAddr.toString() };
  }

  #readPeer(): SocketAddress | undefined {
    const length = this.#native.peerName(this.#fd);
    // ENOTCONN; and a pair's other end is connected but has no name.
    return length < 0 ? undefined : readName(this.#native, length);
  }

  bufferBytes(): { receive: number; send: number } {
    const read = (option: number) => {
      checkResult(this.#native.getIntOption(this.#openFd(), SOL_SOCKET, option), "getsockopt");
      return this.#native.scratch[0] as number;
    };
    return { receive: read(SO_RCVBUF), send: read(SO_SNDBUF) };
  }

  setBroadcast(enabled: boolean): void {
    this.#openFd();
    this.#options.setBroadcast(enabled);
  }

  setTTL(ttl: number): void {
    this.#openFd();
    this.#options.setTTL(ttl);
  }

  setMulticastTTL(ttl: number): void {
    this.#openFd();
    this.#options.setMulticastTTL(ttl);
  }

  setMulticastLoopback(enabled: boolean): void {
    this.#openFd();
    this.#options.setMulticastLoopback(enabled);
  }

  setMulticastInterface(interfaceAddress: string): void {
    this.#openFd();
    this.#options.setMulticastInterface(interfaceAddress);
  }

  addMembership(membership: Membership): void {
    this.#openFd();
    this.#options.changeMembership(membership, true);
  }

  dropMembership(membership: Membership): void {
    this.#openFd();
    this.#options.changeMembership(membership, false);
  }

  #openFd(): number {
    if (this.#fd === -1) throw closedError("setsockopt");
    return this.#fd;
  }

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
    const fd = this.release();
    if (fd !== undefined) this.#native.close(fd);
  }

  release(): number | undefined {
    const fd = this.#fd;
    if (fd === -1) return undefined;
    this.unref();
    const { read, write } = this.#registration;
    const wakers = [read.takeWaker(), write.takeWaker()];
    this.#reactor.remove(this.#registration);
    this.#fd = -1;
    // Whoever waits polls again, and is told that the socket is closed.
    for (const waker of wakers) if (waker !== null) callWaker(waker);
    return fd;
  }
}

/** The address that `getsockname` or `getpeername` left in the scratch memory. */
function readName(native: Native, length: number): SocketAddress {
  checkResult(length, "getsockname");
  return SocketAddress._decode(native.scratch, 0, length);
}

let hasWarned = false;

function warnRefused(errno: number, bytes: number, address: SocketAddress | undefined): void {
  if (hasWarned) return;
  hasWarned = true;
  const error = errnoCode(errno);
  warn(`segments of ${bytes} bytes to ${address} are refused (${error}) and sent one by one`);
}
