/** Pseudo-random numbers from a seed: the only source of chance in a simulation. */

import { checkInteger, rangeError } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

const UINT32 = 2 ** 32;

/**
 * A generator of pseudo-random numbers (sfc32 of PractRand, 128 bits of state). The same seed gives
 * the same sequence, on every machine. Not suitable for secrets.
 *
 * @example
 * ```ts
 * const random = new SimRandom(42);
 * const delayMs = random.between(5, 20);
 * if (random.chance(0.1)) drop();
 * ```
 */
export class SimRandom {
  readonly #seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /**
   * Creates a generator.
   *
   * @param seed an integer 0..2^53-1.
   * @throws RangeError for other seeds.
   */
  constructor(seed: number) {
    checkInteger("seed", seed, 0, Number.MAX_SAFE_INTEGER);
    this.#seed = seed;
    this.#a = 0;
    this.#b = seed | 0;
    this.#c = Math.floor(seed / UINT32) | 0;
    // Seeds that differ in few bits give unrelated sequences only after some rounds.
    for (let i = 0; i < 12; i++) this.#next();
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Returns a number 0 <= x < 1, with 32 random bits. */
  next(): number {
    return this.#next() / UINT32;
  }

  /** Returns whether an event of this probability (0..1) happens. 0 draws no number. */
  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  /** Returns a number min <= x < max. */
  between(min: number, max: number): number {
    return min + this.next() * (max - min);
  }

  /**
   * Returns an integer min..max, both included.
   *
   * @throws RangeError if max < min, or for other numbers than integers.
   */
  integer(min: number, max: number): number {
    checkInteger("min", min, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    checkInteger("max", max, min, min + UINT32 - 1);
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** Returns an element of `items`. @throws RangeError if there is none. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw rangeError("items", "at least one element", "none");
    return items[Math.floor(this.next() * items.length)] as T;
  }

  /** Returns `length` random bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(new ArrayBuffer(length));
    for (let i = 0; i < length; i++) bytes[i] = this.#next();
    return bytes;
  }

  /**
   * Returns a generator for one purpose. Its sequence depends only on the seed of this generator and
   * on `label`, so that more draws for one purpose do not change the others.
   */
  fork(label: string): SimRandom {
    // FNV-1a (draft-eastlake-fnv) with 32 bits, mixed with both words of the seed.
    let hash = 0x811c_9dc5;
    for (let i = 0; i < label.length; i++) {
      hash = Math.imul(hash ^ label.charCodeAt(i), 0x0100_0193);
    }
    const low = (this.#seed ^ hash) >>> 0;
    const high = (Math.floor(this.#seed / UINT32) ^ Math.imul(hash, 0x9e37_79b1)) >>> 12;
    return new SimRandom((high % 2 ** 20) * UINT32 + low);
  }
}

if (isShared("SimRandom", SimRandom)) {
  // @ts-expect-error See `isShared`.
  SimRandom = sharedClass("SimRandom");
}
