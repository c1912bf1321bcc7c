/**
 * A QUIC endpoint: all connections of one socket.
 *
 * A cycle has three steps. All datagrams that are available are passed to their connections. Each of
 * these connections passes what it has received to the application, once. Then each sends its burst.
 * So one system call receives many packets, and one acknowledges or continues many.
 */

import type { Ecn, SocketAddress } from "../../lib/index.ts";
import { makeConfig, type TransportOptions } from "./config.ts";
import { type ConnectionOwner, QuicConnection } from "./connection.ts";
import type { PacketIo, PacketReceiver } from "./packet-io.ts";
import { makePath, type Path } from "./path.ts";
import type { Header, NativeConfig, Quiche } from "./quiche.ts";
import { Router, type RouterOptions } from "./router.ts";
import { DeadlineQueue } from "./timers.ts";

/** Options of a `QuicEndpoint`. */
export interface EndpointOptions extends TransportOptions, RouterOptions {
  /** Called for each connection that a client opens. Absent: the endpoint accepts none. */
  readonly onConnection?: ((connection: QuicConnection) => void) | undefined;
  /** The maximum number of connections. Default 1024. */
  readonly connectionsMax?: number | undefined;
}

/** Options of `QuicEndpoint.close`. */
export interface CloseOptions {
  /** The code of the application for the peers. Default 0. */
  readonly code?: number | undefined;
  readonly reason?: string | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Counters of an endpoint. */
export interface EndpointCounters {
  accepted: number;
  /** Datagrams that belong to no connection and open none. */
  strays: number;
  versionNegotiations: number;
  /** Connections refused because there are `connectionsMax`. */
  refused: number;
}

/** A datagram that opens a connection is at least this long (RFC 9000 section 14.1). */
const INITIAL_BYTES_MIN = 1200;
/** quiche reports timeouts in whole milliseconds, rounded down. */
const TIMEOUT_ROUNDING_MS = 1;
/** How long `close` waits by default: the peer learns of it, and repeated packets get a reply. */
const CLOSE_MS_MAX = 1000;

/** The connections of one socket. */
export class QuicEndpoint implements PacketReceiver, ConnectionOwner {
  readonly counters: EndpointCounters = {
    accepted: 0,
    strays: 0,
    versionNegotiations: 0,
    refused: 0,
  };
  readonly #quiche: Quiche;
  readonly #io: PacketIo;
  readonly #config: NativeConfig;
  readonly #onConnection: ((connection: QuicConnection) => void) | undefined;
  readonly #connectionsMax: number;
  readonly #router: Router<QuicConnection>;
  /** The IDs of each connection. */
  readonly #connections = new Map<QuicConnection, Set<string>>();
  readonly #timers = new DeadlineQueue<QuicConnection>(
    (connection) => {
      connection.native.onTimeout();
      this.#enqueue(connection);
    },
    () => this.#cycle(),
  );
  /** The connections that have received something, or may have to send something. */
  #queue: QuicConnection[] = [];
  #isScheduled = false;
  #isInCycle = false;

  constructor(quiche: Quiche, io: PacketIo, options: EndpointOptions) {
    this.#quiche = quiche;
    this.#io = io;
    this.#config = makeConfig(quiche, options, io.packetBytesMax);
    this.#router = new Router(options);
    this.#onConnection = options.onConnection;
    this.#connectionsMax = options.connectionsMax ?? 1024;
    io.start(this);
  }

  get localAddr(): SocketAddress {
    return this.#io.localAddr;
  }

  /** The number of connections that have not ended. */
  get connections(): number {
    return this.#connections.size;
  }

