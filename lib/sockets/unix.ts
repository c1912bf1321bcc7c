/** Unix datagram sockets: local, reliable and ordered (unix(7)). */

import type { Native } from "../../ffi/native.ts";
import { AF_UNIX } from "../address/sockaddr.ts";
import { isOtherVersion, SocketAddress, toAddress } from "../address/socket-address.ts";
import { checkPeer, type Destination } from "../datagram/destination.ts";
import {
  checkBufferType,
  type Payload,
  payloadBytes,
  type Sendable,
  type Target,
} from "../datagram/payload.ts";
import { RecvMeta } from "../datagram/recv-meta.ts";
import { checkSendErrors, type SendErrors } from "../engine/engine.ts";
import { withFdTargets } from "../engine/native/fd-datagrams.ts";
import { NativeEngine } from "../engine/native/native-engine.ts";
import {
  type BufferSizes,
  checkBufferSizes,
  closeOnThrow,
  openSocket,
  setBufferSizes,
} from "../engine/native/open-socket.ts";
import { SOCK_DGRAM } from "../linux/constants.ts";
import type { WaitOptions } from "../poll/operation-queue.ts";
import { Pending, type Poll, startPromise, type Waker, WouldBlock } from "../poll/poll.ts";
import { loadNativeThread, type NativeThread } from "../readiness/thread-reactor.ts";
import { typeError } from "../support/check.ts";
import { checkResult, unsupportedError } from "../support/errors.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { checkAdoptable, checkOpenFd } from "./adopt.ts";
import { EngineSocket } from "./engine-socket.ts";
import {
  checkFds,
  checkFdsMax,
  checkRecvFdsOptions,
  checkSendFdsOptions,
  ReceivedFds,
  type RecvFdsOptions,
  type SendFdsOptions,
} from "./passed-fds.ts";

/** Options of `UnixDatagram.bind` and `UnixDatagram.unbound`. */
export interface UnixOptions extends BufferSizes {
  /** The peer to connect to, as a path or an address. */
  readonly connect?: string | SocketAddress | undefined;
  /** The handling of datagrams that the system refuses. Default `"throw"`. */
  readonly sendErrors?: SendErrors | undefined;
}

const BUFFER_OPTIONS = optionKinds<BufferSizes>({
  receiveBufferBytes: "any",
  sendBufferBytes: "any",
});

const UNIX_OPTIONS = optionKinds<UnixOptions>({
  connect: "any",
  sendErrors: "any",
  ...BUFFER_OPTIONS,
});

/** A cache of addresses by path. It is cleared when it is full. */
const PATHS_MAX = 256;
const paths = new Map<string, SocketAddress>();

/**
 * A Unix datagram socket. Requires the native backend: Bun has no Unix datagram sockets.
 *
 * Opening is asynchronous: the first socket of a thread waits until it has seen an event of Bun's
 * event loop (docs/readiness.md). `datagram-socket/unix-dgram` binds synchronously.
 *
 * @example
 * ```ts
 * const [a, b] = await UnixDatagram.pair();
 * await a.send(new TextEncoder().encode("hello"));
 * await b.recv(new Uint8Array(100)); // 5
 * ```
 */
export class UnixDatagram extends EngineSocket {
  readonly #native: Native;
  readonly #engine: NativeEngine;
  /** The file that `bind` created and `close` removes. */
  #file: BoundFile | undefined;

  private constructor(native: Native, engine: NativeEngine) {
    super(engine);
    this.#native = native;
    this.#engine = engine;
  }

