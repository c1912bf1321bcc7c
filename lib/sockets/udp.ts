/** UDP sockets over IPv4 and IPv6. */

import type { Native } from "../../ffi/native.ts";
import { resolveAddress } from "../address/resolve.ts";
import { AF_INET, AF_INET6 } from "../address/sockaddr.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import {
  type Capabilities,
  checkMetadataOptions,
  METADATA_KINDS,
  type MetadataOptions,
} from "../datagram/metadata-options.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import type { Membership, TransmitClock, UdpSocketHandle } from "../datagram/udp-interface.ts";
import { checkSendErrors } from "../engine/engine.ts";
import { NativeEngine } from "../engine/native/native-engine.ts";
import {
  closeOnThrow,
  openSocket,
  setBufferSizes,
  setOption,
} from "../engine/native/open-socket.ts";
import {
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
} from "../linux/constants.ts";
import { checkOffload, chooseOffload } from "../linux/offload.ts";
import { IpSocketOptions } from "../linux/socket-options.ts";
import { loadNativeThread, type NativeThread } from "../readiness/thread-reactor.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { checkResult, unsupportedError } from "../support/errors.ts";
import { checkAdoptable } from "./adopt.ts";
import { EngineSocket } from "./engine-socket.ts";
import {
  checkBindOptions,
  chooseBackend,
  type HostAndPort,
  refuseNativeOptions,
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
export class UdpSocket extends EngineSocket implements UdpSocketHandle {
  /**
   * Opens a socket, binds it, and connects it if `connect` is given.
   *
   * @throws SocketError if the system refuses (`EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` ...).
   * @throws TypeError or RangeError for invalid options.
   */
  static override async bind(options: UdpBindOptions = {}): Promise<UdpSocket> {
    checkBindOptions(options);
    const loaded = await chooseBackend(options.backend);
    if ("reason" in loaded) refuseNativeOptions(options, loaded.reason);
    const { connect } = options;
    const peer = connect && (await resolveAddress(connect.hostname, connect.port));
    const hostname = options.hostname ?? (peer?.family === "IPv6" ? "::" : "0.0.0.0");
    if ("reason" in loaded) {
      // Loaded on demand: it takes as long as opening a socket.
      const { PortableEngine } = await import("../engine/portable/portable-engine.ts");
      return new UdpSocket(
        await PortableEngine.open({
          hostname,
          port: options.port,
          connect: peer && { hostname: peer.address, port: peer.port },
          receiveQueueDatagrams: options.receiveQueueDatagrams,
          sendErrors: options.sendErrors,
        }),
      );
    }
    const { native } = loaded;
    const local = await resolveAddress(hostname, options.port ?? 0);
    const fd = openSocket(native, local.family === "IPv6" ? AF_INET6 : AF_INET, (fd) =>
      setUp(native, fd, local, peer, options),
    );
    return closeOnThrow(native, fd, () => UdpSocket.#adopt(loaded, fd, options));
  }

  /** Opens a socket that is connected to `peer`. */
  static async connect(peer: HostAndPort, options: UdpBindOptions = {}): Promise<UdpSocket> {
    return UdpSocket.bind({ ...options, connect: peer });
  }

  /**
   * Adopts an open IPv4 or IPv6 datagram descriptor: takes its ownership and makes it non-blocking.
   * GRO stays enabled if it is, even with `offload: false`: messages in the receive buffer may be
   * merged already, and could not be split without it.
   *
   * @throws SocketError if it is another kind of descriptor (`EINVAL`, `ENOTSOCK`, `EBADF`), or if a
   * socket of this thread has it (`EEXIST`). The caller keeps the ownership then. With code
   * `ERR_NOT_SUPPORTED` without the native backend.
   * @throws TypeError or RangeError for invalid options.
   */
  static async fromFd(fd: number, options: UdpAdoptOptions = {}): Promise<UdpSocket> {
    checkInteger("fd", fd, 0, 2 ** 31 - 1);
    checkOffload(options.offload);
    checkSendErrors(options.sendErrors);
    const loaded = await loadNativeThread();
    if ("reason" in loaded) throw unsupportedError("fromFd", loaded.reason);
    checkAdoptable(loaded, fd, [AF_INET, AF_INET6]);
    return UdpSocket.#adopt(loaded, fd, options);
  }

  static #adopt(loaded: NativeThread, fd: number, options: UdpAdoptOptions): UdpSocket {
    const offload = chooseOffload(loaded.native, options.offload);
    const { sendErrors } = options;
    return new UdpSocket(new NativeEngine({ ...loaded, fd, offload, sendErrors }));
  }

  override asUdpSocket(): UdpSocket {
    return this;
  }

  /**
   * Enables (`true`) or disables (`false`) kinds of receive metadata, and returns which are enabled
   * now. Kinds that are not named stay as they are; without an argument, all are enabled. Kinds that
   * the kernel does not support stay disabled. `RecvMeta` has them from the next receive on.
   *
   * @throws TypeError for an unknown kind, or a value that is not a boolean.
   */
  enableMetadata(options: MetadataOptions = ALL_METADATA): Capabilities {
    checkMetadataOptions(options);
    return this._engine.enableMetadata(options);
  }

  /**
   * Enables transmit times (`SendMeta.transmitTimeNs`), in nanoseconds of `clock` (SO_TXTIME). The
   * `fq` qdisc requires `"monotonic"`. Without such a qdisc on the device they have no effect.
   *
   * @throws RangeError for another clock; SocketError if the system refuses (`"tai"` requires
   * CAP_NET_ADMIN: `EPERM`).
   */
  setTransmitTimes(clock: TransmitClock): void {
    this._engine.controls.setTransmitTimes(clock);
  }

  /**
   * The current time of the clock of `setTransmitTimes` in nanoseconds (default: `"monotonic"`). The
   * clocks of Bun (`process.hrtime`, `performance.now`) start with the process instead.
   *
   * @throws SocketError with code `ERR_NOT_SUPPORTED` without the native backend.
   */
  get transmitClockNs(): bigint {
    return this._engine.controls.transmitClockNs;
  }

  /**
   * Passes errors that the network reports about earlier datagrams to `handler`: unreachable hosts
   * and ports, datagrams longer than the path MTU. They are not thrown then, and calls that they
   * would have failed are repeated. The handler is called in a later microtask, and may use or close
   * the socket. With `undefined`, a connected socket throws such errors again; an unconnected socket
   * never does.
   */
  onTransportError(handler: ((error: TransportError) => void) | undefined): void {
    if (handler !== undefined && typeof handler !== "function") {
      throw typeError("handler", "function", handler);
    }
    this._engine.setTransportErrorHandler(handler);
  }

  /** Whether IP may fragment the datagrams of this socket. */
  get mayFragment(): boolean {
    return this._engine.controls.mayFragment;
  }

  /** Allows or forbids broadcast addresses. Forbidden by default. */
  setBroadcast(enabled: boolean): void {
    this._engine.controls.setBroadcast(enabled);
  }

  /** Sets the hop limit of unicast datagrams, 1..255. Default: that of the system, mostly 64. */
  setTTL(ttl: number): void {
    checkInteger("ttl", ttl, 1, 255);
    this._engine.controls.setTTL(ttl);
  }

  /** Sets the hop limit of multicast datagrams, 0..255. Default 1. */
  setMulticastTTL(ttl: number): void {
    checkInteger("ttl", ttl, 0, 255);
    this._engine.controls.setMulticastTTL(ttl);
  }

  /** Enables or disables the loopback of multicast datagrams to this host. Enabled by default. */
  setMulticastLoopback(enabled: boolean): void {
    this._engine.controls.setMulticastLoopback(enabled);
  }

  /** Sets the interface for multicast: by an IPv4 address of it, or for IPv6 as in `::%eth0`. */
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

const ALL_METADATA: MetadataOptions = Object.fromEntries(
  METADATA_KINDS.map((kind) => [kind, true]),
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
  const ipOptions = new IpSocketOptions(native, fd, isIPv6);
  ipOptions.setPathMtuDiscovery(options.pathMtuDiscovery ?? "off");
  if (options.transparent) ipOptions.setTransparent();
  if (options.freebind) ipOptions.setFreebind();
  setBufferSizes(native, fd, options);
  checkResult(native.bind(fd, local._encoded), "bind", local.toString());
  if (peer === undefined) return;
  const target = isIPv6 ? peer._toMapped() : peer;
  checkResult(native.connect(fd, target._encoded), "connect", peer.toString());
}
