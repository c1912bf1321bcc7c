/** The connect-udp proxy (RFC 9298): accepts connections and requests, and limits them. */

import { createPrivateKey } from "node:crypto";
import { lookup } from "node:dns/promises";
import type { HostAndPort } from "../../lib/index.ts";
import { ConnectUdpTemplate, DEFAULT_TEMPLATE_PATH, proxyErrorOf } from "../../lib/masque/index.ts";
import type { Identity } from "../quiche/tls.ts";
import type { AllowList } from "./allow-list.ts";
import { BearerTokens } from "./bearer-tokens.ts";
import { type Counters, countRefusal, newCounters } from "./counters.ts";
import { DatagramRouter } from "./datagram-router.ts";
import { commonOptions, endSession, HTTP3_PROTOCOL, STREAM_ERROR } from "./http3.ts";
import { ignoreIcmpErrors } from "./icmp-errors.ts";
import {
  familyOf,
  type Headers,
  type NodeQuic,
  type QuicEndpoint,
  type QuicSession,
  type QuicStream,
} from "./node-quic.ts";
import { type Refusal, readRequest, refuse, refuseError } from "./request.ts";
import { ServerTunnel } from "./server-tunnel.ts";
import { type Lookup, resolveTarget, systemLookup } from "./target-resolver.ts";

/** Options of `MasqueServer.listen`. */
export interface ServerOptions {
  readonly listen: HostAndPort;
  readonly identity: Identity;
  readonly allowList: AllowList;
  /** Bearer tokens, one of which a request must have. Default: none is required. */
  readonly tokens?: readonly string[] | undefined;
  /** The path of the URI template. Default: `DEFAULT_TEMPLATE_PATH`. */
  readonly templatePath?: string | undefined;
  /** The maximum number of tunnels. Default 1000. */
  readonly tunnelsMax?: number | undefined;
  /** The maximum number of tunnels of one connection. Default 256. */
  readonly tunnelsPerConnectionMax?: number | undefined;
  /** The maximum number of connections, and of those from one address. Default 1000 and 100. */
  readonly connectionsMax?: number | undefined;
  readonly connectionsPerHostMax?: number | undefined;
  /** Closes a tunnel without a datagram for that long. Default 120 s (RFC 9298, section 3.1). */
  readonly idleTimeoutMs?: number | undefined;
  /** Ends a connection without packets after that time. Default 30 s. */
  readonly connectionTimeoutS?: number | undefined;
  /** Whether clients prove their address before a handshake (Retry). Default false. */
  readonly validatesAddresses?: boolean | undefined;
  /** Default: the resolver of the system. */
  readonly lookup?: Lookup | undefined;
}

/** Requests beyond the limit of tunnels that a connection may have open, to be refused. */
const SPARE_STREAMS = 16;
const SWEEP_MS_MAX = 1000;

/** A running proxy. */
export class MasqueServer {
  readonly counters: Counters = newCounters();
  readonly #options: ServerOptions;
  readonly #endpoint: QuicEndpoint;
  readonly #template: ConnectUdpTemplate;
  readonly #tokens: BearerTokens;
  readonly #tunnels = new Set<ServerTunnel>();
  readonly #sessions = new Map<QuicSession, DatagramRouter>();
  readonly #sweep: ReturnType<typeof setInterval>;

  private constructor(options: ServerOptions, endpoint: QuicEndpoint) {
    this.#options = options;
    this.#endpoint = endpoint;
    const { templatePath = DEFAULT_TEMPLATE_PATH, tokens = [], idleTimeoutMs = 120_000 } = options;
    this.#template = new ConnectUdpTemplate(`https://proxy${templatePath}`);
    this.#tokens = new BearerTokens(tokens);
    const sweepMs = Math.min(SWEEP_MS_MAX, idleTimeoutMs / 4);
    this.#sweep = setInterval(() => this.#closeIdle(idleTimeoutMs), sweepMs);
  }

