/** The options of simulated sockets. */

import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { checkSendErrors, type SendErrors } from "../engine/engine.ts";
import { PATH_MTU_DISCOVERY_MODES, type PathMtuDiscovery } from "../linux/socket-options.ts";
import { checkInteger } from "../support/check.ts";
import { checkOneOf, checkOptions, optionKinds } from "../support/options.ts";
import { checkProbability } from "./check-values.ts";

/** Options of a simulated socket. */
export interface SimSocketOptions {
  /** The peer to connect to: the only one that the socket then exchanges datagrams with. */
  readonly connect?: SocketAddress | undefined;
  /** The length of the receive queue, 1..2^31-1. Datagrams that find it full are lost. Default 256. */
  readonly receiveQueueDatagrams?: number | undefined;
  /**
   * The number of datagrams that may wait for the capacity of links (`LinkOptions.bitsPerSecond`),
   * 1..2^31-1. If there are as many, sends block; the waker is called when half of them have left.
   * Default 64.
   */
  readonly sendQueueDatagrams?: number | undefined;
  /**
   * The handling of datagrams that exceed the path MTU, as in `UdpSocket`. Default `"system"`, which
   * is that of Linux: a datagram of at most the known path MTU must not be fragmented, longer ones
   * are.
   */
  readonly pathMtuDiscovery?: PathMtuDiscovery | undefined;
  /** The handling of datagrams that are refused. Default `"throw"`. */
  readonly sendErrors?: SendErrors | undefined;
  /**
   * The probability that a datagram finds the send queue full although it is not, 0..1. There is
   * room again some milliseconds later. In a batch, only a part is sent then. Default 0.
   */
  readonly blockedSends?: number | undefined;
  /**
   * The probability that a receive finds the queue empty although it is not, 0..1. A stored waker is
   * called at once. In a batch, only a part is received then. Default 0.
   */
  readonly partialReceives?: number | undefined;
  /** The probability that a waker is called without a reason after it was stored. Default 0. */
  readonly spuriousWakes?: number | undefined;
}

const SOCKET_OPTIONS = optionKinds<SimSocketOptions>({
  connect: "any",
  receiveQueueDatagrams: "any",
  sendQueueDatagrams: "any",
  pathMtuDiscovery: "any",
  sendErrors: "any",
  blockedSends: "any",
  partialReceives: "any",
  spuriousWakes: "any",
});

/** The options without those that are absent. `connect` may be absent. */
export type SimSocketSettings = {
  readonly [Name in Exclude<keyof SimSocketOptions, "connect">]-?: NonNullable<
    SimSocketOptions[Name]
  >;
} & { readonly connect: SocketAddress | undefined };

/** The settings of a socket without options. */
export const DEFAULT_SOCKET: SimSocketSettings = {
  connect: undefined,
  receiveQueueDatagrams: 256,
  sendQueueDatagrams: 64,
  pathMtuDiscovery: "system",
  sendErrors: "throw",
  blockedSends: 0,
  partialReceives: 0,
  spuriousWakes: 0,
};

/**
 * Returns `base` with the given options.
 *
 * @throws TypeError for an unknown option or a value of the wrong kind.
 * @throws RangeError for a number out of range.
 */
export function withSocketOptions(
  base: SimSocketSettings,
  options: SimSocketOptions,
): SimSocketSettings {
  checkOptions("options", options, SOCKET_OPTIONS);
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const settings = { ...base, ...(Object.fromEntries(given) as Partial<SimSocketSettings>) };
  if (settings.connect !== undefined) checkAddress("connect", settings.connect);
  checkInteger("receiveQueueDatagrams", settings.receiveQueueDatagrams, 1, 2 ** 31 - 1);
  checkInteger("sendQueueDatagrams", settings.sendQueueDatagrams, 1, 2 ** 31 - 1);
  checkOneOf("pathMtuDiscovery", settings.pathMtuDiscovery, PATH_MTU_DISCOVERY_MODES);
  checkSendErrors(settings.sendErrors);
  for (const name of ["blockedSends", "partialReceives", "spuriousWakes"] as const) {
    checkProbability(name, settings[name]);
  }
  return settings;
}
