/**
 * Readiness of a descriptor of one's own: for socket types written over raw descriptors, TUN
 * devices and the like. Linux only, as the shim is.
 */

import type { SocketAddress } from "../address/address.ts";
import type { DatagramInfo, Payload, Target } from "../datagram/info.ts";
import type { Registration } from "../readiness/interest.ts";
import { loadReactor } from "../readiness/load.ts";
import type { Reactor } from "../readiness/reactor.ts";
import { checkInteger } from "../support/check.ts";
import { closedError, SocketError, unsupportedError } from "../support/errors.ts";
import { EEXIST } from "../support/linux.ts";
import { callWaker, Pending, type Poll, type Waker, WouldBlock } from "../traits/poll.ts";
import { recvmmsg, sendmmsg } from "./mmsg.ts";

/**
 * Tells when a descriptor is worth a try. The descriptor stays its owner's, who closes it after
 * `close` here, and reads and writes it without blocking.
 *
 * @example
 * ```ts
 * using ready = await AsyncFd.open(fd);
 * const count = await pollFn((waker) => pollRecvmmsg(ready, waker, buffers));
 * ```
 */
export class AsyncFd {
  readonly fd: number;
  readonly #reactor: Reactor;
  readonly #registration: Registration;
  #isClosed = false;

  private constructor(fd: number, reactor: Reactor) {
    this.fd = fd;
    this.#reactor = reactor;
    this.#registration = reactor.add(fd);
    reactor.ref();
  }

  /**
   * Watches an open descriptor, which keeps the process alive until `close`.
   *
   * @throws SocketError with code `EEXIST` when it is watched already, by a socket of this thread
   * for instance; `ERR_NOT_SUPPORTED` where the shim does not work.
   */
  static async open(fd: number): Promise<AsyncFd> {
    checkInteger("fd", fd, 0, 2 ** 31 - 1);
    const loaded = await loadReactor();
    if ("reason" in loaded) throw unsupportedError("AsyncFd.open", loaded.reason);
    if (loaded.reactor.has(fd)) {
      throw new SocketError({ errno: EEXIST, syscall: "AsyncFd.open", address: `fd ${fd}` });
    }
    return new AsyncFd(fd, loaded.reactor);
  }

  /**
   * Has `waker` called once the descriptor can be read. To be called after a read said
   * would-block; the waker of the latest call is the one that is called.
   */
  waitReadable(waker: Waker): void {
    this.#open().read.wait(waker);
  }

  /** Has `waker` called once the descriptor can be written, as `waitReadable`. */
  waitWritable(waker: Waker): void {
    this.#open().write.wait(waker);
  }

  /** Stops watching, and wakes whoever waits; the descriptor stays open. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { read, write } = this.#registration;
    const wakers = [read.takeWaker(), write.takeWaker()];
    this.#reactor.remove(this.#registration);
    this.#reactor.unref();
    // Whoever waits polls again, and is told.
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

/** `recvmmsg`, or `Pending` after keeping `waker`, which is called when there is a datagram. */
export function pollRecvmmsg(
  ready: AsyncFd,
  waker: Waker,
  bufs: readonly Target[],
  info?: readonly DatagramInfo[],
): Poll<number> {
  ready.checkOpen();
  const result = recvmmsg(ready.fd, bufs, info);
  if (result !== WouldBlock) return result;
  ready.waitReadable(waker);
  return Pending;
}

/** `sendmmsg`, or `Pending` after keeping `waker`, which is called when there is room. */
export function pollSendmmsg(
  ready: AsyncFd,
  waker: Waker,
  bufs: readonly Payload[],
  to?: SocketAddress | readonly SocketAddress[],
): Poll<number> {
  ready.checkOpen();
  const result = sendmmsg(ready.fd, bufs, to);
  if (result !== WouldBlock) return result;
  ready.waitWritable(waker);
  return Pending;
}
