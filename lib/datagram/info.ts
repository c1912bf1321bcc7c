/**
 * What comes with a datagram beside its bytes, and the buffers that sockets send and fill.
 */

import type { SocketAddress } from "../address/address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { checkBytes, rangeError, typeError } from "../support/check.ts";
import type { Ecn } from "./metadata.ts";

/** Bytes to send: all of a `Uint8Array`, or the payload of a `DgramBuffer`. Not changed. */
export type Payload = Uint8Array | DgramBuffer;

/**
 * Where a datagram is put: a `Uint8Array` is filled from its start; a `DgramBuffer`, which must
 * have no payload yet, keeps its headroom and gets the datagram as its payload, as far as its
 * spare capacity goes.
 */
export type Target = Uint8Array | DgramBuffer;

/**
 * What was told of one received datagram. Plain fields: make as many as a batch has, once, and
 * hand them to every receive, which writes all of them.
 */
export class DatagramInfo {
  /** Bytes stored in the buffer. */
  length = 0;
  /** Bytes the datagram had. More than `length` when it did not fit: the rest is lost. */
  datagramLength = 0;
  /** Who sent it. Absent for a Unix peer without a name. */
  peer: SocketAddress | undefined = undefined;

  // What follows is there where `receiveMetadata` asked for it and the kernel granted it.

  /**
   * Where it was sent to: an address of this host, a multicast group or a broadcast address, with
   * the socket's port. On a dual-stack socket, whose IPv4 peers are mapped addresses, this is IPv4.
   */
  destination: SocketAddress | undefined = undefined;
  /** The interface it came by; 0 when not told. */
  interfaceIndex = 0;
  /** Where it was sent to before TPROXY or the like led it here. */
  originalDestination: SocketAddress | undefined = undefined;
  /** Its ECN field. */
  ecn: Ecn | undefined = undefined;
  /** When the kernel got it, in seconds since 1970; 0 when not told. */
  timestampSeconds = 0;
  /** The nanoseconds of that, 0..999999999. */
  timestampNanoseconds = 0;
  /** Its mark in this host's firewall (SO_MARK). */
  mark: number | undefined = undefined;
  /**
   * Datagrams this socket had lost for want of room when it came: a total, modulo 2^32. Absent
   * while it is 0, of which the kernel does not tell.
   */
  socketDrops: number | undefined = undefined;
  /**
   * Whether the kernel told more of it than there is room for (MSG_CTRUNC), so that some of this
   * is missing. A descriptor that somebody else has set up can have it so.
   */
  controlTruncated = false;

  /** When the kernel got it, in nanoseconds since 1970; absent when not told. */
  get timestampNs(): bigint | undefined {
    if (this.timestampSeconds === 0) return undefined;
    return BigInt(this.timestampSeconds) * 1_000_000_000n + BigInt(this.timestampNanoseconds);
  }

  /** Whether the buffer was too small for it. */
  get truncated(): boolean {
    return this.datagramLength > this.length;
  }

  /** @internal */
  _set(length: number, datagramLength: number, peer: SocketAddress | undefined): void {
    this.length = length;
    this.datagramLength = datagramLength;
    this.peer = peer;
    this.destination = undefined;
    this.interfaceIndex = 0;
    this.originalDestination = undefined;
    this.ecn = undefined;
    this.timestampSeconds = 0;
    this.timestampNanoseconds = 0;
    this.mark = undefined;
    this.socketDrops = undefined;
    this.controlTruncated = false;
  }
}

/** Checks where to tell of a datagram, before one is taken that would be lost. */
export function checkInfo(name: string, value: unknown): asserts value is DatagramInfo {
  if (!(value instanceof DatagramInfo)) throw typeError(name, "DatagramInfo", value);
}

/**
 * Checks a buffer to send from.
 *
 * @throws RangeError when its memory was transferred: the datagram would lose its bytes unseen.
 */
export function checkPayload(name: string, value: unknown): asserts value is Payload {
  if (value instanceof DgramBuffer) return;
  checkBytes(name, value);
  if (value.length === 0 && (value.buffer as ArrayBuffer).detached) {
    throw rangeError(name, "memory", "memory that was transferred");
  }
}

/**
 * Checks a buffer to receive into. An array whose memory was transferred has room for nothing.
 *
 * @throws RangeError when it is a `DgramBuffer` that has payload, which receiving would overwrite,
 * or one whose memory was transferred.
 */
export function checkTarget(name: string, value: unknown): asserts value is Target {
  if (!(value instanceof DgramBuffer)) checkBytes(name, value);
  else if (value._end !== value._start) {
    throw rangeError(name, "DgramBuffer without payload", `${value.length} bytes of payload`);
  } else if (value._end > value._bytes.length) {
    throw rangeError(name, "memory", "memory that was transferred");
  }
}

/** The bytes of a payload, as a view. */
export function payloadBytes(payload: Payload): Uint8Array {
  return payload instanceof DgramBuffer ? payload.asSlice() : payload;
}

/** Copies a datagram into a checked target as far as it fits: the bytes stored. */
export function storeDatagram(target: Target, datagram: Uint8Array): number {
  if (!(target instanceof DgramBuffer)) {
    const fitting =
      datagram.length > target.length ? datagram.subarray(0, target.length) : datagram;
    // Not for nothing: `set` throws where memory was transferred, and the datagram would be lost.
    if (fitting.length > 0) target.set(fitting);
    return fitting.length;
  }
  const spare = target.spareCapacity;
  const fitting = datagram.length > spare ? datagram.subarray(0, spare) : datagram;
  if (fitting.length > 0) target._bytes.set(fitting, target._end);
  target._end += fitting.length;
  return fitting.length;
}
