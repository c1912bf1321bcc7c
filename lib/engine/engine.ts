/**
 * The interface between sockets and the code that transfers their datagrams. There are two
 * implementations: native/, which has all features, and portable/, which uses only `Bun.udpSocket`
 * and works wherever Bun does.
 */

import type { SocketAddress } from "../address/socket-address.ts";
import type { RecvBatch } from "../batch/recv-batch.ts";
import type { SendBatch } from "../batch/send-batch.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import type { Destinations } from "../datagram/destination.ts";
import type { Capabilities, MetadataOptions } from "../datagram/metadata-options.ts";
import type { Payload, Sendable, Target } from "../datagram/payload.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import type { UdpControls } from "../datagram/udp-interface.ts";
import type { Poll, Waker } from "../poll/poll.ts";
import { typeError } from "../support/check.ts";

/** The name of an engine. */
export type Backend = "native" | "portable";

/**
 * The handling of datagrams that the system refuses (EPERM, ENOBUFS, EMSGSIZE, ENETUNREACH,
 * EHOSTUNREACH, EINVAL for an address, and others).
 *
 * - `"throw"`: the call that sends the datagram fails.
 * - `"drop"`: the datagram is dropped and counted (`counters.sendDrops`), and the call continues
 *   with the next one. Counts that calls return include dropped datagrams. ICMP errors about earlier
 *   datagrams are counted as well and make no send fail; receives of a connected socket still throw
 *   them if there is no handler (`onTransportError`). Invalid arguments, a missing destination and a
 *   closed socket still throw.
 */
export type SendErrors = "throw" | "drop";

/** @throws TypeError for another value than those of `SendErrors`. */
export function checkSendErrors(value: SendErrors | undefined): void {
  if (value !== undefined && value !== "throw" && value !== "drop") {
    throw typeError("sendErrors", '"throw" or "drop"', value);
  }
}

/**
 * Transfers the datagrams of one socket. The callers have checked the ranges of arrays. The engine
 * reads each element of an array once, and checks it before it transfers any datagram.
 */
export interface Engine {
  readonly backend: Backend;
  readonly counters: SocketCounters;
  /** `counters.sendDrops` by error code. */
  readonly sendDropsByCode: Readonly<Record<string, number>>;
  /** The address that the socket is bound to. */
  readonly localAddr: SocketAddress;
  /** The connected peer. */
  readonly peerAddr: SocketAddress | undefined;
  /** The settings of the socket. @throws SocketError if it is closed. */
  readonly controls: UdpControls;
  /** Whether a batch to several peers is sent faster if it is grouped by peer. */
  readonly prefersGroups: boolean;
  /** The descriptor; absent if the socket is closed or the engine has none. */
  readonly fd: number | undefined;

  /** The number of datagrams that were received from the system and not returned yet. */
  readonly unread: number;

  /** The number of messages that the kernel has dropped; absent if the engine does not know. */
  readonly socketDrops?: number | undefined;

  /** Stops reading ahead: the caller may read from the descriptor by other means from now on. */
  stopReadingAhead?(): void;

  /** As `DatagramSocketRecv.pollRecvMany`, into buffers `start` to `end - 1`. */
  receive(
    waker: Waker | null,
    bufs: readonly Target[],
    start: number,
    end: number,
    meta: readonly RecvMeta[] | undefined,
  ): Poll<number>;

  /** As `DatagramSocketRecv.pollRecvBatch`, into an empty batch. */
  receiveBatch(waker: Waker | null, batch: RecvBatch): Poll<number>;

  /** As `DatagramSocketSend.pollSendMany`, for datagrams `start` to `end - 1`. */
  send(
    waker: Waker | null,
    bufs: readonly Sendable[],
    start: number,
    end: number,
    to: Destinations,
  ): Poll<number>;

  /** Sends one datagram, as `send` does: returns 1 when it was sent. */
  sendOne(waker: Waker | null, buf: Payload, to: SocketAddress | undefined): Poll<number>;

  /** As `DatagramSocketSend.pollSendBatch`. Absent: one by one with `send`, without metadata. */
  sendBatch?(waker: Waker | null, batch: SendBatch): Poll<number>;

  /** As `UdpSocket.enableMetadata`. */
  enableMetadata(options: MetadataOptions): Capabilities;
  /** As `UdpSocket.onTransportError`. */
  setTransportErrorHandler(handler: ((error: TransportError) => void) | undefined): void;
  ref(): void;
  unref(): void;
  /** Closes the socket and wakes all waiters. Idempotent. */
  close(): void;
  /** Returns the descriptor without closing it, and wakes all waiters. Absent: as `fd`. */
  release(): number | undefined;
}
