/** An upstream for demonstrations: sends every datagram back to where it came from. */

import type { Backend, HostAndPort, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { newSendBatch, Receiver, sinkInto, TUNNEL_DATAGRAM_BYTES_MAX } from "./batch.ts";
import { newHalfCounts } from "./counts.ts";
import { openSocket } from "./open.ts";

export interface OriginOptions {
  readonly listen: HostAndPort;
  readonly backend?: Backend | undefined;
}

/** A running echo server. */
export class Origin {
  readonly #socket: UdpSocket;

  private constructor(socket: UdpSocket) {
    this.#socket = socket;
    const counts = newHalfCounts();
    const out = newSendBatch();
    const sink = sinkInto(socket, out, counts, (batch, i) => {
      out.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i), batch.peerAt(i));
    });
    new Receiver(socket, { sink, counts, datagramBytesMax: TUNNEL_DATAGRAM_BYTES_MAX }).run();
  }

  /** @throws SocketError when the socket cannot be opened. */
  static async open({ listen, backend }: OriginOptions): Promise<Origin> {
    return new Origin(await openSocket({ ...listen, backend }));
  }

  get localAddr(): SocketAddress {
    return this.#socket.localAddr;
  }

  /** Which engine drives its sockets. */
  get backend(): Backend {
    return this.#socket.backend;
  }

  /** Datagrams sent back so far. */
  get answered(): number {
    return this.#socket.counters.datagramsSent;
  }

  close(): void {
    this.#socket.close();
  }
}
