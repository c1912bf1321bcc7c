/** A link: one direction between two hosts, with its delay, capacity and faults. */

import { checkInteger, numberError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { checkMilliseconds, checkProbability } from "./check-values.ts";
import type { SimRandom } from "./random.ts";

/** The properties of a link. All can be changed while the simulation runs. */
export interface LinkOptions {
  /** The propagation delay in milliseconds. Default 1. */
  readonly delayMs?: number | undefined;
  /** The maximum additional delay of a datagram. Does not change the order. Default 0. */
  readonly jitterMs?: number | undefined;
  /** The probability that a datagram (or one of its fragments) is lost, 0..1. Default 0. */
  readonly loss?: number | undefined;
  /** The probability that a datagram arrives twice, 0..1. Default 0. */
  readonly duplicate?: number | undefined;
  /** The probability that a datagram is overtaken by later ones, 0..1. Default 0. */
  readonly reorder?: number | undefined;
  /** The maximum additional delay of such a datagram in milliseconds. Default 10. */
  readonly reorderMs?: number | undefined;
  /** The capacity. Default: unlimited. */
  readonly bitsPerSecond?: number | undefined;
  /** The maximum number of datagrams that wait for the capacity. More are lost. Default 100. */
  readonly queueDatagrams?: number | undefined;
  /**
   * The maximum length of a packet in bytes, IP header included, 68 (RFC 791) to 65535. Longer ones
   * are fragmented, or lost and reported with the MTU by ICMP. Default 1500.
   */
  readonly mtu?: number | undefined;
  /** Whether ICMP errors about datagrams of this link are sent. `false`: a black hole. Default true. */
  readonly icmp?: boolean | undefined;
}

const LINK_OPTIONS = optionKinds<LinkOptions>({
  delayMs: "any",
  jitterMs: "any",
  loss: "any",
  duplicate: "any",
  reorder: "any",
  reorderMs: "any",
  bitsPerSecond: "any",
  queueDatagrams: "any",
  mtu: "any",
  icmp: "boolean",
});

/** The properties of a link without those that are absent. */
export type LinkSettings = {
  readonly [Name in keyof LinkOptions]-?: NonNullable<LinkOptions[Name]>;
};

/** The settings of a link without options. */
export const DEFAULT_LINK: LinkSettings = {
  delayMs: 1,
  jitterMs: 0,
  loss: 0,
  duplicate: 0,
  reorder: 0,
  reorderMs: 10,
  bitsPerSecond: Number.POSITIVE_INFINITY,
  queueDatagrams: 100,
  mtu: 1500,
  icmp: true,
};

/**
 * Returns `base` with the given options.
 *
 * @throws TypeError for an unknown option.
 * @throws RangeError for an invalid value.
 */
export function withLinkOptions(base: LinkSettings, options: LinkOptions): LinkSettings {
  checkOptions("link", options, LINK_OPTIONS);
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const settings = { ...base, ...(Object.fromEntries(given) as Partial<LinkSettings>) };
  for (const name of ["delayMs", "jitterMs", "reorderMs"] as const) {
    checkMilliseconds(name, settings[name]);
  }
  for (const name of ["loss", "duplicate", "reorder"] as const) {
    checkProbability(name, settings[name]);
  }
  const { bitsPerSecond } = settings;
  if (!(typeof bitsPerSecond === "number" && bitsPerSecond > 0)) {
    throw numberError("bitsPerSecond", "number above 0", bitsPerSecond);
  }
  checkInteger("queueDatagrams", settings.queueDatagrams, 1, 2 ** 31 - 1);
  checkInteger("mtu", settings.mtu, 68, 65_535);
  return settings;
}

/** One direction between two hosts. */
export class Link {
  settings: LinkSettings;
  readonly #random: SimRandom;
  /** When the datagrams that wait for the capacity, or are being transmitted, will have left. */
  readonly #departuresMs: number[] = [];
  /** The arrival of the latest datagram that was not overtaken. */
  #latestArrivalMs = 0;

  constructor(settings: LinkSettings, random: SimRandom) {
    this.settings = settings;
    this.#random = random;
  }

  /**
   * Appends a packet to the queue. Returns the time at which it has left, or `undefined` if the
   * queue is full.
   */
  depart(nowMs: number, packetBytes: number): number | undefined {
    const { bitsPerSecond, queueDatagrams } = this.settings;
    const departures = this.#departuresMs;
    while (departures.length > 0 && (departures[0] as number) <= nowMs) departures.shift();
    if (departures.length >= queueDatagrams) return undefined;
    if (bitsPerSecond === Number.POSITIVE_INFINITY && departures.length === 0) return nowMs;
    const startMs = departures.at(-1) ?? nowMs;
    const departureMs = startMs + (packetBytes * 8 * 1000) / bitsPerSecond;
    departures.push(departureMs);
    return departureMs;
  }

  /** Returns whether a packet that is sent in `fragments` pieces is lost. */
  loses(fragments: number): boolean {
    const { loss } = this.settings;
    let isLost = false;
    for (let i = 0; i < fragments; i++) isLost = this.#random.chance(loss) || isLost;
    return isLost;
  }

  /** Returns whether a packet arrives twice. */
  duplicates(): boolean {
    return this.#random.chance(this.settings.duplicate);
  }

  /** Returns the time at which a packet arrives that leaves at `departureMs`. */
  arrive(departureMs: number): number {
    const { delayMs, jitterMs, reorder, reorderMs } = this.settings;
    let arrivalMs = departureMs + delayMs;
    if (jitterMs > 0) arrivalMs += this.#random.between(0, jitterMs);
    if (this.#random.chance(reorder)) return arrivalMs + this.#random.between(0, reorderMs);
    this.#latestArrivalMs = Math.max(this.#latestArrivalMs, arrivalMs);
    return this.#latestArrivalMs;
  }
}
