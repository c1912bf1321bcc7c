/** The choice of a socket of a `reusePort` group by a field of the datagram. */

import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { checkOneOf, checkOptions, optionKinds } from "../support/options.ts";

/** The maximum length of a UDP payload in bytes, over IPv4 (RFC 768, RFC 791). */
const PAYLOAD_BYTES_MAX = 65_507;

/**
 * The minimum length in bytes of the connection ID that a QUIC client chooses for its first packets
 * (RFC 9000 section 7.2).
 */
const QUIC_INITIAL_ID_BYTES_MIN = 8;

const FIELD_BYTES: readonly number[] = [1, 2, 4];

/** What `ReusePortSteering.offset` counts from. */
export type SteeringOrigin = "payload" | "quicConnectionId";

/**
 * How the kernel chooses a socket of a `reusePort` group: the socket with the index
 * `((field & mask) >>> z) % sockets`, where `z` is the number of zero bits below the lowest bit of
 * `mask`.
 */
export interface ReusePortSteering {
  /**
   * The offset of the field in bytes. From the start of the UDP payload, 0..65507 - `bytes`; or from
   * the start of the connection ID, 0..8 - `bytes` (see `within`).
   */
  readonly offset: number;
  /** The length of the field in bytes: an unsigned integer in network byte order (big-endian). */
  readonly bytes: 1 | 2 | 4;
  /** The number of sockets in the group, 1..65535. */
  readonly sockets: number;
  /** The bits of the field to use, 1..2^(8 * `bytes`) - 1. Default: all. */
  readonly mask?: number | undefined;
  /**
   * What `offset` counts from:
   *
   * - `"payload"` (default): the start of the UDP payload.
   * - `"quicConnectionId"`: the start of the destination connection ID of the first QUIC packet, in all
   *   versions of QUIC (RFC 8999): byte 6 with a long header, byte 1 with a short one. The ID of a
   *   client's first packets is random and has at least 8 bytes, so that new connections are spread
   *   evenly. The IDs that a server chooses must have a field that selects the server's own socket.
   */
  readonly within?: SteeringOrigin | undefined;
}

/** A checked `ReusePortSteering`, with all defaults. */
export interface CheckedSteering extends ReusePortSteering {
  readonly mask: number;
  readonly within: SteeringOrigin;
}

const STEERING = optionKinds<ReusePortSteering>({
  offset: "any",
  bytes: "any",
  sockets: "any",
  mask: "any",
  within: "any",
});

/**
 * Returns a checked copy, so that a value that was checked cannot change.
 *
 * @throws TypeError for an unknown name or a value of another type; RangeError for numbers out of
 * range.
 */
export function checkReusePortSteering(steering: ReusePortSteering): CheckedSteering {
  checkOptions("steering", steering, STEERING);
  const { offset, bytes, sockets, within = "payload" } = steering;
  checkOneOf("steering.within", within, ["payload", "quicConnectionId"]);
  if (typeof bytes !== "number") throw typeError("steering.bytes", "1, 2 or 4", bytes);
  if (!FIELD_BYTES.includes(bytes)) throw rangeError("steering.bytes", "1, 2 or 4", bytes);
  const end = within === "payload" ? PAYLOAD_BYTES_MAX : QUIC_INITIAL_ID_BYTES_MIN;
  checkInteger("steering.offset", offset, 0, end - bytes);
  checkInteger("steering.sockets", sockets, 1, 65_535);
  const all = 2 ** (8 * bytes) - 1;
  const { mask = all } = steering;
  checkInteger("steering.mask", mask, 1, all);
  return { offset, bytes, sockets, mask, within };
}
