/**
 * The targets that a proxy serves. A rule is `HOST`, or `HOST:PORT` with one port, where HOST is an
 * address, a range, a host name, `*.` and a domain, or `*`:
 *
 *     *:443   example.org   *.example.org:53   192.0.2.0/24   [2001:db8::]/32:853   127.0.0.1:5300
 *
 * Addresses that are not public need a rule with their address or range: a name that leads to one
 * does not suffice, since its owner decides where it leads (DNS rebinding).
 */

import { containsIp, type IpAddress, type IpRange, parseIp, parseIpRange } from "./ip-address.ts";
import { namesSpecial, reachabilityOf } from "./special-addresses.ts";

/** A parsed rule: an undefined port stands for all of them. */
type Rule = { readonly port: number | undefined } & (
  | { readonly range: IpRange }
  | { readonly domain: string; readonly isSuffix: boolean }
);

/** Why a target is refused. */
export type Refusal = "target" | "address";

/** A list of rules. */
export class AllowList {
  readonly #rules: readonly Rule[];

  /** @throws RangeError if a rule is malformed. */
  constructor(rules: readonly string[]) {
    this.#rules = rules.map(parseRule);
  }

  /** Returns whether the name may be resolved for that port. */
  allowsName(host: string, port: number): boolean {
    return this.#rules.some((rule) => matchesPort(rule, port) && mayMatchName(rule, host));
  }

  /**
   * Returns why a datagram to `address` is refused, or undefined if it is allowed.
   *
   * @param host The host of the request: a name, or the text of the address.
   */
  refusal(host: string, address: string, port: number): Refusal | undefined {
    const ip = parseIp(address);
    if (ip === undefined) return "target";
    const reachability = reachabilityOf(ip);
    if (reachability === "unusable") return "address";
    const rules = this.#rules.filter((rule) => matchesPort(rule, port));
    if (reachability === "special") {
      return rules.some((rule) => "range" in rule && namesSpecial(rule.range, ip))
        ? undefined
        : "address";
    }
    return rules.some((rule) => matchesHost(rule, host, ip)) ? undefined : "target";
  }
}

function parseRule(text: string): Rule {
  const [host, port] = splitPort(text);
  const wrong = () => new RangeError(`rule "${text}" expected HOST or HOST:PORT`);
  if (port !== undefined && !(port >= 1 && port <= 65_535)) throw wrong();
  const range = parseIpRange(host);
  if (range !== undefined) return { range, port };
  if (host === "*") return { domain: "", isSuffix: true, port };
  const name = /^(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?$/i.exec(host);
  // A last label of digits is a mistyped address (RFC 1123, section 2.1).
  if (name === null || /(^|\.)\d+$/.test(name[2] as string)) throw wrong();
  return { domain: (name[2] as string).toLowerCase(), isSuffix: name[1] !== undefined, port };
}

/** Splits a rule. Brackets around an IPv6 address are needed only if a port follows. */
function splitPort(text: string): [host: string, port: number | undefined] {
  if (parseIpRange(text) !== undefined) return [text, undefined];
  const match = /^(?:\[([^[\]]+)\](\/\d+)?|([^:[\]]+))(?::(\d+))?$/.exec(text);
  if (match === null) return ["", undefined];
  const [, bracketed, prefix = "", plain, port] = match;
  const host = bracketed === undefined ? (plain as string) : `${bracketed}${prefix}`;
  return [host, port === undefined ? undefined : Number(port)];
}

function matchesPort(rule: Rule, port: number): boolean {
  return rule.port === undefined || rule.port === port;
}

/** A range may match a name too: the addresses decide. */
function mayMatchName(rule: Rule, host: string): boolean {
  return "range" in rule || matchesDomain(rule, host);
}

function matchesHost(rule: Rule, host: string, ip: IpAddress): boolean {
  return "range" in rule ? containsIp(rule.range, ip) : matchesDomain(rule, host);
}

function matchesDomain(
  { domain, isSuffix }: { readonly domain: string; readonly isSuffix: boolean },
  host: string,
): boolean {
  if (isSuffix && domain === "") return true;
  const name = host.toLowerCase().replace(/\.$/, "");
  return isSuffix ? name.endsWith(`.${domain}`) : name === domain;
}
