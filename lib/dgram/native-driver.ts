/** Drives a socket of `node:dgram` with the native engine. */

import { drainMicrotasks } from "bun:jsc";
import type { Native } from "../../ffi/native.ts";
import { SocketAddress } from "../address/socket-address.ts";
import { RecvBatch } from "../batch/recv-batch.ts";
import { NativeEngine } from "../engine/native/native-engine.ts";
import {
  IP_MULTICAST_IF,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MULTICAST_IF,
  SO_RCVBUF,
  SO_SNDBUF,
  SOL_SOCKET,
} from "../linux/constants.ts";
import { chooseOffload, NO_OFFLOAD } from "../linux/offload.ts";
import { IpSocketOptions } from "../linux/socket-options.ts";
import { callWaker, Pending } from "../poll/poll.ts";
import { loadNativeThread, type NativeThread } from "../readiness/thread-reactor.ts";
import { isUdpLite, resetBoundaries } from "../sockets/adopt.ts";
import { openUdp } from "../sockets/udp-setup.ts";
import { checkResult, SocketError, unsupportedError } from "../support/errors.ts";
import { keepProcessAlive, setImmediate } from "../support/timers.ts";
import { Destinations, parseAddress, recordOf, textOf } from "./addresses.ts";
import type {
  AddressRecord,
  BindRequest,
  Done,
  Driver,
  DriverEvents,
  Group,
  SendRequest,
} from "./driver.ts";
import { EBADF, EEXIST, EINVAL, errnoException, errnoOf } from "./errors.ts";
import { SendQueue } from "./send-queue.ts";
import { hold, release } from "./tick.ts";

/** The number of messages per receive: each is one datagram, or with GRO up to 128. */
const MESSAGES_PER_RECEIVE = 16;

/**
 * The number of datagrams that a socket reads ahead. The receive buffer of the kernel has room for
 * about 90 of 1,200 bytes by default, and those that arrive while listeners run would overflow it.
 */
const INBOX_MAX = 4096;
/** The number of datagrams that a socket delivers before others read ahead. */
const DELIVERED_PER_TICK = 32;

/** A datagram that has been read and not delivered. */
interface Received {
  readonly message: Buffer;
  readonly peer: SocketAddress;
}

/** AF_UNSPEC, which ends the connection of a datagram socket (connect(2)). */
const NO_PEER = { words: new Int32Array(4), length: 16 };

/** Batches that no socket uses. Several are in use only if a receive runs within another. */
const idleBatches: RecvBatch[] = [];

/** The descriptors that will be registered for readiness when the reactor is loaded. */
const waitingFds: Set<number> = new Set();

/** The reactor of this thread, as soon as it is loaded. */
let thread: NativeThread | undefined;

/** A UDP socket on the C shim. Its descriptor is opened by the first call that needs one. */
export class NativeDriver implements Driver {
  fd = -1;
  readonly #native: Native;
  readonly #isIPv6: boolean;
  readonly #events: DriverEvents;
  readonly #queue: SendQueue = new SendQueue();
  readonly #destinations: Destinations;
  #options: IpSocketOptions | undefined;
  /** Absent until the reactor of the thread is loaded. */
  #engine: NativeEngine | undefined;
  /** Datagrams and errors, of which the first `#delivered` have been delivered. */
  readonly #inbox: (Received | Error)[] = [];
  #delivered = 0;
  #isDelivering = false;
  #isRef = true;
  #releaseProcess: (() => void) | undefined;

  constructor(native: Native, isIPv6: boolean, events: DriverEvents) {
    this.#native = native;
    this.#isIPv6 = isIPv6;
    this.#events = events;
    this.#destinations = new Destinations(isIPv6);
  }

  // ----------------------------------------------------------------------------- opening ----

  bind(request: BindRequest, done: Done): void {
    let result = 0;
    try {
      this.#bind(request);
    } catch (error) {
      result = -errnoOf(error);
    }
    done(result);
  }

