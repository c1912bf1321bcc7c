/**
 * Datagrams to send, queued without copying their payloads. Each may have a prefix, which is stored
 * apart from the payload, a destination, and metadata.
 */

import { byteLengthOf, hasLostMemory, lengthOf, plainView } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { copyPrefix } from "../buffer/source-bytes.ts";
import { encodeVarint, varintLength } from "../buffer/varint.ts";
import { type Destination, toAddress } from "../datagram/destination.ts";
import { lostMemory, type Sendable, toPayload } from "../datagram/payload.ts";
import { type SendMeta, SendMetaCopy, sameSendMeta } from "../datagram/send-meta.ts";
import {
  checkBytes,
  checkInteger,
  inspectAs,
  rangeError,
  showState,
  typeError,
} from "../support/check.ts";
import { unsupportedError } from "../support/errors.ts";
import { IdleResource } from "../support/idle.ts";
import { BATCH_COUNT_MAX, DGRAM_HEADROOM } from "../support/limits.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import type { MessageBuilder } from "./message-builder.ts";
import { groupByPeer } from "./peer-groups.ts";

/** The result of `groupByPeer`, shared by all batches of the thread: used within one call. */
const sendOrder = new Uint16Array(BATCH_COUNT_MAX);

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Options of a `SendBatch`. */
export interface SendBatchOptions {
  /** The maximum number of datagrams, 1..1024. Default 64. */
  readonly datagrams?: number | undefined;
  /** The maximum length of a prefix in bytes, 0..1024. Default 16: two QUIC varints. */
  readonly prefixBytes?: number | undefined;
  /**
   * Whether a socket that uses GSO may send datagrams to different peers in another order than they
   * were pushed, which is much faster if the peers alternate. The order of each peer's datagrams is
   * kept. Default true.
   */
  readonly groupByPeer?: boolean | undefined;
}

const SEND_BATCH_OPTIONS = optionKinds<SendBatchOptions>({
  datagrams: "any",
  prefixBytes: "any",
  groupByPeer: "boolean",
});

