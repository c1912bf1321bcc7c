/** Makes a key and a self-signed certificate for tests and demonstrations, without other programs. */

import { createSign, generateKeyPairSync } from "node:crypto";

/** A key and a certificate in PEM. */
export interface Identity {
  readonly key: string;
  readonly certificate: string;
}

const DAY_MS = 86_400_000;

/** Options of `makeIdentity`. */
export interface IdentityOptions {
  /** How long the certificate is valid from now on. Default 1. */
  readonly days?: number | undefined;
}

/** The tags of DER (X.690), as far as they are used here. */
const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  time: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Object identifiers, encoded. */
const OID = {
  ecdsaWithSha256: [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
  commonName: [0x55, 0x04, 0x03],
  subjectAltName: [0x55, 0x1d, 0x11],
  basicConstraints: [0x55, 0x1d, 0x13],
} as const;

/**
 * Returns a new P-256 key and a certificate for `localhost` and 127.0.0.1 that is valid from yesterday
 * on (RFC 5280). It is its own issuer, but no certificate authority: some TLS libraries refuse a
 * certificate authority as the certificate of a server.
 */
export function makeIdentity({ days = 1 }: IdentityOptions = {}): Identity {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const name = sequence(der(TAG.set, sequence(oid(OID.commonName), text(TAG.utf8, "localhost"))));
  const names = sequence(text(0x82, "localhost"), der(0x87, Buffer.of(127, 0, 0, 1)));
  const extensions = sequence(
    sequence(oid(OID.basicConstraints), der(TAG.boolean, Buffer.of(0xff)), octets(sequence())),
    sequence(oid(OID.subjectAltName), octets(names)),
  );
  const nowMs = Date.now();
  const body = sequence(
    der(0xa0, der(TAG.integer, Buffer.of(2))),
    der(TAG.integer, Buffer.concat([Buffer.of(1), crypto.getRandomValues(Buffer.alloc(8))])),
    algorithm,
    name,
    sequence(time(nowMs - DAY_MS), time(nowMs + days * DAY_MS)),
    name,
    publicKey.export({ type: "spki", format: "der" }) as Buffer,
    der(0xa3, extensions),
  );
  const signature = createSign("sha256").update(body).sign(privateKey);
  const bits = der(TAG.bits, Buffer.concat([Buffer.of(0), signature]));
  const base64 = sequence(body, algorithm, bits).toString("base64");
  const lines = (base64.match(/.{1,64}/g) ?? []).join("\n");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    certificate: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  };
}

/** Encodes a value: its tag, its length, and the contents. */
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat(contents);
  const { length } = bytes;
  const header =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...header), bytes]);
}

const sequence = (...contents: readonly Uint8Array[]) => der(TAG.sequence, ...contents);
const octets = (contents: Uint8Array) => der(TAG.octets, contents);
const oid = (bytes: readonly number[]) => der(TAG.oid, Buffer.from(bytes));
const text = (tag: number, value: string) => der(tag, Buffer.from(value));

/** Encodes a time as GeneralizedTime, which implementations accept for all years. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return text(TAG.time, digits);
}
