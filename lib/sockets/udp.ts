/** UDP sockets over IPv4 and IPv6. */

import type { NetworkInterface } from "../address/interfaces.ts";
import { type HostAndPort, resolveEndpoints } from "../address/resolve.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import {
  type Capabilities,
  checkMetadataOptions,
  METADATA_KINDS,
  type MetadataOptions,
} from "../datagram/metadata-options.ts";
import { checkReusePortSteering, type ReusePortSteering } from "../datagram/reuse-port-steering.ts";
import { DSCP_MAX } from "../datagram/send-meta.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import {
  checkMembership,
  type Membership,
  type TransmitClock,
  type UdpSocketHandle,
} from "../datagram/udp-interface.ts";
import { NativeEngine } from "../engine/native/native-engine.ts";
import type { EarlyDatagram } from "../engine/native/native-receiver.ts";
import { closeOnThrow } from "../engine/native/open-socket.ts";
import { chooseOffload, NO_OFFLOAD } from "../linux/offload.ts";
import { loadNativeThread, type NativeThread } from "../readiness/thread-reactor.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { closedError, unsupportedError } from "../support/errors.ts";
import { checkBoolean, checkNoMore } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { checkOpenFd, isUdpLite } from "./adopt.ts";
import { EngineSocket } from "./engine-socket.ts";
import { openPortable } from "./portable.ts";
import { checkBunSocket, takeOver } from "./take-over.ts";
import {
  checkAdoptOptions,
  checkBindOptions,
  checkPeerOption,
  chooseBackend,
  ownPeer,
  refuseNativeOptions,
  type UdpAdoptOptions,
  type UdpBindOptions,
} from "./udp-options.ts";
import { leaveReusePort, openUdp, prepareAdopted } from "./udp-setup.ts";

