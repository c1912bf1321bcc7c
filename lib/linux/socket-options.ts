/** The options of an open IP socket: socket(7), ip(7), ipv6(7), udp(7). */

import type { Native } from "../../ffi/native.ts";
import { SocketAddress } from "../address/socket-address.ts";
import { METADATA_KINDS, type MetadataOptions } from "../datagram/metadata-options.ts";
import type { Membership, TransmitClock, UdpControls } from "../datagram/udp-interface.ts";
import { rangeError, typeError } from "../support/check.ts";
import { checkResult } from "../support/errors.ts";
import {
  IP_FREEBIND,
  IP_MTU_DISCOVER,
  IP_MULTICAST_IF,
  IP_MULTICAST_LOOP,
  IP_MULTICAST_TTL,
  IP_ORIGDSTADDR,
  IP_PKTINFO,
  IP_RECVERR,
  IP_RECVTOS,
  IP_TRANSPARENT,
  IP_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_FREEBIND,
  IPV6_MTU_DISCOVER,
  IPV6_MULTICAST_HOPS,
  IPV6_MULTICAST_IF,
  IPV6_MULTICAST_LOOP,
  IPV6_ORIGDSTADDR,
  IPV6_RECVERR,
  IPV6_RECVPKTINFO,
  IPV6_RECVTCLASS,
  IPV6_TRANSPARENT,
  IPV6_UNICAST_HOPS,
  SO_BROADCAST,
  SO_RCVBUF,
  SO_RCVMARK,
  SO_RXQ_OVFL,
  SO_SNDBUF,
  SO_TIMESTAMPNS,
  SO_TXTIME,
  SOL_SOCKET,
} from "./constants.ts";
import { interfaceIndex, membershipRequest } from "./multicast.ts";

/** IP_PMTUDISC_DONT, _WANT, _DO and _PROBE of <linux/in.h>. */
const PATH_MTU_DISCOVERY = { off: 0, on: 2, probe: 3 } as const;
const PMTUDISC_WANT = 1;

/**
 * The handling of datagrams that are longer than the path MTU.
 *
 * - `"off"`: they are fragmented.
 * - `"on"`: they are refused (`EMSGSIZE`) if they exceed the path MTU that the kernel has learned.
 * - `"probe"`: they are sent whole, whatever the kernel has learned, and refused only if they
 *   exceed the MTU of the device. For transports that probe the path MTU themselves (RFC 8899).
 */
export type PathMtuDiscovery = keyof typeof PATH_MTU_DISCOVERY;

/** CLOCK_MONOTONIC and CLOCK_TAI of <time.h>. */
const CLOCKS = { monotonic: 1, tai: 11 } satisfies Record<TransmitClock, number>;

/** The socket options that enable each kind of metadata, by level. */
const METADATA_OPTIONS: Record<
  keyof MetadataOptions,
  { readonly socket?: number; readonly ip?: number; readonly ipv6?: number }
> = {
  destination: { ip: IP_PKTINFO, ipv6: IPV6_RECVPKTINFO },
  originalDestination: { ip: IP_ORIGDSTADDR, ipv6: IPV6_ORIGDSTADDR },
  ecn: { ip: IP_RECVTOS, ipv6: IPV6_RECVTCLASS },
  timestamp: { socket: SO_TIMESTAMPNS },
  mark: { socket: SO_RCVMARK },
  socketDrops: { socket: SO_RXQ_OVFL },
};

/**
 * Gets and sets the options of one IP socket. An IPv6 socket also gets the IPv4 form of an option
 * where it has one, since a dual-stack socket sends and receives IPv4 packets.
 */