  #bind({ ip, port, reuseAddr, reusePort, ipv6Only }: BindRequest): void {
    const local = parseAddress(ip, port);
    const family = this.#isIPv6 ? "IPv6" : "IPv4";
    // A group that was joined before has bound the socket to a port that the system chose.
    if (this.fd !== -1 && port === 0) return;
    if (local?.family !== family || this.fd !== -1) throw errnoException(EINVAL, "bind");
    const options = { reuseAddress: reuseAddr, reusePort, ipv6Only };
    this.#own(openUdp(this.#native, { local, peer: undefined }, options));
  }

  open(fd: number, done: Done): void {
    const native = this.#native;
    if (waitingFds.has(fd) || thread?.reactor.has(fd)) throw errnoException(EEXIST, "open");
    checkResult(native.setNonblocking(fd), "open");
    resetBoundaries(native, fd);
    this.#own(fd);
    done(0);
  }

  /** Binds the socket to any address, unless it is bound. */
  #ensureBound(): void {
    if (this.fd !== -1) return;
    const ip = this.#isIPv6 ? "::" : "0.0.0.0";
    const flags = { reuseAddr: true, reusePort: false, ipv6Only: false, isShared: false };
    this.#bind({ ip, port: 0, ...flags });
  }

  #own(fd: number): void {
    this.fd = fd;
    this.#options = new IpSocketOptions(this.#native, fd, this.#isIPv6);
    if (thread !== undefined) {
      this.#start(thread);
      return;
    }
    if (this.#isRef) this.#releaseProcess = keepProcessAlive();
    waitingFds.add(fd);
    this.#queue.open(fd);
    loadNativeThread().then(
      (loaded) => {
        this.#release();
        if (this.fd === -1) return;
        waitingFds.delete(fd);
        if ("reason" in loaded) {
          this.#events.error(unsupportedError("bind", loaded.reason));
          return;
        }
        thread = loaded;
        this.#start(loaded);
      },
      (error) => {
        this.#release();
        if (this.fd !== -1) this.#events.error(error);
      },
    );
  }

  #release(): void {
    this.#releaseProcess?.();
    this.#releaseProcess = undefined;
  }

  #start({ native, reactor }: NativeThread): void {
    const { fd } = this;
    const offload = isUdpLite(native, fd) ? NO_OFFLOAD : chooseOffload(native, true);
    const engine = new NativeEngine({ native, reactor, fd, offload });
    this.#engine = engine;
    if (!this.#isRef) engine.unref();
    // Node reports only the errors that the kernel returns without a queue of ICMP errors.
    this.#options?.setReceiveErrors(false);
    this.#queue.start(engine);
    process.nextTick(this.#receive);
  }

  connect(ip: string, port: number, done: Done): void {
    const address = this.#destinations.get(ip, port);
    this.#queue.flush();
    done(address === undefined ? -EINVAL : this.#native.connect(this.fd, address._encoded));
  }

  disconnect(): void {
    this.#queue.flush();
    checkResult(this.#native.connect(this.fd, NO_PEER), "connect");
  }

  // --------------------------------------------------------------------------- datagrams ----

  readonly #receive: () => void = () => {
    const engine = this.#engine;
    if (engine === undefined || this.fd === -1) return;
    const batch = idleBatches.pop() ?? new RecvBatch({ messages: MESSAGES_PER_RECEIVE });
    // The reactor ends the loop after some datagrams, and calls this function again.
    while (this.#inbox.length < INBOX_MAX && this.#receiveBatch(engine, batch));
    idleBatches.push(batch);
    if (!this.#isDelivering && this.#inbox.length > 0) this.#deliver();
  };

  /** Returns whether the socket may have more datagrams. */
  #receiveBatch(engine: NativeEngine, batch: RecvBatch): boolean {
    try {
      if (engine.receiveBatch(this.#receive, batch) === Pending) return false;
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      this.#inbox.push(errnoException(error.errno, "recvmsg"));
      return true;
    }
    const { bytes, length } = batch;
    for (let i = 0; i < length; i++) {
      const peer = batch.peerAt(i);
      if (peer === undefined) continue;
      const size = batch.lengthAt(i);
      // Copies to memory of its own, at offset 0 of its `ArrayBuffer`, as in Node.
      const message = Buffer.copyBytesFrom(bytes, batch.offsetAt(i), size);
      this.#inbox.push({ message, peer });
    }
    return true;
  }

  /** Calls the listeners for some of the datagrams in the inbox, and again in the next tick. */
  readonly #deliver: () => void = () => {
    const inbox = this.#inbox;
    const end = Math.min(inbox.length, this.#delivered + DELIVERED_PER_TICK);
    this.#isDelivering = true;
    hold();
    while (this.#delivered < end && this.fd !== -1) {
      const next = inbox[this.#delivered++] as Received | Error;
      if (this.#delivered === end) release();
      callWaker(() => this.#report(next));
      // Runs what the listeners have queued with promises and `process.nextTick`: a program that
      // awaits `once(socket, "message")` again and again must get every datagram.
      drainMicrotasks();
    }
    if (this.#delivered < end) release();
    if (this.fd !== -1 && this.#delivered < inbox.length) {
      setImmediate(this.#deliver);
      return;
    }
    const wasFull = inbox.length >= INBOX_MAX;
    inbox.length = this.#delivered = 0;
    this.#isDelivering = false;
    if (wasFull) setImmediate(this.#receive);
  };

  #report(received: Received | Error): void {
    if (received instanceof Error) {
      this.#events.error(received);
      return;
    }
    const { message, peer } = received;
    const address = textOf(peer);
    const family = peer.family === "IPv6" ? "IPv6" : "IPv4";
    if (this.#events.isBlocked(address, family)) return;
    this.#events.message(message, { address, family, port: peer.port, size: message.length });
  }

  send(request: SendRequest, ip: string | undefined, port: number | undefined): number {
    const { list } = request;
    const payload = list.length === 1 ? (list[0] as Uint8Array) : Buffer.concat(list);
    if (ip === undefined) return this.#queue.send(payload, request, undefined);
    const address = this.#destinations.get(ip, port as number);
    return address === undefined ? -EINVAL : this.#queue.send(payload, request, address);
  }

  cork(): void {
    this.#queue.cork();
  }

  uncork(): void {
    this.#queue.uncork();
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  get queuedCount(): number {
    return this.#queue.count;
  }

  // ----------------------------------------------------------------------------- options ----

  localAddress(): AddressRecord {
    return this.#readName(this.#native.name(this.#checkFd()), "getsockname");
  }

  remoteAddress(): AddressRecord {
    return this.#readName(this.#native.peerName(this.#checkFd()), "getpeername");
  }

  #readName(length: number, syscall: string): AddressRecord {
    checkResult(length, syscall);
    return recordOf(SocketAddress._decode(this.#native.scratch, 0, length));
  }

  #checkFd(): number {
    if (this.fd === -1) throw errnoException(EBADF, "fd");
    return this.fd;
  }

  get #controls(): IpSocketOptions {
    this.#checkFd();
    this.#queue.flush();
    return this.#options as IpSocketOptions;
  }

  setBroadcast(isAllowed: boolean): void {
    this.#controls.setBroadcast(isAllowed);
  }

  setTTL(ttl: number): void {
    const controls = this.#controls;
    if (!(ttl >= 1 && ttl <= 255)) throw errnoException(EINVAL, "setTTL");
    controls.setTTL(ttl);
  }

  setMulticastTTL(ttl: number): void {
    const controls = this.#controls;
    if (!(ttl >= 0 && ttl <= 255)) throw errnoException(EINVAL, "setMulticastTTL");
    controls.setMulticastTTL(ttl);
  }

  setMulticastLoopback(isEnabled: boolean): void {
    this.#controls.setMulticastLoopback(isEnabled);
  }

  /** As uv_udp_set_multicast_interface: the family of the address selects the option. */
  setMulticastInterface(interfaceAddress: string): void {
    // An unknown zone is the choice of the system.
    const plain = interfaceAddress.split("%", 1)[0] as string;
    const address = parseAddress(interfaceAddress, 0) ?? parseAddress(plain, 0);
    if (address === undefined) throw errnoException(EINVAL, "setMulticastInterface");
    const controls = this.#controls;
    if (address.family === "IPv4") {
      const { words } = address._encoded;
      controls.setOption(IPPROTO_IP, IP_MULTICAST_IF, new Uint8Array(words.slice(1, 2).buffer));
    } else {
      controls.setOption(IPPROTO_IPV6, IPV6_MULTICAST_IF, address.scopeId);
    }
  }

  joinGroup(group: Group): void {
    this.#changeGroup(group, true);
  }

  leaveGroup(group: Group): void {
    this.#changeGroup(group, false);
  }

  #changeGroup({ group, source, interfaceAddress }: Group, join: boolean): void {
    const isAddress = (text: string | undefined) =>
      text === undefined || parseAddress(text, 0) !== undefined;
    if (!(isAddress(group) && isAddress(source) && isAddress(interfaceAddress))) {
      throw errnoException(EINVAL, "setsockopt");
    }
    this.#ensureBound();
    const membership = { group, source, interface: interfaceAddress };
    if (join) this.#controls.addMembership(membership);
    else this.#controls.dropMembership(membership);
  }

  bufferBytes(isReceive: boolean, bytes: number): number {
    const controls = this.#controls;
    const option = isReceive ? SO_RCVBUF : SO_SNDBUF;
    // The kernel doubles the size that is set (socket(7)).
    if (bytes > 2 ** 31 - 1) throw errnoException(EINVAL, "setsockopt");
    if (bytes !== 0) controls.setOption(SOL_SOCKET, option, bytes);
    return bytes === 0 ? controls.getOption(SOL_SOCKET, option) : bytes;
  }

  // ---------------------------------------------------------------------------- lifetime ----

  ref(): void {
    this.#isRef = true;
    if (this.fd !== -1 && this.#engine === undefined) this.#releaseProcess ??= keepProcessAlive();
    this.#engine?.ref();
  }

  unref(): void {
    this.#isRef = false;
    this.#release();
    this.#engine?.unref();
  }

  close(): void {
    const { fd } = this;
    if (fd === -1) return;
    this.#queue.close();
    this.fd = -1;
    this.#release();
    this.#options?.close();
    if (this.#engine === undefined) {
      waitingFds.delete(fd);
      this.#native.close(fd);
    } else {
      this.#engine.close();
    }
  }
}
