/** The options of `UdpSocket.bind`, their checks, and the choice of the backend. */

import { checkHostname, type HostAndPort } from "../address/resolve.ts";
import { isOtherVersion, SocketAddress, toAddress } from "../address/socket-address.ts";
import { DSCP_MAX } from "../datagram/send-meta.ts";
import { type Backend, checkSendErrors, type SendErrors } from "../engine/engine.ts";
import { type BufferSizes, checkBufferSizes } from "../engine/native/open-socket.ts";
import { checkOffload, type Offload } from "../linux/offload.ts";
import { PATH_MTU_DISCOVERY_MODES, type PathMtuDiscovery } from "../linux/socket-options.ts";
import { loadNativeThread, type NativeThreadResult } from "../readiness/thread-reactor.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { checkVariables, readVariable } from "../support/environment.ts";
import { unsupportedError } from "../support/errors.ts";
import { checkOneOf, checkOptions, optionKinds } from "../support/options.ts";
import { warn } from "../support/warn.ts";

/** Options of `UdpSocket.bind`. */
export interface UdpBindOptions extends BufferSizes {
  /**
   * The address to bind to, or a name to resolve. `"::"` includes IPv4 (dual stack). Default:
   * `"0.0.0.0"`, or `"::"` with `ipv6Only` or if the address of `connect` is IPv6.
   */
  readonly hostname?: string | undefined;
  /** The port to bind to, 0..65535. Default 0: chosen by the system. */
  readonly port?: number | undefined;
  /**
   * The peer to connect to: the only one that the socket then exchanges datagrams with. A name is
   * resolved in the family of `hostname`.
   */
  readonly connect?: HostAndPort | SocketAddress | undefined;
  /** `"portable"` uses only `Bun.udpSocket`. Default: `"native"` where it works. */
  readonly backend?: Backend | undefined;
  /** Lets several sockets share the port; the kernel distributes peers (SO_REUSEPORT). Native. */
  readonly reusePort?: boolean | undefined;
  /** Lets several sockets bind the port, for multicast (SO_REUSEADDR). Native only. */
  readonly reuseAddress?: boolean | undefined;
  /**
   * The offloads to use: `gso` (datagrams are sent as segments of one message) and `gro` (the kernel
   * merges received datagrams). They change only the speed. Default: both, where they work. The
   * environment variable `DATAGRAM_SOCKET_OFFLOAD=off` disables both and takes precedence.
   */
  readonly offload?: boolean | Partial<Offload> | undefined;
  /**
   * Whether `recv` and `recvFrom` may read up to 32 messages with one system call while datagrams
   * queue up, and return them one by one. Datagrams that were read and not returned are counted in
   * `counters.datagramsDropped` if the socket is closed or its descriptor transferred (`intoFd`).
   * `asRawIo` stops it. Default true; has no effect on the portable backend.
   */
  readonly readAhead?: boolean | undefined;
  /**
   * How long a receive waits in microseconds, 0..1000, if the previous ones have found at least four
   * datagrams and then none: more datagrams accumulate, and fewer calls receive more of them. Later
   * ones are received at once again, so that it delays streams only. 100 reduces the processor time of
   * relays whose peers send single datagrams in quick succession (docs/quic.md). Default 0; has no
   * effect on the portable backend.
   */
  readonly burstDelayUs?: number | undefined;
  /** The handling of datagrams that exceed the path MTU. Default `"system"`. Native only. */
  readonly pathMtuDiscovery?: PathMtuDiscovery | undefined;
  /**
   * The DSCP of all datagrams, 0..63 (RFC 2474), as `setDscp`. Default: that of the system, 0.
   * Native only.
   */
  readonly dscp?: number | undefined;
  /**
   * Whether the socket receives datagrams to groups that it has not joined, if another socket of the
   * host has (IP_MULTICAST_ALL, IPV6_MULTICAST_ALL). Default: that of the system, which is true except
   * for IPv4 groups on a dual-stack socket. Native only.
   */
  readonly multicastAll?: boolean | undefined;
  /**
   * Receives packets that TPROXY rules redirect, and allows foreign local addresses
   * (IP_TRANSPARENT). Requires CAP_NET_ADMIN (`EPERM`). Native only.
   */
  readonly transparent?: boolean | undefined;
  /** Allows addresses that this host does not have, or not yet (IP_FREEBIND). Native only. */
  readonly freebind?: boolean | undefined;
  /** Restricts an IPv6 socket to IPv6 (IPV6_V6ONLY). Default: dual stack. Native only. */
  readonly ipv6Only?: boolean | undefined;
  /** The handling of datagrams that the system refuses. Default `"throw"`. */
  readonly sendErrors?: SendErrors | undefined;
  /** The length of the receive queue of the portable backend, 1..2^31-1. Default 2800. */
  readonly receiveQueueDatagrams?: number | undefined;
}

/** Options of `UdpSocket.fromFd` and `UdpSocket.from`. */
export type UdpAdoptOptions = Pick<
  UdpBindOptions,
  "offload" | "readAhead" | "burstDelayUs" | "sendErrors" | "dscp" | "multicastAll"
>;

