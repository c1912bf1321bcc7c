/** Bearer tokens (RFC 6750), compared in constant time. */

import { createHash, timingSafeEqual } from "node:crypto";

/** The tokens that a proxy accepts. */
export class BearerTokens {
  /** SHA-256 digests, which all have the same length. */
  readonly #digests: readonly Uint8Array[];

  /** Without tokens, every request is accepted. */
  constructor(tokens: readonly string[]) {
    this.#digests = tokens.map(digestOf);
  }

  /** Returns whether a token is required. */
  get isRequired(): boolean {
    return this.#digests.length > 0;
  }

  /**
   * Returns whether the value of an `authorization` field has one of the tokens. All tokens are
   * compared, each in constant time: the time depends on neither the tokens nor the match.
   */
  accept(authorization: string | undefined): boolean {
    if (!this.isRequired) return true;
    const token = /^Bearer +([\w.~+/-]+=*) *$/i.exec(authorization ?? "")?.[1];
    const digest = digestOf(token ?? "");
    let isKnown = false;
    for (const known of this.#digests) isKnown = timingSafeEqual(known, digest) || isKnown;
    return isKnown && token !== undefined;
  }
}

function digestOf(token: string): Uint8Array {
  return createHash("sha256").update(token).digest();
}
