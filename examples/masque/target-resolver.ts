/** Finds the address of a target, and checks whether it is allowed. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { proxyErrorOf, type UdpTarget } from "../../lib/masque/index.ts";
import type { AllowList } from "./allow-list.ts";
import { type Refusal, refuse, refuseError } from "./request.ts";

/** Returns all addresses of a host name, the preferred one first. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** How long a name may take to resolve. */
const LOOKUP_MS_MAX = 5000;

/** The address of a target, or why it is refused. */
export type ResolveResult =
  | { readonly address: string; readonly refusal?: never }
  | { readonly address?: never; readonly refusal: Refusal };

/** Resolves names with the resolver of the system. */
export async function systemLookup(host: string): Promise<readonly string[]> {
  const all = await lookup(host, { all: true });
  return all.map(({ address }) => address);
}

/**
 * Returns the first address of the target that is allowed. The tunnel must use this address: another
 * resolution may lead elsewhere.
 */
export async function resolveTarget(
  { host, port }: UdpTarget,
  allowList: AllowList,
  lookupName: Lookup = systemLookup,
): Promise<ResolveResult> {
  if (!allowList.allowsName(host, port)) return { refusal: refuseTarget() };
  let addresses: readonly string[] = [host];
  if (isIP(host) === 0) {
    try {
      addresses = await withTimeout(lookupName(host));
    } catch (error) {
      const { code } = error as { code?: unknown };
      const { type } = proxyErrorOf({ code });
      return { refusal: refuseError(type === "proxy_internal_error" ? "dns_error" : type, code) };
    }
  }
  const refusals = new Set<string>();
  for (const address of addresses) {
    const refusal = allowList.refusal(host, address, port);
    if (refusal === undefined) return { address };
    refusals.add(refusal);
  }
  if (addresses.length === 0) return { refusal: refuseError("dns_error", "ENODATA") };
  return { refusal: refusals.has("target") ? refuseTarget() : refuseAddress() };
}

function refuseTarget(): Refusal {
  return refuse("http_request_denied", "target not allowed");
}

/** Does not reveal which address a name has: it may be internal. */
function refuseAddress(): Refusal {
  return refuse("destination_ip_prohibited", "address not allowed");
}

async function withTimeout<T>(promise: Promise<T>): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const error = Object.assign(new Error("the name resolution takes too long"), {
    code: "ETIMEOUT",
  });
  const timer = setTimeout(() => reject(error), LOOKUP_MS_MAX);
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
