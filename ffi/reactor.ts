/**
 * The native half of readiness: "tell me when this descriptor is ready", asked of an epoll
 * instance that Bun's event loop watches, or a helper thread. lib/readiness/ decides when to ask.
 */

import { READY } from "./layout.ts";
import type { LoadedShim } from "./load.ts";
import { addressOf, nativeBytes, ownedBuffer } from "./memory.ts";
import type { Shim } from "./symbols.ts";

/** Ready descriptors taken by one `reap`. */
const REAP_MAX = 64;

const READY_WORDS = READY.size / 4;

/** errno(3) of Linux. */
const ENOENT = 2;

/** How Bun's event loop watches a descriptor. Bun does not say, but the kernel does. */
export interface Watch {
  /** The loop's epoll instance. */
  readonly epoll: number;
  /** What that tells when the descriptor is ready (`epoll_data`). */
  readonly data: bigint;
}

/** Finds who watches `fd`; absent where that cannot be seen, or is not certain. */
export function findWatch(shim: Shim, fd: number): Watch | undefined {
  const data = nativeBytes(8);
  const epoll = shim.watch_find(fd, addressOf(data));
  if (epoll < 0) return undefined;
  return { epoll, data: new DataView(data.buffer).getBigUint64(0, true) };
}

/** One thread's waiting; it goes with the thread's heap. */
export class NativeReactor {
  readonly #shim;
  readonly #address: number;
  /**
   * The reactor's memory. SAFETY: whoever holds this object holds the memory; its destructor ends
   * the helper thread.
   */
  protected readonly memory: ArrayBuffer;
  readonly #ready: Int32Array = new Int32Array(new ArrayBuffer(REAP_MAX * READY.size));
  readonly #readyAddress: number;

  constructor(loaded: LoadedShim) {
    const { shim, reactorDestroy } = loaded;
    const address = shim.reactor_create();
    if (address === null) throw new Error("mmap of a reactor expected memory, got none");
    this.#shim = shim;
    this.#address = address;
    this.memory = ownedBuffer(address, shim.reactor_bytes(), address, reactorDestroy);
    this.#readyAddress = addressOf(this.#ready);
  }

  /**
   * Puts the reactor in the place of `bell`, which the event loop of this thread watches: from
   * then on the loop finds it readable, and cannot read it, whenever something is ready. 0, or
   * -errno: -ENOENT where the loop cannot be found.
   */
  openInLoop(bell: number): number {
    const watch = findWatch(this.#shim, bell);
    if (watch === undefined) return -ENOENT;
    return this.#shim.loop_open(this.#address, watch.epoll, bell, watch.data);
  }

  /** Starts a thread that sends a byte to `bell`, which becomes the reactor's; 0 or -errno. */
  openWithHelper(bell: number): number {
    return this.#shim.helper_open(this.#address, bell);
  }

  /**
   * Has `fd` told while it has one of `events`, or, with `isOnce`, the first time that it has;
   * `token` (1..2^53-1) says who waited. Arming again replaces what was asked before.
   */
  arm(fd: number, events: number, token: number, isOnce: boolean): number {
    return this.#shim.reactor_arm(this.#address, fd, events, isOnce ? 1 : 0, token);
  }

  /** Takes `arm` back. To be done before `fd` is closed. */
  disarm(fd: number): number {
    return this.#shim.reactor_disarm(this.#address, fd);
  }

  /** Takes the descriptors that are ready: how many, REAP_MAX at most, or -errno. */
  reap(): number {
    return this.#shim.reactor_reap(this.#address, this.#readyAddress, REAP_MAX);
  }

  /** The token of the `i`th ready descriptor. */
  tokenAt(i: number): number {
    const word = i * READY_WORDS;
    const low = (this.#ready[word] as number) >>> 0;
    return (this.#ready[word + READY.tokenHigh / 4] as number) * 2 ** 32 + low;
  }

  /** The events of the `i`th ready descriptor. */
  eventsAt(i: number): number {
    return this.#ready[i * READY_WORDS + READY.events / 4] as number;
  }

  /** Whether one `reap` may have left some. */
  isFull(count: number): boolean {
    return count === REAP_MAX;
  }
}
