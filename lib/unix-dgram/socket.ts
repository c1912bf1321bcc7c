/** Sockets with the interface of the npm package `unix-dgram`, which cannot be loaded in Bun. */

import { EventEmitter } from "node:events";
import type { Native } from "../../ffi/native.ts";
import { AF_UNIX } from "../address/sockaddr.ts";
import { SocketAddress } from "../address/socket-address.ts";
import { RecvMeta } from "../datagram/recv-meta.ts";
import { EAGAIN, SOCK_DGRAM } from "../linux/constants.ts";
import { WouldBlock } from "../poll/poll.ts";
import { AsyncFd } from "../sockets/async-fd.ts";
import { receiveFrom, sendmmsg } from "../sockets/mmsg.ts";
import { typeError } from "../support/check.ts";
import { checkResult, SocketError, unsupportedError } from "../support/errors.ts";
import { loadFunctions } from "../support/native.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { keepProcessAlive } from "../support/timers.ts";

/** The largest datagram with the default send buffer of Linux has 212,960 bytes. */
const RECEIVE_BYTES_MAX = 2 ** 18;
/** The number of datagrams that a socket receives in a row before others are served. */
const DATAGRAMS_PER_WAKE = 64;

const EBADF = 9;

/** The error of a failed system call, in the form that `unix-dgram` has. */
export interface UnixDgramError extends Error {
  /** The error number of the system, negative; 1 if a connected peer's queue is full. */
  readonly code: number;
  /** As `code`; absent if it is 1. */
  readonly errno?: number;
  /** The call that failed: `"socket"`, `"bind"`, `"connect"`, `"send"` or `"recv"`. */
  readonly syscall?: string;
}

/** The second argument of `message` listeners. */
export interface MessageInfo {
  /** The length of the datagram in bytes. Greater than that of the buffer if it was truncated. */
  readonly size: number;
  /** Always empty. */
  readonly address: Record<string, never>;
  /** The path of the sender, or its abstract name after a NUL. `null` if it has neither. */
  readonly path: string | null;
}

type MessageListener = (message: Buffer, info: MessageInfo) => void;
type SendCallback = (error?: UnixDgramError) => void;

/**
 * Returns a socket. With type `"udp4"` or `"udp6"`, one of `node:dgram`.
 *
 * @param type `"unix_dgram"`.
 * @param listener added as a listener of `message`.
 * @throws Error for another type; UnixDgramError if the system refuses; SocketError with code
 * `ERR_NOT_SUPPORTED` without the native backend.
 */
export function createSocket(type: "unix_dgram", listener?: MessageListener): Socket;
export function createSocket(
  type: "udp4" | "udp6",
  listener?: (message: Buffer, info: import("node:dgram").RemoteInfo) => void,
): import("node:dgram").Socket;
export function createSocket(type: string, listener?: (...args: never[]) => void): unknown {
  if (type === "udp4" || type === "udp6") {
    return process.getBuiltinModule("node:dgram").createSocket(type, listener as () => void);
  }
  return new Socket(type, listener as MessageListener | undefined);
}

/** The events of a `Socket`, with the arguments of their listeners. */
interface SocketEvents {
  listening: [];
  connect: [];
  message: [message: Buffer, info: MessageInfo];
  congestion: [message: Uint8Array];
  writable: [];
  error: [error: Error];
}

/** One buffer for all sockets: no listener runs between a receive and the copy of its bytes. */
let receiveBuffer: Uint8Array | undefined;

/**
 * A Unix datagram socket. `bind`, `connect` and `send` are system calls that have been made when
 * they return, and that emit their events and call their callbacks before they return.
 *
 * Keeps the process alive until `close`.
 */
