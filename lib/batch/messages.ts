/**
 * Makes messages out of the datagrams of a vector: each its own, or several neighbours as the
 * segments of one (segmentation.ts).
 */

import type { Message, SendVector, Slices } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/address.ts";
import { ControlWriter } from "../datagram/control.ts";
import { type SendMetadata, sameMetadata } from "../datagram/metadata.ts";
import { typeError } from "../support/check.ts";
import { MESSAGE_BYTES_MAX, SEGMENTS_MAX, type Segmentation } from "./segmentation.ts";

/** What decides how datagrams of a socket become messages. */
export interface MessageRules {
  /** Whether the socket is of IPv6, and writes IPv4 addresses as mapped ones. */
  readonly isIPv6: boolean;
  /** Whether the peer that it is connected to is reached over IPv4. */
  readonly isPeerIPv4: boolean;
  /** Says which datagrams may go as segments of one message; absent: none. */
  readonly segmentation: Segmentation | undefined;
}

const NO_RULES: MessageRules = { isIPv6: false, isPeerIPv4: false, segmentation: undefined };

const control = new ControlWriter();
/** Made once: there may be as many messages as datagrams. */
const message: Message = { slot: 0, slots: 0, datagrams: 0, controlBytes: 0 };

/** @throws TypeError for an IPv6 source to an IPv4 destination, or the other way round. */
function checkFamily(source: SocketAddress | undefined, isIPv4: boolean): void {
  if (source === undefined) return;
  if (isIPv4 ? source.family === "IPv6" && !source._isMapped : source.family !== "IPv6") {
    throw typeError("source", `${isIPv4 ? "IPv4" : "IPv6"} address`, source.toString());
  }
}

/**
 * Takes datagrams in order, and makes messages of a vector of them. For each: `add`, then its
 * pieces.
 */
export class MessageBuilder {
  readonly vector: SendVector;
  #rules: MessageRules = NO_RULES;
  #messages = 0;
  #bytes = 0;
  /** The message that is being made. */
  #firstSlot = 0;
  #datagrams = 0;
  #address: SocketAddress | undefined;
  #metadata: SendMetadata | undefined;
  #segmentBytes = 0;
  #messageBytes = 0;
  #mayGrow = false;

  constructor(vector: SendVector) {
    this.vector = vector;
  }

  /** Starts anew. */
  begin(rules: MessageRules): this {
    this.#rules = rules;
    this.vector.rewind();
    this.#messages = this.#datagrams = this.#bytes = 0;
    this.#mayGrow = false;
    return this;
  }

  /**
   * Adds a datagram of `length` bytes to `address`.
   *
   * It joins its neighbours when it goes to the same peer and is as long, or shorter: then it is
   * the last that does.
   */
  add(length: number, address: SocketAddress | undefined, metadata?: SendMetadata): void {
    if (this.#joins(length, address) && sameMetadata(metadata, this.#metadata)) {
      this.#messageBytes += length;
      this.#datagrams++;
      if (length < this.#segmentBytes) this.#mayGrow = false;
      return;
    }
    if (this.#datagrams > 0) this.#finishMessage();
    const { isIPv6, segmentation } = this.#rules;
    const encoded = isIPv6 ? address?._toMapped()._encoded : address?._encoded;
    this.vector.setDestination(this.#messages, encoded);
    this.#address = address;
    this.#metadata = metadata;
    this.#firstSlot = this.vector.nextSlot;
    this.#datagrams = 1;
    this.#segmentBytes = this.#messageBytes = length;
    this.#mayGrow = segmentation !== undefined && length <= segmentation.segmentBytesMax(address);
  }

  /** Adds bytes to the datagram that was added last. */
  piece(view: Uint8Array, start: number, length: number): void {
    const { vector } = this;
    vector.append(view, start, length, vector.nextSlot > this.#firstSlot);
  }

  /** How many more datagrams the message has room for that are as the one that was added last. */
  get room(): number {
    const length = this.#segmentBytes;
    if (!this.#mayGrow || length === 0) return 0;
    const fitting = Math.floor((MESSAGE_BYTES_MAX - this.#messageBytes) / length);
    return Math.min(SEGMENTS_MAX - this.#datagrams, fitting);
  }

  /** Adds `count` of them, for which there is room. Their bytes follow. */
  join(count: number): void {
    this.#datagrams += count;
    this.#messageBytes += count * this.#segmentBytes;
  }

  /** Adds slices `from` to `end - 1` to the datagrams that were added last. */
  slices(slices: Slices, from: number, end: number): void {
    const { vector } = this;
    vector.appendSlices(slices, from, end, vector.nextSlot > this.#firstSlot);
  }

  /**
   * Adds datagrams `from` to `end - 1`, each an array and as long as the one that was added last,
   * to where that goes, in the same message: how many, which is as long as they are so.
   */
  addRun(datagrams: readonly unknown[], from: number, end: number): number {
    if (this.#metadata !== undefined) return 0;
    const room = Math.min(end - from, this.room);
    const count = this.vector.appendRun(datagrams, from, from + room, this.#segmentBytes);
    this.join(count);
    return count;
  }

  /** Ends the last message: how many there are. */
  finish(): number {
    if (this.#datagrams > 0) this.#finishMessage();
    return this.#messages;
  }

  /** Bytes of all datagrams of the messages that are finished. */
  get bytes(): number {
    return this.#bytes;
  }

  #joins(length: number, address: SocketAddress | undefined): boolean {
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
    const m = this.#messages++;
    message.controlBytes = 0;
    if (this.#datagrams > 1 || this.#metadata !== undefined) {
      control.begin(vector.words, vector.controlIndex(m));
      if (this.#datagrams > 1) control.segmentBytes(this.#segmentBytes);
      if (this.#metadata !== undefined) {
        const isIPv4 = this.#isIPv4();
        checkFamily(this.#metadata.source, isIPv4);
        control.metadata(this.#metadata, isIPv4);
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
