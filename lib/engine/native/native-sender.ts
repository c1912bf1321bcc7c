/** The send half of the native engine: `sendto`, `sendmmsg` and GSO. */

import { byteLengthOf, hasLostMemory, type Native, type SendVector } from "../../../ffi/native.ts";
import type { SocketAddress } from "../../address/socket-address.ts";
import { GsoLimits } from "../../batch/gso-limits.ts";
import { MessageBuilder, type MessageRules } from "../../batch/message-builder.ts";
import { PayloadList } from "../../batch/payloads.ts";
import type { SendBatch } from "../../batch/send-batch.ts";
import type { BufferRange } from "../../batch/targets.ts";
import { DgramBuffer } from "../../buffer/buffer.ts";
import type { SocketCounters } from "../../datagram/counters.ts";
import type { Destinations } from "../../datagram/destination.ts";
import {
  checkPayloadFields,
  lostMemory,
  type Payload,
  type Sendable,
} from "../../datagram/payload.ts";
import { SEND_CONTROL_CAPACITY } from "../../linux/cmsg.ts";
import type { TrafficClass } from "../../linux/traffic-class.ts";
import { errnoCode, nestedCallError } from "../../support/errors.ts";
import { IdleResource } from "../../support/idle.ts";
import { warn } from "../../support/warn.ts";

/** The properties of the socket of a `NativeSender`. */
export interface NativeSenderInit {
  readonly native: Native;
  readonly fd: number;
  /** Space in bytes for a peer address. */
  readonly nameCapacity: number;
  readonly isIPv6: boolean;
  /** The DSCP and ECN field of the socket. */
  readonly trafficClass: TrafficClass;
  /** The connected peer. */
  readonly peer: SocketAddress | undefined;
  readonly usesGso: boolean;
  readonly counters: SocketCounters;
  /**
   * Empties the error queue, and returns whether it had an ICMP error: then that error made the call
   * fail, and GSO did not.
   */
  readonly isIcmpError: () => boolean;
}

/** The vector of a socket that sends, and the objects that fill it. */
class SendMemory {
  readonly vector: SendVector;
  readonly builder: MessageBuilder;
  readonly list: PayloadList;

  constructor(native: Native, nameCapacity: number) {
    this.vector = native.sendVector(nameCapacity, SEND_CONTROL_CAPACITY);
    this.builder = new MessageBuilder(this.vector);
    this.list = new PayloadList(this.builder);
  }
}

/** Sends on one descriptor. */
export class NativeSender {
  #fd: number;
  readonly #native: Native;
  readonly #nameCapacity: number;
  readonly #counters: SocketCounters;
  /**
   * Kept while the socket sends, because the next send may reuse the payloads that the vector holds.
   * An idle socket has none.
   */
  #memory: SendMemory | undefined;
  readonly #idle: IdleResource = new IdleResource(this);
  /** Whether a call is loading payloads, which may run code of the caller. */
  #isLoading = false;
  readonly #gsoLimits: GsoLimits | undefined;
  readonly #rules: MessageRules;
  readonly #isIcmpError: () => boolean;

  constructor(init: NativeSenderInit) {
    const { native, fd, nameCapacity, isIPv6, trafficClass, peer, usesGso, counters } = init;
    this.#native = native;
    this.#fd = fd;
    this.#nameCapacity = nameCapacity;
    this.#counters = counters;
    this.#isIcmpError = init.isIcmpError;
    this.#gsoLimits = usesGso ? new GsoLimits(counters) : undefined;
    const isPeerIPv4 = peer !== undefined && (peer.family === "IPv4" || peer._isMapped);
    this.#rules = { isIPv6, isPeerIPv4, gsoLimits: this.#gsoLimits, trafficClass };
  }

  /** @internal */
  _releaseIdle(): void {
    this.#memory = undefined;
  }

