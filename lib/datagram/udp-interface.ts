/** The UDP-specific interface of a socket, as far as it does not depend on how it is implemented. */

import type { NetworkInterface } from "../address/interfaces.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { typeError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import type { SocketCounters } from "./counters.ts";
import type { Capabilities, MetadataOptions } from "./metadata-options.ts";
import type { ReusePortSteering } from "./reuse-port-steering.ts";
import type { TransportError } from "./transport-error.ts";

/** The clock of transmit times. */
export type TransmitClock = "monotonic" | "tai";

/** A multicast group to join or leave. */
export interface Membership {
  /** The address of the group. */
  readonly group: string;
  /** The only source to receive from (source-specific multicast, RFC 4607). Default: all. */
  readonly source?: string | undefined;
  /** The interface. Default: that of the zone of `group` (`ff02::1%eth0`), or chosen by the system. */
  readonly interface?: NetworkInterface | undefined;
}

const MEMBERSHIP = optionKinds<Membership>({ group: "any", source: "any", interface: "any" });

/**
 * Returns a checked copy, so that a value that was checked cannot change.
 *
 * @throws TypeError for an unknown name or a value of another type.
 */
export function checkMembership(membership: Membership): Membership {
  checkOptions("membership", membership, MEMBERSHIP);
  const { group, source, interface: device } = membership;
  if (typeof group !== "string") throw typeError("group", "IP address", group);
  if (source !== undefined && typeof source !== "string") {
    throw typeError("source", "IP address", source);
  }
  return { group, source, interface: device };
}

/** The settings of an open UDP socket. `UdpSocket` documents each of them. */
export interface UdpControls {
  getOption(level: number, name: number): number;
  getOption(level: number, name: number, bytesMax: number): Uint8Array;
  setOption(level: number, name: number, value: number | Uint8Array): void;
  setDscp(dscp: number): void;
  setBroadcast(enabled: boolean): void;
  setTTL(ttl: number): void;
  setMulticastTTL(ttl: number): void;
  setMulticastLoopback(enabled: boolean): void;
  setMulticastInterface(value: NetworkInterface): void;
  setMulticastAll(enabled: boolean): void;
  addMembership(membership: Membership): void;
  dropMembership(membership: Membership): void;
  setTransmitTimes(clock: TransmitClock): void;
  setReusePortSteering(steering: ReusePortSteering): void;
  removeReusePortSteering(): void;
  readonly transmitClockNs: bigint;
  readonly mayFragment: boolean;
  readonly pathMtu: number | undefined;
  /** The sizes of the kernel's buffers in bytes, as the kernel reports them (socket(7)). */
  readonly bufferBytes: { readonly receive: number; readonly send: number };
}

/** What `asUdpSocket()` returns: the UDP socket that a socket type is or forwards to. */
export interface UdpSocketHandle extends UdpControls {
  readonly localAddr: SocketAddress;
  readonly peerAddr: SocketAddress | undefined;
  readonly counters: SocketCounters;
  asRawIo(): number | undefined;
  enableMetadata(options?: MetadataOptions): Capabilities;
  onTransportError(handler: ((error: TransportError) => void) | undefined): void;
}
