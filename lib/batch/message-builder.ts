/** Builds the messages of a send: one per datagram, or one for several adjacent datagrams (GSO). */

import type { Message, SendVector, Slices } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { type CheckedSendMeta, sameSendMeta } from "../datagram/send-meta.ts";
import { CmsgWriter } from "../linux/cmsg.ts";
import type { TrafficClass } from "../linux/traffic-class.ts";
import { typeError } from "../support/check.ts";
import { type GsoLimits, MESSAGE_BYTES_MAX, SEGMENTS_MAX } from "./gso-limits.ts";

/** The properties of a socket that determine its messages. */
export interface MessageRules {
  /** Whether the socket is IPv6, so that it needs IPv4-mapped addresses. */
  readonly isIPv6: boolean;
  /** Whether the connected peer is reached over IPv4. */
  readonly isPeerIPv4: boolean;
  /** The segment sizes that destinations accept. Absent: no GSO. */
  readonly gsoLimits: GsoLimits | undefined;
  /** The DSCP and ECN field of the socket, for datagrams that set one of them only. Default: 0. */
  readonly trafficClass?: TrafficClass;
}

const NO_RULES: MessageRules = { isIPv6: false, isPeerIPv4: false, gsoLimits: undefined };

/** @throws TypeError if the family of `source` is not that of the destination. */
function checkFamily(source: SocketAddress | undefined, isIPv4: boolean): void {
  if (source === undefined) return;
  if (isIPv4 ? source.family === "IPv6" && !source._isMapped : source.family !== "IPv6") {
    throw typeError("source", `${isIPv4 ? "IPv4" : "IPv6"} address`, source.toString());
  }
}

/** Builds messages in a vector. For each datagram, call `add` and then `piece` or `slices`. */
export class MessageBuilder {
  readonly vector: SendVector;
  #rules: MessageRules = NO_RULES;
  #messages = 0;
  #bytes = 0;
  // The current message.
  #firstSlot = 0;
  #datagrams = 0;
  #address: SocketAddress | undefined;
  #meta: CheckedSendMeta | undefined;
  #segmentBytes = 0;
  #messageBytes = 0;
  #mayGrow = false;
  readonly #control: CmsgWriter = new CmsgWriter();
  /** Reused for every message: `setMessage` only reads it. */
  readonly #message: Message = { slot: 0, slots: 0, datagrams: 0, controlBytes: 0 };

  constructor(vector: SendVector) {
    this.vector = vector;
  }

  /** Starts a new sequence of messages. */
  begin(rules: MessageRules): this {
    this.#rules = rules;
    this.vector.rewind();
    this.#messages = this.#datagrams = this.#bytes = 0;
    this.#mayGrow = false;
    return this;
  }

  /**
   * Adds a datagram of `length` bytes to `address`. It becomes a segment of the current message if
   * it has the same destination, metadata and length; a shorter one ends the message.
   */
  add(length: number, address: SocketAddress | undefined, meta?: CheckedSendMeta): void {
    if (this.#fits(length, address) && sameSendMeta(meta, this.#meta)) {
      this.#messageBytes += length;
      this.#datagrams++;
      if (length < this.#segmentBytes) this.#mayGrow = false;
      return;
    }
    if (this.#datagrams > 0) this.#finishMessage();
    const { isIPv6, gsoLimits } = this.#rules;
    const encoded = isIPv6 ? address?._toMapped()._encoded : address?._encoded;
    this.vector.setDestination(this.#messages, encoded);
    this.#address = address;
    this.#meta = meta;
    this.#firstSlot = this.vector.nextSlot;
    this.#datagrams = 1;
    this.#segmentBytes = this.#messageBytes = length;
    this.#mayGrow = gsoLimits !== undefined && length <= gsoLimits.segmentBytesMax(address);
  }

  /** Adds bytes to the latest datagram. */
  piece(view: Uint8Array, start: number, length: number): void {
    const { vector } = this;
    vector.append(view, start, length, vector.nextSlot > this.#firstSlot);
  }

  /** The number of datagrams like the latest one that the current message has room for. */
  get room(): number {
    const length = this.#segmentBytes;
    if (!this.#mayGrow || length === 0) return 0;
    const fitting = Math.floor((MESSAGE_BYTES_MAX - this.#messageBytes) / length);
    return Math.min(SEGMENTS_MAX - this.#datagrams, fitting);
  }

  /** Adds `count` datagrams like the latest one, at most `room`. Their bytes must follow. */
  addAlike(count: number): void {
    this.#datagrams += count;
    this.#messageBytes += count * this.#segmentBytes;
  }

  /** Adds slices `start` to `end - 1` to the latest datagrams. */
  slices(slices: Slices, start: number, end: number): void {
    const { vector } = this;
    vector.appendSlices(slices, start, end, vector.nextSlot > this.#firstSlot);
  }

  /** Adds loaded payload `i` of the vector as a datagram to `address`, after a check of its memory. */
  addLoaded(i: number, address: SocketAddress | undefined): void {
    const { vector } = this;
    this.add(vector.prepare(i), address);
    vector.appendLoaded(i, vector.nextSlot > this.#firstSlot);
  }

  /**
   * Adds loaded payloads `start` to `end - 1` to the current message, and stops at the first that is
   * not an array of the same length or does not fit. Returns the number of payloads added.
   */
  addEqual(start: number, end: number): number {
    const room = Math.min(end - start, this.room);
    const count = this.vector.appendEqual(start, start + room, this.#segmentBytes);
    this.addAlike(count);
    return count;
  }

  /** Completes the last message, and returns the number of messages. */
  finish(): number {
    if (this.#datagrams > 0) this.#finishMessage();
    return this.#messages;
  }

  /** The number of bytes of all completed messages. */
  get bytes(): number {
    return this.#bytes;
  }

  #fits(length: number, address: SocketAddress | undefined): boolean {
    return (
      this.#mayGrow &&
      length > 0 &&
      length <= this.#segmentBytes &&
      this.#messageBytes + length <= MESSAGE_BYTES_MAX &&
      this.#datagrams < SEGMENTS_MAX &&
      (address === this.#address ||
        (address !== undefined && this.#address?.equals(address) === true))
    );
  }

  #isIPv4(): boolean {
    const address = this.#address;
    if (address === undefined) return this.#rules.isPeerIPv4;
    return address.family === "IPv4" || address._isMapped;
  }

  #finishMessage(): void {
    const vector = this.vector;
    const message = this.#message;
    const control = this.#control;
    const m = this.#messages++;
    message.controlBytes = 0;
    if (this.#datagrams > 1 || this.#meta !== undefined) {
      control.begin(vector.words, vector.controlIndex(m));
      if (this.#datagrams > 1) control.segmentBytes(this.#segmentBytes);
      if (this.#meta !== undefined) {
        const isIPv4 = this.#isIPv4();
        checkFamily(this.#meta.source, isIPv4);
        control.sendMeta(this.#meta, isIPv4, this.#rules.trafficClass);
      }
      message.controlBytes = control.byteLength;
    }
    message.slot = this.#firstSlot;
    message.slots = vector.nextSlot - this.#firstSlot;
    message.datagrams = this.#datagrams;
    vector.setMessage(m, message);
    this.#bytes += this.#messageBytes;
    this.#datagrams = 0;
  }
}
