/** UDP sockets over IPv4 and IPv6. */

import type { Native } from "../../ffi/native.ts";
import { AF_INET, AF_INET6, type SocketAddress } from "../address/address.ts";
import type { TransportError } from "../datagram/error-queue.ts";
import {
  type Capabilities,
  checkReceiveMetadata,
  RECEIVE_METADATA,
  type ReceiveMetadata,
} from "../datagram/metadata.ts";
import type { Membership, TransmitClock, UdpControls } from "../engine/controls.ts";
import { checkOffload, chooseOffload } from "../engine/offload.ts";
import {
  closeOnThrow,
  openSocket,
  resolveAddress,
  setBufferSizes,
  setOption,
} from "../engine/open.ts";
import { IPV6_V6ONLY, IpOptions, SO_REUSEADDR, SO_REUSEPORT } from "../engine/options.ts";
import { ShimEngine } from "../engine/shim-engine.ts";
import { loadReactor, type ReactorResult } from "../readiness/load.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { checkResult, unsupportedError } from "../support/errors.ts";
import { IPPROTO_IPV6, SOL_SOCKET } from "../support/linux.ts";
import { checkAdoptable } from "./adopt.ts";
import { EngineSocket } from "./engine-socket.ts";
import {
  checkBindOptions,
  chooseBackend,
  type HostAndPort,
  refuseShimOptions,
  type UdpAdoptOptions,
  type UdpBindOptions,
} from "./udp-options.ts";

/**
 * A UDP socket.
 *
 * @example
 * ```ts
 * await using socket = await UdpSocket.bind({ port: 5353 });
 * const buffer = new Uint8Array(1500);
 * const { length, peer } = await socket.recvFrom(buffer);
 * if (peer) await socket.sendTo(buffer.subarray(0, length), peer);
 * ```
 */
export class UdpSocket extends EngineSocket implements UdpControls {
  /**
   * Opens a socket and binds it, and connects it if asked to.
   *
   * @throws SocketError when the system refuses (`EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` ...).
   * @throws TypeError or RangeError for bad options.
   */
  static override async bind(options: UdpBindOptions = {}): Promise<UdpSocket> {
    checkBindOptions(options);
    const loaded = await chooseBackend(options.backend);
    if ("reason" in loaded) refuseShimOptions(options, loaded.reason);
    const { connect } = options;
    const peer = connect && (await resolveAddress(connect.hostname, connect.port));
    const hostname = options.hostname ?? (peer?.family === "IPv6" ? "::" : "0.0.0.0");
    if ("reason" in loaded) {
      // Mostly not needed, and loading it takes as long as opening a socket.
      const { PortableEngine } = await import("../engine/portable-engine.ts");
      return new UdpSocket(
        await PortableEngine.open({
          hostname,
          port: options.port,
          connect: peer && { hostname: peer.address, port: peer.port },
          receiveQueueDatagrams: options.receiveQueueDatagrams,
        }),
      );
    }
    const { native } = loaded;
    const local = await resolveAddress(hostname, options.port ?? 0);
    const fd = openSocket(native, local.family === "IPv6" ? AF_INET6 : AF_INET, (fd) =>
      setUp(native, fd, local, peer, options),
    );
    return closeOnThrow(native, fd, () => UdpSocket.#adopt(loaded, fd, options.offload));
  }

  /** Opens a socket that is connected to `peer`, the only one it then talks to. */
  static connect(peer: HostAndPort, options: UdpBindOptions = {}): Promise<UdpSocket> {
    return UdpSocket.bind({ ...options, connect: peer });
  }

  /**
   * Takes over an open IPv4 or IPv6 datagram descriptor, which is the socket's from then on and
   * is made non-blocking. The caller must not close it. Coalescing that is on already stays on,
   * whatever `offload` says: what waits can only be taken apart as long as it is.
   *
   * @throws SocketError when it is no such descriptor (`EINVAL`, `ENOTSOCK`, `EBADF`) or is a
   * socket's of this thread already (`EEXIST`), and stays whose it was; `ERR_NOT_SUPPORTED`
   * without the shim.
   * @throws TypeError or RangeError for bad options.
   */
  static async fromFd(fd: number, options: UdpAdoptOptions = {}): Promise<UdpSocket> {
    checkInteger("fd", fd, 0, 2 ** 31 - 1);
    checkOffload(options.offload);
    const loaded = await loadReactor();
    if ("reason" in loaded) throw unsupportedError("fromFd", loaded.reason);
    checkAdoptable(loaded, fd, [AF_INET, AF_INET6]);
    return UdpSocket.#adopt(loaded, fd, options.offload);
  }

  static #adopt(
    loaded: Exclude<ReactorResult, { reason: string }>,
    fd: number,
    asked: UdpBindOptions["offload"],
  ): UdpSocket {
    const offload = chooseOffload(loaded.native, asked);
    return new UdpSocket(new ShimEngine({ ...loaded, fd, offload }));
  }

