/**
 * The native half of readiness: one-shot "tell me when this descriptor is ready", told by a byte
 * on a socket (the bell) that Bun's event loop watches. lib/readiness.ts decides when to ask.
 */

import { type Pointer, toArrayBuffer } from "bun:ffi";
import { READY, SOCKETS_MAX } from "./layout.ts";
import type { ShimResult } from "./load.ts";
import { addressOf } from "./memory.ts";

/** How the kernel is asked: by io_uring, or by a helper thread where io_uring is forbidden. */
export type ReadinessMode = "io_uring" | "thread";

/** Ready descriptors taken by one `reap`. */
const REAP_MAX = 64;

const READY_WORDS = READY.size / 4;

/** `toArrayBuffer` as bun:ffi documents it; its types leave the destructor out. */
const viewWithDestructor = toArrayBuffer as (
  memory: Pointer,
  byteOffset: number,
  byteLength: number,
  destructorContext: Pointer,
  destructor: Pointer,
) => ArrayBuffer;

/** One thread's waiting; native memory and descriptors go with the thread's heap. */
export class NativeReactor {
  readonly #shim;
  readonly #address: number;
  /**
   * The reactor's memory with its destructor. SAFETY: whoever holds this object holds the memory;
   * when the heap is torn down (a Worker that is terminated too) the destructor closes all that
   * is still open. It is code of the shim, which Bun unloads on an explicit `close()` only.
   */
  readonly #memory: ArrayBuffer;
  readonly #descriptors: Int32Array;
  readonly #ready: Int32Array = new Int32Array(new ArrayBuffer(REAP_MAX * READY.size));
  readonly #readyAddress: number;

  constructor(loaded: Extract<ShimResult, { shim: unknown }>) {
    const { shim, reactorDestroy } = loaded;
    const address = shim.reactor_create();
    if (address === null) throw new Error("mmap of a reactor expected memory, got none");
    this.#shim = shim;
    this.#address = address;
    const bytes = shim.reactor_bytes();
    const pointer = address as Pointer;
    this.#memory = viewWithDestructor(pointer, 0, bytes, pointer, reactorDestroy);
    const offset = shim.reactor_descriptors_offset();
    this.#descriptors = new Int32Array(this.#memory, offset, SOCKETS_MAX);
    this.#readyAddress = addressOf(this.#ready);
  }

  /** Starts ringing `bell`, a descriptor that is the reactor's from then on; 0 or -errno. */
  open(mode: ReadinessMode, bell: number): number {
    return mode === "io_uring"
      ? this.#shim.ring_open(this.#address, bell)
      : this.#shim.helper_open(this.#address, bell);
  }

  /** Notes that `slot` has `fd` open, which is then closed with the heap; -1: no longer. */
  track(slot: number, fd: number): void {
    this.#descriptors[slot] = fd + 1;
  }

  /** Rings once when `fd` has one of `events`; `token` (1..2^53-1) says who waited. */
  arm(fd: number, events: number, token: number): number {
    return this.#shim.reactor_arm(this.#address, fd, events, token);
  }

  /** Takes back `arm(fd, _, token)`. To be done before `fd` is closed. */
  disarm(fd: number, token: number): number {
    return this.#shim.reactor_disarm(this.#address, fd, token);
  }

  /** Takes the descriptors that became ready: how many, REAP_MAX at most, or -errno. */
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
