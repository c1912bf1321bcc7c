/**
 * The end of a secure tunnel at an ingress: a QUIC client that keeps a connection to the egress, and
 * connects again when it is lost, with a socket of its own each time. The session, and with it the
 * flows at the egress, outlives the connection.
 */

import { type HostAndPort, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { BatchIo } from "../quiche/batch-io.ts";
import type { CloseInfo, QuicConnection } from "../quiche/connection.ts";
import { QuicEndpoint } from "../quiche/driver.ts";
import type { DropCounters } from "./counters.ts";
import {
  CLOSE,
  endpointOptions,
  printable,
  SESSION_ID_BYTES,
  SecureTunnel,
} from "./secure-tunnel.ts";
import { fingerprintOf, TunnelError, type TunnelSecurity } from "./tunnel-security.ts";

/** The pause before the next attempt to connect: doubled with each that fails. */
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5000;
/** How long an attempt may take: that many times the pause before it, but no longer than a silence. */
const ATTEMPT_FACTOR = 10;
/** Packets that keep the connection, within the idle timeout. */
const KEEP_ALIVES = 3;

const NO_REPLY = "the egress does not reply";

/** Why an attempt has failed: a `TunnelError`, or an error that may pass. */
interface Failure {
  readonly error: Error;
}

/** The client of a secure tunnel. */
export class SecureIngressTunnel extends SecureTunnel {
  readonly #egress: SocketAddress;
  readonly #security: TunnelSecurity;
  readonly #sessionId = crypto.getRandomValues(new Uint8Array(SESSION_ID_BYTES));
  readonly #closing = Promise.withResolvers<void>();
  #endpoint: QuicEndpoint | undefined;
  /** The connection that the egress has accepted. */
  #connection: QuicConnection | undefined;

  private constructor(
    io: BatchIo,
    egress: SocketAddress,
    security: TunnelSecurity,
    drops: DropCounters,
  ) {
    super(io.socket, drops);
    this.#egress = egress;
    this.#security = security;
  }

  /**
   * Connects to an egress. Returns when it has accepted the connection, or has not replied in time:
   * then the tunnel tries again.
   *
   * @throws SocketError if the socket cannot be opened.
   * @throws TunnelError if the certificate of either end is refused.
   */
  static async connect(
    { hostname, port }: HostAndPort,
    security: TunnelSecurity,
    drops: DropCounters,
  ): Promise<SecureIngressTunnel> {
    const egress = SocketAddress.ip(hostname, port);
    const io = await bindTowards(egress, security);
    const tunnel = new SecureIngressTunnel(io, egress, security, drops);
    const failure = await tunnel.#connect(io, tunnel.#idleTimeoutMs);
    if (failure?.error instanceof TunnelError) {
      tunnel.close();
      throw failure.error;
    }
    void tunnel.#maintain(failure);
    return tunnel;
  }

  get #idleTimeoutMs(): number {
    return endpointOptions(this.#security).idleTimeoutMs;
  }

  protected override connectionTo(): QuicConnection | undefined {
    return this.#connection;
  }

  protected override closeConnections(): void {
    this.#closing.resolve();
    this.#connection = undefined;
    void this.#endpoint?.close({ code: CLOSE.done });
  }

  /** Waits until the connection is lost, and connects again, until the tunnel is closed. */
  async #maintain(first: Failure | undefined): Promise<void> {
    let failure = first;
    for (let retryMs = RETRY_MS_MIN; !this.isClosed; ) {
      if (failure === undefined) {
        retryMs = RETRY_MS_MIN;
        const reason = await this.#untilLost(this.#connection as QuicConnection);
        if (!this.isClosed) this.#log(`lost: ${reason}`);
      } else {
        this.#log(`${failure.error.message}; next attempt in ${retryMs / 1000} s`);
        await this.#pause(retryMs);
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
      }
      const attemptMs = Math.min(ATTEMPT_FACTOR * retryMs, this.#idleTimeoutMs);
      if (!this.isClosed) failure = await this.#reconnect(attemptMs);
    }
  }

  async #reconnect(attemptMs: number): Promise<Failure | undefined> {
    void this.#endpoint?.close({ timeoutMs: 0 });
    this.#endpoint = undefined;
    try {
      const io = await bindTowards(this.#egress, this.#security);
      if (this.isClosed) {
        io.close();
        return undefined;
      }
      this.useSocket(io.socket);
      return await this.#connect(io, attemptMs);
    } catch (error) {
      return { error: error as Error };
    }
  }

  /** Opens a connection, and waits until the egress has accepted or refused it. */
  async #connect(io: BatchIo, attemptMs: number): Promise<Failure | undefined> {
    const endpoint = new QuicEndpoint(this.#security.quiche, io, endpointOptions(this.#security));
    this.#endpoint = endpoint;
    const connection = endpoint.connect(this.#egress);
    const ended = connection.closed.then((info) => ({ error: errorOf(info) }));
    const late = Promise.withResolvers<Failure>();
    const timer = setTimeout(() => late.resolve({ error: new Error(NO_REPLY) }), attemptMs);
    const failure = await Promise.race([this.#introduce(connection), ended, late.promise]);
    clearTimeout(timer);
    if (failure !== undefined || this.isClosed) {
      const isRefused = failure?.error instanceof TunnelError;
      connection.close(isRefused ? CLOSE.wrongCertificate : CLOSE.done);
      return failure;
    }
    connection.onDatagram = (bytes) => this.deliver(bytes, undefined);
    this.#connection = connection;
    this.#log(`connected from ${io.localAddr}`);
    return undefined;
  }

  /** Checks the certificate of the egress, and sends it the ID of the session. */
  async #introduce(connection: QuicConnection): Promise<Failure | undefined> {
    try {
      await connection.established;
    } catch {
      // The connection has ended, which has its own error.
      return new Promise(() => {});
    }
    const fingerprint = fingerprintOf(connection.peerCertificate ?? new Uint8Array(0));
    const { peers } = this.#security;
    if (!peers.includes(fingerprint)) {
      const expected = peers.join(" or ");
      const text = `the egress has a certificate with the fingerprint ${fingerprint}`;
      return { error: new TunnelError(`${text}, expected ${expected}`) };
    }
    const stream = connection.openStream();
    const accepted = Promise.withResolvers<void>();
    stream.onData = (bytes) => {
      if (bytes.length > 0) accepted.resolve();
    };
    stream.write(this.#sessionId, true).catch(() => {});
    await accepted.promise;
    return undefined;
  }

  /** Keeps a connection alive until it ends. Returns the reason. */
  async #untilLost(connection: QuicConnection): Promise<string> {
    const intervalMs = this.#idleTimeoutMs / KEEP_ALIVES;
    const timer = setInterval(() => connection.keepAlive(), intervalMs);
    const info = await connection.closed;
    clearInterval(timer);
    this.#connection = undefined;
    this.countUnsent(connection);
    return errorOf(info).message;
  }

  /** Waits, unless the tunnel is closed. */
  async #pause(ms: number): Promise<void> {
    const elapsed = Promise.withResolvers<void>();
    const timer = setTimeout(elapsed.resolve, ms);
    await Promise.race([elapsed.promise, this.#closing.promise]);
    clearTimeout(timer);
  }

  #log(line: string): void {
    this.#security.log?.(`secure tunnel to ${this.#egress}: ${line}`);
  }
}

/** Opens a socket at the address from which this host reaches `egress`. */
async function bindTowards(
  egress: SocketAddress,
  { packetBytesMax }: TunnelSecurity,
): Promise<BatchIo> {
  const { address, port } = egress;
  using probe = await UdpSocket.connect({ hostname: address, port });
  return BatchIo.bind({ hostname: probe.localAddr.address, packetBytesMax });
}

function errorOf({ by, code, reason }: CloseInfo): Error {
  if (by === "timeout") return new Error(NO_REPLY);
  if (by === "peer" && code === CLOSE.wrongCertificate) {
    return new TunnelError("the egress does not permit the certificate of this ingress");
  }
  const text = reason === "" ? `code ${code}` : printable(reason);
  return new Error(`closed by ${by === "peer" ? "the egress" : "this end"}: ${text}`);
}
