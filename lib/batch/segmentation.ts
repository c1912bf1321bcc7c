/**
 * Segmentation offload on the way out: neighbouring datagrams of one size to one peer go to the
 * kernel as one message, which it or the network card cuts up again (UDP_SEGMENT, udp(7)). One
 * trip through the network stack instead of up to 64, which is what a datagram costs.
 *
 * It is never trusted further than it was seen to work: a message that is refused is sent again
 * datagram by datagram, and the socket, or the destination, remembers.
 */

import type { SocketAddress } from "../address/address.ts";
import { AddressMap } from "../address/address-map.ts";
import { EINVAL, EMSGSIZE } from "../support/linux.ts";

/** Datagrams a message: UDP_MAX_SEGMENTS of <linux/udp.h> before Linux 6.9 doubled it. */
export const SEGMENTS_MAX = 64;

/**
 * Bytes of payload a message of segments: with the headers of UDP, IPv6 and Ethernet 65535. Up to
 * 65507 would be taken, but the kernel hands no device a frame of 65536 (GSO_LEGACY_MAX_SIZE of
 * <linux/netdevice.h>) or more: it cuts it up by itself, which is three times slower.
 */
export const MESSAGE_BYTES_MAX = 65_473;

/** Destinations remembered for taking shorter segments; beyond it they are learned anew. */
const DESTINATIONS_MAX = 1024;

/** errno(3) of Linux. */
const EIO = 5;

/** What one socket knows of segmentation offload. */
export class Segmentation {
  #isOn = true;
  /** By destination, the longest datagrams that may go as segments there. */
  #limits: AddressMap<number> | undefined;
  #connectedLimit = Number.POSITIVE_INFINITY;

  /** How long datagrams to `address` may be to go as segments; 0: not at all. */
  segmentBytesMax(address: SocketAddress | undefined): number {
    if (!this.#isOn) return 0;
    if (address === undefined) return this.#connectedLimit;
    return this.#limits?.get(address) ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Whether a message may have been refused with `errno` for its segments.
   *
   * EIO is a device without checksum offload: no segment will ever pass. EINVAL and EMSGSIZE are
   * segments longer than the path takes: shorter ones may pass, and to others these. But a wrong
   * address is EINVAL too, and a datagram that is too long by itself EMSGSIZE.
   */
  static isRefusal(errno: number): boolean {
    return errno === EIO || errno === EINVAL || errno === EMSGSIZE;
  }

  /** Learns that segments were refused with `errno` whose datagrams then went one by one. */
  refused(errno: number, address: SocketAddress | undefined, segmentBytes: number): void {
    if (errno === EIO) {
      this.#isOn = false;
      return;
    }
    if (address === undefined) {
      this.#connectedLimit = segmentBytes - 1;
    } else {
      this.#limits ??= new AddressMap();
      if (this.#limits.size >= DESTINATIONS_MAX) this.#limits.clear();
      this.#limits.set(address, segmentBytes - 1);
    }
  }
}
