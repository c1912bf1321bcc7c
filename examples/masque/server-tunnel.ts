/** A tunnel of the server: a request stream, and a UDP socket that is connected to the target. */

import type { TransportError } from "../../lib/index.ts";
import { UdpSocket } from "../../lib/index.ts";
import { Channel } from "./channel.ts";
import { type Counters, socketDropsOf } from "./counters.ts";
import type { DatagramReceiver, DatagramRouter } from "./datagram-router.ts";
import { STREAM_ERROR } from "./http3.ts";
import type { QuicSession, QuicStream } from "./node-quic.ts";
import { enlargeReceiveBuffer, receiveBatches, UdpSender } from "./udp-batches.ts";

/** Datagrams that wait while the name is resolved and the socket is opened. */
const EARLY_DATAGRAMS_MAX = 64;

/** What a tunnel needs of the server. */
export interface TunnelContext {
  readonly session: QuicSession;
  readonly router: DatagramRouter;
  readonly counters: Counters;
  /** Called once, when the tunnel has ended. */
  readonly onEnd: (tunnel: ServerTunnel) => void;
}

interface EarlyDatagram {
  readonly bytes: Uint8Array;
  readonly contextId: number | bigint;
  readonly payloadOffset: number;
}

/** A tunnel: first it is being opened, and keeps a few datagrams. */
export class ServerTunnel implements DatagramReceiver {
  readonly #context: TunnelContext;
  readonly #stream: QuicStream;
  readonly #streamId: bigint;
  #early: EarlyDatagram[] = [];
  #socket: UdpSocket | undefined;
  #sender: UdpSender | undefined;
  #channel: Channel | undefined;
  #lastActiveMs = performance.now();
  #isClosed = false;

  constructor(context: TunnelContext, stream: QuicStream) {
    this.#context = context;
    this.#stream = stream;
    this.#streamId = stream.id as bigint;
    context.router.add(this.#streamId, this);
  }

  /** Returns whether the tunnel has ended. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** When a datagram passed for the last time, in either direction; see `performance.now`. */
  get lastActiveMs(): number {
    return this.#lastActiveMs;
  }

  /**
   * Opens the socket, accepts the request, and forwards from then on.
   *
   * @throws SocketError if the socket cannot be opened.
   */
  async open(address: string, port: number): Promise<void> {
    // Datagrams that are too long for the path are dropped, not fragmented (RFC 9298, section 3.1).
    const socket = await UdpSocket.connect(
      { hostname: address, port },
      { sendErrors: "drop", pathMtuDiscovery: "probe" },
    );
    if (this.#isClosed || this.#stream.destroyed) {
      socket.close();
      this.close();
      return;
    }
    enlargeReceiveBuffer(socket);
    this.#start(socket);
  }

  receive(bytes: Uint8Array, contextId: number | bigint, payloadOffset: number): void {
    if (this.#channel !== undefined) this.#channel.receive(bytes, contextId, payloadOffset);
    else if (this.#early.length < EARLY_DATAGRAMS_MAX) {
      this.#early.push({ bytes, contextId, payloadOffset });
    } else this.#context.counters.drops.opening++;
  }

  abort(code: bigint): void {
    this.#context.counters.aborted++;
    this.close(code);
  }

  /** Ends the tunnel: without a code, the stream ends after what was written. */
  close(code?: bigint): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { router, counters, onEnd } = this.#context;
    router.remove(this.#streamId);
    this.#sender?.close();
    if (this.#socket !== undefined) {
      this.#socket.close();
      counters.socketDrops += socketDropsOf(this.#socket);
    }
    this.#channel?.close(code);
    counters.drops.closed += this.#early.length;
    this.#early = [];
    onEnd(this);
  }

  #start(socket: UdpSocket): void {
    const { session, counters } = this.#context;
    this.#socket = socket;
    const sender = new UdpSender(socket, counters);
    this.#sender = sender;
    this.#stream.sendHeaders({ ":status": "200", "capsule-protocol": "?1" }, { terminal: false });
    counters.opened++;
    const channel = new Channel({
      session,
      stream: this.#stream,
      carrier: session.maxDatagramSize > 0 ? "frames" : "capsules",
      counters,
      onPayload: (bytes, offset, length) => {
        this.#lastActiveMs = performance.now();
        sender.push(bytes, offset, length);
      },
      onEnd: (fault) => (fault === undefined ? this.close() : this.abort(fault)),
    });
    this.#channel = channel;
    for (const one of this.#early) {
      channel.receive(one.bytes, one.contextId, one.payloadOffset);
    }
    this.#early = [];
    socket.onTransportError((error) => this.#onTransportError(error));
    receiveBatches(socket, counters, (batch) => {
      this.#lastActiveMs = performance.now();
      for (let i = 0; i < batch.length; i++) {
        channel.send(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
      }
      channel.flush();
    });
  }

  /** The target is unreachable: the stream must be closed (RFC 9298, section 3.1). */
  #onTransportError({ code }: TransportError): void {
    this.#context.counters.transportErrors++;
    // A datagram that was too long for the path: the others may pass.
    if (code !== "EMSGSIZE") this.abort(STREAM_ERROR.connect);
  }
}
