/**
 * What both ends of a secure tunnel have in common. Each tunnel datagram is the contents of a QUIC
 * DATAGRAM frame (RFC 9221): encrypted, authenticated, subject to congestion control, not repeated
 * when it is lost.
 *
 * An ingress connects to its egress, which checks its certificate. On its first stream the ingress
 * sends the ID of its session, and the egress replies with one byte. From then on both send.
 *
 * A datagram that cannot be sent is dropped and counted, never queued for long: the flows of a
 * tunnel must not wait for each other, and an egress serves many tunnels.
 */

import {
  DatagramSocket,
  type Payload,
  Pending,
  type Poll,
  type RecvMeta,
  type SocketAddress,
  type SocketCounters,
  SocketError,
  type Target,
  type UdpSocket,
  type Waker,
} from "../../lib/index.ts";
import type { QuicConnection } from "../quiche/connection.ts";
import type { EndpointOptions } from "../quiche/driver.ts";
import { type DropCounters, sumCounters } from "./counters.ts";
import { DatagramRing } from "./datagram-ring.ts";
import { TUNNEL_PROTOCOL, type TunnelSecurity } from "./tunnel-security.ts";

/** The length of a session ID in bytes. */
export const SESSION_ID_BYTES = 8;
/** What the egress replies on the first stream. */
export const ACCEPTED = 1;

/** The codes with which the ends close connections. */
export const CLOSE = {
  done: 0,
  wrongCertificate: 1,
  replaced: 2,
  protocol: 3,
  addresses: 4,
} as const;

/** The paths of a connection: the first, and one for each change of an address. */
export const PATHS_MAX = 8;
/** Connections without packets end after this time by default. */
const IDLE_TIMEOUT_MS = 5000;
/** Datagrams that wait for the congestion control. Others are dropped: they would be late. */
const SEND_QUEUE_DATAGRAMS = 1024;
/** Datagrams that were received and have not been forwarded. */
const RECEIVE_QUEUE_DATAGRAMS = 2048;

/** The maximum length of the peer's reason for closing a connection in the log. */
const REASON_LENGTH_MAX = 100;

/** Returns the options of a QUIC endpoint. */
export function endpointOptions({
  identity,
  idleTimeoutMs = IDLE_TIMEOUT_MS,
}: TunnelSecurity): EndpointOptions & { readonly idleTimeoutMs: number } {
  return {
    protocol: TUNNEL_PROTOCOL,
    identity,
    acceptsAnyCertificate: true,
    idleTimeoutMs,
    datagramsMax: SEND_QUEUE_DATAGRAMS,
    connectionIdsMax: PATHS_MAX,
    streamsMax: 1,
    streamWindowBytes: 4096,
  };
}

/** One end of a secure tunnel: a datagram socket of which the other half knows nothing else. */
export abstract class SecureTunnel extends DatagramSocket {
  /** QUIC runs on the native backend only. */
  readonly backend = "native" as const;
  readonly #drops: DropCounters;
  readonly #received = new DatagramRing(RECEIVE_QUEUE_DATAGRAMS);
  readonly #totals = { sent: 0, bytesSent: 0, received: 0, bytesReceived: 0, dropped: 0 };
  #waker: Waker | null = null;
  #isWakeScheduled = false;
  #isClosed = false;
  #socket: UdpSocket;
  /** The sum of the counters of the UDP sockets before. */
  #earlier: SocketCounters | undefined;

  constructor(socket: UdpSocket, drops: DropCounters) {
    super();
    this.#socket = socket;
    this.#drops = drops;
  }

  /** The local address of the UDP socket. */
  get localAddr(): SocketAddress {
    return this.#socket.localAddr;
  }

  /** Returns the connection for datagrams to `to`; absent if there is none at the moment. */
  protected abstract connectionTo(to: SocketAddress | undefined): QuicConnection | undefined;

  /** Closes the connections and the UDP socket. */
  protected abstract closeConnections(): void;

  /** Whether `close` was called. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Those of the UDP socket, but the numbers of datagrams and their bytes are those in the tunnel. */
  get counters(): SocketCounters {
    const { sent, bytesSent, received, bytesReceived, dropped } = this.#totals;
    const now = this.#socket.counters;
    const counters = this.#earlier === undefined ? now : sumCounters([this.#earlier, now]);
    return {
      ...counters,
      datagramsSent: sent,
      bytesSent,
      datagramsReceived: received,
      bytesReceived,
      datagramsDropped: counters.datagramsDropped + dropped,
    };
  }

  override pollSend(_waker: Waker | null, buf: Payload): Poll<number> {
    return this.#send(buf, undefined);
  }

  override pollSendTo(_waker: Waker | null, buf: Payload, to: SocketAddress): Poll<number> {
    return this.#send(buf, to);
  }

  /** Sends a datagram, or drops and counts it. Never waits. */
  #send(buf: Payload, to: SocketAddress | undefined): number {
    if (this.#isClosed) throw closedError("send");
    const bytes = buf instanceof Uint8Array ? buf : buf.asSlice();
    const { length } = bytes;
    const connection = this.connectionTo(to);
    if (connection === undefined) {
      this.#drops.disconnected++;
    } else if (length > connection.datagramBytesMax) {
      this.#drops.oversize++;
    } else if (!connection.sendDatagram(bytes)) {
      this.#drops.congested++;
    } else {
      this.#totals.sent++;
      this.#totals.bytesSent += length;
    }
    return length;
  }

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    if (this.#isClosed) throw closedError("recv");
    const length = this.#received.shift(buf, meta);
    if (length === undefined) {
      if (waker !== null) this.#waker = waker;
      return Pending;
    }
    this.#totals.received++;
    this.#totals.bytesReceived += length;
    return length;
  }

  /** Replaces the UDP socket. */
  protected useSocket(socket: UdpSocket): void {
    const { counters } = this.#socket;
    this.#earlier = this.#earlier === undefined ? counters : sumCounters([this.#earlier, counters]);
    this.#socket = socket;
  }

  /** Queues a received datagram, which is copied. `from` is absent at an ingress. */
  protected deliver(bytes: Uint8Array, from: SocketAddress | undefined): void {
    if (!this.#received.push(bytes, from)) this.#totals.dropped++;
    if (this.#isWakeScheduled) return;
    this.#isWakeScheduled = true;
    // After the datagrams of all packets that the driver has received in this cycle.
    queueMicrotask(() => {
      this.#isWakeScheduled = false;
      const waker = this.#waker;
      this.#waker = null;
      waker?.();
    });
  }

  /** Counts the datagrams that a connection had not sent when it ended. */
  protected countUnsent(connection: QuicConnection): void {
    const count = connection.datagramsQueued;
    this.#drops.disconnected += count;
    this.#totals.sent -= count;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#totals.dropped += this.#received.length;
    this.closeConnections();
  }
}

/** Returns text of the peer for a line of the log, without control characters. */
export function printable(text: string): string {
  return text.slice(0, REASON_LENGTH_MAX).replace(/[^ -~]/g, "?");
}

function closedError(syscall: string): SocketError {
  return new SocketError({ errno: 0, code: "ERR_SOCKET_CLOSED", syscall });
}
