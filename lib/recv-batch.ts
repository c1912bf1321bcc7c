/**
 * Datagrams as they lie where the kernel put them: received without a copy, borrowed until the
 * next receive.
 *
 * With receive offload (UDP_GRO) the kernel hands over many datagrams of one flow in one piece,
 * with their common length, the stride. A batch knows both views: every datagram, and the pieces.
 */

import type { Native, ReceiveVector } from "../ffi/native.ts";
import { knownAddresses, type SocketAddress } from "./address.ts";
import { checkInteger } from "./check.ts";
import { RECV_CONTROL_CAPACITY, readMetadata, segmentBytesOf } from "./control.ts";
import { DatagramInfo } from "./info.ts";

/** Bytes of room for one message: the longest UDP payload, coalesced or not, is shorter. */
const SLOT_BYTES = 65_536;
/**
 * Datagrams a message has at the most, as a rule: UDP_MAX_SEGMENTS of <linux/udp.h> since Linux
 * 6.9. Whoever feeds a TUN device may join more.
 */
const MESSAGE_DATAGRAMS_MAX = 128;
/** Bytes of room for a peer's address, a Unix one too. */
const NAME_CAPACITY = 112;
/** Bytes of a `sockaddr_un` without a name (unix(7)). */
const UNNAMED_BYTES = 2;

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
  #offsets: Int32Array;
  #lengths: Int32Array;
  #messageOf: Uint16Array;
  readonly #segmentBytes: Int32Array;
  #vector: ReceiveVector | undefined;
  #length = 0;
  #messages = 0;
  #local: SocketAddress | undefined;
  /** About datagrams that were copied here; of received ones the vector tells. */
  readonly #copiedInfo: DatagramInfo[] = [];
  #isCopied = false;

  constructor(options: RecvBatchOptions = {}) {
    const { messages = 32 } = options;
    checkInteger("messages", messages, 1, 1024);
    this.messagesMax = messages;
    this.bytes = new Uint8Array(new ArrayBuffer(messages * SLOT_BYTES));
    this.#offsets = new Int32Array(messages * MESSAGE_DATAGRAMS_MAX);
    this.#lengths = new Int32Array(messages * MESSAGE_DATAGRAMS_MAX);
    this.#messageOf = new Uint16Array(messages * MESSAGE_DATAGRAMS_MAX);
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

  /** Where in `bytes` datagram `i` starts. */
  offsetAt(i: number): number {
    return this.#offsets[i] as number;
  }

  /** Its length in bytes; 0 is a valid datagram. */
  lengthAt(i: number): number {
    return this.#lengths[i] as number;
  }

  /** Its bytes, as a view that is made at each call. */
  payload(i: number): Uint8Array<ArrayBuffer> {
    const offset = this.offsetAt(i);
    return this.bytes.subarray(offset, offset + this.lengthAt(i));
  }

  /** Who sent it. Absent for a Unix peer without a name. */
  peerAt(i: number): SocketAddress | undefined {
    if (this.#isCopied) return this.#copiedInfo[i]?.peer;
    const vector = this.#vector;
    const m = this.messageAt(i);
    const length = vector?.nameLengthAt(m) ?? 0;
    if (vector === undefined || length <= UNNAMED_BYTES) return undefined;
    return knownAddresses.get(vector.words, vector.nameIndex(m), length);
  }

  /** All that was told of it, written into `info`, which is answered. */
  infoAt(i: number, info: DatagramInfo = new DatagramInfo()): DatagramInfo {
    if (this.#isCopied) return Object.assign(info, this.#copiedInfo[i]);
    const length = this.lengthAt(i);
    info._set(length, length, this.peerAt(i));
    if (this.#local !== undefined) this._readMetadata(i, info, this.#local);
    return info;
  }

  /** @internal Tells `info` what came with datagram `i`, on a socket bound to `local`. */
  _readMetadata(i: number, info: DatagramInfo, local: SocketAddress): void {
    const vector = this.#vector;
    if (vector === undefined || this.#isCopied) return;
    const m = this.messageAt(i);
    const bytes = vector.controlLengthAt(m);
    readMetadata(vector.words, vector.controlIndex(m), bytes, info, local);
  }

  /** Which message datagram `i` came in. */
  messageAt(i: number): number {
    return this.#messageOf[i] as number;
  }

  /** The stride of message `m` in bytes: the length of all its datagrams but the last. */
  segmentBytesAt(m: number): number {
    return this.#segmentBytes[m] as number;
  }

  /**
   * @internal Copies what fits of another's datagrams from `from` on, as messages of their own:
   * how many.
   */
  _copyFrom(other: RecvBatch, from: number): number {
    const count = Math.min(other.length - from, this.messagesMax);
    for (let i = 0; i < count; i++) {
      this._append(other.payload(from + i), undefined, i);
      other.infoAt(from + i, this.#copiedInfo[i]);
    }
    return count;
  }

  /** @internal Forgets what it has. */
  _clear(): void {
    this.#length = this.#messages = 0;
  }

  /** @internal Makes a copy of `bytes` datagram and message `i`; the caller does so in order. */
  _append(bytes: Uint8Array, peer: SocketAddress | undefined, i: number): void {
    const offset = i * SLOT_BYTES;
    this.bytes.set(bytes, offset);
    this.#offsets[i] = offset;
    this.#lengths[i] = this.#segmentBytes[i] = bytes.length;
    this.#messageOf[i] = i;
    this.#copiedInfo[i] ??= new DatagramInfo();
    this.#copiedInfo[i]._set(bytes.length, bytes.length, peer);
    this.#isCopied = true;
    this.#length = this.#messages = i + 1;
  }

  /** @internal Receives up to `limit` messages: how many, or -errno. */
  _receive(native: Native, fd: number, limit: number, local?: SocketAddress, flags = 0): number {
    const vector = this.#vectorOf(native);
    this.#local = local;
    const count = vector.receive(fd, 0, Math.min(limit, this.messagesMax), flags);
    this.#isCopied = false;
    this.#length = 0;
    this.#messages = Math.max(0, count);
    for (let m = 0; m < count; m++) this.#takeApart(vector, m);
    return count;
  }

  #takeApart(vector: ReceiveVector, m: number): void {
    const bytes = Math.min(vector.lengthAt(m), SLOT_BYTES);
    const told = segmentBytesOf(vector.words, vector.controlIndex(m), vector.controlLengthAt(m));
    const stride = told > 0 ? told : bytes;
    this.#segmentBytes[m] = stride;
    let offset = m * SLOT_BYTES;
    const end = offset + bytes;
    let i = this.#length;
    const datagrams = i + (stride > 0 ? Math.ceil(bytes / stride) : 1);
    if (datagrams > this.#offsets.length) this.#grow(datagrams);
    do {
      this.#offsets[i] = offset;
      this.#lengths[i] = Math.min(stride, end - offset);
      this.#messageOf[i] = m;
      offset += stride;
      i++;
    } while (offset < end);
    this.#length = i;
  }

  #grow(datagrams: number): void {
    const length = 2 * datagrams;
    const [offsets, lengths, messageOf] = [this.#offsets, this.#lengths, this.#messageOf];
    this.#offsets = new Int32Array(length);
    this.#lengths = new Int32Array(length);
    this.#messageOf = new Uint16Array(length);
    this.#offsets.set(offsets);
    this.#lengths.set(lengths);
    this.#messageOf.set(messageOf);
  }

  #vectorOf(native: Native): ReceiveVector {
    let vector = this.#vector;
    if (vector === undefined) {
      vector = native.receiveVector(NAME_CAPACITY, RECV_CONTROL_CAPACITY);
      vector.reserve(this.messagesMax);
      for (let m = 0; m < this.messagesMax; m++) {
        vector.setBuffer(m, this.bytes, m * SLOT_BYTES, SLOT_BYTES);
      }
      this.#vector = vector;
    }
    return vector;
  }
}
