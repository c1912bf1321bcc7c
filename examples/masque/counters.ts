/** The counters of a server, and of a client. */

import type { UdpSocket } from "../../lib/index.ts";

/** Datagrams that were not forwarded, by reason. */
export interface DropCounters {
  /** Not a valid HTTP Datagram, or a capsule without a context ID. */
  malformed: number;
  /** For a stream that is no tunnel, or no longer one. */
  unknownStream: number;
  /** With a context ID other than 0, which no extension has registered. */
  unknownContext: number;
  /** For a tunnel that was being opened, beyond the limit of its queue. */
  opening: number;
  /** Longer than the DATAGRAM frames of the connection. */
  oversize: number;
  /** The DATAGRAM queue of the connection was full. */
  queueFull: number;
  /** The stream had no room for a capsule, or the socket none for a datagram. */
  blocked: number;
  /** The tunnel or the socket was closed before the datagram was sent. */
  closed: number;
  /** A tunnel could not be opened. Client only. */
  failed: number;
  /** For a new local peer, when the table was full. Client only. */
  refused: number;
  /** Replies beyond the allowance of a local peer that is not verified. Client only. */
  amplified: number;
}

/** Datagrams and bytes of UDP payload in one direction. */
export interface Traffic {
  datagrams: number;
  bytes: number;
}

/** All counters of one end. */
export interface Counters {
  connections: number;
  /** Tunnels that were opened. */
  opened: number;
  /** Tunnels that were closed because they were idle. */
  expired: number;
  /** Tunnels that were closed because of an error of the target's socket or of the peer. */
  aborted: number;
  /** Requests that were refused, by status code. */
  readonly refusals: Record<number, number>;
  /** Payloads that were passed to the socket, and those that were passed to the tunnel. */
  readonly toUdp: Traffic;
  readonly toTunnel: Traffic;
  /** DATAGRAM frames that QUIC declared lost, on the way to the peer. They are not repeated. */
  lost: number;
  /** ICMP errors. */
  transportErrors: number;
  /** Datagrams that the kernel refused or dropped, of all sockets. */
  socketDrops: number;
  readonly drops: DropCounters;
}

/** Returns counters that are all zero. */
export function newCounters(): Counters {
  return {
    connections: 0,
    opened: 0,
    expired: 0,
    aborted: 0,
    refusals: {},
    toUdp: { datagrams: 0, bytes: 0 },
    toTunnel: { datagrams: 0, bytes: 0 },
    lost: 0,
    transportErrors: 0,
    socketDrops: 0,
    drops: {
      malformed: 0,
      unknownStream: 0,
      unknownContext: 0,
      opening: 0,
      oversize: 0,
      queueFull: 0,
      blocked: 0,
      closed: 0,
      failed: 0,
      refused: 0,
      amplified: 0,
    },
  };
}

/** Counts a refused request. */
export function countRefusal({ refusals }: Counters, status: number): void {
  refusals[status] = (refusals[status] ?? 0) + 1;
}

/**
 * Returns the number of datagrams that a closed socket has lost: those that the kernel refused, or
 * dropped as the receive buffer was full, and those that were received and not read.
 */
export function socketDropsOf({ counters, socketDrops = 0 }: UdpSocket): number {
  return counters.datagramsDropped + counters.sendDrops + socketDrops;
}

/** Returns the number of datagrams that were dropped for any reason. */
export function dropsTotal({ drops, socketDrops }: Counters): number {
  let total = socketDrops;
  for (const count of Object.values(drops)) total += count;
  return total;
}
