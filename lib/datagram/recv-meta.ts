/** Per-datagram receive metadata. */

import type { SocketAddress } from "../address/socket-address.ts";
import { inspectAs, showState, typeError } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import type { Ecn } from "./send-meta.ts";

/**
 * The metadata of a received datagram. Allocate as many as a batch has datagrams, once, and pass
 * them to every receive, which overwrites all fields.
 */
export class RecvMeta {
  static {
    inspectAs(RecvMeta.prototype, (meta) => {
      const known = Object.entries(meta).filter(
        ([name, value]) =>
          name === "length" || (value !== undefined && value !== 0 && value !== false),
      );
      return showState("RecvMeta", Object.fromEntries(known));
    });
  }

  /** The number of bytes stored in the buffer. */
  length = 0;
  /** The length of the datagram in bytes. If greater than `length`, the datagram was truncated. */
  datagramLength = 0;
  /** The source address. Absent if the sender is a Unix socket without a name. */
  peer: SocketAddress | undefined = undefined;

  // The fields below are set if `enableMetadata` requested them and the kernel supports them.

  /**
   * The destination address: an address of this host, a multicast group or a broadcast address,
   * with the port of the socket. On a dual-stack socket, an IPv4 destination is an IPv4 address,
   * although the peer is IPv4-mapped.
   */
  destination: SocketAddress | undefined = undefined;
  /**
   * The local address to reply from, with the port of the socket: as `SendMeta.source` it is valid
   * also where `destination` is not, for replies to broadcast and multicast datagrams. For IPv4 it is
   * the address that the routes of this host select for the sender (ipi_spec_dst, ip(7)). For IPv6
   * it is the destination, and absent if that is a multicast group: then the route of the reply
   * selects the source.
   */
  replySource: SocketAddress | undefined = undefined;
  /** The index of the interface that received the datagram; 0 if unknown. */
  interfaceIndex = 0;
  /** The destination address before TPROXY or a similar rule redirected the datagram. */
  originalDestination: SocketAddress | undefined = undefined;
  /** The ECN field of the IP header. */
  ecn: Ecn | undefined = undefined;
  /** The DSCP of the IP header, 0..63 (RFC 2474). Requested by the kind `ecn`. */
  dscp: number | undefined = undefined;
  /** The TTL (IPv4) or hop limit (IPv6) that the datagram arrived with, 0..255. */
  hopLimit: number | undefined = undefined;
  /** When the kernel received the datagram, in whole seconds since 1970; 0 if unknown. */
  timestampSeconds = 0;
  /** The nanoseconds of the timestamp, 0..999999999. */
  timestampNanoseconds = 0;
  /** The firewall mark of the packet (SO_MARK). */
  mark: number | undefined = undefined;
  /**
   * The number of messages that the kernel dropped because the receive buffer of this socket was
   * full (SO_RXQ_OVFL): a total, modulo 2^32. Absent while it is 0.
   *
   * With GRO a message consists of up to 128 datagrams, and the kernel counts a dropped message
   * once. It is a number of datagrams only if the socket was opened with `offload: { gro: false }`.
   */
  socketDrops: number | undefined = undefined;
  /**
   * Whether control messages were lost because they did not fit (MSG_CTRUNC), so that some of the
   * fields above are missing. Happens if the owner of an adopted descriptor enabled options that
   * this library does not know. Of a Unix datagram: whether it had descriptors that were not
   * accepted.
   */
  controlTruncated = false;

  /** When the kernel received the datagram, in nanoseconds since 1970; absent if unknown. */
  get timestampNs(): bigint | undefined {
    if (this.timestampSeconds === 0) return undefined;
    return BigInt(this.timestampSeconds) * 1_000_000_000n + BigInt(this.timestampNanoseconds);
  }

  /** Whether the buffer was too small for the datagram. */
  get truncated(): boolean {
    return this.datagramLength > this.length;
  }

  /** @internal Sets the fields that every receive knows, and resets all others. */
  _set(length: number, datagramLength: number, peer: SocketAddress | undefined): void {
    this.length = length;
    this.datagramLength = datagramLength;
    this.peer = peer;
    this.destination = undefined;
    this.replySource = undefined;
    this.interfaceIndex = 0;
    this.originalDestination = undefined;
    this.ecn = undefined;
    this.dscp = undefined;
    this.hopLimit = undefined;
    this.timestampSeconds = 0;
    this.timestampNanoseconds = 0;
    this.mark = undefined;
    this.socketDrops = undefined;
    this.controlTruncated = false;
  }
}

if (isShared("RecvMeta", RecvMeta)) {
  // @ts-expect-error See `isShared`.
  RecvMeta = sharedClass("RecvMeta");
}

/** @throws TypeError if `value` is not a `RecvMeta`. */
export function checkRecvMetaType(name: string, value: unknown): asserts value is RecvMeta {
  if (!(value instanceof RecvMeta)) throw typeError(name, "RecvMeta", value);
}

/**
 * Checks a `RecvMeta` before a datagram is received, which would otherwise be lost.
 *
 * @throws TypeError if it is another object, or frozen.
 */
export function checkRecvMeta(name: string, value: unknown): asserts value is RecvMeta {
  checkRecvMetaType(name, value);
  if (Object.isFrozen(value)) throw typeError(name, "RecvMeta that is not frozen", value);
}