  /** The number of connection IDs that lead to connections, and the number of timers. */
  get tableSizes(): { readonly ids: number; readonly deadlines: number } {
    return { ids: this.#router.size, deadlines: this.#timers.size };
  }

  /**
   * Opens a connection to `peer`, from `local` if the socket is bound to a wildcard address. Wait for
   * its `established`.
   */
  connect(
    peer: SocketAddress,
    local: SocketAddress = this.localAddr,
    serverName = "localhost",
  ): QuicConnection {
    const id = this.#router.newId();
    const path = makePath(local, peer);
    const { from, to } = path.info;
    const native = this.#quiche.Connection.connect(serverName, id, to, from, this.#config);
    const connection = new QuicConnection(this, native, path, { isServer: false });
    this.#add(connection, id);
    this.wake(connection);
    return connection;
  }

  /**
   * Closes all connections, waits until they have ended, for `timeoutMs` at most (one second by
   * default), and closes the socket.
   */
  async close({
    code = 0,
    reason = "",
    timeoutMs = CLOSE_MS_MAX,
  }: CloseOptions = {}): Promise<void> {
    const connections = [...this.#connections.keys()];
    for (const connection of connections) connection.close(code, reason);
    const ended = Promise.all(connections.map(({ closed }) => closed));
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, timeoutMs);
    await Promise.race([ended, limit.promise]);
    clearTimeout(timer);
    this.#timers.clear();
    for (const connection of this.#connections.keys()) this.#remove(connection);
    this.#io.close();
  }

  // ------------------------------------------------------------------- called by connections ----

  wake(connection: QuicConnection): void {
    this.#enqueue(connection);
    if (this.#isScheduled || this.#isInCycle) return;
    this.#isScheduled = true;
    queueMicrotask(() => this.#cycle());
  }

  issueId(connection: QuicConnection): { readonly id: Uint8Array; readonly resetToken: bigint } {
    const id = this.#router.newId();
    this.#router.add(id, connection);
    this.#connections.get(connection)?.add(id.toHex());
    const resetToken = BigInt(`0x${crypto.getRandomValues(new Uint8Array(16)).toHex()}`);
    return { id, resetToken };
  }

  retireId(connection: QuicConnection, id: Uint8Array): void {
    this.#router.delete(id);
    this.#connections.get(connection)?.delete(id.toHex());
  }

  // ------------------------------------------------------------------------ called by the I/O ----

  receive(
    datagram: Uint8Array,
    local: SocketAddress,
    peer: SocketAddress,
    ecn: Ecn | undefined,
  ): void {
    const connection = this.#router.find(datagram) ?? this.#accept(datagram, local, peer);
    if (connection === undefined) return;
    connection._receive(datagram, local, peer, ecn);
    this.#enqueue(connection);
  }

  afterReceive(): void {
    this.#cycle();
  }

  onWritable(): void {
    this.#cycle();
  }

  // ---------------------------------------------------------------------------------- a cycle ----

  #enqueue(connection: QuicConnection): void {
    if (connection.isQueued) return;
    connection.isQueued = true;
    this.#queue.push(connection);
  }

  /**
   * Processes and sends for all queued connections. Those that the application wakes meanwhile join
   * the queue. If the socket cannot send, the others wait until it can.
   */
  #cycle(): void {
    if (this.#isInCycle) return;
    this.#isInCycle = true;
    this.#isScheduled = false;
    let next = 0;
    try {
      while (next < this.#queue.length) {
        const connection = this.#queue[next++] as QuicConnection;
        // From here on a wake queues it again.
        connection.isQueued = false;
        connection._process();
        if (!this.#send(connection)) return;
      }
      this.#io.flush();
    } finally {
      // A handler of the application may have thrown.
      this.#queue.splice(0, next);
      this.#isInCycle = false;
    }
  }

  /** Lets a connection send one burst. Returns false if the socket is blocked. */
  #send(connection: QuicConnection): boolean {
    if (connection._transmit(this.#io)) {
      this.#enqueue(connection);
      return this.#io.slot() !== undefined || this.#io.flush();
    }
    const { native } = connection;
    if (native.isClosed()) {
      this.#remove(connection);
      return true;
    }
    const timeoutMs = native.timeout();
    if (timeoutMs === null) this.#timers.delete(connection);
    else this.#timers.set(connection, performance.now() + timeoutMs + TIMEOUT_ROUNDING_MS);
    return true;
  }

  // ----------------------------------------------------------------- beginning and end ----

  #accept(
    datagram: Uint8Array,
    local: SocketAddress,
    peer: SocketAddress,
  ): QuicConnection | undefined {
    const header = this.#initialHeader(datagram);
    if (header === undefined || this.#onConnection === undefined) {
      this.counters.strays++;
      return undefined;
    }
    const path = makePath(local, peer);
    if (!this.#quiche.versionIsSupported(header.version)) {
      this.#negotiateVersion(header, path);
      return undefined;
    }
    if (header.ty !== this.#quiche.Type.Initial) {
      this.counters.strays++;
      return undefined;
    }
    if (this.#connections.size >= this.#connectionsMax) {
      this.counters.refused++;
      return undefined;
    }
    const id = this.#router.newId();
    const { from, to } = path.info;
    const native = this.#quiche.Connection.accept(id, null, to, from, this.#config);
    const connection = new QuicConnection(this, native, path, { isServer: true });
    this.#add(connection, id);
    this.#router.addInitial(header.dcid, connection);
    this.#connections.get(connection)?.add(header.dcid.toHex());
    this.counters.accepted++;
    this.#onConnection(connection);
    return connection;
  }

  /** Returns the header of a datagram that may open a connection. */
  #initialHeader(datagram: Uint8Array): Header | undefined {
    const isLong = ((datagram[0] as number) & 0x80) !== 0;
    if (datagram.length < INITIAL_BYTES_MIN || !isLong) return undefined;
    try {
      return this.#quiche.Header.fromSlice(datagram, this.#router.idBytes);
    } catch {
      return undefined;
    }
  }

  #negotiateVersion({ scid, dcid }: Header, path: Path): void {
    const slot = this.#io.slot();
    if (slot === undefined) return;
    this.#io.push(this.#quiche.negotiateVersion(scid, dcid, slot), path);
    this.counters.versionNegotiations++;
  }

  #add(connection: QuicConnection, id: Uint8Array): void {
    this.#router.add(id, connection);
    this.#connections.set(connection, new Set([id.toHex()]));
  }

  #remove(connection: QuicConnection): void {
    this.#timers.delete(connection);
    for (const id of this.#connections.get(connection) ?? []) {
      this.#router.delete(Uint8Array.fromHex(id));
    }
    this.#connections.delete(connection);
    connection._end();
  }
}
