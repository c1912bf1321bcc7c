/** The UDP-specific interface of a socket, as far as it does not depend on how it is implemented. */

import type { SocketAddress } from "../address/socket-address.ts";
import type { SocketCounters } from "./counters.ts";
import type { Capabilities, MetadataOptions } from "./metadata-options.ts";
import type { TransportError } from "./transport-error.ts";

/** The clock of transmit times. */
export type TransmitClock = "monotonic" | "tai";

/** A multicast group to join or leave. */
export interface Membership {
  /** The address of the group. */
  readonly group: string;
  /** The only source to receive from (source-specific multicast, RFC 4607). Default: all. */
  readonly source?: string | undefined;
  /** The interface, by one of its addresses. Default: chosen by the system. */
  readonly interfaceAddress?: string | undefined;
}

/** The settings of an open UDP socket. `UdpSocket` documents each of them. */
export interface UdpControls {
  setBroadcast(enabled: boolean): void;
  setTTL(ttl: number): void;
  setMulticastTTL(ttl: number): void;
  setMulticastLoopback(enabled: boolean): void;
  setMulticastInterface(interfaceAddress: string): void;
  addMembership(membership: Membership): void;
  dropMembership(membership: Membership): void;
  setTransmitTimes(clock: TransmitClock): void;
  readonly transmitClockNs: bigint;
  readonly mayFragment: boolean;
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
