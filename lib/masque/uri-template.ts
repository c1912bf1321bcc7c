/**
 * The URI template of a connect-udp proxy (RFC 9298, section 2): clients expand it to the URI of a
 * request, proxies extract the target from a request. Of RFC 6570, the expressions that RFC 9298
 * permits are supported: `{a}`, `{a,b}`, `{?a,b}` and `{&a,b}`.
 */

import { isIP } from "../address/ip.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

/** The template of a proxy that is configured by host and port only (RFC 9298, section 2). */
export const DEFAULT_TEMPLATE_PATH = "/.well-known/masque/udp/{target_host}/{target_port}/";

/** The target of a tunnel. */
export interface UdpTarget {
  /** An IPv4 or IPv6 address without brackets, or a host name. */
  readonly host: string;
  /** The UDP port, 1..65535. */
  readonly port: number;
}

const HOST = "target_host";
const PORT = "target_port";

/** A part of the template: text, or an expression. */
type Part =
  | { readonly text: string }
  | { readonly operator: "" | "?" | "&"; readonly names: readonly string[] };

/** A parsed template. Variables other than the target's are undefined: they expand to nothing. */
export class ConnectUdpTemplate {
  /** The scheme and the authority, such as `"https://proxy.example.org:4443"`. */
  readonly origin: string;
  readonly #template: string;
  readonly #parts: readonly Part[];
  readonly #pattern: RegExp;
  /** The variables in the order of the groups of the pattern. */
  readonly #names: readonly string[];

  /**
   * Parses a template, an absolute URI such as
   * `"https://proxy.example.org:4443/masque{?target_host,target_port}"`.
   *
   * @throws TypeError if `template` is not a string.
   * @throws RangeError if it violates section 2 of RFC 9298; the message names the rule.
   */
  constructor(template: string) {
    if (typeof template !== "string") throw typeError("template", "string", template);
    const rule = (expected: string) => rangeError("template", expected, template);
    if (!/^[\x21-\x7e]+$/.test(template)) throw rule("ASCII characters 0x21..0x7e");
    const match = /^([a-z][a-z0-9+.-]*:\/\/[^/?#{}]+)(\/[^#]*)$/i.exec(template);
    if (match === null) throw rule("absolute URI with scheme, authority and path, no fragment");
    this.origin = match[1] as string;
    this.#template = template;
    this.#parts = parseParts(match[2] as string, rule);
    const names = this.#parts.flatMap((part) => ("names" in part ? part.names : []));
    for (const name of [HOST, PORT]) {
      if (names.filter((one) => one === name).length !== 1) throw rule(`variable ${name} once`);
    }
    this.#names = names.filter(isTarget);
    this.#pattern = new RegExp(`^${this.#parts.map(patternOf).join("")}$`);
  }

  /**
   * Returns the path and the query of the request for a target: the `:path` of an extended CONNECT.
   *
   * @throws RangeError if the host is empty, contains an IPv6 zone, or the port is not an integer
   * 1..65535.
   */
  expand(target: UdpTarget): string {
    const { host, port } = target;
    if (typeof host !== "string") throw typeError("host", "string", host);
    if (!isHost(host)) throw rangeError("host", "IP address without zone, or host name", host);
    checkInteger("port", port, 1, 65_535);
    const values: Readonly<Record<string, string>> = { [HOST]: host, [PORT]: String(port) };
    return this.#parts.map((part) => expandPart(part, values)).join("");
  }

  /**
   * Returns the target of a request, or undefined if `path` does not match the template or names no
   * valid target: the response is then 404 or 400.
   *
   * @param path The path and the query, as in `:path`.
   */
  match(path: string): UdpTarget | undefined {
    if (typeof path !== "string") throw typeError("path", "string", path);
    const groups = this.#pattern.exec(path);
    if (groups === null) return undefined;
    const host = decode(groups[this.#names.indexOf(HOST) + 1]);
    const port = decode(groups[this.#names.indexOf(PORT) + 1]);
    if (host === undefined || !isHost(host)) return undefined;
    if (port === undefined || !/^[1-9][0-9]{0,4}$/.test(port)) return undefined;
    return Number(port) > 65_535 ? undefined : { host, port: Number(port) };
  }

  toString(): string {
    return this.#template;
  }

  toJSON(): string {
    return this.#template;
  }
}

if (isShared("ConnectUdpTemplate", ConnectUdpTemplate)) {
  // @ts-expect-error See `isShared`.
  ConnectUdpTemplate = sharedClass("ConnectUdpTemplate");
}

function parseParts(text: string, rule: (expected: string) => RangeError): Part[] {
  const parts: Part[] = [];
  for (const [piece, literal, operator, names] of text.matchAll(
    /([^{}]+)|\{([^a-zA-Z0-9_]?)([^{}]*)\}|[{}]/g,
  )) {
    if (literal !== undefined) {
      parts.push({ text: literal });
      continue;
    }
    if (names === undefined) throw rule("balanced braces");
    if (operator !== "" && operator !== "?" && operator !== "&") {
      throw rule(`expressions {a}, {?a} and {&a}, not ${piece}`);
    }
    const list = names.split(",");
    if (!list.every((name) => /^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*$/.test(name))) {
      throw rule(`names of variables, without modifiers, in ${piece}`);
    }
    parts.push({ operator, names: list });
  }
  return parts;
}

/** Returns a regular expression for the expansions of a part, with a group for each variable. */
function patternOf(part: Part): string {
  if ("text" in part) return RegExp.escape(part.text);
  const names = part.names.filter(isTarget);
  if (part.operator === "") return names.map(() => "([^/?#&,]*)").join(",");
  const pairs = names.map((name) => `${name}=([^&#]*)`);
  return pairs.length === 0 ? "" : `${RegExp.escape(part.operator)}${pairs.join("&")}`;
}

function isTarget(name: string): boolean {
  return name === HOST || name === PORT;
}

/** Expands a part. Undefined variables are left out (RFC 6570, section 3.2.1). */
function expandPart(part: Part, values: Readonly<Record<string, string>>): string {
  if ("text" in part) return part.text;
  const names = part.names.filter(isTarget);
  const encoded = names.map((name) => encode(values[name] as string));
  if (part.operator === "") return encoded.join(",");
  const pairs = names.map((name, i) => `${name}=${encoded[i]}`);
  return pairs.length === 0 ? "" : `${part.operator}${pairs.join("&")}`;
}

/** Encodes everything but unreserved characters (RFC 6570, section 3.2.1; RFC 3986). */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function decode(text: string | undefined): string | undefined {
  try {
    return text && decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Returns whether `text` is an IP address, or may be a host name (RFC 3986, section 3.2.2). */
function isHost(text: string): boolean {
  return isIP(text) || /^(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/i.test(text);
}
