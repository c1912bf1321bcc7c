/**
 * The sending half of the shim's engine: one system call for many datagrams, and one message for
 * many of them where they can be segments.
 */

import type { Native, SendVector } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/address.ts";
import { type BufferRange, bytesOf, fillPayloads } from "../batch/batch.ts";
import { MessageBuilder, type MessageRules } from "../batch/messages.ts";
import { Segmentation } from "../batch/segmentation.ts";
import type { SendBatch } from "../batch/send-batch.ts";
import { SEND_CONTROL_CAPACITY } from "../datagram/control.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import { type Destinations, destination } from "../datagram/destination.ts";
import type { Payload } from "../datagram/info.ts";
import { errnoCode } from "../support/errors.ts";
import { warn } from "../support/warn.ts";

/** What a `ShimSender` is made of. */
export interface ShimSenderInit {
  readonly native: Native;
  readonly fd: number;
  /** Bytes of room for a peer's address. */
  readonly nameCapacity: number;
  /** Whether the socket is of IPv6. */
  readonly isIPv6: boolean;
  /** Where it is connected to. */
  readonly peer: SocketAddress | undefined;
  /** Whether datagrams may go as segments (UDP_SEGMENT works here). */
  readonly isSegmenting: boolean;
  readonly counters: SocketCounters;
}

/** Sends on one descriptor. */
export class ShimSender {
  #fd: number;
  readonly #counters: SocketCounters;
  readonly #vector: SendVector;
  readonly #builder: MessageBuilder;
  readonly #segmentation: Segmentation | undefined;
  readonly #rules: MessageRules;
  readonly #singleRules: MessageRules;

  constructor(init: ShimSenderInit) {
    const { native, fd, nameCapacity, isIPv6, peer, isSegmenting, counters } = init;
    this.#fd = fd;
    this.#counters = counters;
    this.#vector = native.sendVector(nameCapacity, SEND_CONTROL_CAPACITY);
    this.#builder = new MessageBuilder(this.#vector);
    this.#segmentation = isSegmenting ? new Segmentation() : undefined;
    const isPeerIPv4 = peer !== undefined && (peer.family === "IPv4" || peer._isMapped);
    this.#rules = { isIPv6, isPeerIPv4, segmentation: this.#segmentation };
    this.#singleRules = { isIPv6, isPeerIPv4, segmentation: undefined };
  }

  /** Forgets the descriptor, whose number may be another's: sends fail from then on (`EBADF`). */
  close(): void {
    this.#fd = -1;
  }

  /** Whether datagrams may go as segments. */
  get isSegmenting(): boolean {
    return this.#segmentation !== undefined;
  }

  /**
   * Sends the payloads of `run`: how many went, or -errno if not even the first. When a message of
   * segments is refused, all go again, datagram by datagram.
   */
  send(bufs: readonly Payload[], run: BufferRange, to: Destinations): number {
    const builder = this.#builder.begin(this.#rules);
    const result = this.#sendMessages(fillPayloads(builder, bufs, run, to));
    if (!this.#mayBeSegments(result)) return this.#countSent(result, bufs, run);
    const singles = fillPayloads(this.#builder.begin(this.#singleRules), bufs, run, to);
    const bytes = bufs[run.start]?.length ?? 0;
    const address = destination(to, run.start);
    const sent = this.#sendAgain(singles, { errno: -result, address, bytes });
    return this.#countSent(sent, bufs, run);
  }

  #countSent(result: number, bufs: readonly Payload[], { start, count }: BufferRange): number {
    if (result < 0) return result;
    this.#counters.datagramsSent += result;
    this.#counters.bytesSent +=
      result === count ? this.#builder.bytes : bytesOf(bufs, start, result);
    return result;
  }

  /** Sends what waits in `batch`, as `send`. */
  sendBatch(batch: SendBatch): number {
    const result = this.#sendMessages(batch._fill(this.#builder.begin(this.#rules)));
    if (!this.#mayBeSegments(result)) return result;
    const singles = batch._fill(this.#builder.begin(this.#singleRules));
    const { _firstAddress: address, _firstLength: bytes } = batch;
    return this.#sendAgain(singles, { errno: -result, address, bytes });
  }

  /** One system call: how many datagrams went, or -errno. */
  #sendMessages(messages: number): number {
    const result = this.#vector.send(this.#fd, 0, messages);
    this.#counters.sendCalls++;
    if (result < 0) return result;
    this.#counters.messagesSent += result;
    return this.#vector.datagramsIn(result);
  }

  /** Whether the first message was refused, perhaps for being made of segments. */
  #mayBeSegments(result: number): boolean {
    return result < 0 && this.#vector.datagramsIn(1) > 1 && Segmentation.isRefusal(-result);
  }

  /** Sends datagrams one by one; if that works, it was the segments, and will not be again. */
  #sendAgain(messages: number, { errno, address, bytes }: Refusal): number {
    const result = this.#sendMessages(messages);
    if (result < 0) return result;
    this.#segmentation?.refused(errno, address, bytes);
    this.#counters.segmentationRefusals++;
    warnRefused(errno, bytes);
    return result;
  }
}

/** A message of segments that the system did not take: of which length, to where. */
interface Refusal {
  readonly errno: number;
  readonly address: SocketAddress | undefined;
  readonly bytes: number;
}

let hasWarned = false;

function warnRefused(errno: number, bytes: number): void {
  if (hasWarned) return;
  hasWarned = true;
  warn(`segments of ${bytes} bytes were refused (${errnoCode(errno)}) and are sent one by one`);
}
