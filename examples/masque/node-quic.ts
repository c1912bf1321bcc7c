/** Bun's `node:quic`, as far as it is used here. Bun's types lack the module, which is experimental. */

import type { KeyObject, X509Certificate } from "node:crypto";
import { createRequire } from "node:module";

/** Fields of a request or a response. Fields that are repeated are arrays. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What is the same in the options of `listen` and `connect`. */
export interface CommonOptions {
  readonly application: {
    readonly enableConnectProtocol: boolean;
    readonly enableDatagrams: boolean;
  };
  readonly transportParams: Readonly<Record<string, bigint>>;
  /** In milliseconds: how often an idle connection sends a PING. */
  readonly keepAlive?: number;
  /** Drops the DATAGRAM that does not fit into the queue, not the oldest one in it. */
  readonly datagramDropPolicy: "drop-newest";
}

/** Options of `listen`. */
export interface ListenOptions extends CommonOptions {
  readonly endpoint: {
    readonly address: { readonly address: string; readonly port: number; readonly family: string };
    readonly maxConnectionsPerHost?: number;
    readonly maxConnectionsTotal?: number;
    /** Validates addresses with Retry packets before a connection uses memory. */
    readonly validateAddress?: boolean;
  };
  readonly alpn: readonly string[];
  readonly sni: Readonly<
    Record<string, { readonly keys: readonly KeyObject[]; readonly certs: readonly Uint8Array[] }>
  >;
}

/** Options of `connect`. */
export interface ConnectOptions extends CommonOptions {
  readonly alpn: string;
  readonly servername?: string;
  readonly ca?: readonly Uint8Array[];
  /**
   * `"manual"`: a certificate that is not valid does not end the connection. `"auto"` compares its
   * names with `servername`, but no IP addresses.
   */
  readonly verifyPeer?: "auto" | "manual";
  /** False: the connection gets a socket of its own. */
  readonly reuseEndpoint: boolean;
}

/** The module. */
export interface NodeQuic {
  listen(onSession: (session: QuicSession) => void, options: ListenOptions): Promise<QuicEndpoint>;
  connect(
    address: { readonly address: string; readonly port: number; readonly family: string },
    options: ConnectOptions,
  ): Promise<QuicSession>;
}

/** A UDP socket with its connections. */
export interface QuicEndpoint {
  readonly address: { readonly address: string; readonly port: number } | undefined;
  readonly closed: Promise<void>;
  close(): Promise<void>;
  destroy(): Promise<void>;
}

/** A connection. */
export interface QuicSession {
  onstream: ((stream: QuicStream) => void) | undefined;
  ondatagram: ((bytes: Uint8Array) => void) | undefined;
  /** Reports the fate of a DATAGRAM. `"abandoned"`: it was dropped from the queue. */
  ondatagramstatus:
    | ((id: bigint, status: "acknowledged" | "lost" | "abandoned") => void)
    | undefined;
  /** Resolves after the handshake, with the reason if the certificate is not valid. */
  readonly opened: Promise<{ readonly validationErrorReason?: string | undefined }>;
  readonly peerCertificate: X509Certificate | undefined;
  readonly closed: Promise<void>;
  readonly destroyed: boolean;
  readonly endpoint: QuicEndpoint | null;
  readonly path: { readonly remote: { readonly address: string; readonly port: number } };
  /** The maximum length of a DATAGRAM in bytes; 0 if the peer accepts none. */
  readonly maxDatagramSize: number;
  maxPendingDatagrams: number;
  createBidirectionalStream(): Promise<QuicStream>;
  /** Queues a copy. Resolves with its ID, which is 0 if it was refused. */
  sendDatagram(bytes: Uint8Array): Promise<bigint>;
  /** Ends the connection. With `options`, the peer learns of it at once (CONNECTION_CLOSE). */
  destroy(error?: Error, options?: { readonly code: bigint; readonly type: "application" }): void;
}

/** A request stream. Iteration yields arrays of the chunks that have arrived. */
export interface QuicStream extends AsyncIterable<readonly Uint8Array[]> {
  readonly id: bigint | null;
  readonly destroyed: boolean;
  readonly closed: Promise<void>;
  onheaders: ((headers: Headers) => void) | undefined;
  /** The number of bytes that `writer` stores. */
  highWaterMark: number;
  readonly writer: StreamWriter;
  /** With `terminal`, nothing follows the headers. */
  sendHeaders(headers: Headers, options: { readonly terminal: boolean }): boolean;
  stopSending(code: bigint): void;
  resetStream(code: bigint): void;
}

/** The write half of a stream. */
export interface StreamWriter {
  /** The free space in bytes; null if the stream has ended. */
  readonly desiredSize: number | null;
  /** Writes a copy. Returns false if the stream is full or has ended. */
  writeSync(bytes: Uint8Array): boolean;
  /** Ends the stream. */
  endSync(): number;
}

/** The module, or why it cannot be used. */
export type NodeQuicResult =
  | { readonly quic: NodeQuic; readonly reason?: never }
  | { readonly quic?: never; readonly reason: string };

/** Loads the module. */
export function loadNodeQuic(): NodeQuicResult {
  try {
    return { quic: createRequire(import.meta.url)("node:quic") as NodeQuic };
  } catch {
    return { reason: `Bun ${Bun.version} has no node:quic` };
  }
}

/** Returns the family of an IP address, as `node:quic` names it. */
export function familyOf(address: string): "ipv4" | "ipv6" {
  return address.includes(":") ? "ipv6" : "ipv4";
}
