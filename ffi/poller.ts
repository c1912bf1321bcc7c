/**
 * The native half of readiness: an epoll instance that watches the sockets of one thread, and that
 * Bun's event loop or a helper thread watches in turn. lib/readiness/ decides when to use it.
 */

import { READY } from "./layout.ts";
import type { LoadedShim } from "./load.ts";
import { addressOf, nativeBytes, ownedBuffer } from "./memory.ts";
import type { Shim } from "./symbols.ts";

/** The maximum number of ready descriptors that one `wait` returns. */
const READY_MAX = 64;

const READY_WORDS = READY.size / 4;

/** The properties of an error of a process that is out of memory: errno(3). */
const ENOMEM = { code: "ENOMEM", errno: 12 } as const;

/** The registration of a descriptor with an epoll instance. */
export interface EpollRegistration {
  /** The descriptor of the epoll instance. */
  readonly epoll: number;
  /** The `epoll_data` that the instance reports. */
  readonly data: bigint;
}

/**
 * Returns the only epoll registration of `fd`, or -errno: -ENOENT if there is none, if it is
 * ambiguous, or if /proc is not available.
 */
export function findRegistration(shim: Shim, fd: number): EpollRegistration | number {
  const data = nativeBytes(8);
  const epoll = shim.registration_find(fd, addressOf(data));
  if (epoll < 0) return epoll;
  return { epoll, data: new DataView(data.buffer).getBigUint64(0, true) };
}

/** The epoll instance of one thread. It is closed when the heap of the thread is destroyed. */
export class Poller {
  readonly #shim;
  readonly #address: number;
  readonly #descriptors: number;
  /**
   * The memory of the C struct. SAFETY: this object holds the buffer, so the struct exists while
   * the object is reachable. The destructor of the buffer stops the helper thread.
   */
  protected readonly memory: ArrayBuffer;
  readonly #ready: Int32Array = new Int32Array(new ArrayBuffer(READY_MAX * READY.size));
  readonly #readyAddress: number;

  /** @param descriptors the address of the descriptors of the thread, which holds their memory. */
  constructor({ shim, pollerDestroy }: LoadedShim, descriptors: number) {
    const address = shim.poller_create();
    if (address === null) {
      throw Object.assign(new Error("mmap of a poller expected memory, got none"), ENOMEM);
    }
    this.#shim = shim;
    this.#address = address;
    this.#descriptors = descriptors;
    this.memory = ownedBuffer(address, shim.poller_bytes(), address, pollerDestroy);
    this.#readyAddress = addressOf(this.#ready);
  }

  /**
   * Replaces the file of descriptor `fd`, which the event loop of this thread watches, by the
   * epoll instance: the loop then reports `fd` as readable while a socket is ready. Returns 0 or
   * -errno; -ENOENT if the loop's registration of `fd` cannot be found.
   */
  openInLoop(fd: number): number {
    const registration = findRegistration(this.#shim, fd);
    if (typeof registration === "number") return registration;
    const { epoll, data } = registration;
    return this.#shim.poller_open_in_loop(this.#address, epoll, fd, data);
  }

  /**
   * Starts a helper thread that sends a byte to `fd` when a socket becomes ready. Takes ownership
   * of `fd` on success. Returns 0 or -errno.
   */
  openWithThread(fd: number): number {
    return this.#shim.poller_open_with_thread(this.#address, this.#descriptors, fd);
  }

  /**
   * Reports `fd` with `token` (1..2^53-1) while one of `events` is present, or once if `isOnce`.
   * Replaces an earlier request for `fd`.
   */
  arm(fd: number, events: number, token: number, isOnce: boolean): number {
    return this.#shim.poller_arm(this.#address, fd, events, isOnce ? 1 : 0, token);
  }

  /** Removes `fd`. Must be called before `fd` is closed. Returns -ENOENT if it was never armed. */
  remove(fd: number): number {
    return this.#shim.poller_remove(this.#address, fd);
  }

  /**
   * Reports token 0 once, after `delayUs` (1 to 999,999). Replaces an earlier request. Returns 0 or
   * -errno: the first call opens a descriptor.
   */
  setTimer(delayUs: number): number {
    return this.#shim.poller_set_timer(this.#address, delayUs);
  }

  /** Returns the number of ready descriptors without blocking, READY_MAX at most, or -errno. */
  wait(): number {
    return this.#shim.poller_wait(this.#address, this.#readyAddress, READY_MAX);
  }

  /** Returns the token of ready descriptor `i`. */
  tokenAt(i: number): number {
    const word = i * READY_WORDS;
    const low = (this.#ready[word] as number) >>> 0;
    return (this.#ready[word + READY.tokenHigh / 4] as number) * 2 ** 32 + low;
  }

  /** Returns the events of ready descriptor `i`. */
  eventsAt(i: number): number {
    return this.#ready[i * READY_WORDS + READY.events / 4] as number;
  }

  /** Returns whether a `wait` that returned `count` may have left ready descriptors. */
  isFull(count: number): boolean {
    return count === READY_MAX;
  }
}
