/** Opens, adopts and configures the descriptors of UDP sockets. */

import type { Native } from "../../ffi/native.ts";
import type { Endpoints } from "../address/resolve.ts";
import { AF_INET, AF_INET6 } from "../address/sockaddr.ts";
import { openSocket, setBufferSizes, setOption } from "../engine/native/open-socket.ts";
import {
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
} from "../linux/constants.ts";
import { IpSocketOptions } from "../linux/socket-options.ts";
import type { NativeThread } from "../readiness/thread-reactor.ts";
import { checkResult } from "../support/errors.ts";
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

function setCommonOptions(ipOptions: IpSocketOptions, options: UdpAdoptOptions): void {
  const { dscp, multicastAll } = options;
  if (dscp !== undefined) ipOptions.setDscp(dscp);
  if (multicastAll !== undefined) ipOptions.setMulticastAll(multicastAll);
}
