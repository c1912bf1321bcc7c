/**
 * Deterministic simulation of datagram networks, for tests: sockets on hosts with delays, losses and
 * NATs, on a virtual clock and with a seed. {@link SimNetwork} is the entry point.
 *
 * @module
 */

export { SimClock, SimTimer } from "./clock.ts";
export { type LossReason, type SimDatagram, SimEvent, type SimEventKind } from "./event.ts";
export type { SimReport } from "./journal.ts";
export type { LinkOptions } from "./link.ts";
export type { NatOptions, SimNat } from "./nat.ts";
export { SimNetwork, type SimNetworkOptions } from "./network.ts";
export { SimRandom } from "./random.ts";
export type { RunOptions } from "./runner.ts";
export { SimulationError } from "./simulation-error.ts";
export { SimSocket } from "./socket.ts";
export type { SimSocketOptions } from "./socket-options.ts";
export type { Partition } from "./topology.ts";
