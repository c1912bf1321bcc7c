/** Checks the headers of a request (RFC 9298, section 3.4; RFC 9220, section 3). */

import {
  type ConnectUdpTemplate,
  type ProxyErrorType,
  proxyError,
  proxyStatus,
  type UdpTarget,
} from "../../lib/masque/index.ts";
import type { BearerTokens } from "./bearer-tokens.ts";
import type { Headers } from "./node-quic.ts";

/** The name of this proxy in `Proxy-Status` fields (RFC 9209). */
export const PROXY_NAME = "datagram-socket-masque";

/** A response that refuses a request. */
export interface Refusal {
  readonly status: number;
  readonly headers: Headers;
}

/** What a request asks for, or why it is refused. */
export type RequestResult =
  | { readonly target: UdpTarget; readonly refusal?: never }
  | { readonly target?: never; readonly refusal: Refusal };

/** Returns a response with a `Proxy-Status` field. */
export function refuse(
  type: ProxyErrorType,
  details: string,
  { status = proxyError(type).status, headers = {} }: Partial<Refusal> = {},
): Refusal {
  const value = proxyStatus(PROXY_NAME, proxyError(type), details);
  return { status, headers: { ":status": String(status), ...headers, "proxy-status": value } };
}

/** Returns a response that reports the error of a socket or of the name resolution. */
export function refuseError(type: ProxyErrorType, code: unknown): Refusal {
  // Codes such as ECONNREFUSED. Messages may contain addresses, and are not revealed.
  return refuse(type, typeof code === "string" && /^\w+$/.test(code) ? code : "unknown error");
}

/** Returns the target of a request, or the response that refuses it. */
export function readRequest(
  headers: Headers,
  template: ConnectUdpTemplate,
  tokens: BearerTokens,
): RequestResult {
  const field = (name: string) => {
    const value = headers[name];
    return typeof value === "string" ? value : undefined;
  };
  if (field(":method") !== "CONNECT") {
    const allow = { status: 405, headers: { allow: "CONNECT" } };
    return { refusal: refuse("http_request_error", "method is not CONNECT", allow) };
  }
  const protocol = field(":protocol");
  if (protocol === undefined) {
    return { refusal: refuse("http_request_error", "no :protocol") };
  }
  if (protocol !== "connect-udp") {
    // RFC 9220, section 3.
    return { refusal: refuse("http_request_error", "unknown :protocol", { status: 501 }) };
  }
  if (field(":scheme") !== "https" || !field(":authority")) {
    return { refusal: refuse("http_request_error", "no :scheme https with :authority") };
  }
  const path = field(":path") ?? "";
  if (!isOfTemplate(path, template)) {
    return { refusal: refuse("http_request_error", "unknown path", { status: 404 }) };
  }
  if (!tokens.accept(field("authorization") ?? field("proxy-authorization"))) {
    const challenge = { status: 401, headers: { "www-authenticate": 'Bearer realm="masque"' } };
    return { refusal: refuse("http_request_denied", "token missing or unknown", challenge) };
  }
  const target = template.match(path);
  if (target === undefined) {
    return { refusal: refuse("http_request_error", "no valid target in the path") };
  }
  return { target };
}

/** Returns whether the path starts as those of the template: then a wrong target is a bad request. */
function isOfTemplate(path: string, template: ConnectUdpTemplate): boolean {
  const text = template.toString().slice(template.origin.length);
  return path.startsWith(text.slice(0, text.indexOf("{")));
}