/**
 * A reusable batch of datagrams to send. It borrows the payloads until they are sent or the batch
 * is cleared, and copies the prefixes.
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
  static {
    inspectAs(SendBatch.prototype, (batch) => showState("SendBatch", batch.toJSON()));
  }

  /** The maximum number of datagrams. */
  readonly capacity: number;
  /** The maximum length of a prefix in bytes. */
  readonly prefixBytesMax: number;
  readonly #prefixes: Uint8Array;
  /** Two slices per datagram i: its prefix (2i), which may be empty, and its payload (2i + 1). */
  readonly #slices: { views: Uint8Array[]; starts: Uint32Array; lengths: Uint32Array };
  readonly #addresses: (SocketAddress | undefined)[] = [];
  /** The payloads of datagrams that are sent, which the next ones mostly replace. */
  readonly #sentPayloads: IdleResource = new IdleResource(this);
  readonly #meta: (SendMetaCopy | undefined)[] = [];
  /** The objects that `#meta` refers to, one for each datagram. */
  readonly #metaCopies: SendMetaCopy[] = [];
  readonly #mayGroup: boolean;
  /** Whether the queued datagrams have not changed since they were last grouped. */
  #isGrouped = false;
  /** How often a datagram was pushed with another destination than the one before it. */
  #peerChanges = 0;
  #nextPrefixLength = 0;
  readonly #nextMeta: SendMetaCopy = new SendMetaCopy();
  #hasNextMeta = false;
  /** Datagrams `#first` to `#end - 1` are queued. */
  #first = 0;
  #end = 0;

  constructor(options: SendBatchOptions = {}) {
    checkOptions("options", options, SEND_BATCH_OPTIONS);
    const { datagrams = 64, prefixBytes = DGRAM_HEADROOM, groupByPeer: mayGroup = true } = options;
    checkInteger("datagrams", datagrams, 1, BATCH_COUNT_MAX);
    checkInteger("prefixBytes", prefixBytes, 0, 1024);
    this.#mayGroup = mayGroup;
    this.capacity = datagrams;
    this.prefixBytesMax = prefixBytes;
    this.#prefixes = new Uint8Array(new ArrayBuffer(datagrams * prefixBytes));
    this.#slices = {
      views: new Array<Uint8Array>(2 * datagrams).fill(this.#prefixes),
      starts: new Uint32Array(2 * datagrams),
      lengths: new Uint32Array(2 * datagrams),
    };
  }

  /** @internal Returns whether `value` is a genuine batch: no `Proxy`, no object that inherits. */
  static _isGenuine(value: unknown): value is SendBatch {
    return typeof value === "object" && value !== null && #slices in value;
  }

  /** Returns what `JSON.stringify` prints: sizes, without the datagrams. */
  toJSON(): { length: number; capacity: number; prefixBytesMax: number } {
    const { length, capacity, prefixBytesMax } = this;
    return { length, capacity, prefixBytesMax };
  }

  /** The number of queued datagrams. */
  get length(): number {
    return this.#end - this.#first;
  }

  /** Whether `push` would throw. There is room again when all datagrams are sent or cleared. */
  get isFull(): boolean {
    return this.#end === this.capacity;
  }

  /**
   * Sets the prefix of the next datagram that is pushed. The bytes are copied.
   *
   * @throws RangeError for more than `prefixBytesMax` bytes, or if the batch is full.
   */
  prefix(bytes: Uint8Array): this {
    checkBytes("bytes", bytes);
    const length = lengthOf(bytes);
    if (length === 0 && hasLostMemory(bytes)) throw lostMemory("bytes");
    const start = this.#prefixRoom(length);
    copyPrefix(bytes, length, this.#prefixes, start);
    this.#nextPrefixLength = length;
    return this;
  }

  /** Sets the prefix of the next datagram to a QUIC varint (RFC 9000 section 16). */
  prefixVarint(value: number | bigint): this {
    const start = this.#prefixRoom(varintLength(value));
    this.#nextPrefixLength = encodeVarint(value, this.#prefixes, start);
    return this;
  }

  /**
   * Sets the metadata of all datagrams that are pushed from now on; `undefined`: none. The fields
   * are copied: the object may be changed afterwards.
   */
  meta(meta: SendMeta | undefined): this {
    if (meta === undefined) {
      this.#hasNextMeta = false;
      return this;
    }
    this.#nextMeta.set(meta);
    this.#hasNextMeta = true;
    return this;
  }

  /**
   * Queues a datagram to `to`, or to the connected peer.
   *
   * @throws RangeError if the batch is full.
   */
  push(payload: Sendable, to?: Destination): this {
    if (DgramBuffer._isGenuine(payload)) {
      const start = payload._start;
      return this.#push(payload._bytes, start, payload._end - start, to);
    }
    const bytes = toPayload("payload", payload) as Uint8Array;
    const length = lengthOf(bytes);
    if (length === 0 && hasLostMemory(bytes)) throw lostMemory("payload");
    return this.#push(bytes, 0, length, to);
  }

  /** Queues `length` bytes of `bytes` at `offset`, as `push` does. */
  pushSlice(bytes: Uint8Array, offset: number, length: number, to?: Destination): this {
    checkBytes("bytes", bytes);
    // An array that has the last byte of the slice has all of it. Otherwise, reads the real length.
    const isRange =
      Number.isInteger(offset) && offset >= 0 && Number.isInteger(length) && length > 0;
    if (!isRange || bytes[offset + length - 1] === undefined) {
      const available = lengthOf(bytes);
      checkInteger("offset", offset, 0, available);
      checkInteger("length", length, 0, available - offset);
    }
    return this.#push(bytes, offset, length, to);
  }

  /**
   * Removes the first `count` datagrams. For a datagram that the system keeps refusing (too long,
   * no route), which would block the ones after it.
   *
   * @throws RangeError if fewer are queued.
   */
  drop(count: number): this {
    checkInteger("count", count, 0, this.length);
    this._sent(count);
    return this;
  }

  /** Removes all datagrams, and the prefix and metadata of the next one. */
  clear(): void {
    this.#slices.views.fill(this.#prefixes);
    this.#first = this.#end = this.#nextPrefixLength = this.#peerChanges = 0;
    this.#hasNextMeta = false;
  }

  /** @internal Releases the payloads of datagrams that are not queued: any array may replace them. */
  _releaseIdle(): void {
    const { views } = this.#slices;
    views.fill(this.#prefixes, 0, 2 * this.#first);
    views.fill(this.#prefixes, 2 * this.#end);
  }

  #push(view: Uint8Array, start: number, length: number, peer: Destination | undefined): this {
    const to = peer === undefined ? undefined : toAddress("to", peer);
    this.#checkRoom();
    const i = this.#end++;
    if (i > this.#first && this.#addresses[i - 1] !== to) this.#peerChanges++;
    this.#isGrouped = false;
    const { views, starts, lengths } = this.#slices;
    starts[2 * i] = i * this.prefixBytesMax;
    const payload = 2 * i + 1;
    views[payload] = view;
    starts[payload] = start;
    lengths[payload] = length;
    lengths[2 * i] = this.#nextPrefixLength;
    this.#addresses[i] = to;
    this.#meta[i] = this.#hasNextMeta ? this.#copyNextMeta(i) : undefined;
    this.#nextPrefixLength = 0;
    return this;
  }

  #copyNextMeta(i: number): SendMetaCopy {
    this.#metaCopies[i] ??= new SendMetaCopy();
    this.#metaCopies[i].copy(this.#nextMeta);
    return this.#metaCopies[i];
  }

  #prefixRoom(length: number): number {
    this.#checkRoom();
    checkInteger("prefix length", length, 0, this.prefixBytesMax);
    return this.#end * this.prefixBytesMax;
  }

  #checkRoom(): void {
    if (this.isFull) throw rangeError("batch", `room for one more of ${this.capacity}`, "none");
  }

  /** @internal The destination of the first datagram. */
  get _firstAddress(): SocketAddress | undefined {
    return this.#addresses[this.#first];
  }

  /** @internal The length of the first datagram in bytes. */
  get _firstLength(): number {
    return this.#lengthAt(this.#first);
  }

  /** @internal Calls `check` for each destination. */
  _checkAddresses(check: (address: SocketAddress) => void): void {
    for (let i = this.#first; i < this.#end; i++) {
      const address = this.#addresses[i];
      if (address !== undefined) check(address);
    }
  }

  /** @internal Removes all destinations: the datagrams go to the connected peer. */
  _clearAddresses(): void {
    this.#addresses.fill(undefined, this.#first, this.#end);
  }

  /** @internal @throws SocketError with `reason` if a datagram has metadata. */
  _refuseMetadata(reason: string): void {
    for (let i = this.#first; i < this.#end; i++) {
      if (this.#meta[i] !== undefined) {
        throw unsupportedError("sendBatch", `metadata: ${reason}`);
      }
    }
  }

  /**
   * @internal Groups the queued datagrams by peer if that lets GSO send fewer messages. Each peer's
   * datagrams keep their order.
   */
  _groupByPeer(): void {
    if (this.#isGrouped || this.#peerChanges < 2 || !this.#mayGroup) return;
    this.#isGrouped = true;
    if (groupByPeer(this.#addresses, this.#first, this.#end, sendOrder) > 0) this.#reorder();
  }

  /** Moves the queued datagrams into `sendOrder`, in place: along the cycles of the permutation. */
  #reorder(): void {
    const { views, starts, lengths } = this.#slices;
    const first = this.#first;
    for (let k = 0; k < this.#end - first; k++) {
      let from = (sendOrder[k] as number) - first;
      if (from === k) continue;
      const start = 2 * (first + k);
      const saved = {
        prefixStart: starts[start] as number,
        prefixLength: lengths[start] as number,
        view: views[start + 1] as Uint8Array,
        start: starts[start + 1] as number,
        length: lengths[start + 1] as number,
        address: this.#addresses[first + k],
        meta: this.#meta[first + k],
      };
      let to = k;
      for (; from !== k; from = (sendOrder[to] as number) - first) {
        this.#move(first + from, first + to);
        sendOrder[to] = first + to;
        to = from;
      }
      sendOrder[to] = first + to;
      const target = 2 * (first + to);
      starts[target] = saved.prefixStart;
      lengths[target] = saved.prefixLength;
      views[target + 1] = saved.view;
      starts[target + 1] = saved.start;
      lengths[target + 1] = saved.length;
      this.#addresses[first + to] = saved.address;
      this.#meta[first + to] = saved.meta;
    }
  }

  #move(from: number, to: number): void {
    const { views, starts, lengths } = this.#slices;
    starts[2 * to] = starts[2 * from] as number;
    lengths[2 * to] = lengths[2 * from] as number;
    views[2 * to + 1] = views[2 * from + 1] as Uint8Array;
    starts[2 * to + 1] = starts[2 * from + 1] as number;
    lengths[2 * to + 1] = lengths[2 * from + 1] as number;
    this.#addresses[to] = this.#addresses[from];
    this.#meta[to] = this.#meta[from];
  }

  /** @internal Builds messages of all datagrams, and returns the number of messages. */
  _fill(builder: MessageBuilder): number {
    builder.vector.reserve(2 * this.length);
    for (let i = this.#first; i < this.#end; ) {
      const first = i;
      const length = this.#lengthAt(first);
      builder.add(length, this.#addresses[first], this.#meta[first]);
      const more = this.#countAlike(first, length, builder.room);
      builder.addAlike(more);
      i += 1 + more;
      builder.slices(this.#slices, 2 * first, 2 * i);
    }
    return builder.finish();
  }

  /** Returns how many datagrams after `i` have its length, destination and metadata. */
  #countAlike(i: number, length: number, limit: number): number {
    const address = this.#addresses[i];
    const meta = this.#meta[i];
    const end = Math.min(this.#end, i + 1 + limit);
    let next = i + 1;
    while (
      next < end &&
      this.#lengthAt(next) === length &&
      this.#addresses[next] === address &&
      sameSendMeta(this.#meta[next], meta)
    ) {
      next++;
    }
    return next - i - 1;
  }

  /**
   * @internal Removes the first `count` datagrams, or as many as are queued, and returns the number
   * of their bytes.
   */
  _sent(count: number): number {
    let bytes = 0;
    const end = Math.min(this.#first + count, this.#end);
    for (let i = this.#first; i < end; i++) bytes += this.#lengthAt(i);
    this.#sentPayloads.use();
    this.#first = end;
    if (this.#first === this.#end) {
      // A prefix whose payload is not pushed yet moves to the first place.
      const start = this.#end * this.prefixBytesMax;
      this.#prefixes.copyWithin(0, start, start + this.#nextPrefixLength);
      this.#first = this.#end = this.#peerChanges = 0;
    }
    return bytes;
  }

  /** @internal Returns the bytes of the first datagram: a copy if it has a prefix. */
  _firstBytes(): Uint8Array {
    const prefix = this.#slice(2 * this.#first);
    const payload = this.#slice(2 * this.#first + 1);
    return prefix.length === 0 ? payload : Buffer.concat([prefix, payload]);
  }

  #slice(i: number): Uint8Array {
    const { views, starts, lengths } = this.#slices;
    const [view, start, length] = [views[i], starts[i], lengths[i]] as [Uint8Array, number, number];
    if (length === 0) return NO_BYTES;
    if (start + length > byteLengthOf(view)) throw lostMemory("payload");
    return plainView(view, start, length);
  }

  #lengthAt(i: number): number {
    const { lengths } = this.#slices;
    return (lengths[2 * i] as number) + (lengths[2 * i + 1] as number);
  }
}

if (isShared("SendBatch", SendBatch)) {
  // @ts-expect-error See `isShared`.
  SendBatch = sharedClass("SendBatch");
}

/** @throws TypeError if `value` is not a `SendBatch`. */
export function checkSendBatch(value: unknown): asserts value is SendBatch {
  if (!SendBatch._isGenuine(value)) throw typeError("batch", "SendBatch", value);
}
