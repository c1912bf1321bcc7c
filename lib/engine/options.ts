/** Socket options by their kernel numbers: <asm-generic/socket.h>, <linux/in.h>, <linux/in6.h>. */

import type { Native } from "../../ffi/native.ts";
import { SocketAddress } from "../address/address.ts";
import { RECEIVE_METADATA, type ReceiveMetadata } from "../datagram/metadata.ts";
import { rangeError, typeError } from "../support/check.ts";
import { checkResult } from "../support/errors.ts";
import {
  IP_ORIGDSTADDR,
  IP_PKTINFO,
  IP_RECVERR,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_ORIGDSTADDR,
  IPV6_RECVERR,
  SO_RXQ_OVFL,
  SO_TIMESTAMPNS,
  SOL_SOCKET,
} from "../support/linux.ts";
import type { Membership, TransmitClock, UdpControls } from "./controls.ts";

const SO_BROADCAST = 6;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_REUSEADDR = 2;
export const SO_REUSEPORT = 15;
export const SO_TYPE = 3;
const SO_RCVMARK = 75;

export const IPV6_V6ONLY = 26;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_RECVPKTINFO = 49;
const IPV6_RECVTCLASS = 66;
const IPV6_TRANSPARENT = 75;
const IPV6_FREEBIND = 78;

const IP_TTL = 2;
const IP_RECVTOS = 13;
const IP_FREEBIND = 15;
const IP_TRANSPARENT = 19;
const IP_MULTICAST_IF = 32;
const IP_MULTICAST_TTL = 33;
const IP_MULTICAST_LOOP = 34;

const IP_ADD_MEMBERSHIP = 35;
const IP_DROP_MEMBERSHIP = 36;
const IP_ADD_SOURCE_MEMBERSHIP = 39;
const IP_DROP_SOURCE_MEMBERSHIP = 40;
const IPV6_JOIN_GROUP = 20;
const IPV6_LEAVE_GROUP = 21;

/** Protocol-independent multicast (RFC 3678): the only one with sources for IPv6. */
const MCAST_JOIN_SOURCE_GROUP = 46;
const MCAST_LEAVE_SOURCE_GROUP = 47;
/** `struct group_source_req`: interface index, padding, two `sockaddr_storage` of 128 bytes. */
const GROUP_SOURCE_REQ_BYTES = 264;
const GROUP_OFFSET = 8;
const SOURCE_OFFSET = 136;

const SO_TXTIME = 61;
const IP_MTU_DISCOVER = 10;
const IPV6_MTU_DISCOVER = 23;
const PMTUDISC_WANT = 1;

/** <linux/in.h>: IP_PMTUDISC_DONT, _DO and _PROBE. */
const PATH_MTU_DISCOVERY = { off: 0, on: 2, probe: 3 } as const;

/**
 * What happens to datagrams that are longer than the path takes. `"off"`: they are fragmented.
 * `"on"`: they are refused (`EMSGSIZE`), as far as the kernel knows the path. `"probe"`: they are
 * sent whole whatever is known of the path, and refused only where the device takes no more:
 * for transports that find the path's MTU by themselves (RFC 8899).
 */
export type PathMtuDiscovery = keyof typeof PATH_MTU_DISCOVERY;

/** <time.h>. `fq` takes the monotonic clock, `etf` the one it was set up with. */
const CLOCKS = { monotonic: 1, tai: 11 } satisfies Record<TransmitClock, number>;

/** Which options turn on what, by level. */
const METADATA_OPTIONS: Record<
  keyof ReceiveMetadata,
  { readonly socket?: number; readonly ip?: number; readonly ipv6?: number }
> = {
  destination: { ip: IP_PKTINFO, ipv6: IPV6_RECVPKTINFO },
  originalDestination: { ip: IP_ORIGDSTADDR, ipv6: IPV6_ORIGDSTADDR },
  ecn: { ip: IP_RECVTOS, ipv6: IPV6_RECVTCLASS },
  timestamp: { socket: SO_TIMESTAMPNS },
  mark: { socket: SO_RCVMARK },
  socketDrops: { socket: SO_RXQ_OVFL },
};

/** The options of one open IP socket. */
export class IpOptions implements UdpControls {
  readonly #native: Native;
  #fd: number;
  readonly #isIPv6: boolean;
  #clock: number = CLOCKS.monotonic;
  readonly #granted: Record<keyof ReceiveMetadata, boolean> = {
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

  /** Forgets the descriptor, whose number may be another's: calls fail from then on (`EBADF`). */
  close(): void {
    this.#fd = -1;
  }

  setBroadcast(enabled: boolean): void {
    this.#set(SOL_SOCKET, SO_BROADCAST, Number(enabled));
  }

  /** An IPv6 socket gets both: it sends IPv4 too, to mapped addresses. */
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

