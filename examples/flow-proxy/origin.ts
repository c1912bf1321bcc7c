/** An upstream server for demonstrations: sends every datagram back to its sender. */

import type { Backend, HostAndPort, SocketAddress } from "../../lib/index.ts";
import { newSendBatch } from "./batch-io.ts";
import { newEndpointCounters } from "./counters.ts";
import { batchSink, Forwarder, TUNNEL_DATAGRAM_BYTES_MAX } from "./forwarder.ts";
import type { ProxySocket } from "./open-socket.ts";
import { type Runtime, systemRuntime } from "./runtime.ts";

export interface OriginOptions {
  readonly listen: HostAndPort;
  readonly backend?: Backend | undefined;
  /** Default: the operating system. */
  readonly runtime?: Runtime | undefined;
}

/** A running echo server. */
export class Origin {
  readonly #socket: ProxySocket;

  private constructor(socket: ProxySocket, runtime: Runtime) {
    this.#socket = socket;
    const counters = newEndpointCounters();
    const out = newSendBatch();
    const sink = batchSink(socket, out, counters, (batch, i) => {
      out.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i), batch.peerAt(i));
    });
    const datagramBytesMax = TUNNEL_DATAGRAM_BYTES_MAX;
    new Forwarder(socket, { sink, counters, datagramBytesMax, runtime }).run();
  }

  /** @throws SocketError if the socket cannot be opened. */
  static async open(options: OriginOptions): Promise<Origin> {
    const { listen, backend, runtime = systemRuntime } = options;
    return new Origin(await runtime.openSocket({ ...listen, backend }), runtime);
  }

  /** The address that the server listens on. */
  get localAddr(): SocketAddress {
    return this.#socket.localAddr;
  }

  /** The backend of the socket. */
  get backend(): string {
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
