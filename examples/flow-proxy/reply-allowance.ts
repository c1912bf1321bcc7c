/**
 * Limits the replies to a client that is not verified. The source address of a request can be forged:
 * replies larger than the request would then flood a victim that never asked. Until a client has
 * sent a datagram after a reply, its flow gets at most `REPLY_FACTOR` times the datagrams and the
 * bytes that it has sent, as in QUIC (RFC 9000, section 8.1). From then on, nothing is limited.
 *
 * The proxy does not know the protocol of its clients, and can see no better sign that replies
 * arrive. An attacker who sends blindly, and later sends again, passes as verified: an upstream whose
 * responses are much larger than the requests must verify addresses itself, as QUIC servers do.
 */

/** The default factor. The first packets of a QUIC server pass. */
export const REPLY_FACTOR = 3;

/**
 * What a flow that has moved is assumed to have sent: its server may be in the middle of a transfer,
 * and the client must get something to reply to. The first packet of a QUIC client has that length.
 */
const RESTART_BYTES = 1200;

/** The allowance of one flow, at one end of the tunnel. */
export class ReplyAllowance {
  readonly #factor: number;
  /** What may still be sent to the client. */
  #datagrams = 0;
  #bytes = 0;
  #hasReply = false;
  #isVerified = false;

  constructor(factor: number) {
    this.#factor = factor;
  }

  /** To be called with the length of each datagram from the client. */
  onRequest(bytes: number): void {
    if (this.#isVerified) return;
    this.#isVerified = this.#hasReply;
    this.#datagrams += this.#factor;
    this.#bytes += this.#factor * bytes;
  }

  /** To be called when the flow has moved to another address, which is not verified. */
  restart(): void {
    this.#isVerified = this.#hasReply = false;
    this.#datagrams = this.#factor;
    this.#bytes = this.#factor * RESTART_BYTES;
  }

  /** Returns whether a reply of that length may be sent, and deducts it if so. */
  take(bytes: number): boolean {
    if (this.#isVerified) return true;
    if (this.#datagrams < 1 || this.#bytes < bytes) return false;
    this.#datagrams--;
    this.#bytes -= bytes;
    this.#hasReply = true;
    return true;
  }
}
