/**
 * All of `ffi/` that `lib/` may import: system calls on numbers, typed arrays and encoded
 * addresses. Results are >= 0, or -errno; no address of memory leaves this folder.
 */

import { type LoadedShim, loadShim } from "./load.ts";
import { addressOf, nativeBytes, ownedBuffer } from "./memory.ts";
import { NativeReactor } from "./reactor.ts";
import { ReceiveVector, ScatterVector } from "./receive-vector.ts";
import { type EncodedAddress, SendVector } from "./send-vector.ts";
import type { Shim } from "./symbols.ts";

export { NativeReactor } from "./reactor.ts";
export { ReceiveVector, ScatterVector, type Segments } from "./receive-vector.ts";
export { type EncodedAddress, type Message, SendVector, type Slices } from "./send-vector.ts";

/** Bytes of the longest socket address: `sockaddr_un`, 110, filled up to whole words. */
export const NAME_CAPACITY_MAX = 112;

/** Bytes of the shim's table of descriptors that the buffer over it shows: any. */
const OWNED_BYTES = 8;

/** The system calls of one thread. What it opens is closed with the thread's heap at the latest. */
export class Native {
  readonly #loaded: LoadedShim;
  readonly #shim: Shim;
  /** SAFETY: scratch memory of this object, whose address is used while the object is held. */
  readonly #scratch: Int32Array = new Int32Array(new ArrayBuffer(NAME_CAPACITY_MAX));
  readonly #scratchAddress: number;
  /**
   * Its destructor closes what this thread opened and nobody closed, when the heap is torn down (a
   * Worker is terminated, say). SAFETY: over memory of the shim, which stays as long as its code.
   */
  protected readonly descriptors: ArrayBuffer;

  constructor(loaded: LoadedShim) {
    this.#loaded = loaded;
    this.#shim = loaded.shim;
    this.#scratchAddress = addressOf(this.#scratch);
    const owned = loaded.shim.descriptors_owned();
    this.descriptors = ownedBuffer(owned, OWNED_BYTES, owned, loaded.descriptorsClose);
  }

  /** What the calls below answer by way of memory, valid until the next of them. */
  get scratch(): Int32Array {
    return this.#scratch;
  }

  /** A new non-blocking socket. */
  open(domain: number, type: number, protocol: number): number {
    return this.#shim.socket_open(domain, type, protocol);
  }

  /** Two connected sockets: 0 and the descriptors in `scratch[0]` and `scratch[1]`. */
  pair(domain: number, type: number): number {
    return this.#shim.socket_pair(domain, type, this.#scratchAddress);
  }

  bind(fd: number, address: EncodedAddress): number {
    return this.#shim.socket_bind(fd, addressOf(address.words), address.length);
  }

  connect(fd: number, address: EncodedAddress): number {
    return this.#shim.socket_connect(fd, addressOf(address.words), address.length);
  }

  /** The socket's own address: its length, and the bytes in `scratch`. */
  name(fd: number): number {
    return this.#shim.socket_name(fd, this.#scratchAddress, NAME_CAPACITY_MAX);
  }

  /** The peer's address, as `name`. */
  peerName(fd: number): number {
    return this.#shim.socket_peer_name(fd, this.#scratchAddress, NAME_CAPACITY_MAX);
  }

  /** Sets an option whose value is a C `int`. */
  setIntOption(fd: number, level: number, name: number, value: number): number {
    this.#scratch[0] = value;
    return this.#shim.option_set(fd, level, name, this.#scratchAddress, 4);
  }

  /** Sets an option whose value is a struct. */
  setOption(fd: number, level: number, name: number, value: Uint8Array): number {
    return this.#shim.option_set(fd, level, name, addressOf(value), value.byteLength);
  }

  /** Reads an option whose value is a C `int` into `scratch[0]`. */
  getIntOption(fd: number, level: number, name: number): number {
    return this.#shim.option_get(fd, level, name, this.#scratchAddress, 4);
  }

  /** The descriptor's flags (`F_GETFL`). */
  flags(fd: number): number {
    return this.#shim.descriptor_flags(fd);
  }

  setNonblocking(fd: number): number {
    return this.#shim.descriptor_set_nonblocking(fd);
  }

  duplicate(fd: number): number {
    return this.#shim.descriptor_duplicate(fd);
  }

  close(fd: number): number {
    return this.#shim.descriptor_close(fd);
  }

  /** Has `fd`, which somebody else opened, closed with this thread's heap at the latest. */
  own(fd: number): void {
    this.#shim.descriptor_own(fd);
  }

  /** Leaves it to somebody else to close `fd`. */
  disown(fd: number): void {
    this.#shim.descriptor_disown(fd);
  }

  /** Reads a clock of <time.h>: 0, and the `struct timespec` in the first words of `scratch`. */
  clock(clock: number): number {
    return this.#shim.clock_read(clock, this.#scratchAddress);
  }

  /** Which offloads work: 0 for none, 1 for segmentation, 2 for coalescing as well. */
  probeOffload(): number {
    return this.#shim.offload_probe();
  }

  receiveVector(nameCapacity: number, controlCapacity = 0): ReceiveVector {
    return new ReceiveVector(this.#shim, nameCapacity, controlCapacity);
  }

  sendVector(nameCapacity: number, controlCapacity = 0): SendVector {
    return new SendVector(this.#shim, nameCapacity, controlCapacity);
  }

  scatterVector(): ScatterVector {
    return new ScatterVector(this.#shim);
  }

  reactor(): NativeReactor {
    return new NativeReactor(this.#loaded);
  }
}

/**
 * Zeroed memory for native code that takes up none until it is written to; where the shim does not
 * work, all of it at once.
 */
export function lazyBytes(length: number): Uint8Array<ArrayBuffer> {
  const loaded = loadShim();
  const memory = "shim" in loaded ? loaded.shim.memory_map(length) : null;
  if (memory === null || !("shim" in loaded)) return nativeBytes(length);
  return new Uint8Array(ownedBuffer(memory, length, length, loaded.memoryUnmap));
}

/** The system calls, or the reason why this thread cannot make them. */
export type NativeResult = { readonly native: Native } | { readonly reason: string };

let result: NativeResult | undefined;

/** Loads the shim at the first call of each thread; never throws. */
export function loadNative(): NativeResult {
  if (result === undefined) {
    const loaded = loadShim();
    result = "shim" in loaded ? { native: new Native(loaded) } : loaded;
  }
  return result;
}