export class Socket extends EventEmitter<SocketEvents> {
  /** The type of the socket, as `createSocket` got it. */
  readonly type = "unix_dgram";
  /** The descriptor; -1 after `close`. */
  fd: number;
  /** Whether `connect` has succeeded. */
  connected = false;
  readonly #native: Native;
  readonly #meta: RecvMeta = new RecvMeta();
  /** Reports readiness; absent for the first milliseconds of the first socket of a thread. */
  #ready: AsyncFd | undefined;
  #isCongested = false;

  /** As `createSocket`. */
  constructor(type: string, listener?: MessageListener) {
    super();
    if (type !== "unix_dgram") throw new Error(`Unsupported socket type: ${type}`);
    const loaded = loadFunctions("socket");
    if ("reason" in loaded) throw unsupportedError("socket", loaded.reason);
    this.#native = loaded.native;
    const fd = loaded.native.open(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0) throw systemError(-fd, "socket");
    this.fd = fd;
    if (typeof listener === "function") this.on("message", listener);
    this.#waitForReadiness();
  }

  /** Registers the descriptor for readiness, and keeps the process alive meanwhile. */
  #waitForReadiness(): void {
    const release = keepProcessAlive();
    AsyncFd.open(this.fd)
      .then(
        (ready) => {
          if (this.fd === -1) {
            ready.close();
            return;
          }
          this.#ready = ready;
          this.#receive();
          if (this.#isCongested) this.#waitWritable();
        },
        (error) => {
          if (this.fd !== -1) this.emit("error", error);
        },
      )
      .finally(release);
  }

  /**
   * Binds the socket to a path, or to an abstract name that starts with a NUL, and emits
   * `listening`, or `error` if the system refuses. `close` does not remove the file.
   */
  bind(path: string): void {
    const address = addressOf(path);
    const result = this.fd === -1 ? -EBADF : this.#native.bind(this.fd, address._encoded);
    if (result < 0) this.emit("error", systemError(-result, "bind"));
    else this.emit("listening");
  }

  /** Connects the socket to a path or an abstract name, and emits `connect` or `error`. */
  connect(path: string): void {
    const address = addressOf(path);
    const result = this.fd === -1 ? -EBADF : this.#native.connect(this.fd, address._encoded);
    if (result < 0) {
      this.emit("error", systemError(-result, "connect"));
      return;
    }
    this.connected = true;
    this.emit("connect");
  }

  /**
   * Sends `buf` to the connected peer.
   *
   * If its queue is full, the datagram is not sent: `callback` gets an error with code 1, or, without
   * a callback, the socket emits `congestion` with `buf`. The socket emits `writable` when there is
   * room again. Other errors go to `callback`, or to the listeners of `error`.
   *
   * @throws TypeError if `buf` is no `Uint8Array`.
   */
  send(buf: Uint8Array, callback?: SendCallback): void;
  /**
   * Sends `length` bytes of `buf` from `offset` on to `path`. A connected socket ignores `path`. An
   * unconnected one reports a full queue as an error with code -11 (EAGAIN), without `writable`.
   *
   * @throws RangeError if `buf` does not have these bytes.
   */
  send(
    buf: Uint8Array,
    offset: number,
    length: number,
    path: string,
    callback?: SendCallback,
  ): void;
  send(
    buf: Uint8Array,
    offset?: number | SendCallback,
    length?: number,
    path?: string,
    callback?: SendCallback,
  ): void {
    if (!(buf instanceof Uint8Array)) throw typeError("buf", "Uint8Array", buf);
    const isWhole = typeof offset !== "number";
    const bytes = isWhole ? buf : slice(buf, offset, length);
    const to = this.connected || path === undefined ? undefined : addressOf(path);
    const error = this.#trySend(bytes, to);
    const done = isWhole && typeof offset === "function" ? offset : callback;
    if (typeof done === "function") {
      if (error === undefined) done();
      else done(error);
    } else if (error?.code === 1) {
      this.emit("congestion", buf);
    } else if (error !== undefined) {
      this.emit("error", error);
    }
  }

