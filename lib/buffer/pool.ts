/**
 * Where buffers come from: a factory that makes them, and a pool that lends the same memory again,
 * because making 1.5 KB of memory per datagram costs more than all else that is done to one.
 */

import { zero } from "../support/bytes.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { DGRAM_HEADROOM, MAX_DATAGRAM_SIZE } from "../support/limits.ts";
import { DgramBuffer } from "./buffer.ts";
import { allocate, NO_BYTES } from "./tail-buffer.ts";

/** The idle buffers that a pool keeps by default: 1.5 MiB of datagram buffers. */
const IDLE_BUFFERS_MAX = 1024;

/** Makes datagram buffers. */
export interface DgramBufferFactory {
  /** An empty buffer with room for the largest datagram behind its headroom; it is the caller's. */
  getMaxDgramBuf(): DgramBuffer;
}

/**
 * The factory that allocates each buffer anew: capacity `MAX_DATAGRAM_SIZE + DGRAM_HEADROOM`
 * (1516 bytes), of which `DGRAM_HEADROOM` (16) are headroom.
 */
export const dgramBufferFactory: DgramBufferFactory = {
  getMaxDgramBuf: () =>
    DgramBuffer.withCapacityAndHeadroom(MAX_DATAGRAM_SIZE + DGRAM_HEADROOM, DGRAM_HEADROOM),
};

/** How a {@link DgramBufferPool} is made; every field has a default. */
export interface DgramBufferPoolOptions {
  /** The size of each buffer in bytes, headroom included. Default: 1516. */
  readonly capacity?: number;
  /** The headroom of each buffer in bytes, at most `capacity`. Default: 16. */
  readonly headroom?: number;
  /** The most buffers kept while nobody has them; more on loan is no error. Default: 1024. */
  readonly maxBuffers?: number;
  /** How many are made at once, up to `maxBuffers`. Default: 0, made when first asked for. */
  readonly initialBuffers?: number;
}

/**
 * The right to one buffer of a pool until it is disposed.
 *
 * The lease and its `DgramBuffer` belong to whoever made the lease, for ever; only the memory is
 * the pool's. So a lease disposed twice, or a `DgramBuffer` used after its lease was disposed,
 * reaches nobody else's datagram: there is no memory behind it any more.
 *
 * A view that `asSlice` gave is a view of the memory, and ends with the lease.
 */
export class BufferLease implements Disposable {
  readonly #buffer: DgramBuffer = new DgramBuffer();
  /** Whom the memory goes back to; absent while the lease holds none. @internal */
  _pool: DgramBufferPool | undefined = undefined;
  /** The pool's memory. @internal */
  _memory: Uint8Array = NO_BYTES;

  /** Whether the lease has a buffer: it was acquired and not disposed since. */
  get isHeld(): boolean {
    return this._pool !== undefined;
  }

  /**
   * The buffer on loan, to be used until the lease is disposed.
   *
   * @throws {TypeError} when the lease holds none.
   */
  get buffer(): DgramBuffer {
    if (this._pool === undefined) throw typeError("lease", "a lease that holds a buffer", this);
    return this.#buffer;
  }

  /** Gives the buffer back to its pool; does nothing when the lease holds none. */
  [Symbol.dispose](): void {
    const pool = this._pool;
    if (pool === undefined) return;
    const buffer = this.#buffer;
    const memory = this._memory;
    // A buffer that grew or was taken apart has another store. What became of the memory lent is
    // not known then: `intoParts` made it somebody's. It is left to the garbage collector.
    const intact = buffer._bytes === memory;
    buffer._give(NO_BYTES, 0);
    this._pool = undefined;
    this._memory = NO_BYTES;
    pool._takeBack(memory, intact);
  }

  /** Puts memory of a pool behind the buffer. @internal */
  _hold(pool: DgramBufferPool, memory: Uint8Array, headroom: number): void {
    this._pool = pool;
    this._memory = memory;
    this.#buffer._give(memory, headroom);
  }
}