  /**
   * Opens a socket bound to a file, which `close` removes again, or to an abstract address.
   *
   * @throws SocketError if the system refuses (`EADDRINUSE` if the file exists); with code
   * `ERR_NOT_SUPPORTED` without the native backend.
   */
  static override async bind(
    path: string | SocketAddress,
    options: UnixOptions = {},
  ): Promise<UnixDatagram> {
    const address = unixAddress("path", path);
    const isFile = !address.address.startsWith("\0");
    const created: { file?: BoundFile | undefined } = {};
    try {
      const socket = await UnixDatagram.#open(options, (native, fd) => {
        checkResult(native.bind(fd, address._encoded), "bind", address);
        if (isFile) created.file = boundFile(address.address);
      });
      socket.#file = created.file;
      return socket;
    } catch (error) {
      if (created.file !== undefined) removeFile(created.file);
      throw error;
    }
  }

  /** Opens a socket without an address: it can send, but receive no replies. */
  static unbound(options: UnixOptions = {}): Promise<UnixDatagram> {
    return UnixDatagram.#open(options, () => {});
  }

  /** Opens two sockets without addresses that are connected to each other. */
  static async pair(options: BufferSizes = {}): Promise<[UnixDatagram, UnixDatagram]> {
    checkOptions("options", options, BUFFER_OPTIONS);
    checkBufferSizes(options);
    const loaded = await requireNative("UnixDatagram.pair");
    const { native } = loaded;
    checkResult(native.pair(AF_UNIX, SOCK_DGRAM), "socketpair");
    const [left, right] = [native.scratch[0] as number, native.scratch[1] as number];
    const wrap = (fd: number) => new UnixDatagram(native, new NativeEngine({ ...loaded, fd }));
    return closeOnThrow(native, right, () => {
      const first = closeOnThrow(native, left, () => {
        setBufferSizes(native, left, options);
        setBufferSizes(native, right, options);
        return wrap(left);
      });
      try {
        return [first, wrap(right)];
      } catch (error) {
        first.close();
        throw error;
      }
    });
  }

  /**
   * Adopts an open Unix datagram descriptor: takes its ownership and makes it non-blocking. `close`
   * does not remove the file that it is bound to.
   *
   * @throws SocketError if it is another kind of descriptor (`EINVAL`, `ENOTSOCK`, `EBADF`), or if a
   * socket of this thread has it (`EEXIST`). The caller keeps the ownership then. With code
   * `ERR_NOT_SUPPORTED` without the native backend.
   */
  static async fromFd(fd: number): Promise<UnixDatagram> {
    checkOpenFd(fd, "fromFd");
    const loaded = await requireNative("UnixDatagram.fromFd");
    checkAdoptable(loaded, fd, [AF_UNIX]);
    return new UnixDatagram(loaded.native, new NativeEngine({ ...loaded, fd }));
  }

  static async #open(
    options: UnixOptions,
    bind: (native: Native, fd: number) => void,
  ): Promise<UnixDatagram> {
    checkOptions("options", options, UNIX_OPTIONS);
    checkBufferSizes(options);
    checkSendErrors(options.sendErrors);
    const peer =
      options.connect === undefined ? undefined : unixAddress("connect", options.connect);
    const loaded = await requireNative("UnixDatagram");
    const { native } = loaded;
    const fd = openSocket(native, AF_UNIX, (fd) => {
      setBufferSizes(native, fd, options);
      // Connects first: if that fails, no file was created.
      if (peer) checkResult(native.connect(fd, peer._encoded), "connect", peer);
      bind(native, fd);
    });
    const { sendErrors } = options;
    const create = () => new UnixDatagram(native, new NativeEngine({ ...loaded, fd, sendErrors }));
    return closeOnThrow(native, fd, create);
  }

  /** As `DatagramSocketSend.pollSendTo`; a string is a path. */
  override pollSendTo(
    waker: Waker | null,
    buf: Payload,
    address: SocketAddress | string,
  ): Poll<number> {
    return super.pollSendTo(waker, buf, unixAddress("address", address));
  }

  /** As `DatagramSocketSend.sendTo`; a string is a path. */
  override sendTo(
    buf: Sendable,
    address: Destination | string,
    options?: WaitOptions,
  ): Promise<number> {
    return startPromise(() => super.sendTo(buf, unixAddress("address", address), options));
  }

  /** As `DatagramSocketSend.trySendTo`; a string is a path. */
  override trySendTo(buf: Sendable, address: Destination | string): number | WouldBlock {
    return super.trySendTo(buf, unixAddress("address", address));
  }

  /**
   * Sends one datagram, and passes 1 to 253 descriptors of any kind with it (SCM_RIGHTS, unix(7)).
   * The receiver gets duplicates if it calls `recvFds` or the like; otherwise the kernel closes them.
   * The caller keeps its own descriptors, which must stay open until the promise settles. Waits while
   * the socket is full, and returns the length of the datagram.
   *
   * @example
   * ```ts
   * await control.sendFds(new Uint8Array(1), [udpSocket.asRawIo() as number]);
   * ```
   * @throws TypeError or RangeError for invalid arguments; SocketError with code `EBADF` if a
   * descriptor is not open, and `ETOOMANYREFS` if more descriptors of this user are in receive
   * buffers than the process may open (`RLIMIT_NOFILE`); others as those of `send` and `sendTo`.
   */
  sendFds(buf: Payload, fds: readonly number[], options: SendFdsOptions = {}): Promise<number> {
    return startPromise(() => {
      checkSendFdsOptions(options);
      const { to, signal } = options;
      const passed = checkFds(this.#native, fds);
      const poll = (waker: Waker) => this.pollSendFds(waker, buf, passed, to);
      return this._runSend(poll, { signal });
    });
  }

  /** Sends as `sendFds` does, or returns `WouldBlock`. */
  trySendFds(
    buf: Payload,
    fds: readonly number[],
    to?: SocketAddress | string,
  ): number | WouldBlock {
    if (this._sendQueue?.isBusy) return WouldBlock;
    const result = this.pollSendFds(null, buf, fds, to);
    return result === Pending ? WouldBlock : result;
  }

  /**
   * Sends as `sendFds` does. If the socket is full, stores `waker` (unless it is `null`) and
   * returns `Pending`.
   */
  pollSendFds(
    waker: Waker | null,
    buf: Payload,
    fds: readonly number[],
    to?: SocketAddress | string,
  ): Poll<number> {
    checkBufferType("buf", buf);
    const given = to === undefined ? undefined : unixAddress("to", to);
    const peer = this.peerAddr;
    if (given !== undefined && peer !== undefined) checkPeer(peer, given);
    const address = peer === undefined ? given : undefined;
    const datagram = { payload: payloadBytes(buf), address, fds: checkFds(this.#native, fds) };
    const send = (shared: Waker | null) => this.#engine.sendFds(shared, datagram);
    return this._pollEngineSend(waker, send) === Pending ? Pending : datagram.payload.length;
  }

  /**
   * Waits for one datagram, and accepts up to `fdsMax` descriptors that it passes. Others are closed,
   * which `ReceivedFds.fdsTruncated` and `counters.controlTruncated` report. All other receives accept
   * no descriptors.
   *
   * The library owns the descriptors until `intoFds` transfers them to the caller: it closes them with
   * the result (`using`), and when the thread ends.
   *
   * @example
   * ```ts
   * using received = await control.recvFds(new Uint8Array(100), { fdsMax: 1 });
   * const [fd] = received.intoFds();
   * if (fd === undefined) throw new Error("a datagram with a descriptor expected");
   * const socket = await UdpSocket.fromFd(fd);
   * ```
   */
  recvFds(buf: Target, options: RecvFdsOptions = {}): Promise<ReceivedFds> {
    return startPromise(() => {
      checkRecvFdsOptions(options);
      const { fdsMax, signal } = options;
      return this._runRecv((waker) => this.pollRecvFds(waker, buf, fdsMax), { signal });
    });
  }

  /** Receives as `recvFds` does, or returns `WouldBlock`. */
  tryRecvFds(buf: Target, fdsMax?: number): ReceivedFds | WouldBlock {
    if (this._recvQueue?.isBusy) return WouldBlock;
    const result = this.pollRecvFds(null, buf, fdsMax);
    return result === Pending ? WouldBlock : result;
  }

  /**
   * Receives as `recvFds` does. If there is no datagram, stores `waker` (unless it is `null`) and
   * returns `Pending`.
   */
  pollRecvFds(waker: Waker | null, buf: Target, fdsMax?: number): Poll<ReceivedFds> {
    checkBufferType("buf", buf);
    const limit = checkFdsMax(fdsMax);
    this._recvError?.throwIfSet();
    const meta = new RecvMeta();
    return withFdTargets(this.#native, limit, (targets) => {
      const receive = (shared: Waker | null) => this.#engine.receiveFds(shared, buf, meta, targets);
      if (this._pollEngineRecv(waker, receive) === Pending) return Pending;
      return new ReceivedFds(this.#native, meta, targets.take());
    });
  }

  /** As `DatagramSocket.intoFd`. The caller also takes the ownership of the file. */
  override intoFd(): number | undefined {
    const fd = super.intoFd();
    if (fd !== undefined) this.#file = undefined;
    return fd;
  }

  /** Closes the socket and removes the file that `bind` created. Idempotent. */
  override close(): void {
    super.close();
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) removeFile(file);
  }
}

if (isShared("UnixDatagram", UnixDatagram)) {
  // @ts-expect-error See `isShared`.
  UnixDatagram = sharedClass("UnixDatagram");
}

/** The identity of a file, to recognize if another one has replaced it. */
interface BoundFile {
  /** Absolute, because the working directory may change. */
  readonly path: string;
  readonly device: number;
  readonly inode: number;
}

function boundFile(path: string): BoundFile | undefined {
  const { lstatSync } = process.getBuiltinModule("node:fs");
  const { resolve } = process.getBuiltinModule("node:path");
  const absolute = resolve(path);
  const stats = lstatSync(absolute, { throwIfNoEntry: false });
  return stats && { path: absolute, device: stats.dev, inode: stats.ino };
}

/** Removes the file, unless it is gone or another one has replaced it. */
function removeFile({ path, device, inode }: BoundFile): void {
  const { lstatSync, rmSync } = process.getBuiltinModule("node:fs");
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.dev === device && stats.ino === inode) rmSync(path, { force: true });
}

async function requireNative(what: string): Promise<NativeThread> {
  const loaded = await loadNativeThread();
  if ("reason" in loaded) {
    throw unsupportedError(what, `Unix datagrams require the native backend: ${loaded.reason}`);
  }
  return loaded;
}

/** Returns the address of a path, from the cache if possible. */
function unixAddress(name: string, path: string | Destination): SocketAddress {
  if (SocketAddress._isGenuine(path)) {
    if (path.family !== "unix" || path.isUnnamed) throw typeError(name, "Unix address", `${path}`);
    return path;
  }
  if (isOtherVersion(path)) return unixAddress(name, toAddress(name, path));
  if (typeof path !== "string") throw typeError(name, "path or SocketAddress", path);
  let address = paths.get(path);
  if (address === undefined) {
    address = SocketAddress.unix(path);
    if (paths.size >= PATHS_MAX) paths.clear();
    paths.set(path, address);
  }
  return address;
}
