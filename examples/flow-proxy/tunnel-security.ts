/**
 * How the ends of a secure tunnel know each other: each has a certificate, and the fingerprints of
 * those that the other end may have. Names, issuers and dates of certificates are not checked, so
 * that no authority is needed. TLS 1.3 proves that the peer has the key of its certificate.
 */

import { createHash, X509Certificate } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import type { Quiche } from "../quiche/quiche.ts";
import { type Identity, makeIdentity } from "../quiche/tls.ts";

/** The application protocol of the tunnel (ALPN). */
export const TUNNEL_PROTOCOL = "datagram-socket-flow-proxy/1";

/** The range of `packetBytesMax`: what QUIC requires, and enough for datagrams of 1500 bytes. */
export const TUNNEL_PACKET_BYTES = { min: 1200, max: 1600 } as const;

/** The length of SHA-256 in hexadecimal digits. */
const FINGERPRINT_DIGITS = 64;
/** Pinned certificates do not expire: the date is a formality. */
const VALID_DAYS = 3650;

export interface TunnelSecurity {
  readonly quiche: Quiche;
  /** The key and certificate of this end. */
  readonly identity: Identity;
  /** The fingerprints of the certificates that the other end may have. */
  readonly peers: readonly string[];
  /** Called with a line for each change of the tunnel. */
  readonly log?: ((line: string) => void) | undefined;
  /** The maximum length of the UDP payloads of the tunnel. Default `PACKET_BYTES_MAX`. */
  readonly packetBytesMax?: number | undefined;
  /** How long a connection may be silent until it counts as lost. Default 5 s. */
  readonly idleTimeoutMs?: number | undefined;
}

/** The other end is not one that this end may talk to, or the other way round. */
export class TunnelError extends Error {}

/** Returns the SHA-256 of a certificate in DER, as 64 hexadecimal digits. */
export function fingerprintOf(certificate: Uint8Array): string {
  return createHash("sha256").update(certificate).digest("hex");
}

/** Returns the fingerprint of a certificate in PEM. @throws Error if it is none. */
export function fingerprintOfPem(pem: string): string {
  return fingerprintOf(new X509Certificate(pem).raw);
}

/**
 * Returns the fingerprint that `text` is, with or without colons, or that of the certificate in the
 * file of that name.
 *
 * @throws Error if it is neither.
 */
export async function readFingerprint(text: string): Promise<string> {
  const digits = text.replaceAll(":", "").toLowerCase();
  if (/^[\da-f]+$/.test(digits) && digits.length === FINGERPRINT_DIGITS) return digits;
  return fingerprintOfPem(await readFile(text, "utf8"));
}

/**
 * Reads a key and a certificate from a file in PEM. If there is no such file, makes both, and
 * creates it, readable by its owner only.
 *
 * @throws Error if the file cannot be read or created, or contains something else.
 */
export async function readIdentity(file: string): Promise<Identity> {
  try {
    return parseIdentity(await readFile(file, "utf8"));
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
  const identity = makeIdentity({ days: VALID_DAYS });
  // "wx" fails if another process has created it meanwhile.
  const handle = await open(file, "wx", 0o600);
  try {
    await handle.writeFile(identity.key + identity.certificate);
  } finally {
    await handle.close();
  }
  return identity;
}

function parseIdentity(text: string): Identity {
  const [key] = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]+-----\n?/.exec(text) ?? [];
  const [certificate] =
    /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/.exec(text) ?? [];
  if (key === undefined) throw new Error("no private key in PEM");
  if (certificate === undefined) throw new Error("no certificate in PEM");
  fingerprintOfPem(certificate);
  return { key, certificate };
}
