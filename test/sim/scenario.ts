/** A scenario for the flow proxy, drawn from a seed. */

import { SILENCE_MS } from "../../examples/flow-proxy/rebinding.ts";
import { type LinkOptions, SimRandom, type SimSocketOptions } from "../../lib/testing/index.ts";

/** The start of the addresses of clients: 10.1.0.1 and following. */
export const CLIENTS = "10.1.0.";
/** The other hosts. */
export const INGRESS = "10.0.0.1";
/** The address of the ingress that it reaches the egress from. */
export const INGRESS_OUT = "10.0.0.11";
export const EGRESS = "10.0.0.2";
export const ORIGIN = "10.0.0.3";
export const STRANGER = "10.0.0.4";
export const VICTIM = "10.0.0.5";
export const CLIENT_NAT = "203.0.113.1";
export const TUNNEL_NAT = "203.0.113.2";

/** Something that happens to the network or the proxy at a time. */
export type Incident = { readonly atMs: number } & (
  | { readonly kind: "partition"; readonly of: Section; readonly forMs: number }
  | { readonly kind: "rebind"; readonly of: "clients" | "tunnel" }
  | { readonly kind: "mtu"; readonly of: Section; readonly mtu: number }
  | { readonly kind: "restart"; readonly of: "ingress" | "egress" }
);

/** A part of the path between clients and origin. */
export type Section = "clients" | "tunnel" | "upstream";
export const SECTIONS: readonly Section[] = ["clients", "tunnel", "upstream"];

export interface Scenario {
  readonly seed: number;
  readonly clients: number;
  /** The number of bursts that each client sends. */
  readonly bursts: number;
  /** The maximum number of datagrams in a burst. */
  readonly burstMax: number;
  /** The maximum pause between bursts. */
  readonly pauseMs: number;
  readonly payloadBytesMax: number;
  readonly isClientBehindNat: boolean;
  readonly isTunnelBehindNat: boolean;
  readonly hasStranger: boolean;
  /** Whether the origin sends replies that are too long to be forwarded. */
  readonly hasOversizeReplies: boolean;
  /** The number of replies of the origin to each request, and when the last one is sent. */
  readonly repliesPerRequest: number;
  readonly lastReplyMs: number;
  /** The number of requests with the source address of a host that never asked. */
  readonly forgedRequests: number;
  readonly flowsMax: number;
  readonly idleTimeoutMs: number;
  /** The maximum time that opening a socket takes, and the probability that it fails. */
  readonly openMs: number;
  readonly openFailures: number;
  readonly wakeIntervalMs: number;
  readonly sockets: SimSocketOptions;
  readonly links: Readonly<Record<Section, LinkOptions>>;
  /** The options of the link from the egress to the ingress that differ from `links.tunnel`. */
  readonly replyLink: LinkOptions;
  readonly incidents: readonly Incident[];
  /** Whether flow IDs cannot be guessed, so that flows follow the tunnel to another address. */
  readonly hasSecretFlowIds: boolean;
  /** Whether flows follow clients to another address, by what would be a QUIC connection ID. */
  readonly hasConnectionIds: boolean;
  readonly graceMs: number;
}

