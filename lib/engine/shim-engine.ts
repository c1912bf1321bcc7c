/**
 * The engine on the C shim: `recvmmsg` and `sendmmsg` on a descriptor of its own, which nobody
 * else reads, with the reactor to say when.
 *
 * Memory: each direction has one vector, made at first use and kept as long as the engine; it
 * holds every buffer that it points to. All system calls return at once, so the kernel never has
 * an address of ours while JavaScript runs.
 */

import { NAME_CAPACITY_MAX, type Native } from "../../ffi/native.ts";
import { AF_INET6, AF_UNIX, SOCKADDR_IN6_BYTES, SocketAddress } from "../address/address.ts";
import type { RecvBatch } from "../batch/recv-batch.ts";
import type { SendBatch } from "../batch/send-batch.ts";
import { newCounters, type SocketCounters } from "../datagram/counters.ts";
import { type Destinations, destination } from "../datagram/destination.ts";
import { drainErrorQueue, type TransportError } from "../datagram/error-queue.ts";
import type { DatagramInfo, Payload, Target } from "../datagram/info.ts";
import type { Capabilities, ReceiveMetadata } from "../datagram/metadata.ts";
import type { Registration } from "../readiness/interest.ts";
import type { Reactor } from "../readiness/reactor.ts";
import { checkResult, closedError, SocketError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { EAGAIN, IPPROTO_UDP, UDP_GRO } from "../support/linux.ts";
import { callWaker, Pending, type Poll, type Waker } from "../traits/poll.ts";
import type { UdpControls } from "./controls.ts";
import { endCoalescing } from "./end-coalescing.ts";
import type { Engine } from "./engine.ts";
import { NO_OFFLOAD, type Offload } from "./offload.ts";
import { IpOptions } from "./options.ts";
import { ShimReceiver } from "./shim-receiver.ts";
import { ShimSender } from "./shim-sender.ts";

/** errno(3) of Linux. */
const ENOBUFS = 105;

/** What a `ShimEngine` is made of. */
export interface ShimEngineInit {
  readonly native: Native;
  readonly reactor: Reactor;
  /** An open, bound, non-blocking datagram socket, which becomes the engine's. */
  readonly fd: number;
  /** Which offloads may be used. Default: none. */
  readonly offload?: Offload | undefined;
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
  readonly #receiver: ShimReceiver;
  readonly #sender: ShimSender;
  readonly #isCoalescing: boolean;
  #fd: number;
  #isRef = true;
  #sendError: SocketError | undefined;
  #tellError: ((error: TransportError) => void) | undefined;
  readonly #onErrorQueued = () => {
    if (this.#fd === -1 || this.#tellError === undefined) return;
    this.#drainErrorQueue();
    this.#registration.error.wait(this.#onErrorQueued);
  };

  constructor({ native, reactor, fd, offload = NO_OFFLOAD }: ShimEngineInit) {
    this.#native = native;
    this.#reactor = reactor;
    this.#fd = fd;
    this.localAddr = readName(native, native.name(fd));
    this.peerAddr = this.#readPeer();
    this.#family = (this.localAddr._encoded.words[0] as number) & 0xffff;
    const isIPv6 = this.#family === AF_INET6;
    const nameCapacity = this.#family === AF_UNIX ? NAME_CAPACITY_MAX : SOCKADDR_IN6_BYTES;
    const common = { native, fd, nameCapacity, counters: this.counters };
    const mayOffload = this.#family === AF_UNIX ? NO_OFFLOAD : offload;
    this.#sender = new ShimSender({
      ...common,
      isIPv6,
      peer: this.peerAddr,
      isSegmenting: mayOffload.segmentation,
    });
    this.#isCoalescing = this.#family !== AF_UNIX && coalesces(native, fd, mayOffload);
    this.#receiver = new ShimReceiver({ ...common, isCoalescing: this.#isCoalescing });
    this.#options = new IpOptions(native, fd, isIPv6);
    if (this.peerAddr !== undefined) this.#reportIcmp();
    this.#registration = reactor.add(fd);
    native.own(fd);
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
    const limit = Math.min(end - start, BATCH_COUNT_MAX);
    if (limit === 0 && this.#fd !== -1) return 0;
    if (!this.#mayReceive(waker)) return Pending;
    const run = { start, count: limit };
    let result = this.#receiver.receive(bufs, run, info);
    if (this.#wasTold(result)) result = this.#receiver.receive(bufs, run, info);
    return this.#received(result, waker);
  }

  receiveBatch(waker: Waker | null, batch: RecvBatch): Poll<number> {
    if (!this.#mayReceive(waker)) return Pending;
    let result = this.#receiver.receiveBatch(batch);
    if (this.#wasTold(result)) result = this.#receiver.receiveBatch(batch);
    return this.#received(result, waker);
  }

  /** Whether to ask the kernel now; if not, `waker` is kept. */
  #mayReceive(waker: Waker | null): boolean {
    if (this.#fd === -1) throw closedError("recv");
    const interest = this.#registration.read;
    if (!interest.mayRun(waker)) return false;
    // Asking again at once would find nothing; waiting tells at once of what came since.
    const isPointless = waker !== null && this.#receiver.isDrained;
    this.#receiver.forgetDrained();
    if (isPointless) interest.wait(waker);
    return !isPointless;
  }

  #received(result: number, waker: Waker | null): Poll<number> {
    if (result < 0) return this.#receiveFailed(-result, waker);
    this.#registration.read.moved(result);
    return result;
  }

  #receiveFailed(errno: number, waker: Waker | null): Pending {
    const interest = this.#registration.read;
    if (errno === EAGAIN) {
      this.counters.receiveWouldBlocks++;
      // One that came since the kernel was asked is as good as one that it told.
      const queued = interest.sawError ? this.#drainErrorQueue() : 0;
      if (queued === 0 || this.#tellError !== undefined) {
        if (waker !== null) interest.wait(waker);
        return Pending;
      }
      throw this.#receiveError(queued);
    }
    this.#drainErrorQueue();
    throw this.#receiveError(errno);
  }

  #receiveError(errno: number): SocketError {
    this.counters.receiveErrors++;
    return new SocketError({ errno, syscall: "recvmmsg", ...this.#about() });
  }

  send(
    waker: Waker | null,
    bufs: readonly Payload[],
    start: number,
    end: number,
    to: Destinations,
  ): Poll<number> {
    if (this.#fd === -1) throw closedError("send");
    this.#throwSendError();
    const limit = Math.min(end - start, BATCH_COUNT_MAX);
    if (limit === 0) return 0;
    const interest = this.#registration.write;
    if (!interest.mayRun(waker)) return Pending;
    const run = { start, count: limit };
    let result = this.#sender.send(bufs, run, to);
    if (this.#wasTold(result)) result = this.#sender.send(bufs, run, to);
    if (result < 0) {
      const address = destination(to, start);
      return this.#sendFailed(-result, waker, { address, length: bufs[start]?.length ?? 0 });
    }
    interest.moved(result);
    if (result < limit) this.#findDroppedError();
    return result;
  }

  sendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    if (this.#fd === -1) throw closedError("send");
    this.#throwSendError();
    const waiting = batch.length;
    if (waiting === 0) return 0;
    if (this.#family === AF_UNIX) batch._refuseMetadata("Unix datagrams have none");
    const interest = this.#registration.write;
    if (!interest.mayRun(waker)) return Pending;
    const address = batch._firstAddress;
    let result = this.#sender.sendBatch(batch);
    if (this.#wasTold(result)) result = this.#sender.sendBatch(batch);
    if (result < 0) {
      return this.#sendFailed(-result, waker, { address, length: batch._firstLength });
    }
    interest.moved(result);
    this.counters.datagramsSent += result;
    this.counters.bytesSent += batch._sent(result);
    if (result < waiting) this.#findDroppedError();
    return result;
  }

  #sendFailed(
    errno: number,
    waker: Waker | null,
    { address, length }: { address: SocketAddress | undefined; length: number },
  ): Pending {
    const interest = this.#registration.write;
    if (errno === EAGAIN || errno === ENOBUFS) {
      this.counters.sendWouldBlocks++;
      if (waker !== null) {
        // Nobody tells when a device's full queue has room again (ENOBUFS), nor when a full peer
        // has that this socket is not connected to: a Unix socket polls as writable then.
        const isTold = errno === EAGAIN && (this.#family !== AF_UNIX || address === undefined);
        if (isTold) interest.wait(waker);
        else interest.retryLater(waker);
      }
      return Pending;
    }
    this.counters.sendErrors++;
    this.#drainErrorQueue();
    const detail = `datagram of ${length} bytes`;
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
    if (errno === 0 || this.#tellError !== undefined) return;
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
    const errors = this.#tellError && ([] as TransportError[]);
    const errno = drainErrorQueue(this.#native, this.#fd, errors);
    // Not from within a call on this socket: the handler may use it, or close it.
    if (errors?.length) queueMicrotask(() => this.#tell(errors));
    return errno;
  }

  #tell(errors: readonly TransportError[]): void {
    for (const error of errors) {
      const tell = this.#tellError;
      if (this.#fd === -1 || tell === undefined) return;
      callWaker(() => tell(error));
    }
  }

  /**
   * Whether a call failed for nothing but an error that was reported before, and that whoever
   * wants to be told of such errors is told of: then it is worth another try.
   */
  #wasTold(result: number): boolean {
    if (result >= 0 || result === -EAGAIN || this.#tellError === undefined) return false;
    return this.#drainErrorQueue() === -result;
  }

  tellTransportErrors(tell: ((error: TransportError) => void) | undefined): void {
    this.#checkOpen();
    this.#options.setReceiveErrors(tell !== undefined || this.peerAddr !== undefined);
    this.#tellError = tell;
    if (tell !== undefined) this.#registration.error.wait(this.#onErrorQueued);
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

  get controls(): UdpControls {
    this.#checkOpen();
    return this.#options;
  }

  receiveMetadata(wanted: ReceiveMetadata): Capabilities {
    this.#checkOpen();
    const granted = this.#options.receiveMetadata(wanted);
    if (Object.values(granted).includes(true)) this.#receiver.readMetadata(this.localAddr);
    return {
      ...granted,
      segmentation: this.#sender.isSegmenting,
      coalescing: this.#isCoalescing,
    };
  }

  #checkOpen(): void {
    if (this.#fd === -1) throw closedError("setsockopt");
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
    const fd = this.#letGo();
    if (fd === undefined) return;
    this.#options.close();
    this.#native.close(fd);
  }

  release(): number | undefined {
    const fd = this.#letGo();
    if (fd === undefined) return undefined;
    this.#native.disown(fd);
    if (this.#family !== AF_UNIX) {
      if (this.#isCoalescing) this.counters.datagramsDropped += endCoalescing(this.#native, fd);
      this.#options.setReceiveErrors(false);
    }
    this.#options.close();
    return fd;
  }

  #letGo(): number | undefined {
    const fd = this.#fd;
    if (fd === -1) return undefined;
    this.unref();
    const { read, write } = this.#registration;
    const wakers = [read.takeWaker(), write.takeWaker()];
    this.#reactor.remove(this.#registration);
    this.counters.datagramsDropped += this.#receiver.close();
    this.#sender.close();
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

/**
 * Whether messages of many datagrams may come: as they are asked for, or since whoever opened the
 * descriptor did so, when some may wait already that could not be taken apart without the option.
 */
function coalesces(native: Native, fd: number, { coalescing }: Offload): boolean {
  if (coalescing) return native.setIntOption(fd, IPPROTO_UDP, UDP_GRO, 1) >= 0;
  return native.getIntOption(fd, IPPROTO_UDP, UDP_GRO) >= 0 && native.scratch[0] === 1;
}
