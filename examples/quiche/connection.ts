/** A QUIC connection: quiche's state, its streams, and the paths between the two endpoints. */

import type { Ecn, SocketAddress } from "../../lib/index.ts";
import type { PacketIo } from "./packet-io.ts";
import { type Path, PathSet, toHostPort } from "./path.ts";
import type { NativeConnection, NativeStats } from "./quiche.ts";
import { QuicStream, type StreamOwner } from "./stream.ts";
import type { Timed } from "./timers.ts";

/** The driver, as its connections use it. */
export interface ConnectionOwner {
  /** Lets the connection send soon. */
  wake(connection: QuicConnection): void;
  /** Makes a connection ID that leads to the connection, and the token of its stateless reset. */
  issueId(connection: QuicConnection): { readonly id: Uint8Array; readonly resetToken: bigint };
  /** The peer does not use this ID of the connection any more. */
  retireId(connection: QuicConnection, id: Uint8Array): void;
}

/** Why a connection ended. */
export interface CloseInfo {
  readonly by: "peer" | "local" | "timeout";
  /** Whether the code is of the application, not of QUIC. */
  readonly isApp: boolean;
  readonly code: number;
  readonly reason: string;
}

/** Options of `openStream`. */
export interface StreamOptions {
  /** Whether only this side may write. Default false. */
  readonly isUnidirectional?: boolean | undefined;
}

/** The number of datagrams received with each value of the ECN field. */
export type EcnCounts = Record<"notEct" | "ect1" | "ect0" | "ce", number>;

const ECN_NAMES = ["notEct", "ect1", "ect0", "ce"] as const;
/** DATAGRAMs are read after that many packets, so that quiche's queue does not overflow. */
const UNREAD_PACKETS_MAX = 12;
/** Longer than the DATAGRAM frames that fit into any UDP datagram. */
const DATAGRAM_BYTES_MAX = 65_536;

/** A connection, of a client or of a server. */
export class QuicConnection implements StreamOwner, Timed {
  readonly native: NativeConnection;
  /** Settles when the handshake is complete, or has failed. */
  readonly established: Promise<void>;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<CloseInfo>;
  /** Called for each stream that the peer opens. */
  onStream: ((stream: QuicStream) => void) | undefined;
  /** Called for each DATAGRAM. The bytes are borrowed until the call returns. */
  onDatagram: ((bytes: Uint8Array) => void) | undefined;
  /** Called when the peer uses another address, which quiche has validated. */
  onPeerMigrated: ((peer: string) => void) | undefined;
  readonly ecnReceived: EcnCounts = { notEct: 0, ect1: 0, ect0: 0, ce: 0 };
  /** Datagrams that quiche refused: damaged, forged, or of an unexpected kind. */
  refusedDatagrams = 0;
  readonly streamsWaiting: Set<QuicStream> = new Set();
  deadlineMs: number = Number.POSITIVE_INFINITY;
  queueIndex: number = -1;
  /** Whether the driver has queued it for sending. */
  isQueued = false;
  readonly #owner: ConnectionOwner;
  readonly #paths: PathSet;
  readonly #streams = new Map<number, QuicStream>();
  readonly #established = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<CloseInfo>();
  #isEstablished = false;
  /** The packets that were received since DATAGRAMs were read. */
  #unreadPackets = 0;
  #endError: Error | undefined;
  #migration: { readonly path: Path; readonly done: PromiseWithResolvers<void> } | undefined;
  /** The next stream IDs: bit 0 is the initiator, bit 1 is set for unidirectional streams. */
  #nextBidirectional: number;
  #nextUnidirectional: number;
  readonly #initiator: number;

  constructor(
    owner: ConnectionOwner,
    native: NativeConnection,
    path: Path,
    { isServer }: { readonly isServer: boolean },
  ) {
    this.#owner = owner;
    this.native = native;
    this.#paths = new PathSet(path);
    this.established = this.#established.promise;
    this.closed = this.#closed.promise;
    this.established.catch(() => {});
    this.#initiator = isServer ? 1 : 0;
    this.#nextBidirectional = this.#initiator;
    this.#nextUnidirectional = this.#initiator + 2;
  }

  /** The peer's address of the latest packet. */
  get peer(): SocketAddress {
    return this.#paths.latest.peer;
  }