  override asUdpSocket(): UdpSocket {
    return this;
  }

  /**
   * Asks for what can be told of received datagrams, all kinds that the kernel grants unless some
   * are named (`true`: on, `false`: off), and answers which it will tell from now on, those of
   * earlier calls among them. `DatagramInfo` has them from the next receive on.
   *
   * @throws TypeError or RangeError for what is no kind, or no boolean.
   */
  receiveMetadata(wanted: ReceiveMetadata = ALL_METADATA): Capabilities {
    checkReceiveMetadata(wanted);
    return this._engine.receiveMetadata(wanted);
  }

  /**
   * Lets datagrams say when they are to be sent (`SendMetadata`), in nanoseconds of `clock`. The
   * `fq` qdisc takes `"monotonic"`; without such a qdisc on the device the times have no effect.
   *
   * @throws RangeError for another clock, SocketError when the system refuses (`"tai"` needs the
   * right to administer the network: `EPERM`).
   */
  setTransmitTimes(clock: TransmitClock): void {
    this._engine.controls.setTransmitTimes(clock);
  }

  /**
   * What the clock of `setTransmitTimes` shows, in nanoseconds; until one is chosen the monotonic
   * one. Bun's own clocks (`process.hrtime`, `performance.now`) start with the process instead.
   *
   * @throws SocketError with code `ERR_NOT_SUPPORTED` without the shim.
   */
  get transmitClockNs(): bigint {
    return this._engine.controls.transmitClockNs;
  }

  /**
   * Has errors that the network reports about datagrams sent told to `handler`: unreachable hosts
   * and ports, datagrams too big, with who said it about which destination. They are not thrown
   * then, a call that one of them would have failed goes through, and the socket stays open. It is
   * called soon after, never from within a call on the socket, which it may use or close.
   * `undefined`: back to throwing, which only a connected socket does.
   */
  onTransportError(handler: ((error: TransportError) => void) | undefined): void {
    if (handler !== undefined && typeof handler !== "function") {
      throw typeError("handler", "function", handler);
    }
    this._engine.tellTransportErrors(handler);
  }

  /** Whether IP may fragment the datagrams it sends. */
  get mayFragment(): boolean {
    return this._engine.controls.mayFragment;
  }

  /** Whether datagrams may go to broadcast addresses. Default: they may not. */
  setBroadcast(enabled: boolean): void {
    this._engine.controls.setBroadcast(enabled);
  }

  /** How many routers a datagram may pass, 1..255. Default: the system's, mostly 64. */
  setTTL(ttl: number): void {
    checkInteger("ttl", ttl, 1, 255);
    this._engine.controls.setTTL(ttl);
  }

  /** How many routers a multicast datagram may pass, 0..255. Default 1. */
  setMulticastTTL(ttl: number): void {
    checkInteger("ttl", ttl, 0, 255);
    this._engine.controls.setMulticastTTL(ttl);
  }

  /** Whether this host gets multicast datagrams that it sends. Default: it does. */
  setMulticastLoopback(enabled: boolean): void {
    this._engine.controls.setMulticastLoopback(enabled);
  }

  /** Which interface multicast leaves by: an IPv4 address of it, or for IPv6 `::%eth0`. */
  setMulticastInterface(interfaceAddress: string): void {
    this._engine.controls.setMulticastInterface(interfaceAddress);
  }

  /** Joins a multicast group. */
  addMembership(membership: Membership): void {
    this._engine.controls.addMembership(membership);
  }

  /** Leaves a multicast group. */
  dropMembership(membership: Membership): void {
    this._engine.controls.dropMembership(membership);
  }
}

const ALL_METADATA: ReceiveMetadata = Object.fromEntries(
  RECEIVE_METADATA.map((kind) => [kind, true]),
);

function setUp(
  native: Native,
  fd: number,
  local: SocketAddress,
  peer: SocketAddress | undefined,
  options: UdpBindOptions,
): void {
  if (options.reusePort) setOption(native, fd, [SOL_SOCKET, SO_REUSEPORT], 1);
  if (options.reuseAddress) setOption(native, fd, [SOL_SOCKET, SO_REUSEADDR], 1);
  const isIPv6 = local.family === "IPv6";
  if (isIPv6) setOption(native, fd, [IPPROTO_IPV6, IPV6_V6ONLY], Number(options.ipv6Only ?? false));
  const ipOptions = new IpOptions(native, fd, isIPv6);
  ipOptions.setPathMtuDiscovery(options.pathMtuDiscovery ?? "off");
  if (options.transparent) ipOptions.setTransparent();
  if (options.freebind) ipOptions.setFreebind();
  setBufferSizes(native, fd, options);
  checkResult(native.bind(fd, local._encoded), "bind", local.toString());
  if (peer === undefined) return;
  const target = isIPv6 ? peer._toMapped() : peer;
  checkResult(native.connect(fd, target._encoded), "connect", peer.toString());
}
