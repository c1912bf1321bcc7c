/**
 * Datagrams as they lie where the kernel, or a socket of one's own, put them: received without a
 * copy, borrowed until the next receive.
 *
 * With receive offload (UDP_GRO) the kernel hands over many datagrams of one flow in one piece,
 * with their common length, the stride. A batch knows both views: every datagram, and the pieces.
 */

import {
  lazyBytes,
  NAME_CAPACITY_MAX,
  type Native,
  type ReceiveVector,
  type Segments,
} from "../../ffi/native.ts";
import { addressAt, type SocketAddress } from "../address/address.ts";
import { RECV_CONTROL_CAPACITY, readMetadata, segmentBytesOf } from "../datagram/control.ts";
import { DatagramInfo } from "../datagram/info.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";

/**
 * Bytes of room for one message: the longest UDP payload, coalesced or not, is shorter. What is
 * longer is truncated.
 */
const SLOT_BYTES = 65_536;

/** @internal What a batch receives from. */
export interface MessageSource {
  readonly native: Native;
  readonly fd: number;
  /** Whether control messages are wanted: not from a Unix peer, whose may bring descriptors. */
  readonly hasControl: boolean;
  /** The socket's own address, where what it tells is wanted too. */
  readonly local?: SocketAddress | undefined;
}

/** Options of a `RecvBatch`. */
export interface RecvBatchOptions {
  /**
   * Messages that one receive can take, 1..1024, each one datagram or, coalesced, up to 128.
   * Every one has 64 KiB of address space, which becomes memory when it is used. Default 32.
   */
  readonly messages?: number | undefined;
}

