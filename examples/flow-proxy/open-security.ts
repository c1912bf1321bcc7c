/** Prepares the secure tunnel: the QUIC stack, and the certificates of both ends. */

import { installQuiche } from "../quiche/install.ts";
import type { Quiche } from "../quiche/quiche.ts";
import { type Identity, makeIdentity } from "../quiche/tls.ts";
import { type SecureConfig, UsageError } from "./cli.ts";
import {
  fingerprintOfPem,
  readFingerprint,
  readIdentity,
  type TunnelSecurity,
} from "./tunnel-security.ts";

/** The security of both ends of the demo. */
export interface DemoSecurity {
  readonly ingress: TunnelSecurity;
  readonly egress: TunnelSecurity;
}

/** Returns the QUIC stack, or why there is none here. */
export function loadStack(): { readonly quiche: Quiche } | { readonly reason: string } {
  const { quiche, reason } = installQuiche();
  return quiche === undefined ? { reason } : { quiche };
}

/**
 * Reads the certificates that the command line names.
 *
 * @throws UsageError if one cannot be read, or there is no QUIC stack.
 */
export async function openSecurity(
  { identity: file, peers, packetBytesMax }: SecureConfig,
  log: (line: string) => void,
): Promise<TunnelSecurity> {
  const stack = loadStack();
  if ("reason" in stack) throw new UsageError(`--secure: ${stack.reason}`);
  const identity = await readOption("identity", file as string, readIdentity);
  log(`fingerprint of this end: ${fingerprintOfPem(identity.certificate)}`);
  const fingerprints = peers.map((peer) => readOption("peer", peer, readFingerprint));
  const { quiche } = stack;
  return { quiche, identity, peers: await Promise.all(fingerprints), packetBytesMax, log };
}

/** Returns the security of both ends, with new certificates. */
export function makeDemoSecurity(
  quiche: Quiche,
  { packetBytesMax }: SecureConfig,
  log: (line: string) => void,
): DemoSecurity {
  const common = { quiche, packetBytesMax, log };
  const [ingress, egress] = [makeIdentity(), makeIdentity()];
  return {
    ingress: { ...common, identity: ingress, peers: [fingerprintOfPem(egress.certificate)] },
    egress: { ...common, identity: egress, peers: [fingerprintOfPem(ingress.certificate)] },
  };
}

async function readOption<T extends Identity | string>(
  name: string,
  text: string,
  read: (text: string) => Promise<T>,
): Promise<T> {
  try {
    return await read(text);
  } catch (error) {
    throw new UsageError(`--${name} ${text}: ${(error as Error).message}`);
  }
}
