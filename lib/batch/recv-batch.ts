/**
 * Received datagrams in the memory that the kernel wrote them to: no copy, borrowed until the next
 * receive.
 *
 * With GRO, one message contains several datagrams of a flow, all of the same length (the stride)
 * except the last, which may be shorter. A batch gives access to both the datagrams and the
 * messages.
 */

import { lazyBytes, type Segments } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { RecvMeta } from "../datagram/recv-meta.ts";
import {
  checkInteger,
  inspectAs,
  numberError,
  showState,
  stateError,
  typeError,
} from "../support/check.ts";
import { BATCH_COUNT_MAX, MAX_BUF_SIZE } from "../support/limits.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { CopiedMessages } from "./copied-messages.ts";
import { KernelMessages, type MessageSource } from "./kernel-messages.ts";

/** Options of a `RecvBatch`. */
export interface RecvBatchOptions {
  /**
   * The maximum number of messages per receive, 1..1024. Each is one datagram, or with GRO up to
   * 128. Each reserves 64 KiB of address space, which uses memory only as far as it is written to.
   * Default 32.
   */
  readonly messages?: number | undefined;
}

const RECV_BATCH_OPTIONS = optionKinds<RecvBatchOptions>({ messages: "any" });

/**
 * A reusable batch to receive into. Its contents are borrowed until the next receive into it.
 *
 * @example
 * ```ts
 * const batch = new RecvBatch();
 * for (;;) {
 *   await socket.recvBatch(batch);
 *   for (let i = 0; i < batch.length; i++) parse(batch.payload(i), batch.peerAt(i));
 * }
 * ```
 */
export class RecvBatch {
  static {
    inspectAs(RecvBatch.prototype, (batch) => showState("RecvBatch", batch.toJSON()));
  }

  /** The memory of all datagrams. Datagram i is `lengthAt(i)` bytes at `offsetAt(i)`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The maximum number of messages per receive. */
  readonly messagesMax: number;
  /** The same memory: nothing can override private fields. */
  readonly #bytes: Uint8Array<ArrayBuffer>;
  /** For each message: the index of its first datagram, its length, and its stride. */
  readonly #firsts: Int32Array;
  readonly #messageBytes: Int32Array;
  readonly #strides: Int32Array;
  #length = 0;
  #messages = 0;
  #payloadBytes = 0;
  /** The message of the latest lookup and its datagrams: mostly the next lookup needs it again. */
  #message = 0;
  #first = 0;
  #end = 0;
  /** Created when the kernel first fills the batch. */
  #kernel: KernelMessages | undefined;
  readonly #copied: CopiedMessages;
  /** The one of the two that describes the current messages. */
  #current: KernelMessages | CopiedMessages;
  #controlTruncated = 0;
  #truncated = 0;
  readonly #segments: Segments;

  constructor(options: RecvBatchOptions = {}) {
    checkOptions("options", options, RECV_BATCH_OPTIONS);
    const { messages = 32 } = options;
    checkInteger("messages", messages, 1, BATCH_COUNT_MAX);
    this.messagesMax = messages;
    this.bytes = this.#bytes = lazyBytes(messages * MAX_BUF_SIZE);
    this.#copied = this.#current = new CopiedMessages(this.#bytes);
    this.#segments = { bytes: this.#bytes, offset: 0, length: 0, stride: 0, datagrams: 0 };
    this.#firsts = new Int32Array(messages);
    this.#messageBytes = new Int32Array(messages);
    this.#strides = new Int32Array(messages);
  }

  /** @internal Returns whether `value` is a genuine batch: no `Proxy`, no object that inherits. */
  static _isGenuine(value: unknown): value is RecvBatch {
    return typeof value === "object" && value !== null && #bytes in value;
  }

  /** Returns what `JSON.stringify` prints: sizes, without the memory. */
  toJSON(): { length: number; messages: number; messagesMax: number } {
    const { length, messages, messagesMax } = this;
    return { length, messages, messagesMax };
  }

  /** The number of datagrams. */
  get length(): number {
    return this.#length;
  }

  /** The number of messages. Fewer than datagrams if GRO merged some. */
  get messages(): number {
    return this.#messages;
  }

