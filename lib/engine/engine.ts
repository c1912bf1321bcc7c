/**
 * The seam between sockets and what moves their datagrams. Two engines stand behind it: the
 * shim's (shim-engine.ts), which has all, and the portable one on `Bun.udpSocket`
 * (portable-engine.ts), which works wherever Bun does.
 */

import type { SocketAddress } from "../address/address.ts";
import type { RecvBatch } from "../batch/recv-batch.ts";
import type { SendBatch } from "../batch/send-batch.ts";
import type { SocketCounters } from "../datagram/counters.ts";
import type { Destinations } from "../datagram/destination.ts";
import type { TransportError } from "../datagram/error-queue.ts";
import type { DatagramInfo, Payload, Target } from "../datagram/info.ts";
import type { Capabilities, ReceiveMetadata } from "../datagram/metadata.ts";
import type { Poll, Waker } from "../traits/poll.ts";
import type { UdpControls } from "./controls.ts";

/** Which engine drives a socket. */
export type Backend = "shim" | "portable";

/**
 * Moves the datagrams of one socket. Ranges are checked by then; what is in arrays, the engine
 * checks before it moves any.
 */
export interface Engine {
  readonly backend: Backend;
  readonly counters: SocketCounters;
  /** Where it is bound. */
  readonly localAddr: SocketAddress;
  /** Where it is connected to. */
  readonly peerAddr: SocketAddress | undefined;
  /** Its settings. @throws SocketError when it is closed. */
  readonly controls: UdpControls;
  /** Its descriptor; absent when closed, or where the engine has none. */
  readonly fd: number | undefined;

  /** As `DatagramSocketRecv.pollRecvMany`, into buffers `start` to `end - 1`. */
  receive(
    waker: Waker | null,
    bufs: readonly Target[],
    start: number,
    end: number,
    info: readonly DatagramInfo[] | undefined,
  ): Poll<number>;

  /** As `DatagramSocketRecv.pollRecvBatch`, into a batch that is empty. */
  receiveBatch(waker: Waker | null, batch: RecvBatch): Poll<number>;

  /** As `DatagramSocketSend.pollSendMany`, for datagrams `start` to `end - 1`. */
  send(
    waker: Waker | null,
    bufs: readonly Payload[],
    start: number,
    end: number,
    to: Destinations,
  ): Poll<number>;

  /** As `DatagramSocketSend.pollSendBatch`. Absent: datagrams go one by one, without metadata. */
  sendBatch?(waker: Waker | null, batch: SendBatch): Poll<number>;

  /** Asks for metadata of received datagrams: what was granted. */
  receiveMetadata(wanted: ReceiveMetadata): Capabilities;
  /** Has errors that the network reports told to `tell` instead of thrown by the next call. */
  tellTransportErrors(tell: ((error: TransportError) => void) | undefined): void;
  ref(): void;
  unref(): void;
  /** Closes it, and wakes whoever waits. Idempotent. */
  close(): void;
  /** Lets the descriptor go without closing it; whoever waits is woken. Absent: as `fd`. */
  release(): number | undefined;
}
