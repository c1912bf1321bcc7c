/**
 * Generic segmentation offload: adjacent datagrams of one size to one peer are passed to the
 * kernel as one message, which the kernel or the network card splits again (UDP_SEGMENT, udp(7)).
 * The message traverses the network stack once, which is most of the cost of a datagram.
 *
 * A message that is refused is sent again datagram by datagram, and this class records what was
 * refused, so that it is not tried again.
 */

import { AddressMap } from "../address/address-map.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { EINVAL, EIO, EMSGSIZE } from "../linux/constants.ts";

/** The datagrams per message: UDP_MAX_SEGMENTS of <linux/udp.h> before Linux 6.9 doubled it. */
export const SEGMENTS_MAX = 64;

/**
 * The payload of a GSO message in bytes: 65535 with the headers of UDP, IPv6 and Ethernet. The
 * kernel accepts up to 65507, but passes no frame of 65536 bytes or more to a device
 * (GSO_LEGACY_MAX_SIZE of <linux/netdevice.h>): it splits the message in software, three to five
 * times slower.
 */
export const MESSAGE_BYTES_MAX = 65_473;

/** The maximum number of destinations with a recorded limit. All are discarded beyond that. */
const DESTINATIONS_MAX = 1024;

/** The segment sizes that the destinations of one socket accept. */
export class GsoLimits {
  #isEnabled = true;
  /** The maximum segment size by destination. */
  #limits: AddressMap<number> | undefined;
  #connectedLimit = Number.POSITIVE_INFINITY;

  /** Returns the maximum size in bytes of a segment to `address`; 0 if GSO does not work. */
  segmentBytesMax(address: SocketAddress | undefined): number {
    if (!this.#isEnabled) return 0;
    if (address === undefined) return this.#connectedLimit;
    return this.#limits?.get(address) ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Returns whether `errno` can be caused by GSO.
   *
   * EIO: the device has no checksum offload, so that no GSO message can be sent. EINVAL, EMSGSIZE:
   * the segments are longer than the path MTU; shorter ones, or other destinations, may work. But
   * EINVAL is also an invalid address, and EMSGSIZE a datagram that is itself too long.
   */
  static isRefusal(errno: number): boolean {
    return errno === EIO || errno === EINVAL || errno === EMSGSIZE;
  }

  /** Records that a GSO message was refused whose datagrams could then be sent one by one. */
  refused(errno: number, address: SocketAddress | undefined, segmentBytes: number): void {
    if (errno === EIO) {
      this.#isEnabled = false;
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
