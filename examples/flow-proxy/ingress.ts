/**
 * The clients' half: gives every client address a flow ID, puts it in front of what the client
 * sends, and sends all flows through one connected socket, the tunnel. What comes back goes to
 * the client of its flow ID.
 *
 * Flow IDs start anywhere and are never used again, so that an answer to an expired flow, or to
 * one of an earlier run, finds nobody rather than the wrong client.
 */

import {
  AddressMap,
  type Backend,
  decodeVarint,
  type HostAndPort,
  MAX_DATAGRAM_SIZE,
  type SocketAddress,
  type UdpSocket,
} from "../../lib/index.ts";
import { newSendBatch, Receiver, type Sink, sinkInto, TUNNEL_DATAGRAM_BYTES_MAX } from "./batch.ts";
import { type HalfCounts, type HalfSnapshot, newHalfCounts, snapshotOf } from "./counts.ts";
import { type FlowId, flowIdLength } from "./flow-id.ts";
import { FlowEntry, FlowTable } from "./flow-table.ts";
import { openSocket } from "./open.ts";

/** First flow IDs are below, which leaves 2^29 more to come that are 4 bytes long as well. */
const FIRST_FLOW_ID_MAX = 2 ** 29;

export interface IngressOptions {
  /** Where clients send to. Port 0: the system's choice, see `localAddr`. */
  readonly listen: HostAndPort;
  /** The egress. */
  readonly tunnel: HostAndPort;
  readonly flowsMax: number;
  readonly idleTimeoutMs: number;
  readonly backend?: Backend | undefined;
  /** The first flow ID. Default: a random one. */
  readonly firstFlowId?: number | undefined;
}

/** A client and its number. */
class ClientFlow extends FlowEntry {
  readonly client: SocketAddress;
  readonly id: number;

  constructor(client: SocketAddress, id: number) {
    super();
    this.client = client;
    this.id = id;
  }
}

/** A running ingress. */
export class Ingress {
  readonly #counts: HalfCounts = newHalfCounts();
  readonly #clients: UdpSocket;
  readonly #tunnel: UdpSocket;
  readonly #flows: FlowTable<ClientFlow>;
  readonly #byClient = new AddressMap<ClientFlow>();
  readonly #byId = new Map<FlowId, ClientFlow>();
  readonly #expiry: ReturnType<typeof setInterval>;
  #nextId: number;

  private constructor(clients: UdpSocket, tunnel: UdpSocket, options: IngressOptions) {
    this.#clients = clients;
    this.#tunnel = tunnel;
    this.#nextId = options.firstFlowId ?? Math.floor(Math.random() * FIRST_FLOW_ID_MAX);
    this.#flows = new FlowTable({
      ...options,
      onRemove: (flow) => {
        this.#byClient.delete(flow.client);
        this.#byId.delete(flow.id);
      },
    });
    const counts = this.#counts;
    const up = new Receiver(clients, {
      sink: this.#up(),
      counts,
      datagramBytesMax: MAX_DATAGRAM_SIZE,
    });
    const down = new Receiver(tunnel, {
      sink: this.#down(),
      counts,
      datagramBytesMax: TUNNEL_DATAGRAM_BYTES_MAX,
    });
    this.#expiry = this.#flows.expireRegularly();
    up.run();
    down.run();
  }

  /** @throws SocketError when a socket cannot be opened. */
  static async open(options: IngressOptions): Promise<Ingress> {
    const { listen, tunnel: connect, backend } = options;
    const clients = await openSocket({ ...listen, backend });
    try {
      return new Ingress(clients, await openSocket({ connect, backend }), options);
    } catch (error) {
      clients.close();
      throw error;
    }
  }

  /** Where clients send to. */
  get localAddr(): SocketAddress {
    return this.#clients.localAddr;
  }

  /** Which engine drives its sockets. */
  get backend(): Backend {
    return this.#clients.backend;
  }

  snapshot(): HalfSnapshot {
    const sockets = { up: this.#tunnel.counters, down: this.#clients.counters };
    return snapshotOf("ingress", this.#flows, this.#counts, sockets);
  }

  close(): void {
    clearInterval(this.#expiry);
    this.#clients.close();
    this.#tunnel.close();
  }

  /** Client to tunnel. */
  #up(): Sink {
    const out = newSendBatch();
    return sinkInto(this.#tunnel, out, this.#counts, (batch, i, nowMs) => {
      const flow = this.#flowOf(batch.peerAt(i) as SocketAddress, nowMs);
      if (flow === undefined) {
        this.#counts.drops.refused++;
        return;
      }
      out.prefixVarint(flow.id).pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
    });
  }

  #flowOf(client: SocketAddress, nowMs: number): ClientFlow | undefined {
    const known = this.#byClient.get(client);
    if (known !== undefined) {
      this.#flows.touch(known, nowMs);
      return known;
    }
    if (!this.#flows.admit(nowMs)) return undefined;
    const flow = new ClientFlow(client, this.#nextId++);
    this.#byClient.set(client, flow);
    this.#byId.set(flow.id, flow);
    this.#flows.add(flow, nowMs);
    return flow;
  }

  /** Tunnel to client. */
  #down(): Sink {
    const out = newSendBatch();
    const { drops } = this.#counts;
    return sinkInto(this.#clients, out, this.#counts, (batch, i, nowMs) => {
      const { bytes } = batch;
      const offset = batch.offsetAt(i);
      const length = batch.lengthAt(i);
      const idLength = flowIdLength(bytes, offset, length);
      if (idLength === 0) {
        drops.malformed++;
        return;
      }
      const flow = this.#byId.get(decodeVarint(bytes, offset));
      if (flow === undefined) {
        drops.unknownFlow++;
        return;
      }
      this.#flows.touch(flow, nowMs);
      out.pushSlice(bytes, offset + idLength, length - idLength, flow.client);
    });
  }
}