  /**
   * Starts a proxy.
   *
   * @throws Error if the address cannot be bound, or the identity or the template is invalid.
   */
  static async listen(quic: NodeQuic, options: ServerOptions): Promise<MasqueServer> {
    const { listen, identity, tunnelsPerConnectionMax = 256 } = options;
    const { address } = await lookup(listen.hostname);
    const started = Promise.withResolvers<MasqueServer>();
    const onSession = (session: QuicSession) => {
      void started.promise.then((server) => server.#onSession(session));
    };
    const endpoint = await quic.listen(onSession, {
      endpoint: {
        address: { address, port: listen.port, family: familyOf(address) },
        maxConnectionsTotal: options.connectionsMax ?? 1000,
        maxConnectionsPerHost: options.connectionsPerHostMax ?? 100,
        validateAddress: options.validatesAddresses ?? false,
      },
      alpn: [HTTP3_PROTOCOL],
      sni: {
        "*": {
          keys: [createPrivateKey(identity.key)],
          certs: [Buffer.from(identity.certificate)],
        },
      },
      ...commonOptions({
        idleTimeoutS: options.connectionTimeoutS ?? 30,
        streamsMax: tunnelsPerConnectionMax + SPARE_STREAMS,
        acceptsDatagrams: true,
      }),
    });
    // A port that is in use is reported only here.
    if (endpoint.address === undefined) await endpoint.closed;
    endpoint.closed.catch(() => {});
    await ignoreIcmpErrors(endpoint);
    started.resolve(new MasqueServer(options, endpoint));
    return started.promise;
  }

  /** The UDP port that the proxy listens on. */
  get port(): number {
    return this.#endpoint.address?.port ?? 0;
  }

  /** The number of tunnels, including those that are being opened. */
  get tunnels(): number {
    return this.#tunnels.size;
  }

  /** Closes all tunnels and connections. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    for (const tunnel of [...this.#tunnels]) tunnel.close();
    for (const [session, router] of this.#sessions) {
      router.close();
      endSession(session);
    }
    await this.#endpoint.destroy().catch(() => {});
  }

  #onSession(session: QuicSession): void {
    this.counters.connections++;
    const router = new DatagramRouter(session, this.counters);
    this.#sessions.set(session, router);
    const tunnels = new Set<ServerTunnel>();
    session.onstream = (stream) => {
      stream.closed.catch(() => {});
      stream.onheaders = (headers) => {
        void this.#onRequest(headers, stream, { session, router, tunnels });
      };
    };
    const end = () => {
      for (const tunnel of [...tunnels]) tunnel.close();
      router.close();
      this.#sessions.delete(session);
    };
    session.closed.then(end, end);
  }

  async #onRequest(
    headers: Headers,
    stream: QuicStream,
    connection: {
      readonly session: QuicSession;
      readonly router: DatagramRouter;
      readonly tunnels: Set<ServerTunnel>;
    },
  ): Promise<void> {
    const { session, router, tunnels } = connection;
    const { target, refusal } = readRequest(headers, this.#template, this.#tokens);
    const denied = refusal ?? this.#limitRefusal(tunnels.size);
    if (denied !== undefined || target === undefined) {
      router.markUsed(stream.id ?? 0n);
      this.#refuse(stream, denied as Refusal);
      return;
    }
    // From here on it counts for the limits.
    const tunnel = new ServerTunnel(
      {
        session,
        router,
        counters: this.counters,
        onEnd: () => {
          this.#tunnels.delete(tunnel);
          tunnels.delete(tunnel);
        },
      },
      stream,
    );
    this.#tunnels.add(tunnel);
    tunnels.add(tunnel);
    const failure = await this.#open(tunnel, target);
    if (failure === undefined) return;
    tunnel.close();
    this.#refuse(stream, failure);
  }

  /** Opens a tunnel. Returns the response if it fails. */
  async #open(
    tunnel: ServerTunnel,
    target: { readonly host: string; readonly port: number },
  ): Promise<Refusal | undefined> {
    const { allowList, lookup: lookupName = systemLookup } = this.#options;
    const { address, refusal } = await resolveTarget(target, allowList, lookupName);
    if (refusal !== undefined) return refusal;
    if (tunnel.isClosed) return undefined;
    try {
      await tunnel.open(address, target.port);
      return undefined;
    } catch (error) {
      const { code } = error as { code?: unknown };
      return refuseError(proxyErrorOf({ code }).type, code);
    }
  }

  #limitRefusal(tunnelsOfConnection: number): Refusal | undefined {
    const { tunnelsMax = 1000, tunnelsPerConnectionMax = 256 } = this.#options;
    const isFull =
      this.#tunnels.size >= tunnelsMax || tunnelsOfConnection >= tunnelsPerConnectionMax;
    return isFull ? refuse("connection_limit_reached", "too many tunnels") : undefined;
  }

  #refuse(stream: QuicStream, { status, headers }: Refusal): void {
    countRefusal(this.counters, status);
    if (stream.destroyed) return;
    stream.sendHeaders(headers, { terminal: true });
    // The client need not send more.
    stream.stopSending(STREAM_ERROR.none);
  }

  #closeIdle(idleTimeoutMs: number): void {
    const limitMs = performance.now() - idleTimeoutMs;
    for (const tunnel of [...this.#tunnels]) {
      if (tunnel.lastActiveMs > limitMs) continue;
      this.counters.expired++;
      tunnel.close();
    }
  }
}
