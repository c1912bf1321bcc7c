/**
 * The tunnel endpoint of the clients: assigns a flow ID to each client address, and forwards the
 * datagrams of all clients with their flow IDs through one connected socket, the tunnel. Forwards
 * replies from the tunnel to the client that their flow ID belongs to.
 *
 * Flow IDs start at a random number and are not reused, but their slots are (tunnel-datagram.ts). A
 * late reply to an expired flow, or to a flow of an earlier process, is therefore dropped and does not
 * reach the wrong client.
 */

import {
  AddressMap,
  type Backend,
  type HostAndPort,
  MAX_DATAGRAM_SIZE,
  type SocketAddress,
} from "../../lib/index.ts";
import { newSendBatch } from "./batch-io.ts";
import {
  type EndpointCounters,
  type EndpointSnapshot,
  newEndpointCounters,
  snapshotOf,
} from "./counters.ts";
import { FlowEntry, FlowTable } from "./flow-table.ts";
import { batchSink, Forwarder, type Sink, TUNNEL_DATAGRAM_BYTES_MAX } from "./forwarder.ts";
import { hostOf } from "./host-flows.ts";
import type { ProxySocket } from "./open-socket.ts";
import { REPLY_FACTOR, ReplyAllowance } from "./reply-allowance.ts";
import { type Runtime, systemRuntime } from "./runtime.ts";
import { connectTunnel } from "./tunnel.ts";
import { FLOW_SLOTS, type FlowId, TunnelDatagram } from "./tunnel-datagram.ts";
import type { TunnelSecurity } from "./tunnel-security.ts";

/** The first flow ID is below: 2^29 more IDs then have at most 4 bytes (RFC 9000, section 16). */
const FIRST_FLOW_ID_MAX = 2 ** 29;

export interface IngressOptions {
  /** The address for the clients. Port 0: chosen by the system, see `localAddr`. */
  readonly listen: HostAndPort;
  /** The address of the egress. */
  readonly tunnel: HostAndPort;
  /** At most `FLOW_SLOTS`. */
  readonly flowsMax: number;
  readonly idleTimeoutMs: number;
  /** See `ReplyAllowance`. Default: `REPLY_FACTOR`. */
  readonly replyFactor?: number | undefined;
  readonly backend?: Backend | undefined;
  /** Absent: the tunnel is plain. */
  readonly security?: TunnelSecurity | undefined;
  /** The first flow ID. Default: random. */
  readonly firstFlowId?: number | undefined;
  /** Default: the operating system. */
  readonly runtime?: Runtime | undefined;
}

/** The flow of one client. */
class ClientFlow extends FlowEntry {
  readonly client: SocketAddress;
  readonly id: number;
  readonly allowance: ReplyAllowance;

  constructor(client: SocketAddress, id: number, replyFactor: number) {
    super();
    this.client = client;
    this.id = id;
    this.allowance = new ReplyAllowance(replyFactor);
  }
}

/** A running ingress. */
export class Ingress {
  readonly #counters: EndpointCounters;
  readonly #clientSocket: ProxySocket;
  readonly #tunnelSocket: ProxySocket;
  readonly #flows: FlowTable<ClientFlow>;
  readonly #flowsByClient = new AddressMap<ClientFlow>();
  readonly #flowsById = new Map<FlowId, ClientFlow>();
  readonly #stopExpiry: () => void;
  readonly #replyFactor: number;
  /** The ID of the first flow in a slot that no flow has had. */
  #nextFlowId: number;
  /** The next IDs in the slots of removed flows. */
  readonly #nextIdsOfFreeSlots: number[] = [];

