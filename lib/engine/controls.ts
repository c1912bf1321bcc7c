/** What can be set on a UDP socket while it is open, whichever engine drives it. */

/** The clock that transmit times are of. */
export type TransmitClock = "monotonic" | "tai";

/** Multicast groups are joined and left by this. */
export interface Membership {
  /** The group's address. */
  readonly group: string;
  /** The only sender wanted (source-specific multicast, RFC 4607). Default: all. */
  readonly source?: string | undefined;
  /** The interface by one of its addresses. Default: the system's choice. */
  readonly interfaceAddress?: string | undefined;
}

/** The settings of an open socket; what each one means is said at `UdpSocket`. */
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
  /** The sizes of the kernel's buffers in bytes, as the kernel counts them. */
  readonly bufferBytes: { readonly receive: number; readonly send: number };
}
