/**
 * Decides when a flow follows its peer to another address: a client, or an ingress, for which a NAT
 * has chosen another port.
 *
 * A datagram from another address must have what only the peer knows: the connection ID of the client,
 * or the flow ID of the ingress. It is forwarded then, as a forged source address could do as well.
 * The replies need more, since whoever can read a datagram could repeat it from another address (RFC
 * 9000, section 9.3.3):
 *
 * - The flow moves if nothing has come from its address for `SILENCE_MS`: a NAT that has chosen
 *   another port does not send from the former.
 * - The former address can take the flow back at once. So a peer that was only silent, and whose flow
 *   was stolen meanwhile, gets its replies again with its next datagram. The address that it is taken
 *   back from must wait for silence again.
 * - The new address is not verified: its replies are limited, see `ReplyAllowance.restart`.
 */

import type { SocketAddress } from "../../lib/index.ts";

/** How long the address of a flow must be silent until another one can take the flow. */
export const SILENCE_MS = 250;

/** The movements of one flow. Created with the first one. */
export class Rebinding {
  /** The address that can take the flow back. */
  #former: SocketAddress | undefined;

  /**
   * Returns whether a flow moves from `current`, which has been silent for `silenceMs`, to `next`, and
   * records it if so.
   */
  moves(current: SocketAddress, next: SocketAddress, silenceMs: number): boolean {
    if (this.#former?.equals(next)) {
      this.#former = undefined;
      return true;
    }
    if (silenceMs < SILENCE_MS) return false;
    this.#former = current;
    return true;
  }
}