  /** IPv4: by an address of the interface; IPv6: by its index, written as the zone of `::%2`. */
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
    const group = SocketAddress.ip(membership.group, 0);
    const [level, name, request] =
      group.family === "IPv4"
        ? membershipIPv4(group, membership, join)
        : membershipIPv6(group, membership, join);
    const result = this.#native.setOption(this.#fd, level, name, request);
    checkResult(result, "setsockopt", membership.group);
  }

  /**
   * Turns on, or off, what is told of received datagrams: what is on then. Kinds that `wanted`
   * does not name stay as they are.
   */
  receiveMetadata(wanted: ReceiveMetadata): Record<keyof ReceiveMetadata, boolean> {
    for (const kind of RECEIVE_METADATA) {
      const value = wanted[kind];
      if (value !== undefined) this.#granted[kind] = this.#receiveKind(kind, value);
    }
    return { ...this.#granted };
  }

  /** An IPv6 socket gets both: datagrams over IPv4 come with the messages of IPv4. */
  #receiveKind(kind: keyof ReceiveMetadata, enabled: boolean): boolean {
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

  /** Whether IP may fragment (ip(7), IP_MTU_DISCOVER: off, or by route). */
  get mayFragment(): boolean {
    const mode = this.#isIPv6
      ? this.#getInt(IPPROTO_IPV6, IPV6_MTU_DISCOVER)
      : this.#getInt(IPPROTO_IP, IP_MTU_DISCOVER);
    return mode <= PMTUDISC_WANT;
  }

  /** Sets whether datagrams may be fragmented, and if not, whatever the path is known to take. */
  setPathMtuDiscovery(mode: PathMtuDiscovery): void {
    const value = PATH_MTU_DISCOVERY[mode];
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, value);
    this.#set(IPPROTO_IP, IP_MTU_DISCOVER, value);
  }

  /** Lets it take what is led to it, and bind addresses of others (ip(7), IP_TRANSPARENT). */
  setTransparent(): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
    else this.#set(IPPROTO_IP, IP_TRANSPARENT, 1);
  }

  /** Lets it bind addresses that are not there, or not yet (ip(7), IP_FREEBIND). */
  setFreebind(): void {
    if (this.#isIPv6) this.#set(IPPROTO_IPV6, IPV6_FREEBIND, 1);
    else this.#set(IPPROTO_IP, IP_FREEBIND, 1);
  }

  /** Lets datagrams say when they are to be sent (SO_TXTIME). */
  setTransmitTimes(clock: TransmitClock): void {
    if (!Object.hasOwn(CLOCKS, clock)) throw rangeError("clock", '"monotonic" or "tai"', clock);
    // `struct sock_txtime`: the clock, and flags: 0, no deadline mode, no reports of missed ones.
    const request = new Uint8Array(Int32Array.of(CLOCKS[clock], 0).buffer);
    checkResult(this.#native.setOption(this.#fd, SOL_SOCKET, SO_TXTIME, request), "setsockopt");
    this.#clock = CLOCKS[clock];
  }

  /** What the clock of transmit times shows. */
  get transmitClockNs(): bigint {
    checkResult(this.#native.clock(this.#clock), "clock_gettime");
    // `struct timespec`: two 64-bit numbers, of which the second fits in 32.
    const [low, high, nanoseconds] = this.#native.scratch as unknown as [number, number, number];
    return BigInt(high * 2 ** 32 + (low >>> 0)) * 1_000_000_000n + BigInt(nanoseconds);
  }

  /** Whether ICMP errors are queued. */
  get receivesErrors(): boolean {
    return this.#isIPv6
      ? this.#getInt(IPPROTO_IPV6, IPV6_RECVERR) !== 0
      : this.#getInt(IPPROTO_IP, IP_RECVERR) !== 0;
  }

  /** Has ICMP errors queued (ip(7), IP_RECVERR). */
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

type MembershipRequest = [level: number, name: number, request: Uint8Array];

/** `struct ip_mreq`: group, interface; `struct ip_mreq_source` has the source behind them. */
function membershipIPv4(
  group: SocketAddress,
  options: Membership,
  join: boolean,
): MembershipRequest {
  const { source, interfaceAddress } = options;
  const words = [ipv4Word("group", group), interfaceAddress ?? "0.0.0.0", source].map((part) =>
    typeof part === "string"
      ? ipv4Word("interfaceAddress or source", SocketAddress.ip(part, 0))
      : part,
  );
  const request = new Uint8Array(
    Int32Array.from(words.filter((word) => word !== undefined)).buffer,
  );
  if (source === undefined) {
    return [IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, request];
  }
  return [IPPROTO_IP, join ? IP_ADD_SOURCE_MEMBERSHIP : IP_DROP_SOURCE_MEMBERSHIP, request];
}

/** `struct ipv6_mreq`: group, interface index; with a source, `struct group_source_req`. */
function membershipIPv6(
  group: SocketAddress,
  options: Membership,
  join: boolean,
): MembershipRequest {
  const { source, interfaceAddress } = options;
  const index =
    interfaceAddress === undefined
      ? group.scopeId
      : interfaceIndex(SocketAddress.ip(interfaceAddress, 0));
  if (source === undefined) {
    const request = new Int32Array(5);
    request.set(group._encoded.words.subarray(2, 6));
    request[4] = index;
    return [
      IPPROTO_IPV6,
      join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP,
      new Uint8Array(request.buffer),
    ];
  }
  const request = new Uint8Array(GROUP_SOURCE_REQ_BYTES);
  new DataView(request.buffer).setUint32(0, index, true);
  copyAddress(group, request, GROUP_OFFSET);
  copyAddress(SocketAddress.ip(source, 0), request, SOURCE_OFFSET);
  return [IPPROTO_IPV6, join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP, request];
}

function ipv4Word(name: string, address: SocketAddress): number {
  if (address.family !== "IPv4") throw typeError(name, "IPv4 address", address.address);
  return address._encoded.words[1] as number;
}

function copyAddress(address: SocketAddress, target: Uint8Array, offset: number): void {
  const { words, length } = address._encoded;
  target.set(new Uint8Array(words.buffer, words.byteOffset, length), offset);
}

/** The index of the interface that has `address`, or that its zone names (`::%eth0`). */
function interfaceIndex(address: SocketAddress): number {
  if (address.scopeId !== 0) return address.scopeId;
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const { networkInterfaces } = process.getBuiltinModule("node:os");
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (!addresses?.some((entry) => entry.address === address.address)) continue;
    return Number(readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"));
  }
  throw typeError("interfaceAddress", "address of an interface", address.address);
}
