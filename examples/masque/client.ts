/** The client: a local UDP port, with a tunnel to the target for each local peer. */

import { AddressMap, type HostAndPort, type SocketAddress, UdpSocket } from "../../lib/index.ts";
import { ConnectUdpTemplate, type UdpTarget } from "../../lib/masque/index.ts";
import { REPLY_FACTOR, ReplyAllowance } from "../flow-proxy/reply-allowance.ts";
import { ClientTunnel } from "./client-tunnel.ts";
import { type Counters, newCounters, socketDropsOf } from "./counters.ts";
import { DatagramRouter } from "./datagram-router.ts";
import type { Headers, NodeQuic, QuicSession } from "./node-quic.ts";
import { ProxyLink } from "./proxy-link.ts";
import { enlargeReceiveBuffer, receiveBatches, UdpSender } from "./udp-batches.ts";

/** Options of `MasqueClient.open`. */
export interface ClientOptions {
  /** The local UDP address. */
  readonly listen: HostAndPort;
  /** The URI template of the proxy, such as `"https://proxy.example.org/masque{?target_host,...}"`. */
  readonly template: string;
  readonly target: UdpTarget;
  readonly token?: string | undefined;
  /** The certificates in PEM that are trusted. Default: those of the system. */
  readonly ca?: string | undefined;
  readonly isInsecure?: boolean | undefined;
  /** Whether to use DATAGRAM capsules on the streams, not DATAGRAM frames. Default false. */
  readonly usesCapsules?: boolean | undefined;
  /** The maximum number of local peers. Default 1000. */
  readonly peersMax?: number | undefined;
  /** A peer that sends nothing for that long loses its tunnel. Default 120 s. */
  readonly idleTimeoutMs?: number | undefined;
  /** See `ReplyAllowance`. Default 3; infinite if the local address is a loopback address. */
  readonly replyFactor?: number | undefined;
  readonly connectionTimeoutS?: number | undefined;
  /** Returns all addresses of the proxy's name. Default: the resolver of the system. */
  readonly lookup?: ((host: string) => Promise<readonly string[]>) | undefined;
  /** Receives messages about lost connections and refused requests. */
  readonly onProblem?: ((message: string) => void) | undefined;
}

/** A local peer. */
interface Peer {
  readonly address: SocketAddress;
  readonly allowance: ReplyAllowance;
  tunnel: ClientTunnel | undefined;
  /** When the last tunnel of the peer was refused, if none was opened since. */
  refusedMs: number | undefined;
  lastActiveMs: number;
}

/** After a refusal, the datagrams of the peer are dropped for that time. */
const REFUSAL_PAUSE_MS = 1000;
const SWEEP_MS_MAX = 1000;

/** A running client. */
export class MasqueClient {
  readonly counters: Counters = newCounters();
  readonly #options: ClientOptions;
  readonly #socket: UdpSocket;
  readonly #sender: UdpSender;
  readonly #link: ProxyLink;
  readonly #headers: Headers;
  readonly #peers = new AddressMap<Peer>();
  readonly #sweep: ReturnType<typeof setInterval>;
  readonly #replyFactor: number;
  #router: DatagramRouter | undefined;
  #connected = Promise.withResolvers<void>();