/** The maximum of `burstDelayUs`: longer waits would overflow receive queues. */
const BURST_DELAY_US_MAX = 1000;

const HOST_AND_PORT = optionKinds<HostAndPort>({ hostname: "any", port: "any" });

const ADOPT_OPTIONS = optionKinds<UdpAdoptOptions>({
  offload: "any",
  readAhead: "boolean",
  burstDelayUs: "any",
  sendErrors: "any",
  dscp: "any",
  multicastAll: "boolean",
});

const BIND_OPTIONS = optionKinds<UdpBindOptions>({
  hostname: "any",
  port: "any",
  connect: "any",
  backend: "any",
  reusePort: "boolean",
  reuseAddress: "boolean",
  pathMtuDiscovery: "any",
  transparent: "boolean",
  freebind: "boolean",
  ipv6Only: "boolean",
  receiveQueueDatagrams: "any",
  receiveBufferBytes: "any",
  sendBufferBytes: "any",
  ...ADOPT_OPTIONS,
});

/** @throws TypeError or RangeError for invalid options. */
export function checkBindOptions(options: UdpBindOptions): void {
  checkOptions("options", options, BIND_OPTIONS);
  const { hostname, port = 0, connect, receiveQueueDatagrams = 1 } = options;
  const { backend, pathMtuDiscovery } = options;
  if (hostname !== undefined) checkHostname("hostname", hostname);
  checkInteger("port", port, 0, 65_535);
  if (connect !== undefined) checkPeerOption("connect", connect);
  if (backend !== undefined) checkOneOf("backend", backend, ["native", "portable"]);
  if (pathMtuDiscovery !== undefined) {
    checkOneOf("pathMtuDiscovery", pathMtuDiscovery, PATH_MTU_DISCOVERY_MODES);
  }
  checkInteger("receiveQueueDatagrams", receiveQueueDatagrams, 1, 2 ** 31 - 1);
  checkCommonOptions(options);
  checkBufferSizes(options);
}

/** @throws TypeError or RangeError for invalid options. */
export function checkAdoptOptions(options: UdpAdoptOptions): void {
  checkOptions("options", options, ADOPT_OPTIONS);
  checkCommonOptions(options);
}

function checkCommonOptions(options: UdpAdoptOptions): void {
  const { offload, burstDelayUs = 0, sendErrors, dscp } = options;
  checkOffload(offload);
  checkInteger("burstDelayUs", burstDelayUs, 0, BURST_DELAY_US_MAX);
  checkSendErrors(sendErrors);
  if (dscp !== undefined) checkInteger("dscp", dscp, 0, DSCP_MAX);
}

/** Returns a peer, as an address of this version if it is one of another. */
export function ownPeer(peer: HostAndPort | SocketAddress): HostAndPort | SocketAddress {
  return isOtherVersion(peer) ? toAddress("peer", peer) : peer;
}

/** @throws TypeError or RangeError for an invalid peer. */
export function checkPeerOption(name: string, given: HostAndPort | SocketAddress): void {
  const peer = ownPeer(given);
  if (SocketAddress._isGenuine(peer)) {
    if (peer.family === "unix") throw typeError(name, "IP address and port", `${peer}`);
    checkInteger(`${name}.port`, peer.port, 1, 65_535);
    return;
  }
  checkOptions(name, peer, HOST_AND_PORT);
  checkHostname(`${name}.hostname`, peer.hostname);
  checkInteger(`${name}.port`, peer.port, 1, 65_535);
}

/**
 * Returns the native backend, or the reason why it is not used. All environment variables are
 * checked, even if the options take precedence.
 *
 * @throws RangeError for an invalid value of an environment variable; SocketError as
 * `loadNativeThread`.
 */
export async function chooseBackend(requested: Backend | undefined): Promise<NativeThreadResult> {
  const wanted = requested ?? readVariable("DATAGRAM_SOCKET_BACKEND");
  checkVariables();
  if (wanted === "portable") return { reason: "the portable backend was requested" };
  const loaded = await loadNativeThread();
  if ("reason" in loaded) {
    if (wanted === "native") throw unsupportedError("bind", loaded.reason);
    warnOnce(`the portable backend is used: ${loaded.reason}`);
  }
  return loaded;
}

function requiresNative(name: string, reason: string): Error {
  return unsupportedError("bind", `${name} requires the native backend: ${reason}`);
}

let hasWarned = false;

function warnOnce(message: string): void {
  if (!hasWarned) warn(message);
  hasWarned = true;
}

/** @throws SocketError with code `ERR_NOT_SUPPORTED` for options of the native backend. */
export function refuseNativeOptions(options: UdpBindOptions, reason: string): void {
  for (const name of [
    "reusePort",
    "reuseAddress",
    "transparent",
    "freebind",
    "ipv6Only",
    "receiveBufferBytes",
    "sendBufferBytes",
    "dscp",
  ] as const) {
    if (options[name]) throw requiresNative(name, reason);
  }
  if (options.multicastAll !== undefined) throw requiresNative("multicastAll", reason);
  if ((options.pathMtuDiscovery ?? "system") !== "system") {
    throw requiresNative("pathMtuDiscovery", reason);
  }
}
