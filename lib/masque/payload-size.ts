/** The longest payload that fits the path after all headers and prefixes. */

import { varintLength } from "../buffer/varint.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { CONNECT_UDP_PAYLOAD_MAX, httpDatagramPrefix } from "./http-datagram.ts";

/** The header of IP in bytes, without options (RFC 791) or extension headers (RFC 8200). */
const PACKET_HEADER_BYTES = { ipv4: 20, ipv6: 40 } as const;
/** RFC 768. */
const DATAGRAM_HEADER_BYTES = 8;
/** The first byte of a packet with a short header (RFC 9000, section 17.3.1). */
const SHORT_HEADER_BYTES = 1;
/** The longest packet number in bytes (RFC 9000, section 17.1). */
const PACKET_NUMBER_BYTES_MAX = 4;
/** The tag of all AEADs of QUIC in bytes (RFC 9001, section 5.3). */
const AEAD_TAG_BYTES = 16;
/** The type of a DATAGRAM frame in bytes: 0x30 or 0x31 (RFC 9221, section 4). */
const FRAME_TYPE_BYTES = 1;
/** The longest connection ID in bytes (RFC 9000, section 17.2). */
const CONNECTION_ID_BYTES_MAX = 20;
/** The largest path MTU: that of IPv6 without jumbograms, its header included. */
const PATH_MTU_MAX = 65_575;

/** The path and the connection that carry QUIC DATAGRAM frames. */
export interface QuicPath {
  /** The path MTU in bytes, 68..65,575, as `UdpSocket.pathMtu` returns it. */
  readonly pathMtu: number;
  readonly family: "ipv4" | "ipv6";
  /** The length of the peer's connection ID in bytes, 0..20. */
  readonly connectionIdBytes: number;
  /** The length of packet numbers in bytes, 1..4. Default 4, the worst case. */
  readonly packetNumberBytes?: number | undefined;
  /** The transport parameter max_datagram_frame_size of the peer (RFC 9221). Default: no limit. */
  readonly maxDatagramFrameSize?: number | undefined;
  /** Whether the frame has a length field, because other frames follow it. Default false. */
  readonly hasLengthField?: boolean | undefined;
}

const PATH_OPTIONS = optionKinds<QuicPath>({
  pathMtu: "any",
  family: "any",
  connectionIdBytes: "any",
  packetNumberBytes: "any",
  maxDatagramFrameSize: "any",
  hasLengthField: "boolean",
});

/**
 * Returns the longest payload in bytes of a DATAGRAM frame that is alone in its packet; 0 if none
 * fits.
 *
 * @throws TypeError or RangeError if a field is invalid.
 * @example
 * ```ts
 * quicDatagramPayloadMax({ pathMtu: 1500, family: "ipv4", connectionIdBytes: 8 }); // 1442
 * ```
 */
export function quicDatagramPayloadMax(path: QuicPath): number {
  checkOptions("path", path, PATH_OPTIONS);
  const { pathMtu, family, connectionIdBytes, hasLengthField = false } = path;
  const { packetNumberBytes = PACKET_NUMBER_BYTES_MAX } = path;
  const { maxDatagramFrameSize = Number.MAX_SAFE_INTEGER } = path;
  if (!Object.hasOwn(PACKET_HEADER_BYTES, family)) {
    const error = typeof family === "string" ? rangeError : typeError;
    throw error("family", '"ipv4" or "ipv6"', family);
  }
  checkInteger("pathMtu", pathMtu, 68, PATH_MTU_MAX);
  checkInteger("connectionIdBytes", connectionIdBytes, 0, CONNECTION_ID_BYTES_MAX);
  checkInteger("packetNumberBytes", packetNumberBytes, 1, PACKET_NUMBER_BYTES_MAX);
  checkInteger("maxDatagramFrameSize", maxDatagramFrameSize, 0, Number.MAX_SAFE_INTEGER);
  const udpPayload = pathMtu - PACKET_HEADER_BYTES[family] - DATAGRAM_HEADER_BYTES;
  const headers = SHORT_HEADER_BYTES + connectionIdBytes + packetNumberBytes;
  const frame = Math.min(udpPayload - headers - AEAD_TAG_BYTES, maxDatagramFrameSize);
  const payload = frame - FRAME_TYPE_BYTES;
  if (payload <= 0) return 0;
  return hasLengthField ? withLengthField(payload) : payload;
}

/** Returns the longest payload in bytes that fits `bytes` together with a varint of its length. */
function withLengthField(bytes: number): number {
  for (let fieldBytes = 1; fieldBytes <= 8; fieldBytes *= 2) {
    const payload = bytes - fieldBytes;
    if (payload >= 0 && varintLength(payload) <= fieldBytes) return payload;
  }
  return 0;
}

/**
 * Returns the longest UDP payload in bytes that a tunnel of RFC 9298 can carry in one DATAGRAM frame,
 * at most 65,527; 0 if none fits.
 *
 * @param quicPayloadMax The longest payload of a DATAGRAM frame in bytes, as the QUIC stack reports
 * it or {@link quicDatagramPayloadMax} returns it.
 * @param streamId The ID of the request stream: a multiple of 4 below 2^62.
 * @param contextId The context ID, 0..2^62-1. Default 0.
 * @throws RangeError if an argument is out of range.
 */
export function connectUdpPayloadMax(
  quicPayloadMax: number,
  streamId: number | bigint,
  contextId: number | bigint = 0,
): number {
  checkInteger("quicPayloadMax", quicPayloadMax, 0, Number.MAX_SAFE_INTEGER);
  const prefix = httpDatagramPrefix(streamId, contextId).length;
  return Math.min(Math.max(quicPayloadMax - prefix, 0), CONNECT_UDP_PAYLOAD_MAX);
}
