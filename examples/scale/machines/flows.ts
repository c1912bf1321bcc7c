/** The flows of the clients: QUIC connections, and flows through ingresses of the flow proxy. */

import { SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { Ingress } from "../../flow-proxy/ingress.ts";
import { BatchIo } from "../../quiche/batch-io.ts";
import type { QuicConnection } from "../../quiche/connection.ts";
import { QuicEndpoint } from "../../quiche/driver.ts";
import type { Quiche } from "../../quiche/quiche.ts";
import { CLIENT_ADDRESSES, SERVICE } from "./network.ts";
import { IDLE_TIMEOUT_MS, PORTS, PROBE_BYTES, PROBE_HOST_OFFSET, PROTOCOL } from "./service.ts";

/** The version of IP. */
export type Family = 4 | 6;

const PROBE_INTERVAL_MS = 250;
/** The ingresses of each IP version. */
const INGRESSES = 4;

/** A flow that can be asked for its host. */
export abstract class Flow {
  #number = 0;
  #reply: PromiseWithResolvers<number> | undefined;

  /** Sends a probe. */
  protected abstract send(probe: Uint8Array): void;

  /** Returns the host that replies; absent if none replies in time. */
  async probe(timeoutMs: number): Promise<number | undefined> {
    this.#number++;
    this.#reply = Promise.withResolvers();
    const { promise } = this.#reply;
    const probe = new Uint8Array(PROBE_BYTES);
    new DataView(probe.buffer).setUint32(0, this.#number);
    this.send(probe);
    const repeat = setInterval(() => this.send(probe), PROBE_INTERVAL_MS);
    const limit = Promise.withResolvers<undefined>();
    const timer = setTimeout(limit.resolve, timeoutMs);
    const host = await Promise.race([promise, limit.promise]);
    clearInterval(repeat);
    clearTimeout(timer);
    return host;
  }

  protected onReply(bytes: Uint8Array): void {
    if (bytes.length !== PROBE_BYTES) return;
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    if (number === this.#number) this.#reply?.resolve(bytes[PROBE_HOST_OFFSET] as number);
  }
}

/** A QUIC connection. */
export class QuicFlow extends Flow {
  readonly connection: QuicConnection;
  /** Its second address, to move to. */
  readonly otherAddress: SocketAddress;

  constructor(connection: QuicConnection, otherAddress: SocketAddress) {
    super();
    this.connection = connection;
    this.otherAddress = otherAddress;
    connection.onDatagram = (bytes) => this.onReply(bytes);
  }

  protected override send(probe: Uint8Array): void {
    if (this.connection.endError === undefined) this.connection.sendDatagram(probe);
  }
}

/** A flow of the tunnel. */
export class TunnelFlow extends Flow {
  readonly #socket: UdpSocket;

  constructor(socket: UdpSocket) {
    super();
    this.#socket = socket;
    void this.#receive();
  }

  async #receive(): Promise<void> {
    for await (const { data } of this.#socket) this.onReply(data);
  }

  protected override send(probe: Uint8Array): void {
    void this.#socket.send(probe);
  }
}

/** The QUIC connections to open. */
export interface QuicOptions {
  readonly family: Family;
  readonly count: number;
  readonly perSocket: number;
}

/** Opens QUIC connections, and waits for their handshakes. */
export async function openQuic(
  quiche: Quiche,
  { family, count, perSocket }: QuicOptions,
): Promise<QuicFlow[]> {
  const flows: QuicFlow[] = [];
  const [first, second] = CLIENT_ADDRESSES[family];
  const address = family === 4 ? SERVICE.address4 : SERVICE.address6;
  const peer = SocketAddress.ip(address, PORTS.quic);
  while (flows.length < count) {
    const io = await BatchIo.bind({ hostname: family === 4 ? "0.0.0.0" : "::" });
    const { port } = io.localAddr;
    const options = { protocol: PROTOCOL, idleTimeoutMs: IDLE_TIMEOUT_MS };
    const endpoint = new QuicEndpoint(quiche, io, options);
    const connections = Math.min(perSocket, count - flows.length);
    for (let i = 0; i < connections; i++) {
      const connection = endpoint.connect(peer, SocketAddress.ip(first, port));
      flows.push(new QuicFlow(connection, SocketAddress.ip(second, port)));
    }
    await Promise.all(flows.slice(-connections).map(({ connection }) => connection.established));
  }
  return flows;
}

/** The ingresses of an IP version. */
export class Tunnel {
  readonly #ingresses: readonly Ingress[];

  private constructor(ingresses: readonly Ingress[]) {
    this.#ingresses = ingresses;
  }

  /** Opens the ingresses. They assign new flows to these hosts. */
  static async open(family: Family, serverIds: readonly number[]): Promise<Tunnel> {
    const hostname = family === 4 ? SERVICE.address4 : SERVICE.address6;
    const options = {
      listen: { hostname: "127.0.0.1", port: 0 },
      tunnel: { hostname, port: PORTS.tunnel },
      flowsMax: 4096,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
      serverIds,
    };
    return new Tunnel(
      await Promise.all(Array.from({ length: INGRESSES }, () => Ingress.open(options))),
    );
  }

  setServerIds(serverIds: readonly number[]): void {
    for (const ingress of this.#ingresses) ingress.setServerIds(serverIds);
  }

  /** Opens flows. */
  openFlows(count: number): Promise<TunnelFlow[]> {
    return Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const { localAddr } = this.#ingresses[i % INGRESSES] as Ingress;
        const connect = { hostname: localAddr.address, port: localAddr.port };
        return new TunnelFlow(await UdpSocket.connect(connect, { sendErrors: "drop" }));
      }),
    );
  }
}
