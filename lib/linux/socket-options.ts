/** The options of an open IP socket: socket(7), ip(7), ipv6(7), udp(7). */

import type { Native } from "../../ffi/native.ts";
import type { NetworkInterface } from "../address/interfaces.ts";
import { METADATA_KINDS, type MetadataOptions } from "../datagram/metadata-options.ts";
import { checkReusePortSteering, type ReusePortSteering } from "../datagram/reuse-port-steering.ts";
import type { Membership, TransmitClock, UdpControls } from "../datagram/udp-interface.ts";
import { rangeError } from "../support/check.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import { checkOneOf } from "../support/options.ts";
import {
  ENOTCONN,
  IP_FREEBIND,
  IP_MTU,
  IP_MTU_DISCOVER,
  IP_ORIGDSTADDR,
  IP_PKTINFO,
  IP_RECVERR,
  IP_RECVTOS,
  IP_RECVTTL,
  IP_TRANSPARENT,
  IP_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_FREEBIND,
  IPV6_MTU,
  IPV6_MTU_DISCOVER,
  IPV6_ORIGDSTADDR,
  IPV6_RECVERR,
  IPV6_RECVHOPLIMIT,
  IPV6_RECVPKTINFO,
  IPV6_RECVTCLASS,
  IPV6_TRANSPARENT,
  IPV6_UNICAST_HOPS,
  SO_BROADCAST,
  SO_ERROR,
  SO_MEMINFO,
  SO_RCVBUF,
  SO_RCVMARK,
  SO_RXQ_OVFL,
  SO_SNDBUF,
  SO_TIMESTAMPNS,
  SO_TXTIME,
  SOL_SOCKET,
  UDP_CORK,
  UDP_GRO,
  UDP_SEGMENT,
} from "./constants.ts";
import { FdOptions } from "./fd-options.ts";
import { MulticastOptions } from "./multicast.ts";
import { attachSteering, detachSteering } from "./reuse-port-steering.ts";
import { TrafficClass } from "./traffic-class.ts";

/** IP_PMTUDISC_DONT, _WANT, _DO and _PROBE of <linux/in.h>. */
const PATH_MTU_DISCOVERY = { off: 0, on: 2, probe: 3 } as const;
const PMTUDISC_WANT = 1;

/**
 * The handling of datagrams that are longer than the path MTU.
 *
 * - `"system"`: the default of the system is left as it is, mostly as `"on"` for datagrams that fit
 *   the path MTU, and as `"off"` for longer ones (`net.ipv4.ip_no_pmtu_disc`, ip(7)).
 * - `"off"`: they are fragmented.
 * - `"on"`: they are refused (`EMSGSIZE`) if they exceed the path MTU that the kernel has learned.
 * - `"probe"`: they are sent whole, whatever the kernel has learned, and refused only if they
 *   exceed the MTU of the device. For transports that probe the path MTU themselves (RFC 8899).
 */
export type PathMtuDiscovery = "system" | keyof typeof PATH_MTU_DISCOVERY;

export const PATH_MTU_DISCOVERY_MODES: readonly PathMtuDiscovery[] = [
  "system",
  "off",
  "on",
  "probe",
];

/** CLOCK_MONOTONIC and CLOCK_TAI of <time.h>. */
const CLOCKS = { monotonic: 1, tai: 11 } satisfies Record<TransmitClock, number>;

/** What SO_MEMINFO reports: SK_MEMINFO_VARS words (<linux/sock_diag.h>). One for all calls. */
const memoryInfo = new Uint32Array(new ArrayBuffer(9 * 4));
const memoryInfoBytes = new Uint8Array(memoryInfo.buffer);
const SK_MEMINFO_DROPS = 8;

/** The names of level IPPROTO_UDP that `setOption` refuses. */
const OFFLOAD_OPTIONS: readonly number[] = [UDP_SEGMENT, UDP_GRO, UDP_CORK];

/** The socket options that enable each kind of metadata, by level. */
const METADATA_OPTIONS: Record<
  keyof MetadataOptions,
  { readonly socket?: number; readonly ip?: number; readonly ipv6?: number }
