/**
 * Datagram sockets for Bun: UDP and Unix datagrams, one at a time or in batches.
 *
 * - {@link UdpSocket} opens UDP sockets, {@link UnixDatagram} Unix sockets. Both have promises (`recv`,
 *   `sendTo`), calls that do not wait (`tryRecv`, `trySendTo`) and polls (`pollRecv`).
 * - {@link RecvBatch} and {@link SendBatch} hold many datagrams for one system call, without copies.
 * - {@link DgramBuffer} is a buffer with headroom for headers, {@link DgramBufferPool} reuses them.
 * - {@link DatagramSocket} is the base class of sockets of your own.
 *
 * @example
 * ```ts
 * await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", port: 5353 });
 * for await (const { data, peer } of socket) if (peer) await socket.sendTo(data, peer);
 * ```
 * @module
 */

export { AddressMap } from "./address/address-map.ts";
export type { NetworkInterface } from "./address/interfaces.ts";
export type { HostAndPort } from "./address/resolve.ts";
export { type AddressFamily, SocketAddress } from "./address/socket-address.ts";
export { RecvBatch, type RecvBatchOptions } from "./batch/recv-batch.ts";
export { SendBatch, type SendBatchOptions } from "./batch/send-batch.ts";
export { DgramBuffer } from "./buffer/buffer.ts";
export {
  BufferLease,
  type DgramBufferFactory,
  DgramBufferPool,
  type DgramBufferPoolOptions,
  dgramBufferFactory,
} from "./buffer/pool.ts";
export {
  decodeVarint,
  encodeVarint,
  VARINT_MAX,
  varintLength,
  varintLengthOfFirstByte,
} from "./buffer/varint.ts";
export type { SocketCounters } from "./datagram/counters.ts";
export type { AddressAndPort, Destination } from "./datagram/destination.ts";
export type { Capabilities, MetadataOptions } from "./datagram/metadata-options.ts";
export type { Payload, Sendable, Target } from "./datagram/payload.ts";
export type { RecvRange, SendRange } from "./datagram/ranges.ts";
export { RecvMeta } from "./datagram/recv-meta.ts";
export type { ReusePortSteering, SteeringOrigin } from "./datagram/reuse-port-steering.ts";
export type { Ecn, SendMeta } from "./datagram/send-meta.ts";
export type { TransportError } from "./datagram/transport-error.ts";
export type { Membership, TransmitClock } from "./datagram/udp-interface.ts";
export type { Backend, SendErrors } from "./engine/engine.ts";
export type { Offload } from "./linux/offload.ts";
export type { PathMtuDiscovery } from "./linux/socket-options.ts";
export type { WaitOptions } from "./poll/operation-queue.ts";
export { Pending, type Poll, pollFn, type Waker, WouldBlock } from "./poll/poll.ts";
export { AsyncFd, pollRecvmmsg, pollSendmmsg } from "./sockets/async-fd.ts";
export { DatagramPair, type DatagramPairOptions } from "./sockets/datagram-pair.ts";
export { isNonblocking, recvmmsg, sendmmsg } from "./sockets/mmsg.ts";
export { ReceivedFds, type RecvFdsOptions, type SendFdsOptions } from "./sockets/passed-fds.ts";
export { UdpSocket } from "./sockets/udp.ts";
export type { UdpAdoptOptions, UdpBindOptions } from "./sockets/udp-options.ts";
export { UnixDatagram, type UnixOptions } from "./sockets/unix.ts";
export { isClosedError, isMessageSizeError, SocketError } from "./support/errors.ts";
export {
  BATCH_COUNT_MAX,
  DGRAM_HEADROOM,
  MAX_BUF_SIZE,
  MAX_DATAGRAM_SIZE,
} from "./support/limits.ts";
export { AsDatagramSocketRecv, AsDatagramSocketSend } from "./traits/forward.ts";
export { MaybeConnectedSocket } from "./traits/maybe-connected.ts";
export {
  type BatchesOptions,
  type Datagram,
  type DatagramBatch,
  DatagramSocketRecv,
  type RecvManyOptions,
} from "./traits/recv.ts";
export { DatagramSocketSend, type SendManyOptions } from "./traits/send.ts";
export { type PollShutdown, ShutdownConnection, shutdownConnection } from "./traits/shutdown.ts";
export {
  DatagramSocket,
  type DatagramSocketWithStats,
  RawPoolBufDatagramIo,
} from "./traits/socket.ts";
export {
  type AsSocketStats,
  emptySocketStats,
  QuicAuditStats,
  type SocketStats,
  type StartupExit,
  StartupExitReason,
  StreamClosureKind,
} from "./traits/stats.ts";
