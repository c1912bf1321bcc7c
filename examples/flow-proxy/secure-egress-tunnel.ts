/**
 * The end of a secure tunnel at an egress: a QUIC server for any number of ingresses. It accepts the
 * certificates that it knows. QUIC follows an ingress to another address (RFC 9000, section 9), and a
 * connection with the ID of a session replaces the one before it.
 */

import { AddressMap, type HostAndPort, SocketAddress } from "../../lib/index.ts";
import { BatchIo } from "../quiche/batch-io.ts";
import type { QuicConnection } from "../quiche/connection.ts";
import { QuicEndpoint } from "../quiche/driver.ts";
import type { QuicStream } from "../quiche/stream.ts";
import type { DropCounters } from "./counters.ts";
import {
  ACCEPTED,
  CLOSE,
  endpointOptions,
  PATHS_MAX,
  printable,
  SESSION_ID_BYTES,
  SecureTunnel,
} from "./secure-tunnel.ts";
import { fingerprintOf, type TunnelSecurity } from "./tunnel-security.ts";

/** The first byte of the addresses of sessions: unique local, assigned by nobody (RFC 4193). */
const UNIQUE_LOCAL = "fd";
/** The digits of the fingerprint in an address: with the first byte 64 bits, one host. */
const FINGERPRINT_DIGITS = 14;
/** Any port but 0, which is none. */
const SESSION_PORT = 1;
/** A refusal is logged if the one before it was this long ago. */
const LOG_INTERVAL_MS = 1000;

/** The server of a secure tunnel. */
export class SecureEgressTunnel extends SecureTunnel {
  readonly #security: TunnelSecurity;
  readonly #permitted: ReadonlySet<string>;
  readonly #endpoint: QuicEndpoint;
  /** The connection of each session, by the address that stands for the session. */
  readonly #connections = new AddressMap<QuicConnection>();
  #loggedAtMs = Number.NEGATIVE_INFINITY;

  private constructor(io: BatchIo, security: TunnelSecurity, drops: DropCounters) {
    super(io.socket, drops);
    this.#security = security;
    this.#permitted = new Set(security.peers);
    this.#endpoint = new QuicEndpoint(security.quiche, io, {
      ...endpointOptions(security),
      onConnection: (connection) => void this.#accept(connection),
    });
  }

  /** @throws SocketError if the socket cannot be opened. */
  static async listen(
    { hostname, port }: HostAndPort,
    security: TunnelSecurity,
    drops: DropCounters,
  ): Promise<SecureEgressTunnel> {
    const { packetBytesMax } = security;
    const io = await BatchIo.bind({ hostname, port, packetBytesMax });
    return new SecureEgressTunnel(io, security, drops);
  }

  protected override connectionTo(to: SocketAddress | undefined): QuicConnection | undefined {
    return to && this.#connections.get(to);
  }

  protected override closeConnections(): void {
    void this.#endpoint.close({ code: CLOSE.done });
  }

  async #accept(connection: QuicConnection): Promise<void> {
    // The handshake is complete before the data of a stream is read.
    connection.onStream = (stream) => {
      if (this.#isPermitted(connection)) this.#readSessionId(connection, stream);
    };
    try {
      await connection.established;
    } catch {
      return;
    }
    if (this.#isPermitted(connection)) return;
    this.#logRefusal(connection);
    connection.close(CLOSE.wrongCertificate, "certificate not permitted");
  }

  #isPermitted({ peerCertificate }: QuicConnection): boolean {
    return peerCertificate !== undefined && this.#permitted.has(fingerprintOf(peerCertificate));
  }

  /** Reads the ID of the session, which is all that an ingress sends on a stream. */
  #readSessionId(connection: QuicConnection, stream: QuicStream): void {
    let digits = "";
    stream.onData = (bytes, fin) => {
      digits += bytes.subarray(0, SESSION_ID_BYTES + 1).toHex();
      const isTooLong = digits.length > 2 * SESSION_ID_BYTES;
      if (!fin && !isTooLong) return;
      if (digits.length !== 2 * SESSION_ID_BYTES) {
        connection.close(CLOSE.protocol, "no session ID");
        return;
      }
      stream.write(Uint8Array.of(ACCEPTED), true).catch(() => {});
      void this.#serve(connection, sessionAddress(connection, digits));
    };
  }

  /** Forwards the datagrams of a session until its connection ends. */
  async #serve(connection: QuicConnection, session: SocketAddress): Promise<void> {
    this.#connections.get(session)?.close(CLOSE.replaced, "replaced by another connection");
    this.#connections.set(session, connection);
    let { peer } = connection;
    const peers = new Set([`${peer}`]);
    connection.onDatagram = (bytes) => {
      this.deliver(bytes, session);
      if (connection.peer === peer) return;
      peer = connection.peer;
      // quiche ignores packets from one more. The ingress connects again at once.
      if (peers.add(`${peer}`).size === PATHS_MAX) {
        connection.close(CLOSE.addresses, "too many addresses");
      }
    };
    this.#log(`ingress ${connection.peer} connected, session ${session.address}`);
    const { by, reason } = await connection.closed;
    this.countUnsent(connection);
    if (this.#connections.get(session) === connection) this.#connections.delete(session);
    if (!this.isClosed)
      this.#log(`session ${session.address} disconnected by ${by}: ${printable(reason)}`);
  }

  #logRefusal({ peer, peerCertificate }: QuicConnection): void {
    const nowMs = performance.now();
    if (nowMs - this.#loggedAtMs < LOG_INTERVAL_MS) return;
    this.#loggedAtMs = nowMs;
    const fingerprint = fingerprintOf(peerCertificate ?? new Uint8Array(0));
    this.#log(`refused ingress ${peer}: its certificate has the fingerprint ${fingerprint}`);
  }

  #log(line: string): void {
    this.#security.log?.(`secure tunnel: ${line}`);
  }
}

/**
 * Returns the address that stands for a session. Its first half depends on the certificate: the flow
 * table counts all sessions of a certificate as one host.
 */
function sessionAddress({ peerCertificate }: QuicConnection, sessionId: string): SocketAddress {
  const fingerprint = fingerprintOf(peerCertificate as Uint8Array);
  const digits = UNIQUE_LOCAL + fingerprint.slice(0, FINGERPRINT_DIGITS) + sessionId;
  const groups = digits.match(/.{4}/g) as string[];
  return SocketAddress.ip(groups.join(":"), SESSION_PORT);
}
