/** Per-datagram send metadata. */

import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";

/**
 * Explicit Congestion Notification (RFC 3168 section 5): 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE
 * (congestion experienced).
 */
export type Ecn = 0 | 1 | 2 | 3;

/** Metadata of a datagram to send. Objects can be reused; equal fields have the same effect. */
export interface SendMeta {
  /** The ECN field of the IP header. */
  readonly ecn?: Ecn | undefined;
  /**
   * The local IP address to send from (IP_PKTINFO), in the family of the destination. Its port is
   * ignored. Default: chosen by the route.
   */
  readonly source?: SocketAddress | undefined;
  /** The index of the interface to send from. Default: chosen by the route. */
  readonly interfaceIndex?: number | undefined;
  /**
   * When to send, in nanoseconds of the clock selected by `setTransmitTimes`, without which the
   * datagram is refused (`EINVAL`). Requires an `fq` or `etf` qdisc on the device; other qdiscs
   * send at once. Default: at once.
   */
  readonly transmitTimeNs?: bigint | undefined;
}

/** The range of `ktime_t` (<linux/ktime.h>): signed, 64 bits. */
const TRANSMIT_TIME_NS_MAX = 2n ** 63n - 1n;

/** @throws TypeError or RangeError for invalid metadata. */
export function checkSendMeta(meta: SendMeta): void {
  if (typeof meta !== "object" || meta === null) throw typeError("meta", "object", meta);
  const { ecn, source, interfaceIndex, transmitTimeNs } = meta;
  if (ecn !== undefined) checkInteger("ecn", ecn, 0, 3);
  if (source !== undefined) {
    checkAddress("source", source);
    if (source.family === "unix") throw typeError("source", "IP address", source.toString());
  }
  if (interfaceIndex !== undefined) checkInteger("interfaceIndex", interfaceIndex, 0, 2 ** 31 - 1);
  if (transmitTimeNs === undefined) return;
  if (typeof transmitTimeNs !== "bigint") {
    throw typeError("transmitTimeNs", "bigint", transmitTimeNs);
  }
  if (transmitTimeNs < 0n || transmitTimeNs > TRANSMIT_TIME_NS_MAX) {
    throw rangeError("transmitTimeNs", "0n..2n ** 63n - 1n", transmitTimeNs);
  }
}

/** @internal A copy of send metadata, which can be reused. */
export class SendMetaCopy implements SendMeta {
  ecn: Ecn | undefined;
  source: SocketAddress | undefined;
  interfaceIndex: number | undefined;
  transmitTimeNs: bigint | undefined;

  /** Copies all fields. Reads each once. */
  set(meta: SendMeta): void {
    this.ecn = meta.ecn;
    this.source = meta.source;
    this.interfaceIndex = meta.interfaceIndex;
    this.transmitTimeNs = meta.transmitTimeNs;
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
    a.interfaceIndex === b.interfaceIndex &&
    a.transmitTimeNs === b.transmitTimeNs
  );
}