> = {
  destination: { ip: IP_PKTINFO, ipv6: IPV6_RECVPKTINFO },
  originalDestination: { ip: IP_ORIGDSTADDR, ipv6: IPV6_ORIGDSTADDR },
  ecn: { ip: IP_RECVTOS, ipv6: IPV6_RECVTCLASS },
  hopLimit: { ip: IP_RECVTTL, ipv6: IPV6_RECVHOPLIMIT },
  timestamp: { socket: SO_TIMESTAMPNS },
  mark: { socket: SO_RCVMARK },
  socketDrops: { socket: SO_RXQ_OVFL },
};

/**
 * Gets and sets the options of one IP socket. An IPv6 socket also gets the IPv4 form of an option
 * where it has one, since a dual-stack socket sends and receives IPv4 packets.
 */
export class IpSocketOptions implements UdpControls {
  readonly #options: FdOptions;
  readonly #isIPv6: boolean;
  readonly #multicast: MulticastOptions;
  readonly trafficClass: TrafficClass;
  #clock: number = CLOCKS.monotonic;
  readonly #enabled: Record<keyof MetadataOptions, boolean> = {
    destination: false,
    originalDestination: false,
    ecn: false,
    hopLimit: false,
    timestamp: false,
    mark: false,
    socketDrops: false,
  };

  constructor(native: Native, fd: number, isIPv6: boolean) {
    this.#options = new FdOptions(native, fd);
    this.#isIPv6 = isIPv6;
    this.#multicast = new MulticastOptions(this.#options, isIPv6);
    this.trafficClass = new TrafficClass(this.#options, isIPv6);
  }

  /** Forgets the descriptor, whose number may be reused. Later calls fail with `EBADF`. */
  close(): void {
    this.#options.close();
  }

  getOption(level: number, name: number): number;
  getOption(level: number, name: number, bytesMax: number): Uint8Array;
  getOption(level: number, name: number, bytesMax?: number): number | Uint8Array {
    if (bytesMax === undefined) return this.#options.getInt(level, name);
    const value = new Uint8Array(new ArrayBuffer(bytesMax));
    return value.subarray(0, this.#options.getBytes(level, name, value));
  }

  setOption(level: number, name: number, value: number | Uint8Array): void {
    if (level === IPPROTO_UDP && OFFLOAD_OPTIONS.includes(name)) {
      throw rangeError("name", "an option that `offload` does not control", name);
    }
    if (typeof value === "number") this.#options.setInt(level, name, value);
    else this.#options.setBytes(level, name, value);
    this.trafficClass.invalidate();
  }

  setDscp(dscp: number): void {
    this.trafficClass.setDscp(dscp);
  }

  setBroadcast(enabled: boolean): void {
    this.#options.setInt(SOL_SOCKET, SO_BROADCAST, Number(enabled));
  }

  setTTL(ttl: number): void {
    if (this.#isIPv6) this.#options.setInt(IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl);
    this.#options.setInt(IPPROTO_IP, IP_TTL, ttl);
  }

  setMulticastTTL(ttl: number): void {
    this.#multicast.setTTL(ttl);
  }

  setMulticastLoopback(enabled: boolean): void {
    this.#multicast.setLoopback(enabled);
  }

  setMulticastInterface(value: NetworkInterface): void {
    this.#multicast.setInterface(value);
  }

  setMulticastAll(enabled: boolean): void {
    this.#multicast.setAll(enabled);
  }

  addMembership(membership: Membership): void {
    this.#multicast.changeMembership(membership, true);
  }

  dropMembership(membership: Membership): void {
    this.#multicast.changeMembership(membership, false);
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
      name !== undefined && this.#options.trySetInt(level, name, value);
    const isSocketSet = set(SOL_SOCKET, socket);
    const isIpSet = set(IPPROTO_IP, ip);
    const isIPv6Set = this.#isIPv6 && set(IPPROTO_IPV6, ipv6);
    return enabled && (isSocketSet || (this.#isIPv6 ? isIPv6Set : isIpSet));
  }

  get bufferBytes(): { receive: number; send: number } {
    return {
      receive: this.#options.getInt(SOL_SOCKET, SO_RCVBUF),
      send: this.#options.getInt(SOL_SOCKET, SO_SNDBUF),
    };
  }

  /** The number of messages that the kernel has dropped; absent before Linux 4.12. */
  get socketDrops(): number | undefined {
    const length = this.#options.tryGetBytes(SOL_SOCKET, SO_MEMINFO, memoryInfoBytes);
    return length === memoryInfoBytes.length ? memoryInfo[SK_MEMINFO_DROPS] : undefined;
  }

  /** Whether IP may fragment datagrams (IP_MTU_DISCOVER is IP_PMTUDISC_DONT or _WANT). */
  get mayFragment(): boolean {
    const mode = this.#isIPv6
      ? this.#options.getInt(IPPROTO_IPV6, IPV6_MTU_DISCOVER)
      : this.#options.getInt(IPPROTO_IP, IP_MTU_DISCOVER);
    return mode <= PMTUDISC_WANT;
  }

  /** The path MTU in bytes, IP header included; absent if the socket is not connected. */
  get pathMtu(): number | undefined {
    try {
      // Of an IPv4 peer IPV6_MTU is the same number: that of the route of the socket.
      return this.#isIPv6
        ? this.#options.getInt(IPPROTO_IPV6, IPV6_MTU)
        : this.#options.getInt(IPPROTO_IP, IP_MTU);
    } catch (error) {
      if (error instanceof SocketError && error.errno === ENOTCONN) return undefined;
      throw error;
    }
  }

  setPathMtuDiscovery(mode: PathMtuDiscovery): void {
    if (mode === "system") return;
    const value = PATH_MTU_DISCOVERY[mode];
    if (this.#isIPv6) this.#options.setInt(IPPROTO_IPV6, IPV6_MTU_DISCOVER, value);
    this.#options.setInt(IPPROTO_IP, IP_MTU_DISCOVER, value);
  }

  /** Allows binding to foreign addresses and receiving redirected packets (IP_TRANSPARENT). */
  setTransparent(): void {
    if (this.#isIPv6) this.#options.setInt(IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
    else this.#options.setInt(IPPROTO_IP, IP_TRANSPARENT, 1);
  }

  /** Allows binding to addresses that this host does not have, or not yet (IP_FREEBIND). */
  setFreebind(): void {
    if (this.#isIPv6) this.#options.setInt(IPPROTO_IPV6, IPV6_FREEBIND, 1);
    else this.#options.setInt(IPPROTO_IP, IP_FREEBIND, 1);
  }

  setReusePortSteering(steering: ReusePortSteering): void {
    attachSteering(this.#options, checkReusePortSteering(steering));
  }

  removeReusePortSteering(): void {
    detachSteering(this.#options);
  }

  setTransmitTimes(clock: TransmitClock): void {
    checkOneOf("clock", clock, Object.keys(CLOCKS) as TransmitClock[]);
    // `struct sock_txtime`: the clock, and flags (0: no deadline mode, no error reports).
    const request = new Uint8Array(Int32Array.of(CLOCKS[clock], 0).buffer);
    this.#options.setBytes(SOL_SOCKET, SO_TXTIME, request);
    this.#clock = CLOCKS[clock];
  }

  get transmitClockNs(): bigint {
    const { native } = this.#options;
    checkResult(native.clock(this.#clock), "clock_gettime");
    // `struct timespec`: two 64-bit numbers. The nanoseconds fit into 32 bits.
    const [low, high, nanoseconds] = native.scratch as unknown as [number, number, number];
    return BigInt(high * 2 ** 32 + (low >>> 0)) * 1_000_000_000n + BigInt(nanoseconds);
  }

  /** Whether ICMP errors are queued (IP_RECVERR). */
  get receivesErrors(): boolean {
    return this.#isIPv6
      ? this.#options.getInt(IPPROTO_IPV6, IPV6_RECVERR) !== 0
      : this.#options.getInt(IPPROTO_IP, IP_RECVERR) !== 0;
  }

  /**
   * Disables the queue of ICMP errors and discards those that it has, and the one that the next call
   * would return. A descriptor that another owner has used may have them.
   */
  forgetErrors(): void {
    this.setReceiveErrors(false);
    this.#options.getInt(SOL_SOCKET, SO_ERROR);
  }

  /** Enables or disables the queue of ICMP errors (IP_RECVERR). */
  setReceiveErrors(enabled: boolean): void {
    if (this.#isIPv6) this.#options.setInt(IPPROTO_IPV6, IPV6_RECVERR, Number(enabled));
    this.#options.setInt(IPPROTO_IP, IP_RECVERR, Number(enabled));
  }
}
