/** The client's connection to the proxy: tries all addresses, and reconnects when it is lost. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { commonOptions, endSession, HTTP3_PROTOCOL, PENDING_DATAGRAMS_MAX } from "./http3.ts";
import { familyOf, type NodeQuic, type QuicSession } from "./node-quic.ts";

/** Options of a `ProxyLink`. */
export interface LinkOptions {
  readonly host: string;
  readonly port: number;
  /** The certificates in PEM that are trusted. Default: those of the system. */
  readonly ca?: string | undefined;
  /** Whether the certificate is not verified. Default false. */
  readonly isInsecure?: boolean | undefined;
  /** Whether the proxy may use DATAGRAM frames. */
  readonly acceptsDatagrams: boolean;
  /** A connection without packets is lost after that time. Default 10 s. */
  readonly connectionTimeoutS?: number | undefined;
  /** Returns all addresses of a name. Default: the resolver of the system. */
  readonly lookup?: ((host: string) => Promise<readonly string[]>) | undefined;
  /** Called with each new connection. */
  readonly onConnect: (session: QuicSession) => void;
  /** Called when a connection is lost, and with each attempt that has failed. */
  readonly onProblem?: ((message: string) => void) | undefined;
}

/** The next address is tried after that time, if the ones before have not replied (RFC 8305). */
const STAGGER_MS = 250;
/** An attempt with all addresses fails after that time. */
const CONNECT_MS_MAX = 5000;
/** The pauses between attempts. */
const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 5000;
/** Requests are opened by the client only. */
const STREAMS_MAX = 1;

/** Keeps a connection to the proxy. */
export class ProxyLink {
  readonly #quic: NodeQuic;
  readonly #options: LinkOptions;
  #session: QuicSession | undefined;
  #backoffMs = BACKOFF_MS_MIN;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(quic: NodeQuic, options: LinkOptions) {
    this.#quic = quic;
    this.#options = options;
  }

  /** The connection, while there is one. */
  get session(): QuicSession | undefined {
    return this.#session;
  }

  /** Connects. If that fails, or the connection is lost later, tries again until it is closed. */
  async start(): Promise<void> {
    try {
      const session = await this.#connectAny();
      if (this.#isClosed) discard(session);
      else this.#use(session);
    } catch (error) {
      this.#retry((error as Error).message);
    }
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined) return;
    const { endpoint } = session;
    endSession(session);
    await endpoint?.destroy().catch(() => {});
  }

  #use(session: QuicSession): void {
    this.#session = session;
    this.#backoffMs = BACKOFF_MS_MIN;
    session.maxPendingDatagrams = PENDING_DATAGRAMS_MAX;
    const { endpoint } = session;
    const lost = (error?: Error) => {
      endpoint?.destroy().catch(() => {});
      if (this.#session !== session) return;
      this.#session = undefined;
      this.#retry(`connection lost${error === undefined ? "" : `: ${error.message}`}`);
    };
    session.closed.then(() => lost(), lost);
    this.#options.onConnect(session);
  }

  #retry(problem: string): void {
    if (this.#isClosed) return;
    this.#options.onProblem?.(problem);
    this.#timer = setTimeout(() => void this.start(), this.#backoffMs);
    this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MS_MAX);
  }

  /** Connects to the addresses of the proxy, and returns the first connection that succeeds. */
  async #connectAny(): Promise<QuicSession> {
    const { host, lookup: lookupName = lookupAll } = this.#options;
    const attempts: Promise<QuicSession>[] = [];
    const sessions: QuicSession[] = [];
    const expired = expiry(CONNECT_MS_MAX);
    try {
      const addresses = isIP(host) === 0 ? await lookupName(host) : [host];
      for (const address of addresses) {
        const attempt = this.#connect(address, sessions);
        attempt.catch(() => {});
        attempts.push(attempt);
        const next = expiry(STAGGER_MS);
        const winner = await Promise.race([
          attempt.catch(() => undefined),
          Promise.any(attempts).catch(() => undefined),
          next.promise.catch(() => undefined),
        ]);
        next.clear();
        if (winner !== undefined) return keep(winner, sessions);
      }
      return keep(await Promise.race([Promise.any(attempts), expired.promise]), sessions);
    } catch (error) {
      keep(undefined, sessions);
      const [first] = error instanceof AggregateError ? error.errors : [error];
      const reason = (first as Error | undefined)?.message ?? "no address";
      throw new Error(`cannot connect to ${host}: ${reason}`);
    } finally {
      expired.clear();
    }
  }

  async #connect(address: string, sessions: QuicSession[]): Promise<QuicSession> {
    const { host, port, ca, isInsecure = false, acceptsDatagrams } = this.#options;
    const { connectionTimeoutS = 10 } = this.#options;
    const session = await this.#quic.connect(
      { address, port, family: familyOf(address) },
      {
        alpn: HTTP3_PROTOCOL,
        // An address is no server name (RFC 6066, section 3), and is verified below.
        ...(isIP(host) === 0 ? { servername: host } : {}),
        ...(ca === undefined ? {} : { ca: [Buffer.from(ca)] }),
        verifyPeer: isInsecure || isIP(host) !== 0 ? "manual" : "auto",
        reuseEndpoint: false,
        keepAlive: (connectionTimeoutS * 1000) / 3,
        ...commonOptions({
          idleTimeoutS: connectionTimeoutS,
          streamsMax: STREAMS_MAX,
          acceptsDatagrams,
        }),
      },
    );
    sessions.push(session);
    session.closed.catch(() => {});
    const { validationErrorReason } = await session.opened;
    if (!isInsecure && isIP(host) !== 0) {
      if (validationErrorReason !== undefined) throw new Error(validationErrorReason);
      if (session.peerCertificate?.checkIP(host) === undefined) {
        throw new Error(`the certificate is not for ${host}`);
      }
    }
    return session;
  }
}

async function lookupAll(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** Ends all connections but one, and returns that. */
function keep<T extends QuicSession | undefined>(winner: T, sessions: readonly QuicSession[]): T {
  for (const session of sessions) if (session !== winner) discard(session);
  return winner;
}

function discard(session: QuicSession): void {
  const { endpoint } = session;
  session.opened.catch(() => {});
  session.destroy();
  endpoint?.destroy().catch(() => {});
}

function expiry(ms: number): { readonly promise: Promise<never>; clear(): void } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  const timer = setTimeout(() => reject(new Error(`no reply within ${ms / 1000} s`)), ms);
  return { promise, clear: () => clearTimeout(timer) };
}
