/** What a simulated socket uses of its network. */

import type { SocketAddress } from "../address/socket-address.ts";
import type { SimDatagram } from "./event.ts";
import type { SimRandom } from "./random.ts";

/** The network, as seen by a socket. */
export interface Wire {
  /** The virtual time in milliseconds. */
  readonly nowMs: number;
  /** The random numbers of this socket. */
  readonly random: SimRandom;
  /** Sends a datagram, and returns the time at which it leaves the host. */
  transmit(
    to: SocketAddress,
    payload: Uint8Array,
    pathMtuDiscovery: { readonly mayFragment: boolean },
  ): number;
  /** Returns the known maximum length of a packet to a host in bytes, IP header included. */
  pathMtu(to: SocketAddress): number;
  /** Calls `run` after a time. */
  schedule(delayMs: number, run: () => void): void;
  /** Calls `run`, which calls a waker, when the event loop of the host runs next. */
  scheduleWake(run: () => void): void;
  /** Calls a callback of the user in a later microtask. */
  callLater(run: () => void): void;
  /** Records that the code under test received a datagram. */
  received(datagram: SimDatagram): void;
  /** Records that a datagram was in the receive queue when the socket was closed. */
  discarded(datagram: SimDatagram): void;
  /** Frees the port. */
  unbind(): void;
}