  /** The protocol that both sides chose (ALPN). */
  get protocol(): string {
    return new TextDecoder().decode(this.native.applicationProto());
  }

  /** The certificate of the peer in DER; absent if it has sent none. */
  get peerCertificate(): Uint8Array | undefined {
    return this.native.peerCertChain()?.[0];
  }

  get stats(): NativeStats {
    return this.native.stats();
  }

  /** Opens a stream. The peer learns of it with the first write. */
  openStream({ isUnidirectional = false }: StreamOptions = {}): QuicStream {
    const id = isUnidirectional ? this.#nextUnidirectional : this.#nextBidirectional;
    if (isUnidirectional) this.#nextUnidirectional += 4;
    else this.#nextBidirectional += 4;
    return this.#addStream(id);
  }

  /** The number of streams that have not ended in both directions. */
  get streams(): number {
    return this.#streams.size;
  }

  /** The maximum length of a DATAGRAM to this peer in bytes; 0 if it does not accept any. */
  get datagramBytesMax(): number {
    return this.native.dgramMaxWritableLen() ?? 0;
  }

  /**
   * Sends a DATAGRAM (RFC 9221), which is copied. Returns false if the queue is full.
   *
   * @throws Error if it is longer than `datagramBytesMax`.
   */
  sendDatagram(bytes: Uint8Array): boolean {
    if (this.native.isDgramSendQueueFull()) return false;
    this.native.dgramSend(bytes);
    this.wake();
    return true;
  }

  /** The number of DATAGRAMs that wait for the congestion control. */
  get datagramsQueued(): number {
    return this.native.dgramSendQueueLen();
  }

  /** Sends a packet that the peer must acknowledge: the connection does not become idle. */
  keepAlive(): void {
    this.native.sendAckEliciting();
    this.wake();
  }

  /** Closes the connection with a code of the application. `closed` resolves later. */
  close(code = 0, reason = ""): void {
    if (this.native.isClosed()) return;
    this.native.close(true, code, new TextEncoder().encode(reason));
    this.wake();
  }