  private constructor(
    clientSocket: ProxySocket,
    tunnelSocket: ProxySocket,
    counters: EndpointCounters,
    options: IngressOptions,
  ) {
    const { runtime = systemRuntime } = options;
    this.#counters = counters;
    this.#clientSocket = clientSocket;
    this.#tunnelSocket = tunnelSocket;
    this.#replyFactor = options.replyFactor ?? REPLY_FACTOR;
    this.#nextFlowId = options.firstFlowId ?? Math.floor(Math.random() * FIRST_FLOW_ID_MAX);
    this.#flows = new FlowTable({
      ...options,
      onRemove: (flow) => {
        this.#flowsByClient.delete(flow.client);
        this.#flowsById.delete(flow.id);
        this.#nextIdsOfFreeSlots.push(flow.id + FLOW_SLOTS);
      },
    });
    this.#stopExpiry = this.#flows.startExpiry(runtime);
    new Forwarder(clientSocket, {
      sink: this.#sinkToTunnel(),
      counters: this.#counters,
      datagramBytesMax: MAX_DATAGRAM_SIZE,
      runtime,
    }).run();
    new Forwarder(tunnelSocket, {
      sink: this.#sinkToClients(),
      counters: this.#counters,
      datagramBytesMax: TUNNEL_DATAGRAM_BYTES_MAX,
      runtime,
    }).run();
  }

  /**
   * @throws SocketError if a socket cannot be opened.
   * @throws TunnelError as `connectTunnel` does.
   */
  static async open(options: IngressOptions): Promise<Ingress> {
    const { listen, tunnel, backend, security, runtime = systemRuntime } = options;
    const counters = newEndpointCounters();
    const { drops } = counters;
    const clientSocket = await runtime.openSocket({ ...listen, backend });
    try {
      const tunnelSocket = await connectTunnel(tunnel, { runtime, backend, security, drops });
      return new Ingress(clientSocket, tunnelSocket, counters, options);
    } catch (error) {
      clientSocket.close();
      throw error;
    }
  }

  /** The address that clients send to. */
  get localAddr(): SocketAddress {
    return this.#clientSocket.localAddr;
  }

  /** The backend of the sockets. */
  get backend(): string {
    return this.#clientSocket.backend;
  }

  snapshot(): EndpointSnapshot {
    const toUpstream = this.#tunnelSocket.counters;
    const toClients = this.#clientSocket.counters;
    return snapshotOf("ingress", this.#flows, this.#counters, { toUpstream, toClients });
  }

  close(): void {
    this.#stopExpiry();
    this.#clientSocket.close();
    this.#tunnelSocket.close();
  }

  #sinkToTunnel(): Sink {
    const out = newSendBatch();
    const { drops } = this.#counters;
    return batchSink(this.#tunnelSocket, out, this.#counters, (batch, i, nowMs) => {
      const flow = this.#useFlow(batch.peerAt(i) as SocketAddress, nowMs);
      if (flow === undefined) {
        drops.refused++;
        return;
      }
      const length = batch.lengthAt(i);
      flow.allowance.onRequest(length);
      out.prefixVarint(flow.id).pushSlice(batch.bytes, batch.offsetAt(i), length);
    });
  }

  #sinkToClients(): Sink {
    const out = newSendBatch();
    const { drops } = this.#counters;
    const datagram = new TunnelDatagram();
    return batchSink(this.#clientSocket, out, this.#counters, (batch, i, nowMs) => {
      if (!datagram.parse(batch, i)) {
        drops.malformed++;
        return;
      }
      const flow = this.#flowsById.get(datagram.flowId);
      if (flow === undefined) {
        drops.unknownFlow++;
        return;
      }
      if (!this.#flows.touchByReply(flow, nowMs)) {
        drops.stale++;
        return;
      }
      if (!flow.allowance.take(datagram.payloadLength)) {
        drops.amplified++;
        return;
      }
      out.pushSlice(batch.bytes, datagram.payloadOffset, datagram.payloadLength, flow.client);
    });
  }

  /** Returns the flow of a client, a new one if necessary; `undefined` if the table is full. */
  #useFlow(client: SocketAddress, nowMs: number): ClientFlow | undefined {
    const known = this.#flowsByClient.get(client);
    if (known !== undefined) {
      this.#flows.touch(known, nowMs);
      return known;
    }
    const host = hostOf(client);
    if (!this.#flows.admit(host, nowMs)) return undefined;
    const id = this.#nextIdsOfFreeSlots.pop() ?? this.#nextFlowId++;
    const flow = new ClientFlow(client, id, this.#replyFactor);
    this.#flowsByClient.set(client, flow);
    this.#flowsById.set(flow.id, flow);
    this.#flows.add(flow, host, nowMs);
    return flow;
  }
}
