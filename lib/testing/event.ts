/** What happens to datagrams in a simulated network. */

import type { SocketAddress } from "../address/socket-address.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

/**
 * Why a datagram was lost.
 *
 * - `"random"`: the loss probability of the link.
 * - `"link-queue"`: the queue of the link was full.
 * - `"mtu"`: longer than the MTU of the link, and not to be fragmented.
 * - `"partition"`: hosts were separated when it was sent, or when it would have arrived.
 * - `"nat"`: the NAT had no mapping for its destination, or filtered its source.
 * - `"no-host"`: no socket was ever bound to the address.
 * - `"no-socket"`: no socket has the port, or the socket is connected to another peer.
 * - `"receive-queue"`: the receive queue of the socket was full.
 * - `"closed"`: the socket was closed before it received the datagram.
 */
export type LossReason =
  | "random"
  | "link-queue"
  | "mtu"
  | "partition"
  | "nat"
  | "no-host"
  | "no-socket"
  | "receive-queue"
  | "closed";

/** All loss reasons. */
export const LOSS_REASONS: readonly LossReason[] = [
  "random",
  "link-queue",
  "mtu",
  "partition",
  "nat",
  "no-host",
  "no-socket",
  "receive-queue",
  "closed",
];

/**
 * The kinds of events.
 *
 * - `"send"`: a socket accepted the datagram.
 * - `"duplicate"`: the network made another copy.
 * - `"deliver"`: a copy was appended to the receive queue of a socket.
 * - `"receive"`: the code under test received a copy.
 * - `"lose"`: a copy was lost.
 * - `"icmp"`: an ICMP error about the datagram reached its sender.
 */
export type SimEventKind = "send" | "duplicate" | "deliver" | "receive" | "lose" | "icmp";

/** All kinds, in the order of the digest. */
export const EVENT_KINDS: readonly SimEventKind[] = [
  "send",
  "duplicate",
  "deliver",
  "receive",
  "lose",
  "icmp",
];

/** A datagram in a simulated network. A NAT replaces it by one with other addresses. */
export interface SimDatagram {
  /** Datagrams are numbered from 1, in the order in which they are sent. Copies keep the number. */
  readonly id: number;
  /** The source address, as the network sees it at this point. */
  readonly from: SocketAddress;
  readonly to: SocketAddress;
  /** A copy of the payload, which must not be modified. */
  readonly payload: Uint8Array;
  /** Whether the network may fragment it: the DF bit of IPv4 is not set. */
  readonly mayFragment: boolean;
}

/** An event. The text is one line. */
export class SimEvent {
  /** The virtual time in milliseconds. */
  readonly timeMs: number;
  /** What happened to the datagram. */
  readonly kind: SimEventKind;
  /** The datagram, with the addresses that it has at this point. */
  readonly datagram: SimDatagram;
  /** The socket's own address: of the sender for `"send"`, of the receiver for `"receive"`. */
  readonly socket: SocketAddress | undefined;
  /** The loss reason, or the code of the ICMP error; absent for other kinds. */
  readonly detail: string | undefined;

  /** @internal */
  constructor(
    timeMs: number,
    kind: SimEventKind,
    datagram: SimDatagram,
    socket?: SocketAddress,
    detail?: string,
  ) {
    this.timeMs = timeMs;
    this.kind = kind;
    this.datagram = datagram;
    this.socket = socket;
    this.detail = detail;
  }

  toString(): string {
    const { id, from, to, payload } = this.datagram;
    const detail = this.detail === undefined ? "" : ` (${this.detail})`;
    const time = this.timeMs.toFixed(3).padStart(10);
    const what = `${this.kind.padEnd(9)} #${id} ${from} > ${to} ${payload.length} bytes`;
    return `${time} ms  ${what}${detail}`;
  }
}

if (isShared("SimEvent", SimEvent)) {
  // @ts-expect-error See `isShared`.
  SimEvent = sharedClass("SimEvent");
}