export class IpSocketOptions implements UdpControls {
  readonly #native: Native;
  #fd: number;
  readonly #isIPv6: boolean;
  #clock: number = CLOCKS.monotonic;
  readonly #enabled: Record<keyof MetadataOptions, boolean> = {
    destination: false,
    originalDestination: false,
    ecn: false,
    timestamp: false,
    mark: false,
    socketDrops: false,
  };

  constructor(native: Native, fd: number, isIPv6: boolean) {
    this.#native = native;
    this.#fd = fd;
    this.#isIPv6 = isIPv6;
  }

  /** Forgets the descriptor, whose number may be reused. Later calls fail with `EBADF`. */
  close(): void {
    this.#fd = -1;
  }

  setBroadcast(enabled: boolean): void {
    this.#set(SOL_SOCKET, SO_BROADCAST, Number(enabled));
  }

  setTTL(ttl: number): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl);
    this.#set(IPPROTO_IP, IP_TTL, ttl);
  }

  setMulticastTTL(ttl: number): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl);
    else this.#set(IPPROTO_IP, IP_MULTICAST_TTL, ttl);
  }

  setMulticastLoopback(enabled: boolean): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, Number(enabled));
    else this.#set(IPPROTO_IP, IP_MULTICAST_LOOP, Number(enabled));
  }

  setMulticastInterface(interfaceAddress: string): void {
    const address = SocketAddress.ip(interfaceAddress, 0);
    if (this.#isIPv6) {
      if (address.family !== "IPv6") throw typeError("interfaceAddress", "IPv6", interfaceAddress);
      this.#set(IPPROTO_IPV6, IPV6_MULTICAST_IF, interfaceIndex(address));
    } else {
      if (address.family !== "IPv4") throw typeError("interfaceAddress", "IPv4", interfaceAddress);
      this.#set(IPPROTO_IP, IP_MULTICAST_IF, address._encoded.words[1] as number);
    }
  }

  addMembership(membership: Membership): void {
    this.#changeMembership(membership, true);
  }

  dropMembership(membership: Membership): void {
    this.#changeMembership(membership, false);
  }

  #changeMembership(membership: Membership, join: boolean): void {
    const [level, name, request] = membershipRequest(membership, join);
    const result = this.#native.setOption(this.#fd, level, name, request);
    checkResult(result, "setsockopt", membership.group);
  }

  /**
   * Enables or disables the kinds of metadata that `options` names, and returns which kinds are
   * enabled now. A kind that the kernel does not support stays disabled.
   */
  enableMetadata(options: MetadataOptions): Record<keyof MetadataOptions, boolean> {
    for (const kind of METADATA_KINDS) {
      const value = options[kind];
      if (value !== undefined) this.#enabled[kind] = this.#enableKind(kind, value);
    }
    return { ...this.#enabled };
  }

  #enableKind(kind: keyof MetadataOptions, enabled: boolean): boolean {
    const { socket, ip, ipv6 } = METADATA_OPTIONS[kind];
    const value = Number(enabled);
    const set = (level: number, name: number | undefined) =>
      name !== undefined && this.#native.setIntOption(this.#fd, level, name, value) >= 0;
    const isSocketSet = set(SOL_SOCKET, socket);
    const isIpSet = set(IPPROTO_IP, ip);
    const isIPv6Set = this.#isIPv6 && set(IPPROTO_IPV6, ipv6);
    return enabled && (isSocketSet || (this.#isIPv6 ? isIPv6Set : isIpSet));
  }

  get bufferBytes(): { receive: number; send: number } {
    return {
      receive: this.#getInt(SOL_SOCKET, SO_RCVBUF),
      send: this.#getInt(SOL_SOCKET, SO_SNDBUF),
    };
  }

  /** Whether IP may fragment datagrams (IP_MTU_DISCOVER is IP_PMTUDISC_DONT or _WANT). */
  get mayFragment(): boolean {
    const mode = this.#isIPv6
      ? this.#getInt(IPPROTO_IPV6, IPV6_MTU_DISCOVER)
      : this.#getInt(IPPROTO_IP, IP_MTU_DISCOVER);
    return mode <= PMTUDISC_WANT;
  }

  setPathMtuDiscovery(mode: PathMtuDiscovery): void {
    const value = PATH_MTU_DISCOVERY[mode];
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, value);
    this.#set(IPPROTO_IP, IP_MTU_DISCOVER, value);
  }

  /** Allows binding to foreign addresses and receiving redirected packets (IP_TRANSPARENT). */
  setTransparent(): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
    else this.#set(IPPROTO_IP, IP_TRANSPARENT, 1);
  }

  /** Allows binding to addresses that this host does not have, or not yet (IP_FREEBIND). */
  setFreebind(): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_FREEBIND, 1);
    else this.#set(IPPROTO_IP, IP_FREEBIND, 1);
  }

  setTransmitTimes(clock: TransmitClock): void {
    if (!Object.hasOwn(CLOCKS, clock)) throw rangeError("clock", '"monotonic" or "tai"', clock);
    // `struct sock_txtime`: the clock, and flags (0: no deadline mode, no error reports).
    const request = new Uint8Array(Int32Array.of(CLOCKS[clock], 0).buffer);
    checkResult(this.#native.setOption(this.#fd, SOL_SOCKET, SO_TXTIME, request), "setsockopt");
    this.#clock = CLOCKS[clock];
  }

  get transmitClockNs(): bigint {
    checkResult(this.#native.clock(this.#clock), "clock_gettime");
    // `struct timespec`: two 64-bit numbers. The nanoseconds fit into 32 bits.
    const [low, high, nanoseconds] = this.#native.scratch as unknown as [number, number, number];
    return BigInt(high * 2 ** 32 + (low >>> 0)) * 1_000_000_000n + BigInt(nanoseconds);
  }

  /** Whether ICMP errors are queued (IP_RECVERR). */
  get receivesErrors(): boolean {
    return this.#isIPv6
      ? this.#getInt(IPPROTO_IPV6, IPV6_RECVERR) !== 0
      : this.#getInt(IPPROTO_IP, IP_RECVERR) !== 0;
  }

  /** Enables or disables the queue of ICMP errors (IP_RECVERR). */
  setReceiveErrors(enabled: boolean): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_RECVERR, Number(enabled));
    this.#set(IPPROTO_IP, IP_RECVERR, Number(enabled));
  }

  #getInt(level: number, name: number): number {
    checkResult(this.#native.getIntOption(this.#fd, level, name), "getsockopt");
    return this.#native.scratch[0] as number;
  }

  #set(level: number, name: number, value: number): void {
    checkResult(this.#native.setIntOption(this.#fd, level, name, value), "setsockopt");
  }
}
