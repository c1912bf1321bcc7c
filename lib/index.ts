/** Datagram sockets for Bun: all that is public, and nothing else. */

export { type AddressFamily, SocketAddress } from "./address.ts";
export { AddressMap } from "./address-map.ts";
export { AsyncFd, pollRecvmmsg, pollSendmmsg } from "./async-fd.ts";
export { DgramBuffer } from "./buffer.ts";
export type { Membership } from "./controls.ts";
export type { SocketCounters } from "./counters.ts";
export type { Backend } from "./engine.ts";
export type { TransportError } from "./error-queue.ts";
export { isClosedError, isMessageSizeError, SocketError } from "./errors.ts";
export { AsDatagramSocketRecv, AsDatagramSocketSend } from "./forward.ts";
export { DatagramInfo, type Payload, type Target } from "./info.ts";
export { BATCH_COUNT_MAX, DGRAM_HEADROOM, MAX_BUF_SIZE, MAX_DATAGRAM_SIZE } from "./limits.ts";
export { MaybeConnectedSocket } from "./maybe-connected.ts";
export type { Capabilities, Ecn, ReceiveMetadata, SendMetadata } from "./metadata.ts";
export { isNonblocking, recvmmsg, sendmmsg } from "./mmsg.ts";
export type { Offload } from "./offload.ts";
export type { WaitOptions } from "./operations.ts";
export type { PathMtuDiscovery, TransmitClock } from "./options.ts";
export { DatagramPair, type DatagramPairOptions } from "./pair.ts";
export { Pending, type Poll, pollFn, type Waker, WouldBlock } from "./poll.ts";
export {
  BufferLease,
  type DgramBufferFactory,
  DgramBufferPool,
  type DgramBufferPoolOptions,
  dgramBufferFactory,
} from "./pool.ts";
export {
  type BatchesOptions,
  type DatagramBatch,
  DatagramSocketRecv,
  type RecvManyOptions,
  type RecvRange,
} from "./recv.ts";
export { RecvBatch, type RecvBatchOptions } from "./recv-batch.ts";
export { DatagramSocketSend, type SendManyOptions, type SendRange } from "./send.ts";
export { SendBatch, type SendBatchOptions } from "./send-batch.ts";
export { type PollShutdown, ShutdownConnection, shutdownConnection } from "./shutdown.ts";
export { DatagramSocket, type DatagramSocketWithStats, RawPoolBufDatagramIo } from "./socket.ts";
export {
  type AsSocketStats,
  emptySocketStats,
  QuicAuditStats,
  type SocketStats,
  type StartupExit,
  StartupExitReason,
  StreamClosureKind,
} from "./stats.ts";
export { type HostAndPort, type UdpBindOptions, UdpSocket } from "./udp.ts";
export { UnixDatagram, type UnixOptions } from "./unix.ts";
export {
  decodeVarint,
  encodeVarint,
  VARINT_MAX,
  varintLength,
  varintLengthOfFirstByte,
} from "./varint.ts";
