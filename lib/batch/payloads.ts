/** Sends the caller's buffers: the payloads of one call, and the messages built of them. */

import type { SendVector } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { type Destinations, toAddress } from "../datagram/destination.ts";
import { checkPayloadFields, type Sendable, toPayload } from "../datagram/payload.ts";
import type { MessageBuilder, MessageRules } from "./message-builder.ts";
import type { BufferRange } from "./targets.ts";

/**
 * The payloads of a call and their destinations. They are removed from the front as they are sent.
 *
 * `load` reads each element of the caller's arrays once, which may run code of the caller. After
 * that, only the copies in this list and in the vector are used.
 */
export class PayloadList {
  readonly #builder: MessageBuilder;
  readonly #vector: SendVector;
  /** The destination of each payload, or of all. */
  readonly #addresses: (SocketAddress | undefined)[] = [];
  #address: SocketAddress | undefined;
  #hasAddresses = false;
  /** Payloads `#first` to `#end - 1` are left. */
  #first = 0;
  #end = 0;

  constructor(builder: MessageBuilder) {
    this.#builder = builder;
    this.#vector = builder.vector;
  }

  /**
   * Loads the payloads of a range and their destinations.
   *
   * @throws TypeError or RangeError for an invalid payload or address. The list is empty then.
   */
  load(bufs: readonly Sendable[], { start, count }: BufferRange, to: Destinations): void {
    const vector = this.#vector;
    vector.reserve(count);
    this.#first = this.#end = 0;
    const covered = vector.countCovered(0, bufs, start, count);
    for (let i = covered; i < count; i++) {
      const buf: unknown = i === covered ? vector.uncovered : bufs[start + i];
      if (!vector.covers(i, buf)) loadPayload(vector, i, buf);
    }
    this.#hasAddresses = Array.isArray(to);
    if (Array.isArray(to)) this.#loadAddresses(to, start, count);
    else this.#address = to as SocketAddress | undefined;
    this.#end = count;
  }

  #loadAddresses(to: readonly unknown[], start: number, count: number): void {
    const addresses = this.#addresses;
    for (let i = 0; i < count; i++) {
      const address: unknown = to[start + i];
      if (address !== undefined && addresses[i] === address) continue;
      addresses[i] = toAddress("to[]", address);
    }
  }

  /**
   * Builds messages of the payloads that are left, and returns the number of messages. Runs no code
   * of the caller.
   *
   * @throws TypeError or RangeError if the memory of a payload is not usable any more.
   */
  build(rules: MessageRules): number {
    const builder = this.#builder.begin(rules);
    const hasAddresses = this.#hasAddresses;
    const end = this.#end;
    for (let i = this.#first; i < end; ) {
      builder.addLoaded(i, hasAddresses ? this.#addresses[i] : this.#address);
      i++;
      if (!hasAddresses) i += builder.addEqual(i, end);
    }
    return builder.finish();
  }

  /** The number of payloads that are left. */
  get length(): number {
    return this.#end - this.#first;
  }

  /** The destination of the first payload; absent: the connected peer. */
  get address(): SocketAddress | undefined {
    return this.#hasAddresses ? this.#addresses[this.#first] : this.#address;
  }

  /** The length of the first payload in bytes. `build` must have been called. */
  get bytes(): number {
    return this.#vector.lengthAt(this.#first);
  }

  /** Removes the first `count` payloads, and returns the number of their bytes. */
  remove(count: number): number {
    const isWhole = count === this.length;
    const start = this.#first;
    this.#first += count;
    if (isWhole) return this.#builder.bytes;
    let bytes = 0;
    for (let i = start; i < start + count; i++) bytes += this.#vector.lengthAt(i);
    return bytes;
  }
}

/** Loads payload `i`. Reads each property of `value` once. */
function loadPayload(vector: SendVector, i: number, value: unknown): void {
  const buf = toPayload("bufs[]", value);
  if (!DgramBuffer._isGenuine(buf)) {
    vector.loadWhole(i, buf);
    return;
  }
  const start = buf._start;
  const length = buf._end - start;
  checkPayloadFields("bufs[]", start, length);
  vector.loadPart(i, buf._bytes, start, length);
}
