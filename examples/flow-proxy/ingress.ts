/**
 * The tunnel endpoint of the clients: assigns a flow ID to each client address, and forwards the
 * datagrams of all clients with their flow IDs through one connected socket, the tunnel. Forwards
 * replies from the tunnel to the client that their flow ID belongs to.
 *
 * Flow IDs start at a random number, which is secret, and are not reused, but their slots are
 * (tunnel-datagram.ts). A late reply to an expired flow, or to a flow of an earlier process, is therefore dropped and does not
 * reach the wrong client.
 */

import {
  AddressMap,
  type Backend,
  type HostAndPort,
  MAX_DATAGRAM_SIZE,
  type RecvBatch,
  type SocketAddress,
} from "../../lib/index.ts";
import { newSendBatch } from "./batch-io.ts";
import { ConnectionIds, type IdentifiedFlow } from "./connection-ids.ts";
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
import { Rebinding } from "./rebinding.ts";
import { REPLY_FACTOR, ReplyAllowance } from "./reply-allowance.ts";
import { type Runtime, systemRuntime } from "./runtime.ts";
import { ServerIds, serverFlowId } from "./server-ids.ts";
import { connectTunnel } from "./tunnel.ts";
import { FLOW_SLOTS, type FlowId, SECRET_FLOW_ID_MIN, TunnelDatagram } from "./tunnel-datagram.ts";
import type { TunnelSecurity } from "./tunnel-security.ts";

/** The first flow ID is below: as many more IDs are safe integers. */
const FIRST_FLOW_ID_MAX = 2 ** 52;

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
  /** See `FlowTableOptions`. Default 0. */
  readonly graceMs?: number | undefined;
  /**
   * The length of the connection IDs of a QUIC server as the upstream: clients are found by them when
   * their address changes. Absent: they are not.
   */
  readonly connectionIdBytes?: number | undefined;
  /** The first flow ID. Default: random. */
  readonly firstFlowId?: number | undefined;
  /**
   * The IDs of the egresses, 0 to 65535, if a load balancer forwards the tunnel to several of them. The
   * flow IDs contain them (server-ids.ts). Absent: there is one egress.
   */
  readonly serverIds?: readonly number[] | undefined;
  /** Default: the operating system. */
  readonly runtime?: Runtime | undefined;
}

/** The flow of one client. */
class ClientFlow extends FlowEntry implements IdentifiedFlow {
  client: SocketAddress;
  connectionId: Uint8Array | undefined = undefined;
  rebinding: Rebinding | undefined = undefined;
  /** Its number, which determines the slot. */
  readonly number: number;
  readonly id: FlowId;
  /** Absent if there is one egress. */
  readonly serverId: number | undefined;
  readonly allowance: ReplyAllowance;

  constructor(
    client: SocketAddress,
    { number, serverId }: { readonly number: number; readonly serverId: number | undefined },
    replyFactor: number,
  ) {
    super();
    this.client = client;
    this.number = number;
    this.serverId = serverId;
    this.id = serverId === undefined ? number : serverFlowId(serverId, number);
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
  readonly #flowsByConnectionId: ConnectionIds<ClientFlow> | undefined;
  readonly #stopExpiry: () => void;
  readonly #replyFactor: number;
  /** The ID of the first flow in a slot that no flow has had. */
  #nextFlowId: number;
  /** The next IDs in the slots of removed flows. */
  readonly #nextIdsOfFreeSlots: number[] = [];
  #serverIds: ServerIds | undefined;

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
    this.#serverIds = options.serverIds && new ServerIds(options.serverIds);
    this.#nextFlowId = options.firstFlowId ?? randomFlowId();
    const { connectionIdBytes } = options;
    if (connectionIdBytes !== undefined) {
      this.#flowsByConnectionId = new ConnectionIds(connectionIdBytes);
    }
    this.#flows = new FlowTable({
      ...options,
      onRemove: (flow) => {
        this.#flowsByClient.delete(flow.client);
        this.#flowsById.delete(flow.id);
        this.#flowsByConnectionId?.forget(flow);
        this.#nextIdsOfFreeSlots.push(flow.number + FLOW_SLOTS);
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

  /**
   * Replaces the list of egresses. The flows of those that are not in it end, and their clients get new
   * flows with their next datagrams. All others continue.
   *
   * @throws RangeError if the list is empty or an ID is out of range.
   */
  setServerIds(ids: readonly number[]): void {
    const serverIds = new ServerIds(ids);
    this.#serverIds = serverIds;
    for (const flow of [...this.#flowsById.values()]) {
      if (flow.serverId === undefined || !serverIds.has(flow.serverId)) this.#flows.remove(flow);
    }
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
      const flow = this.#useFlow(batch, i, nowMs);
      if (flow === undefined) {
        drops.refused++;
        return;
      }
      const length = batch.lengthAt(i);
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

  /** Returns the flow of a datagram, a new one if necessary; `undefined` if the table is full. */
  #useFlow(batch: RecvBatch, i: number, nowMs: number): ClientFlow | undefined {
    const client = batch.peerAt(i) as SocketAddress;
    const known = this.#flowsByClient.get(client);
    if (known !== undefined) return this.#use(known, batch, i, nowMs);
    const bytes = batch.lengthAt(i);
    const found = this.#flowsByConnectionId?.find(batch.bytes, batch.offsetAt(i), bytes);
    if (found !== undefined) {
      return this.#follow(found, client, nowMs) ? this.#use(found, batch, i, nowMs) : found;
    }
    const added = this.#addFlow(client, nowMs);
    return added && this.#use(added, batch, i, nowMs);
  }

  /** Marks a flow as used by a datagram from its client's address. */
  #use(flow: ClientFlow, batch: RecvBatch, i: number, nowMs: number): ClientFlow {
    const bytes = batch.lengthAt(i);
    this.#flows.touch(flow, nowMs);
    flow.allowance.onRequest(bytes);
    this.#flowsByConnectionId?.learn(flow, batch.bytes, batch.offsetAt(i), bytes);
    return flow;
  }

  /** Moves a flow to another address of its client, if it is time. Returns whether it has moved. */
  #follow(flow: ClientFlow, client: SocketAddress, nowMs: number): boolean {
    flow.rebinding ??= new Rebinding();
    if (!flow.rebinding.moves(flow.client, client, nowMs - flow.lastRequestMs)) return false;
    this.#flowsByClient.delete(flow.client);
    flow.client = client;
    this.#flowsByClient.set(client, flow);
    flow.allowance.restart();
    this.#flows.move(flow, hostOf(client));
    return true;
  }

  #addFlow(client: SocketAddress, nowMs: number): ClientFlow | undefined {
    const host = hostOf(client);
    if (!this.#flows.admit(host, nowMs)) return undefined;
    const number = this.#nextIdsOfFreeSlots.pop() ?? this.#nextFlowId++;
    const serverId = this.#serverIds?.next();
    const flow = new ClientFlow(client, { number, serverId }, this.#replyFactor);
    this.#flowsByClient.set(client, flow);
    this.#flowsById.set(flow.id, flow);
    this.#flows.add(flow, host, nowMs);
    return flow;
  }
}

/** Returns a random ID between `SECRET_FLOW_ID_MIN` and `FIRST_FLOW_ID_MAX`. */
function randomFlowId(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return Math.max(SECRET_FLOW_ID_MIN, (high * 2 ** 32 + low) % FIRST_FLOW_ID_MAX);
}
