/** An upstream server for demonstrations: sends every datagram back to its sender. */

import type { Backend, HostAndPort, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { newSendBatch } from "./batch-io.ts";
import { newEndpointCounters } from "./counters.ts";
import { batchSink, Forwarder, TUNNEL_DATAGRAM_BYTES_MAX } from "./forwarder.ts";
import { openSocket } from "./open-socket.ts";

export interface OriginOptions {
  readonly listen: HostAndPort;
  readonly backend?: Backend | undefined;
}

/** A running echo server. */
export class Origin {
  readonly #socket: UdpSocket;

  private constructor(socket: UdpSocket) {
    this.#socket = socket;
    const counters = newEndpointCounters();
    const out = newSendBatch();
    const sink = batchSink(socket, out, counters, (batch, i) => {
      out.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i), batch.peerAt(i));
    });
    new Forwarder(socket, { sink, counters, datagramBytesMax: TUNNEL_DATAGRAM_BYTES_MAX }).run();
  }

  /** @throws SocketError if the socket cannot be opened. */
  static async open({ listen, backend }: OriginOptions): Promise<Origin> {
    return new Origin(await openSocket({ ...listen, backend }));
  }

  /** The address that the server listens on. */
  get localAddr(): SocketAddress {
    return this.#socket.localAddr;
  }

  /** The backend of the socket. */
  get backend(): Backend {
    return this.#socket.backend;
  }

  /** The number of datagrams sent back. */
  get replies(): number {
    return this.#socket.counters.datagramsSent;
  }

  close(): void {
    this.#socket.close();
  }
}