/** Returns the scenario of a seed. */
export function drawScenario(seed: number): Scenario {
  const random = new SimRandom(seed).fork("scenario");
  // Many clients, whose replies wait for the tunnel.
  const isCrowd = random.chance(0.1);
  // Few clients, whose datagrams do not fit the queue of a socket that is being opened.
  const isFlood = !isCrowd && random.chance(0.05);
  const bursts = isCrowd || isFlood ? 2 : random.integer(2, 12);
  const pauseMs = random.pick([5, 20, 100]);
  const durationMs = (bursts * pauseMs) / 2 + 50;
  return {
    seed,
    clients: isCrowd ? random.integer(30, 60) : random.integer(1, isFlood ? 2 : 10),
    bursts,
    burstMax: isFlood ? 150 : random.pick([1, 3, 12]),
    pauseMs,
    payloadBytesMax: random.pick([64, 1200, 1472, 1600]),
    isClientBehindNat: random.chance(0.5),
    isTunnelBehindNat: random.chance(0.3),
    hasStranger: random.chance(0.2),
    hasOversizeReplies: random.chance(0.3),
    flowsMax: isCrowd ? 64 : random.pick([1, 3, 8, 64, 64]),
    idleTimeoutMs: random.pick([50, 200, 10_000]),
    openMs: isFlood ? 200 : random.pick([0, 1, 100]),
    openFailures: random.pick([0, 0, 0.1]),
    wakeIntervalMs: random.pick([0, 0, 0.5, 5]),
    sockets: {
      receiveQueueDatagrams: random.pick([2, 16, 256]),
      sendQueueDatagrams: isCrowd ? 1 : random.pick([1, 8, 64]),
      blockedSends: random.pick([0, 0.02, 0.2]),
      partialReceives: random.pick([0, 0.02, 0.2]),
      spuriousWakes: random.pick([0, 0.02, 0.2]),
    },
    links: {
      // Requests are not duplicated: the ledger could not tell equal payloads in two flows apart.
      clients: { ...drawLink(random, isCrowd || random.chance(0.5)), duplicate: 0 },
      tunnel: drawLink(random, isCrowd || random.chance(0.5)),
      upstream: drawLink(random, isCrowd || random.chance(0.5)),
    },
    // So slow that the replies use all batches of the reply queue.
    replyLink: isCrowd ? { bitsPerSecond: random.pick([200e3, 1e6]) } : {},
    incidents: Array.from({ length: random.integer(0, 4) }, () => drawIncident(random, durationMs)),
    ...drawReplies(random),
    forgedRequests: random.pick([0, 0, 0, 5, 100]),
    hasSecretFlowIds: random.chance(0.5),
    hasConnectionIds: random.chance(0.5),
    graceMs: random.pick([0, 0, 100, 5000]),
    ...(random.chance(0.15) ? drawMoves(random, bursts) : {}),
  };
}

/** Pauses in which addresses change, and which are longer than the silence that a flow needs to move. */
function drawMoves(random: SimRandom, bursts: number) {
  const pauseMs = 4 * SILENCE_MS;
  const incidents = Array.from({ length: random.integer(1, 4) }, (): Incident => {
    const atMs = random.between(0, (bursts * pauseMs) / 2);
    return { atMs, kind: "rebind", of: random.pick(["clients", "tunnel"]) };
  });
  const idleTimeoutMs = random.pick([SILENCE_MS, 10 * SILENCE_MS]);
  return { pauseMs, incidents, idleTimeoutMs, isClientBehindNat: true, isTunnelBehindNat: true };
}

function drawReplies(random: SimRandom) {
  if (random.chance(0.6)) return { repliesPerRequest: 1, lastReplyMs: 0 };
  return { repliesPerRequest: random.pick([1, 2, 10]), lastReplyMs: random.pick([0, 100, 400]) };
}

function drawLink(random: SimRandom, isGood: boolean): LinkOptions {
  if (isGood) return { delayMs: random.between(0.1, 20), jitterMs: random.pick([0, 5]) };
  return {
    delayMs: random.between(0.1, 20),
    jitterMs: random.pick([0, 1, 10]),
    loss: random.pick([0, 0, 0.02, 0.3]),
    duplicate: random.pick([0, 0, 0.1]),
    reorder: random.pick([0, 0, 0.1]),
    bitsPerSecond: random.pick([Number.POSITIVE_INFINITY, 2e6, 50e6]),
    queueDatagrams: random.pick([4, 100]),
    mtu: random.pick([1500, 1500, 1280, 600]),
    icmp: random.chance(0.8),
  };
}

function drawIncident(random: SimRandom, durationMs: number): Incident {
  const atMs = random.between(0, durationMs);
  switch (random.integer(0, 3)) {
    case 0:
      return { atMs, kind: "partition", of: random.pick(SECTIONS), forMs: random.between(1, 200) };
    case 1:
      return { atMs, kind: "rebind", of: random.pick(["clients", "tunnel"]) };
    case 2:
      return { atMs, kind: "mtu", of: random.pick(SECTIONS), mtu: random.integer(500, 1500) };
    default:
      return { atMs, kind: "restart", of: random.pick(["ingress", "egress"]) };
  }
}