/**
 * A UDP socket over IPv4, IPv6 or both.
 *
 * {@link UdpSocket.bind} opens one, and {@link UdpSocket.connect} one with a single peer.
 * {@link UdpSocket.fromFd} and {@link UdpSocket.from} adopt an open descriptor or a socket of
 * `Bun.udpSocket`. `await using` closes it at the end of the scope.
 *
 * Each operation has three forms: a promise that waits (`recvFrom`, `sendTo`), a call that returns
 * `WouldBlock` instead (`tryRecv`, `trySendTo`), and a poll that stores a waker (`pollRecvFrom`,
 * `pollSendTo`). `recvMany`, `sendMany`, `recvBatch` and `sendBatch` transfer many datagrams with one
 * system call, `batches()` and `for await` iterate over them.
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
   * @throws SocketError if the system refuses (`EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` ...), or if a
   * host name cannot be resolved (`ENOTFOUND`, `EAI_AGAIN` ..., syscall `getaddrinfo`).
   * @throws TypeError or RangeError for invalid options; TypeError for unknown ones.
   */
  static override bind(options?: UdpBindOptions): Promise<UdpSocket>;
  static override async bind(
    options: UdpBindOptions = {},
    ...extra: unknown[]
  ): Promise<UdpSocket> {
    checkNoMore("UdpSocket.bind", extra);
    checkBindOptions(options);
    const loaded = await chooseBackend(options.backend);
    if ("reason" in loaded) refuseNativeOptions(options, loaded.reason);
    const { hostname, port = 0, ipv6Only = false } = options;
    const connect = options.connect && ownPeer(options.connect);
    const { local, peer } = await resolveEndpoints({ hostname, port, connect, ipv6Only });
    if ("reason" in loaded) {
      const { receiveQueueDatagrams, sendErrors } = options;
      const init = { local, peer, receiveQueueDatagrams, sendErrors };
      return new UdpSocket(await openPortable(init));
    }
    const { native } = loaded;
    const fd = openUdp(native, { local, peer }, options);
    return closeOnThrow(native, fd, () => UdpSocket.#own(loaded, fd, options));
  }

  /**
   * Opens a socket that is connected to `peer`. A host name is resolved.
   *
   * @throws TypeError or RangeError for invalid arguments, also for an option `connect`; SocketError as
   * `bind`.
   */
  static connect(
    peer: HostAndPort | SocketAddress,
    options?: Omit<UdpBindOptions, "connect">,
  ): Promise<UdpSocket>;
  static async connect(
    peer: HostAndPort | SocketAddress,
    options: UdpBindOptions = {},
    ...extra: unknown[]
  ): Promise<UdpSocket> {
    checkNoMore("UdpSocket.connect", extra);
    checkPeerOption("peer", peer);
    checkBindOptions(options);
    if (options.connect !== undefined) {
      throw typeError("connect", "no second peer besides the first argument", options.connect);
    }
    return UdpSocket.bind({ ...options, connect: peer });
  }

  /**
   * Adopts an open UDP or UDP-Lite descriptor: takes its ownership and makes it non-blocking. UDP-Lite
   * has no offload. GRO stays enabled if it is, even with `offload: false`: messages in the receive
   * buffer may be merged already, and could not be split without it. UDP_SEGMENT and UDP_CORK are
   * disabled.
   *
   * @throws SocketError if it is another kind of descriptor (`EINVAL`, `ENOTSOCK`, `EBADF`), or if a
   * socket of this thread has it (`EEXIST`). The caller keeps the ownership then. With code
   * `ERR_NOT_SUPPORTED` without the native backend.
   * @throws TypeError or RangeError for invalid options.
   */
  static async fromFd(fd: number, options: UdpAdoptOptions = {}): Promise<UdpSocket> {
    checkOpenFd(fd, "fromFd");
    checkAdoptOptions(options);
    const loaded = await loadNativeThread();
    if ("reason" in loaded) throw unsupportedError("fromFd", loaded.reason);
    prepareAdopted(loaded, fd, options);
    return UdpSocket.#own(loaded, fd, options);
  }

  /**
   * Takes over an open socket of `Bun.udpSocket`, which is closed: its address, its peer, its options
   * and the datagrams in its receive buffer remain.
   *
   * Datagrams that Bun has read before go to the `data` handler of Bun's socket, without which Bun
   * discards them: up to 8 if this function is called within the handler, and those of some
   * milliseconds if the thread opens its first socket. All later ones are received by the new socket,
   * in order; only if Bun reads more than 1024 in one go, the others are dropped and counted
   * (`counters.datagramsDropped`). ICMP errors are handled as on other sockets of this class.
   *
   * @example
   * ```ts
   * await using socket = await UdpSocket.from(await Bun.udpSocket({ port: 5353 }));
   * ```
   * @throws TypeError if `socket` is not a socket of Bun; TypeError or RangeError for invalid options.
   * @throws SocketError with code `ERR_SOCKET_CLOSED` if it is closed, and with code
   * `ERR_NOT_SUPPORTED` without the native backend. Bun's socket remains as it is then.
   */
  static async from(
    socket: Bun.udp.BaseUDPSocket,
    options: UdpAdoptOptions = {},
  ): Promise<UdpSocket> {
    checkBunSocket(socket);
    checkAdoptOptions(options);
    const loaded = await loadNativeThread();
    if ("reason" in loaded) throw unsupportedError("from", loaded.reason);
    const prepare = (fd: number) => prepareAdopted(loaded, fd, options);
    const { fd, received, dropped } = await takeOver(loaded.native, socket, prepare);
    return closeOnThrow(loaded.native, fd, () => {
      const adopted = UdpSocket.#own(loaded, fd, options, received);
      adopted._engine.counters.datagramsDropped += dropped;
      return adopted;
    });
  }

  static #own(
    loaded: NativeThread,
    fd: number,
    options: UdpAdoptOptions,
    received?: readonly EarlyDatagram[],
  ): UdpSocket {
    const { native } = loaded;
    const offload = isUdpLite(native, fd) ? NO_OFFLOAD : chooseOffload(native, options.offload);
    const { readAhead, burstDelayUs, sendErrors } = options;
    const init = { ...loaded, fd, offload, readAhead, burstDelayUs, sendErrors, received };
    return new UdpSocket(new NativeEngine(init));
  }

  override asUdpSocket(): UdpSocket {
    return this;
  }

  /**
   * Enables (`true`) or disables (`false`) kinds of receive metadata, and returns which are enabled
   * now. Kinds that are not named stay as they are; without an argument, all are enabled. Kinds that
   * the kernel does not support stay disabled. `RecvMeta` has them from the next receive on, but the
   * `replySource` and `interfaceIndex` of IPv4 only for datagrams that arrive after this call.
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
   * @throws TypeError for another clock; SocketError if the system refuses (`"tai"` requires
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
   * Leaves the sockets that share a port (`reusePort`): the kernel delivers all later datagrams to the
   * other ones, also those of clients that it has assigned to this socket. The datagrams in its receive
   * buffer remain, and the socket can still send to all destinations, so that a server can answer what
   * it has received before it closes the socket. Cannot be undone.
   *
   * A socket that is bound to all addresses gets the loopback address as its source. Its replies need
   * another one: `SendMeta.source`, with the `replySource` of the request.
   *
   * @throws SocketError with code `EINVAL` if the socket was opened without `reusePort`, `EISCONN` if
   * it is connected, and with code `ERR_NOT_SUPPORTED` without the native backend.
   */
  leaveReusePort(): void {
    if (this.isClosed) throw closedError("leaveReusePort");
    leaveReusePort(this._engine.fd, this.localAddr, this.peerAddr);
  }

  /**
   * Makes the kernel choose a socket of the `reusePort` group by a field of each datagram, such as a
   * flow ID or a QUIC connection ID (SO_ATTACH_REUSEPORT_CBPF). A flow then stays on its socket when
   * the address of its client changes, which the default, a hash of the addresses, does not ensure.
   *
   * The setting belongs to the group: the sockets with the same address and port. Any of them can
   * set it. It remains until it is replaced or removed, or the last socket is closed.
   * Sockets that join later are included. The index of a socket is its place in the order in which the
   * group was bound, from 0. When a socket is closed, the last one takes its index, so flows move.
   *
   * Datagrams that are too short for the field are assigned by the hash of the addresses, as without
   * this setting. So are those whose index no socket has, because fewer than `sockets` are open.
   *
   * The kernel looks at the first datagram of a GSO or GRO message only. If one address sends several
   * flows, the receiver needs `offload: { gro: false }`, and a sender on the same host
   * `offload: { gso: false }`.
   *
   * @example
   * ```ts
   * // Flows have a 32-bit ID at the start of each datagram.
   * const shared = { hostname: "127.0.0.1", reusePort: true };
   * const first = await UdpSocket.bind(shared); // index 0
   * const second = await UdpSocket.bind({ ...shared, port: first.localAddr.port }); // index 1
   * first.setReusePortSteering({ offset: 0, bytes: 4, sockets: 2 });
   * ```
   * @throws TypeError or RangeError for invalid settings.
   * @throws SocketError with code `EINVAL` if the socket was opened without `reusePort`, and with code
   * `ERR_NOT_SUPPORTED` without the native backend.
   */
  setReusePortSteering(steering: ReusePortSteering): void {
    this._engine.controls.setReusePortSteering(checkReusePortSteering(steering));
  }

  /**
   * Removes the setting of `setReusePortSteering` from the group, if it has one (Linux 5.3,
   * SO_DETACH_REUSEPORT_BPF): sockets are chosen by a hash of the addresses again.
   *
   * @throws SocketError as `setReusePortSteering`.
   */
  removeReusePortSteering(): void {
    this._engine.controls.removeReusePortSteering();
  }

  /**
   * Passes errors that the network reports about earlier datagrams to `handler`: unreachable hosts
   * and ports, datagrams longer than the path MTU. They are not thrown then, and calls that they
   * would have failed are repeated. The handler is called in a later microtask, and may use or close
   * the socket. With `undefined` (the initial state), the next call on a connected socket throws the
   * error, and those that arrive between two calls are thrown as one; an unconnected socket never
   * throws them.
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

  /**
   * The path MTU to the connected peer in bytes, IP header included, as the kernel currently knows it
   * (IP_MTU, IPV6_MTU). Absent if the socket is not connected.
   *
   * @throws SocketError with code `ERR_NOT_SUPPORTED` without the native backend.
   */
  get pathMtu(): number | undefined {
    return this._engine.controls.pathMtu;
  }

  /**
   * The number of messages that the kernel has dropped since it created the socket, because the
   * receive buffer was full or a checksum was wrong: the same total as `RecvMeta.socketDrops`, modulo
   * 2^32, at any time and after `close()`. With GRO a message is up to 128 datagrams, which are
   * counted once. Absent without the native backend, and before Linux 4.12.
   */
  get socketDrops(): number | undefined {
    return this._engine.socketDrops;
  }

  /**
   * Sets the DSCP of all datagrams, 0..63 (RFC 2474), of both families on a dual-stack socket.
   * `SendMeta.dscp` overrides it. The ECN field of the socket stays as it is.
   *
   * @throws RangeError for another value; SocketError with code `ERR_NOT_SUPPORTED` without the
   * native backend.
   */
  setDscp(dscp: number): void {
    checkInteger("dscp", dscp, 0, DSCP_MAX);
    this._engine.controls.setDscp(dscp);
  }

  /** Allows or forbids broadcast addresses. Forbidden by default. */
  setBroadcast(enabled: boolean): void {
    checkBoolean("enabled", enabled);
    this._engine.controls.setBroadcast(enabled);
  }

  /**
   * Sets the hop limit of unicast datagrams, 1..255, of both families on a dual-stack socket (on the
   * portable backend of IPv6 only). Default: that of the system, mostly 64.
   */
  setTTL(ttl: number): void {
    checkInteger("ttl", ttl, 1, 255);
    this._engine.controls.setTTL(ttl);
  }

  /**
   * Sets the hop limit of multicast datagrams, 0..255, of both families on a dual-stack socket (on
   * the portable backend of IPv6 only). Default 1.
   */
  setMulticastTTL(ttl: number): void {
    checkInteger("ttl", ttl, 0, 255);
    this._engine.controls.setMulticastTTL(ttl);
  }

  /**
   * Enables or disables the loopback of multicast datagrams to this host, of both families on a
   * dual-stack socket (on the portable backend of IPv6 only). Enabled by default.
   */
  setMulticastLoopback(enabled: boolean): void {
    checkBoolean("enabled", enabled);
    this._engine.controls.setMulticastLoopback(enabled);
  }

  /**
   * Sets the interface to send multicast datagrams from, of both families on a dual-stack socket. The
   * index 0 and the addresses `"0.0.0.0"` and `"::"` restore the choice of the system.
   *
   * @throws TypeError if there is no such interface; SocketError if the system refuses.
   */
  setMulticastInterface(value: NetworkInterface): void {
    this._engine.controls.setMulticastInterface(value);
  }

  /**
   * Sets whether the socket receives datagrams to groups that it has not joined, if another socket of
   * the host has (IP_MULTICAST_ALL, IPV6_MULTICAST_ALL), as the option `multicastAll`.
   *
   * @throws SocketError with code `ERR_NOT_SUPPORTED` without the native backend.
   */
  setMulticastAll(enabled: boolean): void {
    checkBoolean("enabled", enabled);
    this._engine.controls.setMulticastAll(enabled);
  }

  /**
   * Joins a multicast group. A dual-stack socket can join groups of both families.
   *
   * @throws TypeError for an invalid membership or an unknown interface; SocketError if the system
   * refuses (`EADDRINUSE` if the socket has joined the group, `ENODEV`).
   */
  addMembership(membership: Membership): void {
    this._engine.controls.addMembership(checkMembership(membership));
  }

  /** Leaves a multicast group. The membership must be the one that was joined. */
  dropMembership(membership: Membership): void {
    this._engine.controls.dropMembership(checkMembership(membership));
  }
}

if (isShared("UdpSocket", UdpSocket)) {
  // @ts-expect-error See `isShared`.
  UdpSocket = sharedClass("UdpSocket");
}

const ALL_METADATA: MetadataOptions = Object.fromEntries(
  METADATA_KINDS.map((kind) => [kind, true]),
);
