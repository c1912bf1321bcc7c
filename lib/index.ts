/** Datagram sockets for Bun: all that is public, and nothing else. */

export { type AddressFamily, SocketAddress } from "./address/address.ts";
export { AddressMap } from "./address/address-map.ts";
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
export type { TransportError } from "./datagram/error-queue.ts";
export { DatagramInfo, type Payload, type Target } from "./datagram/info.ts";
export type { Capabilities, Ecn, ReceiveMetadata, SendMetadata } from "./datagram/metadata.ts";
export type { Membership, TransmitClock } from "./engine/controls.ts";
export type { Backend } from "./engine/engine.ts";
export type { Offload } from "./engine/offload.ts";
export type { PathMtuDiscovery } from "./engine/options.ts";
export { AsyncFd, pollRecvmmsg, pollSendmmsg } from "./sockets/async-fd.ts";
export { isNonblocking, recvmmsg, sendmmsg } from "./sockets/mmsg.ts";
export { UdpSocket } from "./sockets/udp.ts";
export type { HostAndPort, UdpAdoptOptions, UdpBindOptions } from "./sockets/udp-options.ts";
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
export type { WaitOptions } from "./traits/operations.ts";
export { DatagramPair, type DatagramPairOptions } from "./traits/pair.ts";
export { Pending, type Poll, pollFn, type Waker, WouldBlock } from "./traits/poll.ts";
export {
  type BatchesOptions,
  type DatagramBatch,
  DatagramSocketRecv,
  type RecvManyOptions,
  type RecvRange,
} from "./traits/recv.ts";
export { DatagramSocketSend, type SendManyOptions, type SendRange } from "./traits/send.ts";
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
