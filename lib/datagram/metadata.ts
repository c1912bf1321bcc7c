/** What can be said about datagrams to send, and asked about received ones. */

import type { SocketAddress } from "../address/address.ts";
import { checkAddress } from "../address/address.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";

/**
 * Explicit Congestion Notification (RFC 3168 section 5): 0 not capable, 1 ECT(1), 2 ECT(0),
 * 3 congestion experienced.
 */
export type Ecn = 0 | 1 | 2 | 3;

/** How to send a datagram. Objects may be used again; those with equal fields are equal. */
export interface SendMetadata {
  readonly ecn?: Ecn | undefined;
  /**
   * The local IP address to send from (IP_PKTINFO), of the destination's family; its port is
   * ignored. Default: the route's.
   */
  readonly source?: SocketAddress | undefined;
  /** The interface to send by. Default: the route's. */
  readonly interfaceIndex?: number | undefined;
  /**
   * When to send, in nanoseconds of the clock that `setTransmitTimes` chose, without which it is
   * refused (`EINVAL`). Works where the device has an `fq` or `etf` qdisc. Default: at once.
   */
  readonly transmitTimeNs?: bigint | undefined;
}

/** What a socket is to tell about received datagrams, beside their sender. Default: nothing. */
export interface ReceiveMetadata {
  /** `destination` and `interfaceIndex` (IP_PKTINFO, IPV6_RECVPKTINFO). */
  readonly destination?: boolean | undefined;
  /** `originalDestination`, under TPROXY or the like (IP_RECVORIGDSTADDR). */
  readonly originalDestination?: boolean | undefined;
  /** `ecn` (IP_RECVTOS, IPV6_RECVTCLASS). */
  readonly ecn?: boolean | undefined;
  /** `timestampNs` (SO_TIMESTAMPNS). */
  readonly timestamp?: boolean | undefined;
  /** `mark` (SO_RCVMARK, Linux 5.19; older kernels want the right to set marks for it). */
  readonly mark?: boolean | undefined;
  /** `socketDrops` (SO_RXQ_OVFL). */
  readonly socketDrops?: boolean | undefined;
}

/** The kinds of `ReceiveMetadata`. */
export const RECEIVE_METADATA: readonly (keyof ReceiveMetadata)[] = [
  "destination",
  "originalDestination",
  "ecn",
  "timestamp",
  "mark",
  "socketDrops",
];

/** What a socket can do, as it was granted. */
export type Capabilities = { readonly [Kind in keyof Required<ReceiveMetadata>]: boolean } & {
  /** Datagrams go out as segments of one message. */
  readonly segmentation: boolean;
  /** Datagrams may come in many to a message. */
  readonly coalescing: boolean;
};

/** `ktime_t` of <linux/ktime.h>: signed 64 bits. */
const TRANSMIT_TIME_NS_MAX = 2n ** 63n - 1n;

/** Checks how to send. */
export function checkMetadata(metadata: SendMetadata): void {
  if (typeof metadata !== "object" || metadata === null) {
    throw typeError("metadata", "object", metadata);
  }
  const { ecn, source, interfaceIndex, transmitTimeNs } = metadata;
  if (ecn !== undefined) checkInteger("ecn", ecn, 0, 3);
  if (source !== undefined) {
    checkAddress("source", source);
    if (source.family === "unix") throw typeError("source", "IP address", source.toString());
  }
  if (interfaceIndex !== undefined) checkInteger("interfaceIndex", interfaceIndex, 0, 2 ** 31 - 1);
  if (transmitTimeNs === undefined) return;
  if (typeof transmitTimeNs !== "bigint")
    throw typeError("transmitTimeNs", "bigint", transmitTimeNs);
  if (transmitTimeNs < 0n || transmitTimeNs > TRANSMIT_TIME_NS_MAX) {
    throw rangeError("transmitTimeNs", "0n..2n ** 63n - 1n", transmitTimeNs);
  }
}

/** Checks what is wanted of received datagrams: nothing is switched on by a misspelt name. */
export function checkReceiveMetadata(wanted: ReceiveMetadata): void {
  if (typeof wanted !== "object" || wanted === null) throw typeError("wanted", "object", wanted);
  for (const [name, value] of Object.entries(wanted)) {
    if (!RECEIVE_METADATA.includes(name as keyof ReceiveMetadata)) {
      throw rangeError("wanted", RECEIVE_METADATA.join(", "), name);
    }
    if (value !== undefined && typeof value !== "boolean") {
      throw typeError(`wanted.${name}`, "boolean", value);
    }
  }
}

/** Whether datagrams that are to be sent so may go in one message. */
export function sameMetadata(a: SendMetadata | undefined, b: SendMetadata | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  const sameSource =
    a.source === b.source ||
    (a.source !== undefined && b.source !== undefined && a.source.equals(b.source));
  return (
    sameSource &&
    a.ecn === b.ecn &&
    a.interfaceIndex === b.interfaceIndex &&
    a.transmitTimeNs === b.transmitTimeNs
  );
}
