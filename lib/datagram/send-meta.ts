/** Per-datagram send metadata. */

import {
  INTERFACE_INDEX_MAX,
  interfaceIndex,
  type NetworkInterface,
} from "../address/interfaces.ts";
import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";

/**
 * Explicit Congestion Notification (RFC 3168 section 5): 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE
 * (congestion experienced).
 */
export type Ecn = 0 | 1 | 2 | 3;

/** Metadata of a datagram to send. Objects can be reused; equal fields have the same effect. */
export interface SendMeta {
  /** The ECN field of the IP header. Default: that of the socket, mostly 0. */
  readonly ecn?: Ecn | undefined;
  /** The DSCP of the IP header, 0..63 (RFC 2474). Default: that of the socket (`setDscp`). */
  readonly dscp?: number | undefined;
  /**
   * The local IP address to send from (IP_PKTINFO), in the family of the destination. Its port is
   * ignored. Default: chosen by the route.
   */
  readonly source?: SocketAddress | undefined;
  /**
   * The interface to send from, by its index, its name or one of its addresses. Default: chosen by
   * the route. `SendBatch.meta` looks up a name (about 3 us) or an address each time it is called.
   */
  readonly interfaceIndex?: NetworkInterface | undefined;
  /**
   * When to send, in nanoseconds of the clock selected by `setTransmitTimes`, without which the
   * datagram is refused (`EINVAL`). Requires an `fq` or `etf` qdisc on the device; other qdiscs
   * send at once. Default: at once.
   */
  readonly transmitTimeNs?: bigint | undefined;
}

/** Metadata that was checked, and whose interface was looked up. */
export interface CheckedSendMeta extends SendMeta {
  readonly interfaceIndex?: number | undefined;
}

const SEND_META = optionKinds<SendMeta>({
  ecn: "any",
  dscp: "any",
  source: "any",
  interfaceIndex: "any",
  transmitTimeNs: "any",
});

/** The maximum DSCP: 6 bits. */
export const DSCP_MAX = 63;

/** The range of `ktime_t` (<linux/ktime.h>): signed, 64 bits. */
const TRANSMIT_TIME_NS_MAX = 2n ** 63n - 1n;

function checkTransmitTime(timeNs: bigint): void {
  if (typeof timeNs !== "bigint") throw typeError("transmitTimeNs", "bigint", timeNs);
  if (timeNs < 0n || timeNs > TRANSMIT_TIME_NS_MAX) {
    throw rangeError("transmitTimeNs", "0n..2n ** 63n - 1n", timeNs);
  }
}

/**
 * @internal A checked copy of send metadata, which can be reused. Sends read it when no code of the
 * caller may run, as an accessor of the caller's object would.
 */
export class SendMetaCopy implements CheckedSendMeta {
  ecn: Ecn | undefined;
  dscp: number | undefined;
  source: SocketAddress | undefined;
  interfaceIndex: number | undefined;
  transmitTimeNs: bigint | undefined;

  /**
   * Checks and copies `meta`, and looks up its interface. Reads each field once.
   *
   * @throws TypeError or RangeError for invalid metadata. The copy is unchanged then.
   */
  set(meta: SendMeta): void {
    checkOptions("meta", meta, SEND_META);
    const { ecn, dscp, source, interfaceIndex: device, transmitTimeNs } = meta;
    if (ecn !== undefined) checkInteger("ecn", ecn, 0, 3);
    if (dscp !== undefined) checkInteger("dscp", dscp, 0, DSCP_MAX);
    if (source !== undefined) {
      checkAddress("source", source);
      if (source.family === "unix") throw typeError("source", "IP address", source.toString());
    }
    if (transmitTimeNs !== undefined) checkTransmitTime(transmitTimeNs);
    const index = typeof device === "string" ? interfaceIndex("interfaceIndex", device) : device;
    if (index !== undefined) checkInteger("interfaceIndex", index, 0, INTERFACE_INDEX_MAX);
    this.ecn = ecn;
    this.dscp = dscp;
    this.source = source;
    this.interfaceIndex = index;
    this.transmitTimeNs = transmitTimeNs;
  }

  /** Copies `other`. */
  copy(other: SendMetaCopy): void {
    this.ecn = other.ecn;
    this.dscp = other.dscp;
    this.source = other.source;
    this.interfaceIndex = other.interfaceIndex;
    this.transmitTimeNs = other.transmitTimeNs;
  }
}

/** Returns whether datagrams with metadata `a` and `b` can be segments of the same message. */
export function sameSendMeta(a: SendMeta | undefined, b: SendMeta | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  const isSameSource =
    a.source === b.source ||
    (a.source !== undefined && b.source !== undefined && a.source.equals(b.source));
  return (
    isSameSource &&
    a.ecn === b.ecn &&
    a.dscp === b.dscp &&
    a.interfaceIndex === b.interfaceIndex &&
    a.transmitTimeNs === b.transmitTimeNs
  );
}