  /**
   * Moves the connection to another local address (RFC 9000 section 9.2), which the socket must
   * receive for: sends a probe from there, and migrates when the peer has replied to it.
   *
   * @throws Error if the peer has provided no connection ID for another path, or does not reply
   * within `timeoutMs`, 3000 by default. The connection keeps its path then.
   */
  async migrate(
    local: SocketAddress,
    { timeoutMs = 3000 }: { readonly timeoutMs?: number } = {},
  ): Promise<void> {
    if (this.#migration !== undefined) throw new Error("another migration is in progress");
    if (this.native.availableDcids() === 0) throw new Error("the peer provided no connection ID");
    const path = this.#paths.find(local, this.peer);
    this.native.probePath(toHostPort(local), toHostPort(this.peer));
    this.#migration = { path, done: Promise.withResolvers() };
    this.wake();
    const timer = setTimeout(() => this.#failMigration(), timeoutMs);
    await this.#migration.done.promise.finally(() => clearTimeout(timer));
  }

  /** The error of writes, once the connection has ended. */
  get endError(): Error | undefined {
    return this.#endError;
  }

  wake(): void {
    this.#owner.wake(this);
  }

  forget(stream: QuicStream): void {
    this.#streams.delete(stream.id);
  }

  // --------------------------------------------------------------------- called by the driver ----

  /** Passes a received datagram to quiche. */
  _receive(
    datagram: Uint8Array,
    local: SocketAddress,
    peer: SocketAddress,
    ecn: Ecn | undefined,
  ): void {
    if (ecn !== undefined) this.ecnReceived[ECN_NAMES[ecn]]++;
    try {
      this.native.recv(datagram, this.#paths.find(local, peer).info);
    } catch {
      // quiche closes the connection itself if the peer has violated the protocol.
      this.refusedDatagrams++;
    }
    if (++this.#unreadPackets >= UNREAD_PACKETS_MAX && this.#isEstablished) this.#readDatagrams();
  }

  /** Passes what quiche has received to the application, and continues its writes. */
  _process(): void {
    const { native } = this;
    if (!this.#isEstablished) {
      if (!native.isEstablished()) return;
      this.#isEstablished = true;
      this.#established.resolve();
    }
    while (native.sourceCidsLeft() > 0) {
      const { id, resetToken } = this.#owner.issueId(this);
      native.newSourceCid(id, resetToken, false);
    }
    this.#handlePathEvents();
    if (native.isReadable()) for (const id of native.readable()) this.#readStream(id);
    this.#readDatagrams();
    if (this.streamsWaiting.size > 0) this.#continueWrites();
  }

  /**
   * Writes packets to `io` until there are no more, or the burst is as long as quiche allows, so
   * that other connections can send too. Returns whether there may be more.
   */
  _transmit(io: PacketIo): boolean {
    const { native } = this;
    const packetsMax = Math.max(1, Math.floor(native.sendQuantum() / io.packetBytesMax));
    for (let packets = 0; packets < packetsMax; packets++) {
      const slot = io.slot();
      if (slot === undefined) return true;
      const sent = native.send(slot);
      if (sent === null) return false;
      const [length, info] = sent;
      const path = this.#paths.isSingle
        ? this.#paths.latest
        : this.#paths.findHosts(info.from, info.to);
      io.push(length, path);
    }
    return true;
  }

  /** Called once, when quiche has no more state: settles all promises. */
  _end(): void {
    const info = this.#closeInfo();
    const error = new Error(`the connection was closed: ${info.reason || `code ${info.code}`}`);
    this.#endError = error;
    this.#established.reject(error);
    this.#migration?.done.reject(error);
    for (const stream of this.#streams.values()) stream._fail(error);
    this.#streams.clear();
    this.#closed.resolve(info);
  }

  /** Lets each waiting stream write once. One that writes moves to the end of the set. */
  #continueWrites(): void {
    let left = this.streamsWaiting.size;
    for (const stream of this.streamsWaiting) {
      stream._write();
      if (--left === 0) return;
    }
  }

  #readStream(id: number): void {
    let stream = this.#streams.get(id);
    if (stream === undefined) {
      // A stream of this side that was removed: only its end can still arrive.
      if ((id & 1) === this.#initiator) return;
      stream = this.#addStream(id);
      this.onStream?.(stream);
    }
    stream._read();
  }

  #addStream(id: number): QuicStream {
    const isUnidirectional = (id & 2) !== 0;
    const isOwn = (id & 1) === this.#initiator;
    const stream = new QuicStream(this, id, {
      isReadable: !(isUnidirectional && isOwn),
      isWritable: !isUnidirectional || isOwn,
    });
    this.#streams.set(id, stream);
    return stream;
  }

  #readDatagrams(): void {
    const { native, onDatagram } = this;
    this.#unreadPackets = 0;
    if (onDatagram === undefined) return;
    for (;;) {
      const length = native.dgramRecv(datagramBuffer);
      if (length === null) return;
      onDatagram(datagramBuffer.subarray(0, length));
    }
  }

  #handlePathEvents(): void {
    const { native } = this;
    for (;;) {
      const id = native.retiredScidNext();
      if (id === null) break;
      this.#owner.retireId(this, id);
    }
    for (let event = native.pathEventNext(); event; event = native.pathEventNext()) {
      if (event.type === "PeerMigrated") {
        this.onPeerMigrated?.(`${event.new.host}:${event.new.port}`);
      } else if (event.type === "FailedValidation") {
        this.#failMigration();
      }
    }
    this.#completeMigration();
  }

  #failMigration(): void {
    this.#migration?.done.reject(new Error("the peer did not reply on the new path"));
    this.#migration = undefined;
  }

  #completeMigration(): void {
    const { native } = this;
    if (this.#migration === undefined) return;
    const { path, done } = this.#migration;
    const { to: local, from: peer } = path.info;
    if (!native.isPathValidated(local, peer)) return;
    native.migrate(local, peer);
    this.#migration = undefined;
    done.resolve();
  }

  #closeInfo(): CloseInfo {
    const { native } = this;
    const [peerError, localError] = [native.peerError(), native.localError()];
    const error = peerError ?? localError;
    if (error === null) return { by: "timeout", isApp: false, code: 0, reason: "timeout" };
    const { isApp, errorCode: code } = error;
    const reason = new TextDecoder().decode(Uint8Array.from(error.reason));
    return { by: peerError === null ? "local" : "peer", isApp, code, reason };
  }
}

/** Shared by all connections: a DATAGRAM is passed on before the next is read. */
const datagramBuffer = new Uint8Array(new ArrayBuffer(DATAGRAM_BYTES_MAX));
