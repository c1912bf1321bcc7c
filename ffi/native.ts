/**
 * The part of `ffi/` that `lib/` may import: system calls on numbers, typed arrays and encoded
 * addresses. Results are >= 0 or -errno. No memory address leaves this folder.
 */

import { FdVector } from "./fd-vector.ts";
import { SOCK_FILTER, SOCK_FPROG } from "./layout.ts";
import { type LoadedShim, loadShim, type Unavailable } from "./load.ts";
import { addressOf, nativeBytes, ownedBuffer } from "./memory.ts";
import { checkBufferBytes, checkPart, writeAddress } from "./message-vector.ts";
import { Poller } from "./poller.ts";
import { ReceiveVector } from "./receive-vector.ts";
import { type EncodedAddress, SendVector } from "./send-vector.ts";
import type { Shim } from "./symbols.ts";
import { byteLengthOf } from "./typed-arrays.ts";

export { FDS_MAX, FdVector } from "./fd-vector.ts";
export { Poller } from "./poller.ts";
export { ReceiveVector, type Segments } from "./receive-vector.ts";
export { type EncodedAddress, type Message, SendVector, type Slices } from "./send-vector.ts";
export {
  bufferOf,
  byteLengthOf,
  byteOffsetOf,
  copyBytes,
  genuineLengthOf,
  hasLostMemory,
  isUint8Array,
  lengthOf,
  plainView,
} from "./typed-arrays.ts";

/** The size in bytes of the longest socket address: 110 for `sockaddr_un`, in whole words. */
export const NAME_CAPACITY_MAX = 112;

/** errno(3) of Linux. */
const ENOMEM = 12;

/** The size of `struct descriptors` of c/shim.c. JavaScript does not read it. */
const DESCRIPTORS_BYTES = 16;

/**
 * The system calls of one thread. Descriptors that it opens are closed when the heap of the thread
 * is destroyed, if not before.
 */
export class Native {
  readonly #loaded: LoadedShim;
  readonly #shim: Shim;
  /** SAFETY: this object holds the memory, and uses its address only in its methods. */
  readonly #scratch: Int32Array = new Int32Array(new ArrayBuffer(NAME_CAPACITY_MAX));
  readonly #scratchAddress: number;
  readonly #descriptors: number;
  /**
   * The memory of the C struct. Its destructor closes the descriptors that this thread owns when the
   * heap is destroyed, for instance because a Worker is terminated. SAFETY: this object holds the
   * buffer, and exists as long as the thread.
   */
  protected readonly descriptors: ArrayBuffer;

  constructor(loaded: LoadedShim) {
    const address = loaded.shim.descriptors_create();
    if (address === null) throw new Error("mmap of the descriptors expected memory, got none");
    this.#loaded = loaded;
    this.#shim = loaded.shim;
    this.#scratchAddress = addressOf(this.#scratch);
    this.#descriptors = address;
    this.descriptors = ownedBuffer(address, DESCRIPTORS_BYTES, address, loaded.descriptorsDestroy);
  }

  /** The memory that some methods return results in. Valid until the next call. */
  get scratch(): Int32Array {
    return this.#scratch;
  }

  /** Opens a non-blocking socket, which this thread owns. */
  open(domain: number, type: number, protocol: number): number {
    return this.#shim.socket_open(this.#descriptors, domain, type, protocol);
  }

  /** Opens two connected sockets. Stores the descriptors in `scratch[0]` and `scratch[1]`. */
  pair(domain: number, type: number): number {
    return this.#shim.socket_pair(this.#descriptors, domain, type, this.#scratchAddress);
  }

  bind(fd: number, address: EncodedAddress): number {
    return this.#shim.socket_bind(fd, addressOf(address.words), lengthOfAddress(address));
  }

  connect(fd: number, address: EncodedAddress): number {
    return this.#shim.socket_connect(fd, addressOf(address.words), lengthOfAddress(address));
  }

  /**
   * Sends `length` bytes of `bytes` from `start` on as one datagram, to the connected peer if there is
   * no address. Returns 0, or -errno. Runs no code of the caller.
   *
   * @throws TypeError if `bytes` is no genuine array; RangeError if it is shorter, because its memory
   * was transferred or has shrunk, or if `length` is 2^32 or more.
   */
  send(
    fd: number,
    bytes: Uint8Array,
    start: number,
    length: number,
    address: EncodedAddress | undefined,
  ): number {
    checkBufferBytes(length);
    checkPart(start, length, byteLengthOf(bytes));
    if (address === undefined)
      return this.#shim.datagram_send(fd, bytes, start, length, NO_NAME, 0);
    const { words } = address;
    const nameLength = lengthOfAddress(address);
    return this.#shim.datagram_send(fd, bytes, start, length, words, nameLength);
  }

  /** Stores the local address of the socket in `scratch`, and returns its length. */
  name(fd: number): number {
    return this.#shim.socket_name(fd, this.#scratchAddress, NAME_CAPACITY_MAX);
  }

