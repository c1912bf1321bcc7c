/**
 * Readiness of a descriptor that the caller owns: for user-defined socket types, TUN devices and
 * similar. Linux only.
 */

import type { SocketAddress } from "../address/socket-address.ts";
import type { Payload, Target } from "../datagram/payload.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import { EEXIST } from "../linux/constants.ts";
import { callWaker, Pending, type Poll, type Waker, WouldBlock } from "../poll/poll.ts";
import type { Registration } from "../readiness/interest.ts";
import type { Reactor } from "../readiness/reactor.ts";
import { loadNativeThread } from "../readiness/thread-reactor.ts";
import { constructorError, typeError } from "../support/check.ts";
import { closedError, SocketError, unsupportedError } from "../support/errors.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { checkOpenFd } from "./adopt.ts";
import { receiveFrom, sendmmsg } from "./mmsg.ts";

/**
 * Reports when a descriptor is ready. The caller keeps the ownership of the descriptor, accesses it
 * without blocking, and closes it after `close()`.
 *
 * @example
 * ```ts
 * using ready = await AsyncFd.open(fd);
 * const count = await pollFn((waker) => pollRecvmmsg(ready, waker, buffers));
 * ```
 */
export class AsyncFd {
  /** The descriptor, which the caller owns. */
  readonly fd: number;
  readonly #reactor: Reactor;
  readonly #registration: Registration;
  #isClosed = false;
  /** @internal Whether `recvmmsg` has accepted the descriptor, which stays the same until `close`. */
  _isChecked = false;

  private constructor(fd: number, reactor: Reactor) {
    if (typeof reactor?.add !== "function") {
      throw constructorError("AsyncFd", "AsyncFd.open registers descriptors");
    }
    this.fd = fd;
    this.#reactor = reactor;
    this.#registration = reactor.add(fd);
    reactor.ref();
  }

  /**
   * Registers an open descriptor, and keeps the process alive until `close()`.
   *
   * @throws SocketError with code `EBADF` if it is not open; with code `EEXIST` if it is registered
   * already, for instance by a socket of this thread; with code `ERR_NOT_SUPPORTED` without the
   * native backend.
   */
  static async open(fd: number): Promise<AsyncFd> {
    checkOpenFd(fd, "AsyncFd.open");
    const loaded = await loadNativeThread();
    if ("reason" in loaded) throw unsupportedError("AsyncFd.open", loaded.reason);
    if (loaded.reactor.has(fd)) {
      throw new SocketError({ errno: EEXIST, syscall: "AsyncFd.open", address: `fd ${fd}` });
    }
    return new AsyncFd(fd, loaded.reactor);
  }

  /**
   * Calls `waker` once when the descriptor is readable. Call it after a read would have blocked. A
   * later call replaces the waker.
   */
  waitReadable(waker: Waker): void {
    checkWaitWaker(waker);
    this.#reactor.wait(this.#open().read, waker);
  }

  /** Calls `waker` once when the descriptor is writable, as `waitReadable` does. */
  waitWritable(waker: Waker): void {
    checkWaitWaker(waker);
    this.#reactor.wait(this.#open().write, waker);
  }

  /** @internal Waits as `waitReadable` does, after a receive that found no datagram. */
  _waitForDatagram(waker: Waker): void {
    this.#reactor.waitForDatagram(this.#open().read, waker);
  }

  /** @internal Records that a receive has returned datagrams. */
  _received(): void {
    this.#registration.read.emptyEvents = 0;
  }

  /** Removes the registration and wakes all waiters. The descriptor stays open. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { read, write } = this.#registration;
    const wakers = [read.takeWaker(), write.takeWaker()];
    this.#reactor.remove(this.#registration);
    this.#reactor.unref();
    // Waiters poll again, and get an error.
    for (const waker of wakers) if (waker !== null) callWaker(waker);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @throws SocketError with code `ERR_SOCKET_CLOSED` after `close`. */
  checkOpen(): void {
    this.#open();
  }

  #open(): Registration {
    if (this.#isClosed) throw closedError("poll");
    return this.#registration;
  }
}

if (isShared("AsyncFd", AsyncFd)) {
  // @ts-expect-error See `isShared`.
  AsyncFd = sharedClass("AsyncFd");
}

/** As `checkWaker`, for calls that only wait. */
function checkWaitWaker(waker: Waker): void {
  if (typeof waker !== "function") throw typeError("waker", "function", waker);
}

/** Calls `recvmmsg`. If it would block, calls `waker` when there is a datagram. */
export function pollRecvmmsg(
  ready: AsyncFd,
  waker: Waker,
  bufs: readonly Target[],
  meta?: readonly RecvMeta[],
): Poll<number> {
  checkWaitWaker(waker);
  ready.checkOpen();
  const result = receiveFrom(ready.fd, bufs, meta, !ready._isChecked);
  if (result !== 0) ready._isChecked = true;
  if (result === WouldBlock) {
    ready._waitForDatagram(waker);
    return Pending;
  }
  ready._received();
  return result;
}

/** Calls `sendmmsg`. If it would block, calls `waker` when there is room. */
export function pollSendmmsg(
  ready: AsyncFd,
  waker: Waker,
  bufs: readonly Payload[],
  to?: SocketAddress | readonly SocketAddress[],
): Poll<number> {
  checkWaitWaker(waker);
  ready.checkOpen();
  const result = sendmmsg(ready.fd, bufs, to);
  if (result !== WouldBlock) return result;
  ready.waitWritable(waker);
  return Pending;
}
