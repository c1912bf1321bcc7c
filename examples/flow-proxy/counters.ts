/** The counters of the two tunnel endpoints, the ingress and the egress. */

import type { SocketCounters } from "../../lib/index.ts";
import type { FlowCounters } from "./flow-table.ts";

/** Datagrams that were not forwarded, by reason. */
export interface DropCounters {
  /** Longer than the maximum. */
  oversize: number;
  /** From the tunnel, without a complete flow ID. */
  malformed: number;
  /** From the tunnel, for a flow that is not in the table (any more). */
  unknownFlow: number;
  /** For a new flow that was refused because the table was full. */
  refused: number;
  /** Replies beyond the allowance of a flow whose client is not verified. */
  amplified: number;
  /** Replies for a flow from which nothing was received for the idle timeout. */
  stale: number;
  /** For a flow whose upstream socket was still being opened, beyond the queue's limit. */
  opening: number;
  /** The send buffer of the upstream socket was full. */
  blocked: number;
  /** The flow's upstream socket could not be opened. */
  failed: number;
  /** The socket was closed before the datagram was sent. */
  closed: number;
  /** The secure tunnel was not connected. */
  disconnected: number;
  /** The queue for the congestion control of the secure tunnel was full. */
  congested: number;
}

/** The counters of an endpoint, apart from those of its flow table and its sockets. */
export interface EndpointCounters {
  /** Errors that sockets reported: ICMP errors, such as port unreachable, and refused sends. */
  socketErrors: number;
  readonly drops: DropCounters;
}

/** The datagrams sent in one direction, in the tunnel with their flow IDs. */
export interface Traffic {
  readonly datagrams: number;
  readonly bytes: number;
}

/** All counters of an endpoint at one time. */
export interface EndpointSnapshot {
  readonly role: "ingress" | "egress";
  /** The current number of flows. */
  readonly flows: number;
  readonly flowCounters: FlowCounters;
  readonly toUpstream: Traffic;
  readonly toClients: Traffic;
  readonly socketErrors: number;
  readonly drops: DropCounters;
  /** The sum over all sockets, including closed ones. */
  readonly sockets: SocketCounters;
  /** The counters of the sockets that face the upstream and of those that face the clients. */
  readonly sides: { readonly upstream: SocketCounters; readonly clients: SocketCounters };
}

/** Returns counters that are all zero. */
export function newEndpointCounters(): EndpointCounters {
  const drops: DropCounters = {
    oversize: 0,
    malformed: 0,
    unknownFlow: 0,
    refused: 0,
    amplified: 0,
    stale: 0,
    opening: 0,
    blocked: 0,
    failed: 0,
    closed: 0,
    disconnected: 0,
    congested: 0,
  };
  return { socketErrors: 0, drops };
}

/** Copies the counters of an endpoint. `sockets` has those of its sockets, by sending direction. */
export function snapshotOf(
  role: EndpointSnapshot["role"],
  flows: { readonly size: number; readonly counters: FlowCounters },
  { socketErrors, drops }: EndpointCounters,
  sockets: { readonly toUpstream: SocketCounters; readonly toClients: SocketCounters },
): EndpointSnapshot {
  const { toUpstream, toClients } = sockets;
  return {
    role,
    flows: flows.size,
    flowCounters: { ...flows.counters },
    toUpstream: trafficSent(toUpstream),
    toClients: trafficSent(toClients),
    socketErrors,
    drops: { ...drops },
    sockets: sumCounters([toUpstream, toClients]),
    sides: { upstream: { ...toUpstream }, clients: { ...toClients } },
  };
}

function trafficSent({ datagramsSent, bytesSent }: SocketCounters): Traffic {
  return { datagrams: datagramsSent, bytes: bytesSent };
}

/** Returns the sum of at least one set of counters. */
export function sumCounters(all: readonly SocketCounters[]): SocketCounters {
  const sum = { ...(all[0] as SocketCounters) };
  for (const counters of all.slice(1)) addCounters(sum, counters);
  return sum;
}

/** Adds `counters` to `sum`. */
export function addCounters(sum: SocketCounters, counters: SocketCounters): void {
  for (const name of Object.keys(counters) as (keyof SocketCounters)[]) sum[name] += counters[name];
}

/** Returns the number of dropped datagrams, including those that the sockets dropped. */
export function dropsTotal({ drops, sockets }: EndpointSnapshot): number {
  let total = sockets.datagramsDropped + sockets.sendDrops;
  for (const count of Object.values(drops)) total += count;
  return total;
}

/** Returns the number of datagrams that the sockets received and sent. */
export function datagramsTransferred({ sockets }: EndpointSnapshot): number {
  return sockets.datagramsReceived + sockets.datagramsSent;
}

/** Returns the number of messages that these datagrams were received and sent in (GRO, GSO). */
export function messagesTransferred({ sockets }: EndpointSnapshot): number {
  return sockets.messagesReceived + sockets.messagesSent;
}

/** Returns the number of system calls to receive and send, including those that would block. */
export function systemCalls({ sockets }: EndpointSnapshot): number {
  return sockets.receiveCalls + sockets.sendCalls;
}
