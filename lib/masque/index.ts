/**
 * HTTP Datagrams, capsules and proxying of UDP in HTTP (MASQUE): RFC 9297 and RFC 9298. The functions
 * encode and parse; the HTTP connection is the caller's.
 *
 * @module
 */

export { capsuleHeader, DATAGRAM_CAPSULE, encodeCapsule, tryAddCapsuleHeader } from "./capsule.ts";
export {
  CapsuleDecoder,
  type CapsuleDecoderOptions,
  CapsuleError,
  type CapsuleHandler,
} from "./capsule-decoder.ts";
export {
  CONNECT_UDP_PAYLOAD_MAX,
  type HttpDatagramFault,
  HttpDatagramHeader,
  httpDatagramPrefix,
  tryAddHttpDatagramPrefix,
} from "./http-datagram.ts";
export { connectUdpPayloadMax, type QuicPath, quicDatagramPayloadMax } from "./payload-size.ts";
export {
  type ProxyError,
  type ProxyErrorType,
  proxyError,
  proxyErrorOf,
  proxyStatus,
} from "./proxy-status.ts";
export { ConnectUdpTemplate, DEFAULT_TEMPLATE_PATH, type UdpTarget } from "./uri-template.ts";
