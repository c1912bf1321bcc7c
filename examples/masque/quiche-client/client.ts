/**
 * A second, independent connect-udp client: quiche, with a minimal HTTP/3 of its own. It shares no
 * code with `node:quic`, so that both ends cannot be wrong in the same way.
 */

import { SocketAddress } from "../../../lib/index.ts";
import {
  CapsuleDecoder,
  encodeCapsule,
  HttpDatagramHeader,
  httpDatagramPrefix,
} from "../../../lib/masque/index.ts";
import { BatchIo } from "../../quiche/batch-io.ts";
import type { QuicConnection } from "../../quiche/connection.ts";
import { QuicEndpoint } from "../../quiche/driver.ts";
import type { Quiche } from "../../quiche/quiche.ts";
import type { QuicStream } from "../../quiche/stream.ts";
import { CONTROL_STREAM, encodeFrame, FRAME, SETTING_DATAGRAM } from "./frames.ts";
import { decodeStatus, encodeFields } from "./qpack.ts";

/** A request field. */
export type Field = readonly [name: string, value: string];

/** A connection to a proxy. */
export class QuicheMasqueClient implements AsyncDisposable {
  readonly connection: QuicConnection;
  readonly #endpoint: QuicEndpoint;
  readonly #tunnels = new Map<number | bigint, QuicheTunnel>();
  readonly #header = new HttpDatagramHeader();

  private constructor(endpoint: QuicEndpoint, connection: QuicConnection) {
    this.#endpoint = endpoint;
    this.connection = connection;
  }

  /** @throws Error if the handshake fails. */
  static async connect(quiche: Quiche, port: number, ca: string): Promise<QuicheMasqueClient> {
    const io = await BatchIo.bind({ hostname: "127.0.0.1" });
    const endpoint = new QuicEndpoint(quiche, io, { protocol: "h3", trusted: ca });
    const connection = endpoint.connect(SocketAddress.ip("127.0.0.1", port));
    const client = new QuicheMasqueClient(endpoint, connection);
    // The proxy's control stream and those of QPACK: read, and ignored.
    connection.onStream = (stream) => {
      stream.onData = () => {};
    };
    connection.onDatagram = (bytes) => client.#receive(bytes);
    await connection.established;
    const settings = encodeFrame(FRAME.settings, Uint8Array.of(SETTING_DATAGRAM, 1));
    const control = connection.openStream({ isUnidirectional: true });
    await control.write(Buffer.concat([Uint8Array.of(CONTROL_STREAM), settings]));
    return client;
  }

  /** Sends a request, and returns its tunnel, whose `status` resolves with the response. */
  request(fields: readonly Field[]): QuicheTunnel {
    const stream = this.connection.openStream();
    const tunnel = new QuicheTunnel(this.connection, stream);
    this.#tunnels.set(stream.id, tunnel);
    tunnel.send(encodeFrame(FRAME.headers, encodeFields(fields)));
    return tunnel;
  }

  /** Sends a connect-udp request. */
  connectUdp(path: string, ...more: readonly Field[]): QuicheTunnel {
    return this.request([
      [":method", "CONNECT"],
      [":protocol", "connect-udp"],
      [":scheme", "https"],
      [":authority", "localhost"],
      [":path", path],
      ["capsule-protocol", "?1"],
      ...more,
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endpoint.close({ code: 0x100, timeoutMs: 100 });
  }

  #receive(bytes: Uint8Array): void {
    if (this.#header.parse(bytes) !== undefined || this.#header.contextId !== 0) return;
    const { streamId, payloadOffset } = this.#header;
    this.#tunnels.get(streamId)?.onPayload?.(bytes.slice(payloadOffset));
  }
}

/** A request stream. */
export class QuicheTunnel {
  readonly stream: QuicStream;
  /** The status of the response. */
  readonly status: Promise<number>;
  /** Resolves when the proxy has ended or reset the stream. */
  readonly ended: Promise<void>;
  onPayload: ((payload: Uint8Array) => void) | undefined;
  readonly #connection: QuicConnection;
  readonly #prefix: Uint8Array;

  constructor(connection: QuicConnection, stream: QuicStream) {
    this.#connection = connection;
    this.stream = stream;
    this.#prefix = httpDatagramPrefix(stream.id);
    const status = Promise.withResolvers<number>();
    const ended = Promise.withResolvers<void>();
    this.status = status.promise;
    this.status.catch(() => {});
    this.ended = ended.promise;
    const capsules = new CapsuleDecoder((_, value) => this.onPayload?.(value.slice(1)));
    // Frames have the form of capsules: DATA frames contain the capsules.
    const frames = new CapsuleDecoder(
      (type, payload) => {
        if (type === FRAME.data) capsules.push(payload);
        else status.resolve(decodeStatus(payload));
      },
      { types: [FRAME.data, FRAME.headers], valueBytesMax: 1 << 20 },
    );
    stream.onData = (bytes, fin) => {
      frames.push(bytes);
      if (!fin) return;
      status.reject(new Error("the stream ended without a response"));
      ended.resolve();
    };
  }

  /** Writes bytes to the stream. */
  send(bytes: Uint8Array, fin = false): void {
    this.stream.write(bytes, fin).catch(() => {});
  }

  /** Sends a payload in a DATAGRAM frame. */
  sendDatagram(payload: Uint8Array): boolean {
    return this.#connection.sendDatagram(Buffer.concat([this.#prefix, payload]));
  }

  /** Sends a payload in a DATAGRAM capsule. */
  sendCapsule(payload: Uint8Array): void {
    const value = Buffer.concat([Uint8Array.of(0), payload]);
    this.send(encodeFrame(FRAME.data, encodeCapsule(0, value)));
  }
}
