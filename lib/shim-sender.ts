/**
 * The sending half of the shim's engine: one system call for many datagrams, and one message for
 * many of them where they can be segments.
 */

import type { Native, SendVector } from "../ffi/native.ts";
import type { SocketAddress } from "./address.ts";
import { fillPayloads, type Run } from "./batch.ts";
import { SEND_CONTROL_CAPACITY } from "./control.ts";
import type { SocketCounters } from "./counters.ts";
import { errnoCode } from "./errors.ts";
import type { Payload } from "./info.ts";
import type { MessageRules } from "./messages.ts";
import { Segmentation } from "./segmentation.ts";
import { destination } from "./send.ts";
import type { SendBatch } from "./send-batch.ts";
import { warn } from "./warn.ts";

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
  readonly #fd: number;
  readonly #counters: SocketCounters;
  readonly #vector: SendVector;
  readonly #segmentation: Segmentation | undefined;
  readonly #rules: MessageRules;

  constructor(init: ShimSenderInit) {
    const { native, fd, nameCapacity, isIPv6, peer, isSegmenting, counters } = init;
    this.#fd = fd;
    this.#counters = counters;
    this.#vector = native.sendVector(nameCapacity, SEND_CONTROL_CAPACITY);
    this.#segmentation = isSegmenting ? new Segmentation() : undefined;
    const isPeerIPv4 = peer !== undefined && (peer.family === "IPv4" || peer._isMapped);
    this.#rules = { isIPv6, isPeerIPv4, segmentation: this.#segmentation };
  }

  /** Whether datagrams may go as segments. */
  get isSegmenting(): boolean {
    return this.#segmentation !== undefined;
  }

  /**
   * Sends the payloads of `run`, which are checked: how many went, or -errno if not even the
   * first. A message of segments that is refused is sent again, datagram by datagram.
   */
  send(
    bufs: readonly Payload[],
    run: Omit<Run, "slot">,
    to: SocketAddress | readonly SocketAddress[] | undefined,
  ): number {
    for (;;) {
      const result = this.#sendMessages(fillPayloads(this.#vector, bufs, run, to, this.#rules));
      if (
        result >= 0 ||
        !this.#isWorthAgain(-result, destination(to, run.start), bufs[run.start]?.length ?? 0)
      ) {
        return result;
      }
    }
  }

  /** Sends what waits in `batch`, as `send`. */
  sendBatch(batch: SendBatch): number {
    for (;;) {
      const result = this.#sendMessages(batch._fill(this.#vector, this.#rules));
      if (result >= 0 || !this.#isWorthAgain(-result, batch._firstAddress, batch._firstLength)) {
        return result;
      }
    }
  }

  /** One system call: how many datagrams went, or -errno. */
  #sendMessages(messages: number): number {
    const result = this.#vector.send(this.#fd, 0, messages);
    this.#counters.sendCalls++;
    if (result < 0) return result;
    this.#counters.messagesSent += result;
    return this.#vector.datagramsIn(result);
  }

  /** Whether the first message was refused for being made of segments, and will be no more. */
  #isWorthAgain(errno: number, address: SocketAddress | undefined, bytes: number): boolean {
    if (this.#vector.datagramsIn(1) === 1) return false;
    if (!this.#segmentation?.refused(errno, address, bytes)) return false;
    this.#counters.segmentationRefusals++;
    warnRefused(errno, bytes);
    return true;
  }
}

let hasWarned = false;

function warnRefused(errno: number, bytes: number): void {
  if (hasWarned) return;
  hasWarned = true;
  warn(`segments of ${bytes} bytes were refused (${errnoCode(errno)}) and are sent one by one`);
}
