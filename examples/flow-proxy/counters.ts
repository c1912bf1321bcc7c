/** What each half of the proxy counts. Plain numbers, added to as datagrams pass. */

import type { SocketCounters } from "../../lib/index.ts";
import type { FlowCounts } from "./flow-table.ts";

/** Datagrams that were not sent on, by reason. */
export interface DropCounts {
  /** Longer than a buffer. */
  oversize: number;
  /** From the tunnel, with no whole varint in front. */
  malformed: number;
  /** Of a flow that is not, or no longer, in the table. */
  unknownFlow: number;
  /** Of a flow that was not taken, as the table was full. */
  refused: number;
  /** Of a flow whose upstream socket was still opening, beyond what is kept meanwhile. */
  opening: number;
  /** The upstream socket was full. */
  blocked: number;
  /** The system refused to send it, twice; or the flow's socket could not be opened. */
  failed: number;
}

/** What one half counts itself; flow table and sockets have counters of their own. */
export interface HalfCounts {
  /** Errors that a socket reported: ICMP's, such as a closed upstream port, and refused sends. */
  socketErrors: number;
  readonly drops: DropCounts;
}

/** What went one way: counted where it leaves, so in the tunnel with flow IDs. */
export interface Traffic {
  readonly datagrams: number;
  readonly bytes: number;
}

/** All that one half knows at a moment. */
export interface HalfSnapshot {
  readonly role: "ingress" | "egress";
  /** Flows right now. */
  readonly flows: number;
  readonly flowCounts: FlowCounts;
  /** From clients towards the upstream. */
  readonly up: Traffic;
  /** The way back. */
  readonly down: Traffic;
  readonly socketErrors: number;
  readonly drops: DropCounts;
  /** The sum over all its sockets, closed ones included. */
  readonly sockets: SocketCounters;
}

/** All zero. */
export function newHalfCounts(): HalfCounts {
  const drops: DropCounts = {
    oversize: 0,
    malformed: 0,
    unknownFlow: 0,
    refused: 0,
    opening: 0,
    blocked: 0,
    failed: 0,
  };
  return { socketErrors: 0, drops };
}

/** What a half knows now: `up` and `down` are the sockets by which datagrams leave either way. */
export function snapshotOf(
  role: HalfSnapshot["role"],
  flows: { readonly size: number; readonly counts: FlowCounts },
  { socketErrors, drops }: HalfCounts,
  { up, down }: { readonly up: SocketCounters; readonly down: SocketCounters },
): HalfSnapshot {
  return {
    role,
    flows: flows.size,
    flowCounts: { ...flows.counts },
    up: sentBy(up),
    down: sentBy(down),
    socketErrors,
    drops: { ...drops },
    sockets: sumCounters([up, down]),
  };
}

function sentBy({ datagramsSent, bytesSent }: SocketCounters): Traffic {
  return { datagrams: datagramsSent, bytes: bytesSent };
}

/** The sum of the counters of some sockets, at least one. */
export function sumCounters(all: readonly SocketCounters[]): SocketCounters {
  const sum = { ...(all[0] as SocketCounters) };
  for (const part of all.slice(1)) addCounters(sum, part);
  return sum;
}

/** Adds `part` to `sum`. */
export function addCounters(sum: SocketCounters, part: SocketCounters): void {
  for (const name of Object.keys(part) as (keyof SocketCounters)[]) sum[name] += part[name];
}

/** All dropped datagrams, whatever the reason; also those that the portable backend dropped. */
export function dropsTotal({ drops, sockets }: HalfSnapshot): number {
  let total = sockets.datagramsDropped;
  for (const count of Object.values(drops)) total += count;
  return total;
}