  /** The memory of this call. No timer fires during a call, so that it stays until the call ends. */
  #use(): SendMemory {
    this.#idle.use();
    this.#memory ??= new SendMemory(this.#native, this.#nameCapacity);
    return this.#memory;
  }

  /** The payloads of the current call, see `load`. */
  get list(): PayloadList {
    return (this.#memory ?? this.#use()).list;
  }

  /** Forgets the descriptor, whose number may be reused. Later sends fail with `EBADF`. */
  close(): void {
    this.#fd = -1;
    // Safe even while the vector is filled: a send to descriptor -1 accesses no buffer.
    this.#memory?.vector.releaseAll();
  }

  /** Whether datagrams may be sent as segments of one message. */
  get usesGso(): boolean {
    return this.#gsoLimits !== undefined;
  }

  /** @throws SocketError if a call on this socket is in progress, which runs code of the caller. */
  checkIdle(): void {
    if (this.#isLoading) throw nestedCallError("send");
  }

  /**
   * Loads the payloads of a range into `list`, which may run code of the caller. What follows does
   * not.
   *
   * @throws TypeError or RangeError for an invalid payload or address.
   */
  load(bufs: readonly Sendable[], range: BufferRange, to: Destinations): void {
    this.checkIdle();
    this.#isLoading = true;
    try {
      this.#use().list.load(bufs, range, to);
    } finally {
      this.#isLoading = false;
    }
  }

  /**
   * Sends one datagram. Returns its length in bytes, or -errno. Runs no code of the caller after it
   * has read the properties of a `DgramBuffer`.
   *
   * @throws TypeError or RangeError if the memory of the payload is not usable.
   */
  sendOne(buf: Payload, address: SocketAddress | undefined): number {
    const isBuffer = DgramBuffer._isGenuine(buf);
    const bytes = isBuffer ? buf._bytes : buf;
    const start = isBuffer ? buf._start : 0;
    const length = isBuffer ? buf._end - start : byteLengthOf(buf);
    if (isBuffer) checkPayloadFields("buf", start, length);
    else if (length === 0 && hasLostMemory(bytes)) throw lostMemory("buffer");
    const encoded = this.#rules.isIPv6 ? address?._toMapped()._encoded : address?._encoded;
    const result = this.#native.send(this.#fd, bytes, start, length, encoded);
    const counters = this.#counters;
    counters.sendCalls++;
    if (result < 0) return result;
    counters.messagesSent++;
    counters.datagramsSent++;
    counters.bytesSent += length;
    return length;
  }

  /**
   * Sends the loaded payloads, and removes those that were sent from `list`. Returns their number, or -errno
   * if the first failed. If the kernel refuses a GSO message, sends all again datagram by datagram.
   */
  sendList(): number {
    const { list, vector } = this.#memory ?? this.#use();
    let result = this.#sendMessages(vector, list.build(this.#rules));
    if (this.#isGsoRefusal(vector, result)) {
      const { address, bytes } = list;
      const singles = list.build(withoutGso(this.#rules));
      result = this.#sendSingles(vector, singles, { errno: -result, address, bytes });
    }
    if (result < 0) return result;
    this.#counters.datagramsSent += result;
    this.#counters.bytesSent += list.remove(result);
    return result;
  }

  /** Sends the datagrams of `batch`, as `sendList` does, and removes those that were sent. */
  sendBatch(batch: SendBatch): number {
    if (this.#gsoLimits !== undefined) batch._groupByPeer();
    const { builder, vector } = this.#use();
    let result = this.#sendMessages(vector, batch._fill(builder.begin(this.#rules)));
    if (this.#isGsoRefusal(vector, result)) {
      const singles = batch._fill(builder.begin(withoutGso(this.#rules)));
      const { _firstAddress: address, _firstLength: bytes } = batch;
      result = this.#sendSingles(vector, singles, { errno: -result, address, bytes });
    }
    if (result < 0) return result;
    this.#counters.datagramsSent += result;
    this.#counters.bytesSent += batch._sent(result);
    return result;
  }

  /** Makes one system call. Returns the number of datagrams sent, or -errno. */
  #sendMessages(vector: SendVector, messages: number): number {
    const result = vector.send(this.#fd, 0, messages);
    this.#counters.sendCalls++;
    if (result < 0) return result;
    this.#counters.messagesSent += result;
    return vector.datagramsIn(result);
  }

  /** Returns whether the first message was refused, possibly because it uses GSO. */
  #isGsoRefusal(vector: SendVector, result: number): boolean {
    if (result >= 0 || vector.datagramsIn(1) === 1) return false;
    return GsoLimits.isRefusal(-result) && !this.#isIcmpError();
  }

  /** Sends datagrams one by one. If that works, GSO was the cause of the refusal: records it. */
  #sendSingles(vector: SendVector, messages: number, { errno, address, bytes }: Refusal): number {
    const result = this.#sendMessages(vector, messages);
    if (result < 0) return result;
    this.#gsoLimits?.refused(errno, address, bytes);
    warnRefused(errno, bytes);
    return result;
  }
}

/** Not kept: few sockets need it. */
function withoutGso(rules: MessageRules): MessageRules {
  return { ...rules, gsoLimits: undefined };
}

/** A refused GSO message: the error, the destination, and the segment size in bytes. */
interface Refusal {
  readonly errno: number;
  readonly address: SocketAddress | undefined;
  readonly bytes: number;
}

let hasWarned = false;

function warnRefused(errno: number, bytes: number): void {
  if (hasWarned) return;
  hasWarned = true;
  warn(`GSO segments of ${bytes} bytes were refused (${errnoCode(errno)}) and are sent one by one`);
}