  /** Stores the address of the connected peer in `scratch`, and returns its length. */
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
    return this.#shim.option_set(fd, level, name, addressOf(value), byteLengthOf(value));
  }

  /**
   * Sets an option whose value is a classic BPF program: an array of `struct sock_filter`, at most
   * 65535.
   *
   * SAFETY: this call holds `program`, and the kernel copies as many instructions as it has.
   */
  setFilterOption(fd: number, level: number, name: number, program: Uint8Array): number {
    const instructions = Math.floor(byteLengthOf(program) / SOCK_FILTER.size);
    this.#scratch[SOCK_FPROG.length / 4] = instructions & 0xffff;
    writeAddress(this.#scratch, SOCK_FPROG.filter / 4, addressOf(program));
    return this.#shim.option_set(fd, level, name, this.#scratchAddress, SOCK_FPROG.size);
  }

  /** Reads an option whose value is a C `int` into `scratch[0]`. */
  getIntOption(fd: number, level: number, name: number): number {
    return this.#shim.option_get(fd, level, name, this.#scratchAddress, 4);
  }

  /** Reads an option into `value`, and returns the length of its value in bytes. */
  getOption(fd: number, level: number, name: number, value: Uint8Array): number {
    return this.#shim.option_get(fd, level, name, addressOf(value), byteLengthOf(value));
  }

  /** Returns the file status flags (F_GETFL). */
  flags(fd: number): number {
    return this.#shim.descriptor_flags(fd);
  }

  setNonblocking(fd: number): number {
    return this.#shim.descriptor_set_nonblocking(fd);
  }

  duplicate(fd: number): number {
    return this.#shim.descriptor_duplicate(this.#descriptors, fd);
  }

  close(fd: number): number {
    return this.#shim.descriptor_close(this.#descriptors, fd);
  }

  /** Makes this thread the owner of `fd`, which was opened elsewhere. */
  own(fd: number): void {
    this.#shim.descriptor_own(this.#descriptors, fd);
  }

  /** Ends the ownership of `fd`: another owner closes it. */
  disown(fd: number): void {
    this.#shim.descriptor_disown(this.#descriptors, fd);
  }

  /** Reads a clock of <time.h>. Stores the `struct timespec` in the first words of `scratch`. */
  clock(clock: number): number {
    return this.#shim.clock_read(clock, this.#scratchAddress);
  }

  /** Returns the time of CLOCK_MONOTONIC in milliseconds. */
  monotonicMs(): number {
    return this.#shim.monotonic_ms();
  }

  /** Returns the index of the network interface `name`, which must not contain a NUL. */
  interfaceIndex(name: string): number {
    const bytes = nativeBytes(3 * name.length + 1);
    new TextEncoder().encodeInto(name, bytes);
    return this.#shim.interface_index(addressOf(bytes));
  }

  /**
   * Returns the index of the interface that has `address`: `bytes` of it at `offset` are compared.
   */
  interfaceOfAddress({ words }: EncodedAddress, offset: number, bytes: number): number {
    const family = (words[0] as number) & 0xffff;
    const at = addressOf(words) + offset;
    return this.#shim.interface_of_address(family, at, offset, bytes);
  }

  /**
   * Tests the offloads: returns 0 if none works, 1 if GSO works, 2 if GRO works as well, and -errno
   * if they cannot be tested now.
   */
  probeOffload(): number {
    return this.#shim.offload_probe();
  }

  receiveVector(nameCapacity: number, controlCapacity = 0): ReceiveVector {
    return new ReceiveVector(this.#shim, nameCapacity, controlCapacity);
  }

  sendVector(nameCapacity: number, controlCapacity = 0): SendVector {
    return new SendVector(this.#shim, nameCapacity, controlCapacity);
  }

  /** Returns a vector to receive single messages with, and the descriptors that they pass. */
  fdVector(nameCapacity: number): FdVector {
    return new FdVector(this.#shim, this.#descriptors, nameCapacity);
  }

  /** Returns a vector of buffers to copy to. */
  scatterVector(): ReceiveVector {
    return new ReceiveVector(this.#shim, 0, 0);
  }

  poller(): Poller {
    return new Poller(this.#loaded, this.#descriptors);
  }
}

/** The name of a datagram to the connected peer. */
const NO_NAME = new Int32Array(0);

/** Returns the length of an address in bytes, at most that of its memory. */
function lengthOfAddress({ words, length }: EncodedAddress): number {
  return Math.min(length, byteLengthOf(words));
}

/**
 * Returns zeroed memory for native code, which is allocated page by page when it is written to.
 * Without the shim it is allocated at once.
 */
export function lazyBytes(length: number): Uint8Array<ArrayBuffer> {
  const loaded = loadShim();
  const memory = "shim" in loaded ? loaded.shim.memory_map(length) : null;
  if (memory === null || !("shim" in loaded)) return nativeBytes(length);
  return new Uint8Array(ownedBuffer(memory, length, length, loaded.memoryUnmap));
}

/** The system calls of a thread, or the reason why they are unavailable. */
export type NativeResult = { readonly native: Native } | Unavailable;

let result: { readonly native: Native } | undefined;

/**
 * Loads the shim when a thread first calls this function. Never throws.
 *
 * If the process is out of descriptors or memory, the `errno` of the result is not 0, and a later
 * call may succeed.
 */
export function loadNative(): NativeResult {
  if (result !== undefined) return result;
  const loaded = loadShim();
  if (!("shim" in loaded)) return loaded;
  try {
    result = { native: new Native(loaded) };
    return result;
  } catch (error) {
    return { reason: String(error), errno: ENOMEM };
  }
}
