/**
 * Limits the replies to a peer whose address is not verified. A source address can be forged: replies
 * that are larger than the request would then flood a victim that never asked (RFC 9000, section
 * 8.1). Until a peer has sent a datagram after a reply, it gets at most `factor` times the datagrams
 * and the bytes that it has sent.
 *
 * The proxy does not know the protocol of its clients, so this is the only sign that replies arrive.
 * It is a weak one, as in a firewall that keeps state: a forger who guesses when to send again passes.
 */

/** The default of the factor: no amplification at all. */
export const REPLY_FACTOR = 1;

/** The traffic of one peer until it is verified. */
export class ReplyAllowance {
  readonly #factor: number;
  /** What the peer may still get. */
  #datagrams = 0;
  #bytes = 0;
  #hasReply = false;
  #isVerified = false;

  constructor(factor: number) {
    this.#factor = factor;
  }

  /** To be called with each datagram from the peer. */
  onReceived(bytes: number): void {
    if (this.#isVerified) return;
    if (this.#hasReply) {
      this.#isVerified = true;
      return;
    }
    this.#datagrams += this.#factor;
    this.#bytes += this.#factor * bytes;
  }

  /** Returns whether a datagram may be sent to the peer, and counts it if so. */
  take(bytes: number): boolean {
    if (this.#isVerified) return true;
    if (this.#datagrams < 1 || this.#bytes < bytes) return false;
    this.#datagrams--;
    this.#bytes -= bytes;
    this.#hasReply = true;
    return true;
  }
}