  /** As `send`. */
  sendto(
    buf: Uint8Array,
    offset: number,
    length: number,
    path: string,
    callback?: SendCallback,
  ): void {
    this.send(buf, offset, length, path, callback);
  }

  #trySend(bytes: Uint8Array, to: SocketAddress | undefined): UnixDgramError | undefined {
    if (this.fd === -1) return systemError(EBADF, "send");
    try {
      if (sendmmsg(this.fd, [bytes], to) !== WouldBlock) return undefined;
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      const isFull = this.connected && error.code === "ENOBUFS";
      if (!isFull) return systemError(error.errno, "send");
    }
    if (!this.connected) return systemError(EAGAIN, "send");
    this.#isCongested = true;
    this.#waitWritable();
    return Object.assign(new Error("congestion"), { code: 1 });
  }

  #waitWritable(): void {
    this.#ready?.waitWritable(() => {
      if (this.fd === -1 || !this.#isCongested) return;
      this.#isCongested = false;
      this.emit("writable");
    });
  }

  /** Emits the datagrams that have arrived, and waits for more. */
  #receive(): void {
    if (this.fd === -1) return;
    let isEmpty = false;
    try {
      for (let i = 0; i < DATAGRAMS_PER_WAKE && !isEmpty && this.fd !== -1; i++) {
        isEmpty = !this.#receiveOne();
      }
    } finally {
      // A listener may have thrown, or closed the socket.
      const ready = this.fd === -1 ? undefined : this.#ready;
      const wake = () => this.#receive();
      if (isEmpty) ready?._waitForDatagram(wake);
      else ready?.waitReadable(wake);
    }
  }

  /** Returns whether the socket may have another datagram. */
  #receiveOne(): boolean {
    receiveBuffer ??= new Uint8Array(new ArrayBuffer(RECEIVE_BYTES_MAX));
    const meta = this.#meta;
    let result: number | WouldBlock;
    try {
      result = receiveFrom(this.fd, [receiveBuffer], [meta], false);
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      // The connected peer was closed: the next send reports it.
      if (error.code !== "ECONNRESET") this.emit("error", systemError(error.errno, "recv"));
      return true;
    }
    if (result === WouldBlock) return false;
    this.#ready?._received();
    const message = Buffer.from(receiveBuffer.subarray(0, meta.length));
    const { peer, datagramLength: size } = meta;
    const path = peer === undefined || peer.isUnnamed ? null : peer.address;
    this.emit("message", message, { size, address: {}, path });
    return true;
  }

  /** Closes the socket. Does not remove the file that it is bound to. Idempotent. */
  close(): void {
    const { fd } = this;
    if (fd === -1) return;
    this.fd = -1;
    this.connected = false;
    this.#ready?.close();
    checkResult(this.#native.close(fd), "close");
  }
}

if (isShared("UnixDgramSocket", Socket)) {
  // @ts-expect-error See `isShared`.
  Socket = sharedClass("UnixDgramSocket");
}

function addressOf(path: string): SocketAddress {
  if (typeof path !== "string") throw typeError("path", "string", path);
  return path.startsWith("\0") ? SocketAddress.abstract(path.slice(1)) : SocketAddress.unix(path);
}

function slice(buf: Uint8Array, offset: number, length: number | undefined): Uint8Array {
  const end = offset + (length ?? Number.NaN);
  if (!(Number.isInteger(offset) && Number.isInteger(end) && offset >= 0 && offset <= end)) {
    throw new RangeError(`"offset" and "length" expected integers >= 0, got ${offset}, ${length}`);
  }
  if (end > buf.length) {
    throw new RangeError(`"offset" + "length" expected 0..${buf.length}, got ${end}`);
  }
  return buf.subarray(offset, end);
}

function systemError(errno: number, syscall: string): UnixDgramError {
  const fields = { errno: -errno, code: -errno, syscall };
  return Object.assign(new Error(`${syscall} ${-errno}`), fields);
}
