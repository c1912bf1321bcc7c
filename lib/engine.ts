/**
 * The seam between sockets and what moves their datagrams. Two engines stand behind it: the
 * shim's (lib/shim-engine.ts), which has all, and the portable one on `Bun.udpSocket`
 * (lib/portable-engine.ts), which works wherever Bun does.
 */

import type { SocketAddress } from "./address.ts";
import type { SocketCounters } from "./counters.ts";
import type { TransportError } from "./error-queue.ts";
import type { DatagramInfo, Payload, Target } from "./info.ts";
import type { Capabilities, ReceiveMetadata } from "./metadata.ts";
import type { TransmitClock } from "./options.ts";
import type { Poll, Waker } from "./poll.ts";
import type { RecvBatch } from "./recv-batch.ts";
import type { SendBatch } from "./send-batch.ts";

/** Which engine drives a socket. */
export type Backend = "shim" | "portable";

/** Multicast groups are joined and left by this. */
export interface Membership {
  /** The group's address. */
  readonly group: string;
  /** The only sender wanted (source-specific multicast, RFC 4607). Default: all. */
  readonly source?: string | undefined;
  /** The interface by one of its addresses. Default: the system's choice. */
  readonly interfaceAddress?: string | undefined;
}

/** What UDP sockets let be set while they are open. */
export interface UdpControls {
  setBroadcast(enabled: boolean): void;
  setTTL(ttl: number): void;
  setMulticastTTL(ttl: number): void;
  setMulticastLoopback(enabled: boolean): void;
  setMulticastInterface(interfaceAddress: string): void;
  addMembership(membership: Membership): void;
  dropMembership(membership: Membership): void;
}

/** Moves the datagrams of one socket. Arguments are checked by then. */
export interface Engine extends UdpControls {
  readonly backend: Backend;
  readonly counters: SocketCounters;
  /** Where it is bound. */
  readonly localAddr: SocketAddress;
  /** Where it is connected to. */
  readonly peerAddr: SocketAddress | undefined;
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

  /** Receives into `batch`: how many datagrams. */
  receiveBatch(waker: Waker | null, batch: RecvBatch): Poll<number>;

  /** As `DatagramSocketSend.pollSendMany`, for datagrams `start` to `end - 1`. */
  send(
    waker: Waker | null,
    bufs: readonly Payload[],
    start: number,
    end: number,
    to: SocketAddress | readonly SocketAddress[] | undefined,
  ): Poll<number>;

  /** Sends what waits in `batch`: how many datagrams, which the batch no longer has. */
  sendBatch(waker: Waker | null, batch: SendBatch): Poll<number>;

  /** Asks for metadata of received datagrams: what was granted. */
  receiveMetadata(wanted: ReceiveMetadata): Capabilities;
  /** Has errors that the network reports told to `tell` instead of thrown by the next call. */
  tellTransportErrors(tell: ((error: TransportError) => void) | undefined): void;
  /** Whether IP may fragment datagrams. */
  readonly mayFragment: boolean;
  /** Lets datagrams say when they are to be sent. */
  setTransmitTimes(clock: TransmitClock): void;
  /** What that clock shows. */
  readonly transmitClockNs: bigint;

  /** The sizes of the kernel's buffers in bytes, as the kernel counts them. */
  bufferBytes(): { receive: number; send: number };
  ref(): void;
  unref(): void;
  /** Closes it, and wakes whoever waits. Idempotent. */
  close(): void;
  /** Lets the descriptor go without closing it; whoever waits is woken. Absent: as `fd`. */
  release(): number | undefined;
}