/**
 * Lends buffers and takes them back, so that their memory is made once.
 *
 * At most `maxBuffers` are kept idle. Acquiring always succeeds: with none idle a new one is made
 * (a miss), and what comes back beyond the bound, or not as it was lent, is discarded. The latest
 * one back is the next one lent, while it is still in the processor's cache.
 *
 * A buffer lent is empty and its headroom is zero. The spare capacity is not cleared: what an
 * earlier datagram left there is overwritten by the next, not shown by the buffer.
 *
 * @example
 * const pool = new DgramBufferPool();
 * using lease = pool.acquire();
 * lease.buffer.putSlice(payload);
 */
export class DgramBufferPool {
  /** The size of each buffer in bytes, headroom included. */
  readonly capacity: number;
  /** The headroom of each buffer in bytes. */
  readonly headroom: number;
  /** The most buffers kept idle. */
  readonly maxBuffers: number;
  readonly #idle: Uint8Array[] = [];
  #hits = 0;
  #misses = 0;
  #discarded = 0;

  /** @throws {RangeError} when a size is no integer or one is beyond the other. */
  constructor(options: DgramBufferPoolOptions = {}) {
    const {
      capacity = MAX_DATAGRAM_SIZE + DGRAM_HEADROOM,
      headroom = Math.min(DGRAM_HEADROOM, capacity),
      maxBuffers = IDLE_BUFFERS_MAX,
      initialBuffers = 0,
    } = options;
    checkInteger("capacity", capacity, 1, Number.MAX_SAFE_INTEGER);
    checkInteger("headroom", headroom, 0, capacity);
    checkInteger("maxBuffers", maxBuffers, 0, Number.MAX_SAFE_INTEGER);
    checkInteger("initialBuffers", initialBuffers, 0, maxBuffers);
    this.capacity = capacity;
    this.headroom = headroom;
    this.maxBuffers = maxBuffers;
    for (let i = 0; i < initialBuffers; i++) this.#idle.push(this.#make());
  }

  /** How many buffers wait to be lent. */
  get idleCount(): number {
    return this.#idle.length;
  }

  /** How often `acquire` had an idle buffer to lend. */
  get hits(): number {
    return this.#hits;
  }

  /** How often `acquire` had to make a buffer. */
  get misses(): number {
    return this.#misses;
  }

  /** How many buffers came back and were not kept: beyond `maxBuffers`, or not intact. */
  get discarded(): number {
    return this.#discarded;
  }

  /**
   * Lends an empty buffer with the pool's headroom.
   *
   * Without an argument this makes a small object, the lease. A loop that must allocate nothing
   * keeps a lease of its own and has it filled again each time.
   *
   * @param lease one that holds no buffer; it is filled and answered. The pool keeps no lease, so
   * two owners never share one unless they do so themselves.
   * @throws {TypeError} when `lease` is no lease, or holds a buffer.
   * @throws {RangeError} when there is no memory for a new buffer.
   * @example
   * const lease = new BufferLease();
   * for (const payload of payloads) {
   *   using held = pool.acquire(lease);
   *   held.buffer.putSlice(payload);
   *   held.buffer.tryAddVarintPrefix(flowId);
   *   socket.trySend(held.buffer.asSlice());
   * }
   */
  acquire(lease: BufferLease = new BufferLease()): BufferLease {
    if (!(lease instanceof BufferLease)) throw typeError("lease", "BufferLease", lease);
    if (lease._pool !== undefined) throw typeError("lease", "a lease that holds no buffer", lease);
    let memory = this.#idle.pop();
    if (memory === undefined) {
      memory = this.#make();
      this.#misses++;
    } else {
      zero(memory, this.headroom);
      this.#hits++;
    }
    lease._hold(this, memory, this.headroom);
    return lease;
  }

  /** Keeps memory that came back as it was lent, when there is room for it. @internal */
  _takeBack(memory: Uint8Array, intact: boolean): void {
    // Memory whose `ArrayBuffer` was transferred away meanwhile has no length left.
    const usable = intact && memory.length === this.capacity;
    if (usable && this.#idle.length < this.maxBuffers) this.#idle.push(memory);
    else this.#discarded++;
  }

  #make(): Uint8Array {
    return allocate(this.capacity);
  }
}