  private constructor(quic: NodeQuic, options: ClientOptions, socket: UdpSocket) {
    this.#options = options;
    this.#socket = socket;
    this.#sender = new UdpSender(socket, this.counters);
    const { target, token, idleTimeoutMs = 120_000, onProblem, replyFactor } = options;
    const template = new ConnectUdpTemplate(options.template);
    const { hostname, host, port } = new URL(template.origin);
    this.#headers = {
      ":method": "CONNECT",
      ":protocol": "connect-udp",
      ":scheme": "https",
      ":authority": host,
      ":path": template.expand(target),
      "capsule-protocol": "?1",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
    this.#replyFactor =
      replyFactor ?? (isLoopback(socket.localAddr) ? Number.POSITIVE_INFINITY : REPLY_FACTOR);
    this.#link = new ProxyLink(quic, {
      host: hostname.replace(/^\[|\]$/g, ""),
      port: port === "" ? 443 : Number(port),
      ca: options.ca,
      isInsecure: options.isInsecure,
      acceptsDatagrams: !options.usesCapsules,
      connectionTimeoutS: options.connectionTimeoutS,
      lookup: options.lookup,
      onConnect: (session) => this.#onConnect(session),
      onProblem,
    });
    const sweepMs = Math.min(SWEEP_MS_MAX, idleTimeoutMs / 4);
    this.#sweep = setInterval(() => this.#closeIdle(idleTimeoutMs), sweepMs);
    receiveBatches(socket, this.counters, (batch) => {
      for (let i = 0; i < batch.length; i++) {
        const address = batch.peerAt(i);
        if (address === undefined) continue;
        this.#send(address, batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
        // The capsules of a tunnel are collected until the next datagram of another.
        if (i + 1 === batch.length || batch.peerAt(i + 1) !== address) {
          this.#peers.get(address)?.tunnel?.flush();
        }
      }
    });
  }

  /**
   * Opens the local port, and connects to the proxy in the background.
   *
   * @throws SocketError if the port cannot be opened, RangeError if the template or target is invalid.
   */
  static async open(quic: NodeQuic, options: ClientOptions): Promise<MasqueClient> {
    new ConnectUdpTemplate(options.template).expand(options.target);
    const socket = await UdpSocket.bind({ ...options.listen, sendErrors: "drop" });
    enlargeReceiveBuffer(socket);
    const client = new MasqueClient(quic, options, socket);
    void client.#link.start();
    return client;
  }

  /** The local address. */
  get localAddr(): SocketAddress {
    return this.#socket.localAddr;
  }

  /** The number of tunnels that the proxy has accepted. */
  get tunnels(): number {
    let count = 0;
    for (const [, { tunnel }] of this.#peers) if (tunnel?.isOpen) count++;
    return count;
  }

  /** Resolves when the client is connected to the proxy; at once if it is. */
  get connected(): Promise<void> {
    return this.#link.session === undefined ? this.#connected.promise : Promise.resolve();
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep);
    for (const [, { tunnel }] of this.#peers) tunnel?.close();
    this.#router?.close();
    this.#sender.close();
    this.#socket.close();
    this.counters.socketDrops += socketDropsOf(this.#socket);
    await this.#link.close();
  }

  #onConnect(session: QuicSession): void {
    this.counters.connections++;
    // The tunnels of the connection before are opened again by the next datagram of their peers.
    for (const [, peer] of this.#peers) peer.tunnel?.close();
    this.#router?.close();
    this.#router = new DatagramRouter(session, this.counters);
    this.#connected.resolve();
    this.#connected = Promise.withResolvers<void>();
  }

  #send(address: SocketAddress, bytes: Uint8Array, offset: number, length: number): void {
    const peer = this.#peers.get(address) ?? this.#addPeer(address);
    if (peer === undefined) {
      this.counters.drops.refused++;
      return;
    }
    const nowMs = performance.now();
    peer.lastActiveMs = nowMs;
    peer.allowance.onRequest(length);
    peer.tunnel ??= this.#openTunnel(peer, nowMs);
    if (peer.tunnel === undefined) this.counters.drops.failed++;
    else peer.tunnel.send(bytes, offset, length);
  }

  #addPeer(address: SocketAddress): Peer | undefined {
    if (this.#peers.size >= (this.#options.peersMax ?? 1000)) return undefined;
    const allowance = new ReplyAllowance(this.#replyFactor);
    const peer: Peer = {
      address,
      allowance,
      tunnel: undefined,
      refusedMs: undefined,
      lastActiveMs: 0,
    };
    this.#peers.set(address, peer);
    return peer;
  }

  /** Returns a new tunnel, or undefined if there is no connection or the proxy has just refused. */
  #openTunnel(peer: Peer, nowMs: number): ClientTunnel | undefined {
    const { session } = this.#link;
    const router = this.#router;
    if (session === undefined || router === undefined) return undefined;
    if (peer.refusedMs !== undefined && nowMs < peer.refusedMs + REFUSAL_PAUSE_MS) return undefined;
    const tunnel = new ClientTunnel({
      session,
      router,
      counters: this.counters,
      headers: this.#headers,
      usesDatagrams: !this.#options.usesCapsules,
      onPayload: (bytes, offset, length) => this.#reply(peer, bytes, offset, length),
      onEnd: (refusal) => {
        if (peer.tunnel === tunnel) peer.tunnel = undefined;
        if (refusal === undefined) return;
        peer.refusedMs = performance.now();
        const { ":status": status, "proxy-status": details = "" } = refusal;
        this.#options.onProblem?.(`request refused: ${status} ${details}`);
      },
    });
    void tunnel.open();
    return tunnel;
  }

  #reply(peer: Peer, bytes: Uint8Array, offset: number, length: number): void {
    if (peer.allowance.take(length)) this.#sender.push(bytes, offset, length, peer.address);
    else this.counters.drops.amplified++;
  }

  #closeIdle(idleTimeoutMs: number): void {
    const limitMs = performance.now() - idleTimeoutMs;
    const idle = [...this.#peers].filter(([, peer]) => peer.lastActiveMs <= limitMs);
    for (const [address, { tunnel }] of idle) {
      this.#peers.delete(address);
      if (tunnel === undefined) continue;
      this.counters.expired++;
      tunnel.close();
    }
  }
}

function isLoopback({ address }: SocketAddress): boolean {
  return address.startsWith("127.") || address === "::1";
}
