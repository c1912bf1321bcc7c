/** Opens, adopts and configures the descriptors of UDP sockets. */

import { loadNative, type Native } from "../../ffi/native.ts";
import type { Endpoints } from "../address/resolve.ts";
import { AF_INET, AF_INET6 } from "../address/sockaddr.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { openSocket, setBufferSizes, setOption } from "../engine/native/open-socket.ts";
import {
  EINVAL,
  EISCONN,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
} from "../linux/constants.ts";
import { IpSocketOptions } from "../linux/socket-options.ts";
import type { NativeThread } from "../readiness/thread-reactor.ts";
import { checkResult, SocketError, unsupportedError } from "../support/errors.ts";
import { checkAdoptable, resetBoundaries } from "./adopt.ts";
import type { UdpAdoptOptions, UdpBindOptions } from "./udp-options.ts";

/** Opens a descriptor that is bound and connected to the endpoints. */
export function openUdp(native: Native, endpoints: Endpoints, options: UdpBindOptions): number {
  const domain = endpoints.local.family === "IPv6" ? AF_INET6 : AF_INET;
  return openSocket(native, domain, (fd) => setUp(native, fd, endpoints, options));
}

function setUp(
  native: Native,
  fd: number,
  { local, peer }: Endpoints,
  options: UdpBindOptions,
): void {
  if (options.reusePort) setOption(native, fd, [SOL_SOCKET, SO_REUSEPORT], 1);
  if (options.reuseAddress) setOption(native, fd, [SOL_SOCKET, SO_REUSEADDR], 1);
  const isIPv6 = local.family === "IPv6";
  if (isIPv6) setOption(native, fd, [IPPROTO_IPV6, IPV6_V6ONLY], Number(options.ipv6Only ?? false));
  const ipOptions = new IpSocketOptions(native, fd, isIPv6);
  ipOptions.setPathMtuDiscovery(options.pathMtuDiscovery ?? "system");
  setCommonOptions(ipOptions, options);
  if (options.transparent) ipOptions.setTransparent();
  if (options.freebind) ipOptions.setFreebind();
  setBufferSizes(native, fd, options);
  checkResult(native.bind(fd, local._encoded), "bind", local);
  if (peer === undefined) return;
  const target = isIPv6 ? peer._toMapped() : peer;
  checkResult(native.connect(fd, target._encoded), "connect", peer);
}

/**
 * Prepares a descriptor that another owner has used.
 *
 * @throws SocketError as `checkAdoptable`.
 */
export function prepareAdopted(loaded: NativeThread, fd: number, options: UdpAdoptOptions): void {
  const family = checkAdoptable(loaded, fd, [AF_INET, AF_INET6]);
  const ipOptions = new IpSocketOptions(loaded.native, fd, family === AF_INET6);
  setCommonOptions(ipOptions, options);
  resetBoundaries(loaded.native, fd);
  ipOptions.forgetErrors();
}

/**
 * Makes the kernel pass over a socket that shares its port: it delivers datagrams to a connected socket
 * only if they come from its peer, which is the socket itself here (Linux 5.4, connect(2)). Datagrams
 * in the receive buffer remain.
 */
export function leaveReusePort(
  fd: number | undefined,
  local: SocketAddress,
  peer: SocketAddress | undefined,
): void {
  const loaded = loadNative();
  if (fd === undefined || "reason" in loaded) {
    throw unsupportedError("leaveReusePort", "requires the native backend");
  }
  const { native } = loaded;
  if (peer !== undefined) {
    const detail = `an unconnected socket expected, got one that is connected to ${peer}`;
    throw new SocketError({ errno: EISCONN, syscall: "leaveReusePort", address: local, detail });
  }
  checkResult(native.getIntOption(fd, SOL_SOCKET, SO_REUSEPORT), "getsockopt");
  if (native.scratch[0] !== 1) {
    const detail = "a socket opened with reusePort: true expected, got one that shares no port";
    throw new SocketError({ errno: EINVAL, syscall: "leaveReusePort", address: local, detail });
  }
  checkResult(native.connect(fd, local._encoded), "connect", local);
}

function setCommonOptions(ipOptions: IpSocketOptions, options: UdpAdoptOptions): void {
  const { dscp, multicastAll } = options;
  if (dscp !== undefined) ipOptions.setDscp(dscp);
  if (multicastAll !== undefined) ipOptions.setMulticastAll(multicastAll);
}
