/**
 * Datagrams to send, lined up without a copy: each may have a prefix in front that lies elsewhere,
 * an address, and more that is said about how to send it.
 */

import { checkAddress, type SocketAddress } from "../address/address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { encodeVarint, varintLength } from "../buffer/varint.ts";
import { checkPayload, type Payload } from "../datagram/info.ts";
import { checkMetadata, type SendMetadata } from "../datagram/metadata.ts";
import { checkBytes, checkInteger, rangeError, typeError } from "../support/check.ts";
import { unsupportedError } from "../support/errors.ts";
import { BATCH_COUNT_MAX, DGRAM_HEADROOM } from "../support/limits.ts";
import type { MessageBuilder } from "./messages.ts";

/** Options of a `SendBatch`. */
export interface SendBatchOptions {
  /** Datagrams it has room for, 1..1024. Default 64. */
  readonly datagrams?: number | undefined;
  /** Bytes a prefix may have, 0..1024. Default 16: two QUIC varints. */
  readonly prefixBytes?: number | undefined;
}

/**
 * A reusable line of datagrams. It borrows the payloads until they are sent, or the batch is
 * cleared; prefixes it copies.
 *
 * @example
 * ```ts
 * const out = new SendBatch();
 * for (let i = 0; i < received.length; i++) {
 *   out.prefixVarint(flowId).pushSlice(received.bytes, received.offsetAt(i), received.lengthAt(i));
 * }
 * await tunnel.sendBatch(out);
 * ```
 */
export class SendBatch {
  /** Datagrams it has room for. */
  readonly capacity: number;
  /** Bytes a prefix may have. */
  readonly prefixBytesMax: number;
  readonly #prefixes: Uint8Array;
  /** Of datagram i two: its prefix, at 2i, which may be empty, and its payload. */
  readonly #slices: { views: Uint8Array[]; starts: Uint32Array; lengths: Uint32Array };
  readonly #addresses: (SocketAddress | undefined)[] = [];
  readonly #metadata: (SendMetadata | undefined)[] = [];
  #nextPrefixLength = 0;
  #nextMetadata: SendMetadata | undefined;
  /** Datagrams `#first` to `#end - 1` wait. */
  #first = 0;
  #end = 0;

  constructor(options: SendBatchOptions = {}) {
    const { datagrams = 64, prefixBytes = DGRAM_HEADROOM } = options;
    checkInteger("datagrams", datagrams, 1, BATCH_COUNT_MAX);
    checkInteger("prefixBytes", prefixBytes, 0, 1024);
    this.capacity = datagrams;
    this.prefixBytesMax = prefixBytes;
    this.#prefixes = new Uint8Array(new ArrayBuffer(datagrams * prefixBytes));
    this.#slices = {
      views: new Array<Uint8Array>(2 * datagrams).fill(this.#prefixes),
      starts: new Uint32Array(2 * datagrams),
      lengths: new Uint32Array(2 * datagrams),
    };
    for (let i = 0; i < datagrams; i++) this.#slices.starts[2 * i] = i * prefixBytes;
  }

  /** Datagrams that wait to be sent. */
  get length(): number {
    return this.#end - this.#first;
  }

  /** Whether `push` would find no room: it is to be sent, or cleared. */
  get isFull(): boolean {
    return this.#end === this.capacity;
  }

  /**
   * Puts `bytes`, which are copied, in front of the next datagram that is pushed.
   *
   * @throws RangeError when they are more than `prefixBytesMax`, or the batch is full.
   */
  prefix(bytes: Uint8Array): this {
    checkBytes("bytes", bytes);
    const start = this.#prefixRoom(bytes.length);
    for (let i = 0; i < bytes.length; i++) this.#prefixes[start + i] = bytes[i] as number;
    this.#nextPrefixLength = bytes.length;
    return this;
  }

  /** Puts a QUIC varint in front of the next datagram that is pushed, as `prefix`. */
  prefixVarint(value: number | bigint): this {
    const start = this.#prefixRoom(varintLength(value));
    this.#nextPrefixLength = encodeVarint(value, this.#prefixes, start);
    return this;
  }

  /** Says how to send the datagrams that are pushed from now on; `undefined`: as usual. */
  metadata(metadata: SendMetadata | undefined): this {
    if (metadata !== undefined) checkMetadata(metadata);
    this.#nextMetadata = metadata;
    return this;
  }

  /**
   * Lines up a datagram, for `to` or the peer that the socket is connected to.
   *
   * @throws RangeError when the batch is full.
   */
  push(payload: Payload, to?: SocketAddress): this {
    checkPayload("payload", payload);
    if (payload instanceof DgramBuffer) {
      return this.#push(payload._bytes, payload._start, payload.length, to);
    }
    return this.#push(payload, 0, payload.length, to);
  }

  /** Lines up `length` bytes of `bytes` from `offset` on, as `push`. */
  pushSlice(bytes: Uint8Array, offset: number, length: number, to?: SocketAddress): this {
    checkBytes("bytes", bytes);
    checkInteger("offset", offset, 0, bytes.length);
    checkInteger("length", length, 0, bytes.length - offset);
    return this.#push(bytes, offset, length, to);
  }

