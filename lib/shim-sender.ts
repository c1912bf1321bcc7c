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
import { warn } from "./warn.ts";

/** What a `ShimSender` is made of. */
export interface ShimSenderInit {
  readonly native: Native;
  readonly fd: number;
  /** Bytes of room for a peer's address. */
  readonly nameCapacity: number;
  /** Whether the socket is of IPv6. */
  readonly isIPv6: boolean;
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

  constructor({ native, fd, nameCapacity, isIPv6, isSegmenting, counters }: ShimSenderInit) {
    this.#fd = fd;
    this.#counters = counters;
    this.#vector = native.sendVector(nameCapacity, isSegmenting ? SEND_CONTROL_CAPACITY : 0);
    this.#segmentation = isSegmenting ? new Segmentation() : undefined;
    this.#rules = { isIPv6, segmentation: this.#segmentation };
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
      const messages = fillPayloads(this.#vector, bufs, run, to, this.#rules);
      const result = this.#vector.send(this.#fd, 0, messages);
      this.#counters.sendCalls++;
      if (result >= 0) {
        this.#counters.messagesSent += result;
        return this.#vector.datagramsIn(result);
      }
      const isSegmented = this.#vector.datagramsIn(1) > 1;
      const address = isSegmented ? destination(to, run.start) : undefined;
      const segmentBytes = bufs[run.start]?.length ?? 0;
      if (!isSegmented || !this.#segmentation?.refused(-result, address, segmentBytes)) {
        return result;
      }
      this.#counters.segmentationRefusals++;
      warnRefused(-result, segmentBytes);
    }
  }
}

let hasWarned = false;

function warnRefused(errno: number, bytes: number): void {
  if (hasWarned) return;
  hasWarned = true;
  warn(`segments of ${bytes} bytes were refused (${errnoCode(errno)}) and are sent one by one`);
}