  /** Returns the offset of datagram `i` in `bytes`. @throws RangeError if there is none. */
  offsetAt(i: number): number {
    const m = this.messageAt(i);
    return m * MAX_BUF_SIZE + (i - this.#first) * (this.#strides[m] as number);
  }

  /** Returns the length of datagram `i` in bytes, possibly 0. @throws RangeError if none. */
  lengthAt(i: number): number {
    const m = this.messageAt(i);
    const stride = this.#strides[m] as number;
    const remaining = (this.#messageBytes[m] as number) - (i - this.#first) * stride;
    return remaining < stride ? remaining : stride;
  }

  /** Returns a new view of datagram `i`. @throws RangeError if there is none. */
  payload(i: number): Uint8Array<ArrayBuffer> {
    const offset = this.offsetAt(i);
    return this.#bytes.subarray(offset, offset + this.lengthAt(i));
  }

  /** Returns the source address of datagram `i`; absent for a Unix socket without a name. */
  peerAt(i: number): SocketAddress | undefined {
    return this.#current.peerAt(this.messageAt(i));
  }

  /** Writes the metadata of datagram `i` into `meta`, and returns `meta`. */
  metaAt(i: number, meta: RecvMeta = new RecvMeta()): RecvMeta {
    const length = this.lengthAt(i);
    this.#current.readMeta(this.messageAt(i), length, meta);
    return meta;
  }

  /** Returns the index of the message that contains datagram `i`. @throws RangeError if none. */
  messageAt(i: number): number {
    if (typeof i !== "number" || i !== (i | 0) || i < this.#first || i >= this.#end) this.#seek(i);
    return this.#message;
  }

  #seek(i: number): void {
    if (!(Number.isInteger(i) && i >= 0 && i < this.#length)) {
      throw numberError("i", `datagram of ${this.#length}`, i);
    }
    const isLater = i >= this.#end;
    do this.#message += isLater ? 1 : -1;
    while (i < (this.#firsts[this.#message] as number) || i >= this.#endOf(this.#message));
    this.#first = this.#firsts[this.#message] as number;
    this.#end = this.#endOf(this.#message);
  }

  /** Returns the index after the last datagram of message `m`. */
  #endOf(m: number): number {
    return m + 1 < this.#messages ? (this.#firsts[m + 1] as number) : this.#length;
  }

  /**
   * Returns the stride of message `m` in bytes: the length of all its datagrams except the last.
   *
   * @throws RangeError if there is no such message.
   */
  strideAt(m: number): number {
    if (!(Number.isInteger(m) && m >= 0 && m < this.#messages)) {
      throw numberError("m", `message of ${this.#messages}`, m);
    }
    return this.#strides[m] as number;
  }

  // ------------------------------------------------------------------ filled by the kernel ----

  /** @internal Receives up to `limit` messages, and returns their number or -errno. */
  _receive(source: MessageSource, limit: number, flags = 0): number {
    // SAFETY: the vector has the address of this memory, which a transfer gives to another owner.
    this.#checkMemory();
    this.#kernel ??= new KernelMessages(source.native, this.#bytes, this.#firsts.length);
    const kernel = this.#kernel;
    this._clear();
    this.#current = kernel;
    this.#controlTruncated = 0;
    this.#truncated = 0;
    const count = kernel.receive(source, Math.min(limit, this.#firsts.length), flags);
    for (let m = 0; m < count; m++) {
      const bytes = kernel.bytesAt(m);
      const stride = kernel.strideAt(m) || bytes;
      if (kernel.lengthAt(m) > bytes) this.#truncated++;
      if (kernel.isControlTruncatedAt(m)) this.#controlTruncated++;
      this.#addMessage(bytes, stride, bytes > stride ? Math.ceil(bytes / stride) : 1);
    }
    return count;
  }

  /** @internal The messages of the latest `_receive` that lost control messages. */
  get _controlTruncated(): number {
    return this.#controlTruncated;
  }

  /** @internal The datagrams of the latest `_receive` that were longer than their slot. */
  get _truncated(): number {
    return this.#truncated;
  }

  /** @internal The number of bytes of all datagrams. */
  get _payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** @internal Datagram `i` and the ones after it in its message. Borrowed until the next call. */
  _segmentsFrom(i: number): Segments {
    const m = this.messageAt(i);
    const segments = this.#segments;
    segments.stride = this.#strides[m] as number;
    const skipped = (i - this.#first) * segments.stride;
    segments.offset = m * MAX_BUF_SIZE + skipped;
    segments.length = (this.#messageBytes[m] as number) - skipped;
    segments.datagrams = this.#end - i;
    return segments;
  }

  // -------------------------------------------------------------------- filled by copying ----

  /** @internal The memory for the next datagram. Completed by `_add`. */
  _nextView(): Uint8Array {
    this.#checkMemory();
    return this.#copied.viewAt(this.#messages);
  }

  /** @internal The metadata object for the next datagram. */
  _nextMeta(): RecvMeta {
    return this.#copied.resetMetaAt(this.#messages);
  }

  /** @internal Adds a datagram: the first `bytes` of `_nextView()`. */
  _add(bytes: number): void {
    checkInteger("bytes received", bytes, 0, MAX_BUF_SIZE);
    this.#current = this.#copied;
    this.#addMessage(bytes, bytes, 1);
  }

  /**
   * @internal Adds copies of the datagrams of `other` from `start` on, as far as there is room.
   * Returns their number.
   */
  _copyFrom(other: RecvBatch, start: number): number {
    const count = Math.min(other.length - start, this.#firsts.length);
    for (let i = start; i < start + count; i++) {
      const payload = other.payload(i);
      this._nextView().set(payload);
      other.metaAt(i, this._nextMeta());
      this._add(payload.length);
    }
    return count;
  }

  /** @internal Removes all datagrams. */
  _clear(): void {
    this.#length = this.#messages = this.#payloadBytes = 0;
    this.#message = this.#first = this.#end = 0;
  }

  #addMessage(bytes: number, stride: number, datagrams: number): void {
    const m = this.#messages++;
    this.#firsts[m] = this.#length;
    this.#messageBytes[m] = bytes;
    this.#strides[m] = stride;
    this.#payloadBytes += bytes;
    this.#length += datagrams;
    if (m === 0) this.#end = datagrams;
  }

  #checkMemory(): void {
    // The memory cannot shrink, only be transferred as a whole. Takes 1 ns, `byteLengthOf` 5.
    if (this.#bytes[0] === undefined) {
      throw stateError("batch.bytes", "memory", "memory that was transferred");
    }
  }
}

if (isShared("RecvBatch", RecvBatch)) {
  // @ts-expect-error See `isShared`.
  RecvBatch = sharedClass("RecvBatch");
}

/** @throws TypeError if `value` is not a `RecvBatch`. */
export function checkRecvBatch(value: unknown): asserts value is RecvBatch {
  if (!RecvBatch._isGenuine(value)) throw typeError("batch", "RecvBatch", value);
}
