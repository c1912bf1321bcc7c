/** What a socket of `node:dgram` needs from the system: one driver for each kind of engine. */

/** An address as `node:dgram` reports it. */
export interface AddressRecord {
  address: string;
  family: "IPv4" | "IPv6";
  port: number;
}

/** The type of a socket: its family. */
export type SocketType = "udp4" | "udp6";

/** The local end of a socket, and the options that must be set before it is bound. */
export interface BindRequest {
  /** An address of the family of the socket. */
  readonly ip: string;
  readonly port: number;
  readonly reuseAddr: boolean;
  readonly reusePort: boolean;
  readonly ipv6Only: boolean;
  /** Whether workers of a cluster may share the socket. */
  readonly isShared: boolean;
}

/** Called with 0, or with the error number of the system, negative; with an error that Bun made. */
export type Done = (result: number | Error) => void;

/** Reports what happens on a socket. */
export interface DriverEvents {
  /** Whether a datagram from this address is to be discarded. */
  isBlocked(ip: string, family: "IPv4" | "IPv6"): boolean;
  message(bytes: Buffer, peer: AddressRecord & { size: number }): void;
  error(error: Error): void;
}

/** A datagram to send. */
export interface SendRequest {
  /** The pieces of the datagram, borrowed until it is sent. */
  readonly list: readonly Uint8Array[];
  /** The host name or address that the caller gave, for errors. */
  readonly address: unknown;
  readonly port: number | undefined;
  /** Called if `send` has returned 0. @param error 0, or the error number, negative. */
  oncomplete: ((error: number, sentBytes: number) => void) | undefined;
}

/** Membership of a multicast group. Absent interface: chosen by the system. */
export interface Group {
  readonly group: string;
  readonly source?: string | undefined;
  readonly interfaceAddress?: string | undefined;
}

/**
 * An open socket. Methods throw a `SocketError`, or the errors of Bun, if the system refuses. None
 * but `close` is called after `close`.
 */
export interface Driver {
  /** The descriptor; -1 if there is none. */
  readonly fd: number;
  bind(request: BindRequest, done: Done): void;
  /** Adopts a descriptor. Throws if the system refuses at once. */
  open(fd: number, done: Done): void;
  connect(ip: string, port: number, done: Done): void;
  disconnect(): void;
  /**
   * Sends a datagram to `ip` and `port`, or to the connected peer. Returns its length + 1 if it has
   * been sent, 0 if `oncomplete` will be called, or the error number, negative.
   */
  send(request: SendRequest, ip: string | undefined, port: number | undefined): number;
  /** Starts to collect datagrams, which are borrowed until they are sent. */
  cork(): void;
  /** Sends the datagrams that have been collected. */
  uncork(): void;
  readonly queuedBytes: number;
  readonly queuedCount: number;
  localAddress(): AddressRecord;
  remoteAddress(): AddressRecord;
  setBroadcast(isAllowed: boolean): void;
  setTTL(ttl: number): void;
  setMulticastTTL(ttl: number): void;
  setMulticastLoopback(isEnabled: boolean): void;
  setMulticastInterface(interfaceAddress: string): void;
  joinGroup(group: Group): void;
  leaveGroup(group: Group): void;
  /** Sets a size of a buffer if `bytes` is not 0, and returns the size. */
  bufferBytes(isReceive: boolean, bytes: number): number;
  ref(): void;
  unref(): void;
  close(): void;
}