  /**
   * Forgets the first `count` datagrams that wait: one that the system refuses for good (too long,
   * no route) would keep the others waiting.
   *
   * @throws RangeError when fewer wait.
   */
  drop(count: number): this {
    checkInteger("count", count, 0, this.length);
    this._sent(count);
    return this;
  }

  /** Forgets all that waits, and what was said about how to send. */
  clear(): void {
    this.#slices.views.fill(this.#prefixes);
    this.#first = this.#end = this.#nextPrefixLength = 0;
    this.#nextMetadata = undefined;
  }

  #push(view: Uint8Array, start: number, length: number, to: SocketAddress | undefined): this {
    if (to !== undefined) checkAddress("to", to);
    this.#checkRoom();
    const i = this.#end++;
    const { views, starts, lengths } = this.#slices;
    const payload = 2 * i + 1;
    views[payload] = view;
    starts[payload] = start;
    lengths[payload] = length;
    lengths[2 * i] = this.#nextPrefixLength;
    this.#addresses[i] = to;
    this.#metadata[i] = this.#nextMetadata;
    this.#nextPrefixLength = 0;
    return this;
  }

  #prefixRoom(length: number): number {
    this.#checkRoom();
    checkInteger("prefix length", length, 0, this.prefixBytesMax);
    return this.#end * this.prefixBytesMax;
  }

  #checkRoom(): void {
    if (this.isFull) throw rangeError("batch", `room for one more of ${this.capacity}`, "none");
  }

  /** @internal The address of the first datagram that waits. */
  get _firstAddress(): SocketAddress | undefined {
    return this.#addresses[this.#first];
  }

  /** @internal The length of the first datagram that waits. */
  get _firstLength(): number {
    return this.#lengthAt(this.#first);
  }

  /** @internal Has `check` look at every destination that waits. */
  _checkAddresses(check: (address: SocketAddress) => void): void {
    for (let i = this.#first; i < this.#end; i++) {
      const address = this.#addresses[i];
      if (address !== undefined) check(address);
    }
  }

  /** @internal Leaves all that waits to the peer that the socket is connected to. */
  _forgetAddresses(): void {
    this.#addresses.fill(undefined, this.#first, this.#end);
  }

  /** @throws SocketError for `reason` when something is said about how to send. @internal */
  _refuseMetadata(reason: string): void {
    for (let i = this.#first; i < this.#end; i++) {
      if (this.#metadata[i] !== undefined) {
        throw unsupportedError("sendBatch", `metadata of datagrams: ${reason}`);
      }
    }
  }

  /** @internal Makes messages of all that waits: how many. */
  _fill(builder: MessageBuilder): number {
    builder.vector.reserve(2 * this.length);
    for (let i = this.#first; i < this.#end; ) {
      const first = i;
      const length = this.#lengthAt(first);
      builder.add(length, this.#addresses[first], this.#metadata[first]);
      const more = this.#alike(first, length, builder.room);
      builder.join(more);
      i += 1 + more;
      builder.slices(this.#slices, 2 * first, 2 * i);
    }
    return builder.finish();
  }

  /** How many behind datagram `i` are as long as it and go to the same place in the same way. */
  #alike(i: number, length: number, limit: number): number {
    const address = this.#addresses[i];
    const metadata = this.#metadata[i];
    const end = Math.min(this.#end, i + 1 + limit);
    let next = i + 1;
    while (
      next < end &&
      this.#lengthAt(next) === length &&
      this.#addresses[next] === address &&
      this.#metadata[next] === metadata
    ) {
      next++;
    }
    return next - i - 1;
  }

  /** @internal Takes the first `count` that wait off the line: the bytes they were. */
  _sent(count: number): number {
    let bytes = 0;
    for (let i = this.#first; i < this.#first + count; i++) bytes += this.#lengthAt(i);
    this.#first += count;
    if (this.#first === this.#end) {
      // A prefix that already waits for its payload moves along to the front.
      const start = this.#end * this.prefixBytesMax;
      this.#prefixes.copyWithin(0, start, start + this.#nextPrefixLength);
      this.#first = this.#end = 0;
    }
    return bytes;
  }

  /** @internal The first datagram that waits, in one piece: a copy where it has a prefix. */
  _firstBytes(): Uint8Array {
    const prefix = this.#slice(2 * this.#first);
    const payload = this.#slice(2 * this.#first + 1);
    return prefix.length === 0 ? payload : Buffer.concat([prefix, payload]);
  }

  #slice(i: number): Uint8Array {
    const { views, starts, lengths } = this.#slices;
    const start = starts[i] as number;
    return (views[i] as Uint8Array).subarray(start, start + (lengths[i] as number));
  }

  #lengthAt(i: number): number {
    const { lengths } = this.#slices;
    return (lengths[2 * i] as number) + (lengths[2 * i + 1] as number);
  }
}

/** Checks what to send. */
export function checkSendBatch(value: unknown): asserts value is SendBatch {
  if (!(value instanceof SendBatch)) throw typeError("batch", "SendBatch", value);
}
