/**
 * The types of the native module: Cloudflare's quiche 0.18 for N-API, as in the npm package
 * `@matrixai/quic-linux-x64`. Only what this example uses.
 *
 * quiche does no I/O. `recv` takes the packets of a datagram, `send` writes the next packet,
 * `timeout` returns when `onTimeout` is due. Methods that return null have nothing to do ("done" in
 * quiche); other errors are thrown, with the name of quiche's error as their message.
 */

/** An address in the format of quiche. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** The addresses of a received datagram. */
export interface RecvInfo {
  readonly from: HostPort;
  readonly to: HostPort;
}

/** The path of a packet to send. Its pacing time (`at`) is opaque, so this example cannot use it. */
export interface SendInfo {
  readonly from: HostPort;
  readonly to: HostPort;
}

/** An event of a path, which is a pair of addresses. */
export type PathEvent =
  | { readonly type: "New" | "Validated" | "FailedValidation" | "Closed" }
  | { readonly type: "ReusedSourceConnectionId"; readonly seq: number }
  | { readonly type: "PeerMigrated"; readonly old: HostPort; readonly new: HostPort };

/** Why a connection was closed. */
export interface CloseError {
  readonly isApp: boolean;
  readonly errorCode: number;
  readonly reason: readonly number[];
}

/** The counters of a connection. */
export interface NativeStats {
  readonly recv: number;
  readonly sent: number;
  readonly lost: number;
  readonly retrans: number;
}

/** The transport parameters and the TLS context of connections. */
export interface NativeConfig {
  verifyPeer(verify: boolean): void;
  setApplicationProtos(protocols: string[]): void;
  setMaxIdleTimeout(timeoutMs: number): void;
  setMaxRecvUdpPayloadSize(bytes: number): void;
  setMaxSendUdpPayloadSize(bytes: number): void;
  setInitialMaxData(bytes: number): void;
  setInitialMaxStreamDataBidiLocal(bytes: number): void;
  setInitialMaxStreamDataBidiRemote(bytes: number): void;
  setInitialMaxStreamDataUni(bytes: number): void;
  setInitialMaxStreamsBidi(streams: number): void;
  setInitialMaxStreamsUni(streams: number): void;
  setActiveConnectionIdLimit(count: number): void;
  setDisableActiveMigration(disabled: boolean): void;
  setMaxConnectionWindow(bytes: number): void;
  setMaxStreamWindow(bytes: number): void;
  setCcAlgorithmName(name: "reno" | "cubic" | "bbr"): void;
  enablePacing(enabled: boolean): void;
  enableDgram(enabled: boolean, receiveQueue: number, sendQueue: number): void;
}

/** A connection of quiche. Stream IDs and lengths are numbers. */
export interface NativeConnection {
  /** Processes the packets of a datagram, which it decrypts in place. */
  recv(data: Uint8Array, info: RecvInfo): number;
  /** Writes the next packet to `data`. */
  send(data: Uint8Array): [length: number, info: SendInfo] | null;
  /** The bytes that should be sent in one burst. */
  sendQuantum(): number;
  streamRecv(stream: number, data: Uint8Array): [length: number, fin: boolean] | null;
  streamSend(stream: number, data: Uint8Array, fin: boolean): number | null;
  streamShutdown(stream: number, direction: number, error: number): undefined | null;
  isReadable(): boolean;
  readable(): Iterable<number>;
  dgramRecv(data: Uint8Array): number | null;
  dgramSend(data: Uint8Array): undefined | null;
  dgramMaxWritableLen(): number | null;
  dgramSendQueueLen(): number;
  isDgramSendQueueFull(): boolean;
  timeout(): number | null;
  onTimeout(): void;
  probePath(local: HostPort, peer: HostPort): number;
  migrate(local: HostPort, peer: HostPort): number;
  isPathValidated(local: HostPort, peer: HostPort): boolean;
  pathEventNext(): PathEvent | null;
  availableDcids(): number;
  sourceCidsLeft(): number;
  newSourceCid(id: Uint8Array, resetToken: bigint, retireIfNeeded: boolean): number;
  retiredScidNext(): Uint8Array | null;
  close(isApp: boolean, error: number, reason: Uint8Array): undefined | null;
  applicationProto(): Uint8Array;
  /** The certificates of the peer in DER, its own first. */
  peerCertChain(): Uint8Array[] | null;
  /** Sends a packet that the peer must acknowledge, if there is nothing else to send. */
  sendAckEliciting(): void;
  isEstablished(): boolean;
  isDraining(): boolean;
  isClosed(): boolean;
  isTimedOut(): boolean;
  peerError(): CloseError | null;
  localError(): CloseError | null;
  stats(): NativeStats;
}

/** The header of a QUIC packet (RFC 9000 section 17). */
export interface Header {
  readonly ty: number;
  readonly version: number;
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
}

/** The native module. */
export interface Quiche {
  readonly PROTOCOL_VERSION: number;
  readonly Type: { readonly Initial: number };
  readonly Config: {
    withBoringSslCtx(
      verifyPeer: boolean,
      verifyAllowFail: boolean,
      ca: Uint8Array | null,
      keys: Uint8Array[] | null,
      certificateChains: Uint8Array[] | null,
      signatureAlgorithms: string | null,
    ): NativeConfig;
  };
  readonly Connection: {
    connect(
      serverName: string | null,
      sourceId: Uint8Array,
      local: HostPort,
      peer: HostPort,
      config: NativeConfig,
    ): NativeConnection;
    accept(
      sourceId: Uint8Array,
      originalId: Uint8Array | null,
      local: HostPort,
      peer: HostPort,
      config: NativeConfig,
    ): NativeConnection;
  };
  readonly Header: { fromSlice(data: Uint8Array, shortIdBytes: number): Header };
  versionIsSupported(version: number): boolean;
  negotiateVersion(sourceId: Uint8Array, destinationId: Uint8Array, out: Uint8Array): number;
}
