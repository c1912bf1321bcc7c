/** The `Proxy-Status` field of HTTP (RFC 9209), for errors of the socket behind a tunnel. */

import { typeError } from "../support/check.ts";

/** The error types that a connect-udp proxy reports (RFC 9209, section 2.3). */
export type ProxyErrorType =
  | "dns_timeout"
  | "dns_error"
  | "destination_ip_prohibited"
  | "destination_ip_unroutable"
  | "connection_refused"
  | "connection_timeout"
  | "connection_limit_reached"
  | "http_request_denied"
  | "http_request_error"
  | "proxy_internal_error";

/** The status code that RFC 9209, section 2.3, recommends for each type. */
const STATUS: Readonly<Record<ProxyErrorType, number>> = {
  dns_timeout: 504,
  dns_error: 502,
  destination_ip_prohibited: 502,
  destination_ip_unroutable: 502,
  connection_refused: 502,
  connection_timeout: 504,
  connection_limit_reached: 503,
  http_request_denied: 403,
  http_request_error: 400,
  proxy_internal_error: 500,
};

/** The types for the codes of `SocketError` and `TransportError`. */
const TYPES: Readonly<Record<string, ProxyErrorType>> = {
  ECONNREFUSED: "connection_refused",
  ETIMEDOUT: "connection_timeout",
  EHOSTDOWN: "destination_ip_unroutable",
  EHOSTUNREACH: "destination_ip_unroutable",
  ENETDOWN: "destination_ip_unroutable",
  ENETUNREACH: "destination_ip_unroutable",
  EADDRNOTAVAIL: "destination_ip_unroutable",
  EACCES: "destination_ip_prohibited",
  EPERM: "destination_ip_prohibited",
  ENOTFOUND: "dns_error",
  ENODATA: "dns_error",
  EAI_NODATA: "dns_error",
  EAI_NONAME: "dns_error",
  EAI_FAIL: "dns_error",
  ESERVFAIL: "dns_error",
  EAI_AGAIN: "dns_timeout",
  ETIMEOUT: "dns_timeout",
};

/** What a proxy reports about a failed tunnel. */
export interface ProxyError {
  readonly type: ProxyErrorType;
  /** The recommended HTTP status code: 400, 403, 500, 502, 503 or 504. */
  readonly status: number;
}

/** Returns an error type with its recommended status code. @throws TypeError for another type. */
export function proxyError(type: ProxyErrorType): ProxyError {
  if (!Object.hasOwn(STATUS, type)) {
    throw typeError("type", `one of ${Object.keys(STATUS).join(", ")}`, type);
  }
  return { type, status: STATUS[type] };
}

/**
 * Returns what to report about an error of the target's socket: a `SocketError` of connecting or
 * sending, or a `TransportError`. Errors with other codes are `proxy_internal_error`.
 */
export function proxyErrorOf(error: { readonly code?: unknown }): ProxyError {
  const code = error?.code;
  const isKnown = typeof code === "string" && Object.hasOwn(TYPES, code);
  return proxyError(isKnown ? (TYPES[code] as ProxyErrorType) : "proxy_internal_error");
}

/**
 * Returns the value of a `Proxy-Status` field: `name; error=type; details="..."`.
 *
 * @param name The proxy's name. It is written as a token if it is one, and otherwise as a string.
 * @param details Text about the error, such as a code. Must not reveal internal addresses.
 * @throws TypeError if a text contains characters other than printable ASCII (RFC 8941, section 3.3).
 */
export function proxyStatus(name: string, error: ProxyError, details?: string): string {
  if (typeof error !== "object" || error === null) throw typeError("error", "ProxyError", error);
  const isToken = typeof name === "string" && /^[A-Za-z*][\w!#$%&'*+.^`|~:/-]*$/.test(name);
  const field = `${isToken ? name : quote("name", name)}; error=${proxyError(error.type).type}`;
  return details === undefined ? field : `${field}; details=${quote("details", details)}`;
}

/** Returns a string of structured fields (RFC 8941, section 3.3.3). */
function quote(name: string, text: string): string {
  if (typeof text !== "string" || !/^[\x20-\x7e]*$/.test(text)) {
    throw typeError(name, "printable ASCII text", text);
  }
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