/**
 * A reusable place to receive into. What it shows is borrowed until the next receive into it.
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
  /** All the memory; datagram i is `lengthAt(i)` bytes from `offsetAt(i)` on. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Messages that one receive can take. */
  readonly messagesMax: number;
  /** By message: its first datagram, its length, and that of its datagrams but the last. */
  readonly #firsts: Int32Array;
  readonly #messageBytes: Int32Array;
  readonly #segmentBytes: Int32Array;
  #vector: ReceiveVector | undefined;
  #length = 0;
  #messages = 0;
  #payloadBytes = 0;
  /** The message that was asked about last, and its datagrams: mostly the next is the same one. */
  #message = 0;
  #first = 0;
  #end = 0;
  #hasControl = false;
  #local: SocketAddress | undefined;
  #controlTruncated = 0;
  /** About datagrams that did not come from the kernel; of those that did, the vector tells. */
  readonly #infos: DatagramInfo[] = [];
  #hasInfos = false;
  /** The room of each message, for who fills it from elsewhere than the kernel. */
  readonly #rooms: Uint8Array[] = [];
  readonly #segments: Segments;

  constructor(options: RecvBatchOptions = {}) {
    const { messages = 32 } = options;
    checkInteger("messages", messages, 1, 1024);
    this.messagesMax = messages;
    this.bytes = lazyBytes(messages * SLOT_BYTES);
    this.#segments = { bytes: this.bytes, offset: 0, length: 0, stride: 0, datagrams: 0 };
    this.#firsts = new Int32Array(messages);
    this.#messageBytes = new Int32Array(messages);
    this.#segmentBytes = new Int32Array(messages);
  }

  /** Datagrams in it. */
  get length(): number {
    return this.#length;
  }

  /** Messages they came in: fewer where the kernel coalesced some. */
  get messages(): number {
    return this.#messages;
  }

  /** Where in `bytes` datagram `i` starts. @throws RangeError when there is none. */
  offsetAt(i: number): number {
    const m = this.messageAt(i);
    return m * SLOT_BYTES + (i - this.#first) * (this.#segmentBytes[m] as number);
  }

  /** Its length in bytes; 0 is a valid datagram. @throws RangeError when there is none. */
  lengthAt(i: number): number {
    const m = this.messageAt(i);
    const stride = this.#segmentBytes[m] as number;
    const rest = (this.#messageBytes[m] as number) - (i - this.#first) * stride;
    return rest < stride ? rest : stride;
  }

  /** Its bytes, as a view that is made at each call. */
  payload(i: number): Uint8Array<ArrayBuffer> {
    const offset = this.offsetAt(i);
    return this.bytes.subarray(offset, offset + this.lengthAt(i));
  }

  /** Who sent it. Absent for a Unix peer without a name. */
  peerAt(i: number): SocketAddress | undefined {
    const m = this.messageAt(i);
    if (this.#hasInfos) return this.#infos[m]?.peer;
    return this.#vector && addressAt(this.#vector, m);
  }

  /** All that was told of it, written into `info`, which is answered. */
  infoAt(i: number, info: DatagramInfo = new DatagramInfo()): DatagramInfo {
    const length = this.lengthAt(i);
    if (this.#hasInfos) return Object.assign(info, this.#infos[i]);
    info._set(length, length, this.peerAt(i));
    const vector = this.#vector;
    if (vector === undefined || !this.#hasControl) return info;
    const m = this.messageAt(i);
    info.controlTruncated = vector.isControlTruncatedAt(m);
    if (this.#local !== undefined) {
      const bytes = vector.controlLengthAt(m);
      readMetadata(vector.words, vector.controlIndex(m), bytes, info, this.#local);
    }
    return info;
  }

  /** Which message datagram `i` came in. @throws RangeError when there is none. */
  messageAt(i: number): number {
    if (i !== (i | 0) || i < this.#first || i >= this.#end) this.#seek(i);
    return this.#message;
  }

  #seek(i: number): void {
    if (!(Number.isInteger(i) && i >= 0 && i < this.#length)) {
      throw rangeError("i", `datagram of ${this.#length}`, i);
    }
    const isLater = i >= this.#end;
    do this.#message += isLater ? 1 : -1;
    while (i < (this.#firsts[this.#message] as number) || i >= this.#firstBehind(this.#message));
    this.#first = this.#firsts[this.#message] as number;
    this.#end = this.#firstBehind(this.#message);
  }

  #firstBehind(m: number): number {
    return m + 1 < this.#messages ? (this.#firsts[m + 1] as number) : this.#length;
  }

  /**
   * The stride of message `m` in bytes: the length of all its datagrams but the last.
   *
   * @throws RangeError when there is none.
   */
  segmentBytesAt(m: number): number {
    if (!(Number.isInteger(m) && m >= 0 && m < this.#messages)) {
      throw rangeError("m", `message of ${this.#messages}`, m);
    }
    return this.#segmentBytes[m] as number;
  }

  /**
   * @internal Adds copies of what fits of another's datagrams from `from` on, as messages of their
   * own: how many.
   */
  _copyFrom(other: RecvBatch, from: number): number {
    const count = Math.min(other.length - from, this.messagesMax);
    for (let i = from; i < from + count; i++) {
      const payload = other.payload(i);
      this._nextRoom().set(payload);
      other.infoAt(i, this._nextInfo());
      this._add(payload.length);
    }
    return count;
  }

  /** @internal Bytes of all datagrams. */
  get _payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** @internal Messages of the last receive that had control messages too many. */
  get _controlTruncated(): number {
    return this.#controlTruncated;
  }

  /** @internal Datagram `i` and those behind it in its message: borrowed until the next call. */
  _segmentsFrom(i: number): Segments {
    const m = this.messageAt(i);
    const segments = this.#segments;
    segments.stride = this.#segmentBytes[m] as number;
    const skipped = (i - this.#first) * segments.stride;
    segments.offset = m * SLOT_BYTES + skipped;
    segments.length = (this.#messageBytes[m] as number) - skipped;
    segments.datagrams = this.#end - i;
    return segments;
  }

  /** @internal Forgets what it has. */
  _clear(): void {
    this.#length = this.#messages = this.#payloadBytes = 0;
    this.#message = this.#first = this.#end = 0;
  }

  /** @internal Room for the next datagram, which is a message too: then `_add`. */
  _nextRoom(): Uint8Array {
    this.#checkMemory();
    const m = this.#messages;
    this.#rooms[m] ??= this.bytes.subarray(m * SLOT_BYTES, (m + 1) * SLOT_BYTES);
    return this.#rooms[m];
  }

  /** @internal Where to tell of the next datagram; nothing is told yet. */
  _nextInfo(): DatagramInfo {
    const m = this.#messages;
    this.#infos[m] ??= new DatagramInfo();
    this.#infos[m]._set(0, 0, undefined);
    return this.#infos[m];
  }

  /** @internal Adds the next datagram: `bytes` of its room. */
  _add(bytes: number): void {
    checkInteger("bytes received", bytes, 0, SLOT_BYTES);
    this.#addMessage(this.#messages, bytes, bytes, 1);
    this.#hasInfos = true;
  }

  /** @internal Receives up to `limit` messages: how many, or -errno. */
  _receive({ native, fd, hasControl, local }: MessageSource, limit: number, flags = 0): number {
    // SAFETY: the vector has the address of this memory, which is another's once transferred.
    this.#checkMemory();
    const vector = this.#vectorOf(native);
    this.#hasControl = hasControl;
    this.#local = local;
    const control = hasControl ? RECV_CONTROL_CAPACITY : 0;
    const count = vector.receive(fd, 0, Math.min(limit, this.messagesMax), flags, control);
    this.#hasInfos = false;
    this.#controlTruncated = 0;
    this._clear();
    for (let m = 0; m < count; m++) {
      const bytes = Math.min(vector.lengthAt(m), SLOT_BYTES);
      const length = vector.controlLengthAt(m);
      const told = length > 0 ? segmentBytesOf(vector.words, vector.controlIndex(m), length) : 0;
      if (hasControl && vector.isControlTruncatedAt(m)) this.#controlTruncated++;
      const stride = told > 0 ? told : bytes;
      this.#addMessage(m, bytes, stride, bytes > stride ? Math.ceil(bytes / stride) : 1);
    }
    return count;
  }

  #checkMemory(): void {
    if (this.bytes.length !== this.messagesMax * SLOT_BYTES) {
      throw rangeError("batch.bytes", "memory", "memory that was transferred");
    }
  }

  #addMessage(m: number, bytes: number, stride: number, datagrams: number): void {
    this.#firsts[m] = this.#length;
    this.#messageBytes[m] = bytes;
    this.#segmentBytes[m] = stride;
    this.#payloadBytes += bytes;
    this.#length += datagrams;
    this.#messages = m + 1;
    if (m === 0) this.#end = datagrams;
  }

  #vectorOf(native: Native): ReceiveVector {
    let vector = this.#vector;
    if (vector === undefined) {
      vector = native.receiveVector(NAME_CAPACITY_MAX, RECV_CONTROL_CAPACITY);
      vector.reserve(this.messagesMax);
      for (let m = 0; m < this.messagesMax; m++) {
        vector.setBuffer(m, this.bytes, m * SLOT_BYTES, SLOT_BYTES);
      }
      this.#vector = vector;
    }
    return vector;
  }
}

/** Checks what to receive into. */
export function checkRecvBatch(value: unknown): asserts value is RecvBatch {
  if (!(value instanceof RecvBatch)) throw typeError("batch", "RecvBatch", value);
}
