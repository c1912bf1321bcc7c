/**
 * Generic segmentation offload: adjacent datagrams of one size to one peer are passed to the
 * kernel as one message, which the kernel or the network card splits again (UDP_SEGMENT, udp(7)).
 * The message traverses the network stack once, which is most of the cost of a datagram.
 *
 * A message that is refused is sent again datagram by datagram, and this class records what its
 * destination refused, for a limited time: paths, routes and devices change, and an ICMP message
 * may be forged.
 */

import { AddressMap } from "../address/address-map.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import { EINVAL, EIO, EMSGSIZE } from "../linux/constants.ts";
import { nowMs } from "../support/timers.ts";

/** The datagrams per message: UDP_MAX_SEGMENTS of <linux/udp.h> before Linux 6.9 doubled it. */
export const SEGMENTS_MAX = 64;

/**
 * The payload of a GSO message in bytes: 65535 with the headers of UDP, IPv6 and Ethernet. The
 * kernel accepts up to 65507, but passes no frame of 65536 bytes or more to a device
 * (GSO_LEGACY_MAX_SIZE of <linux/netdevice.h>): it splits the message in software, three to five
 * times slower.
 */
export const MESSAGE_BYTES_MAX = 65_473;

/** The maximum number of destinations with a recorded limit. The oldest is discarded beyond it. */
const DESTINATIONS_MAX = 1024;

/** How long a limit applies: doubled each time that a retry is refused, up to the maximum. */
const RETRY_MIN_MS = 60_000;
const RETRY_MAX_MS = 600_000;

/** The segment size that a destination accepts. */
interface Limit {
  segmentBytes: number;
  /** When larger segments are tried again. */
  retryAtMs: number;
  delayMs: number;
}

/** The segment sizes that the destinations of one socket accept. */
export class GsoLimits {
  readonly #counters: SocketCounters;
  readonly #nowMs: () => number;
  /** The limits by destination, and the destinations in the order of their first refusal. */
  #limits: AddressMap<Limit> | undefined;
  readonly #order: SocketAddress[] = [];
  #connectedLimit: Limit | undefined;

  /** @param clock returns the time in milliseconds. Default: `nowMs` of support/timers.ts. */
  constructor(counters: SocketCounters, clock: () => number = nowMs) {
    this.#counters = counters;
    this.#nowMs = clock;
  }

  /** Returns the maximum size in bytes of a segment to `address`; 0 if GSO does not work. */
  segmentBytesMax(address: SocketAddress | undefined): number {
    const limit = this.#limitOf(address);
    if (limit === undefined) return Number.POSITIVE_INFINITY;
    if (limit.segmentBytes !== Number.POSITIVE_INFINITY && this.#nowMs() >= limit.retryAtMs) {
      // The limit itself stays, so that the delay doubles if this retry is refused.
      limit.segmentBytes = Number.POSITIVE_INFINITY;
      this.#counters.gsoRetries++;
    }
    return limit.segmentBytes;
  }

  #limitOf(address: SocketAddress | undefined): Limit | undefined {
    return address === undefined ? this.#connectedLimit : this.#limits?.get(address);
  }

  /**
   * Returns whether `errno` can be caused by GSO.
   *
   * EIO: the device has no checksum offload, so that it can send no GSO message (before Linux 6.11,
   * and on IPsec routes). EINVAL, EMSGSIZE: the segments are longer than the path MTU; shorter ones
   * may work. But EINVAL is also an invalid address, and EMSGSIZE a datagram that is itself too long.
   */
  static isRefusal(errno: number): boolean {
    return errno === EIO || errno === EINVAL || errno === EMSGSIZE;
  }

  /** Records that a GSO message was refused whose datagrams could then be sent one by one. */
  refused(errno: number, address: SocketAddress | undefined, segmentBytes: number): void {
    this.#counters.gsoRefusals++;
    const nowMs = this.#nowMs();
    const limit = this.#limitOf(address) ?? this.#addLimit(address);
    if (limit.segmentBytes === Number.POSITIVE_INFINITY) {
      // A refusal long after the retry is a new event: the path had recovered in between.
      const isRetry = limit.delayMs > 0 && nowMs - limit.retryAtMs < limit.delayMs;
      limit.delayMs = isRetry ? Math.min(2 * limit.delayMs, RETRY_MAX_MS) : RETRY_MIN_MS;
      limit.retryAtMs = nowMs + limit.delayMs;
    }
    limit.segmentBytes = errno === EIO ? 0 : segmentBytes - 1;
  }

  #addLimit(address: SocketAddress | undefined): Limit {
    const limit = { segmentBytes: Number.POSITIVE_INFINITY, retryAtMs: 0, delayMs: 0 };
    if (address === undefined) {
      this.#connectedLimit = limit;
      return limit;
    }
    this.#limits ??= new AddressMap();
    if (this.#limits.size >= DESTINATIONS_MAX) {
      this.#limits.delete(this.#order.shift() as SocketAddress);
    }
    this.#limits.set(address, limit);
    this.#order.push(address);
    return limit;
  }
}
