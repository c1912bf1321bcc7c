/**
 * The tunnel endpoint of the upstream: receives the datagrams of all flows from the tunnel, sends
 * those of each flow through an upstream socket of its own, and returns the replies with their flow
 * ID through the tunnel.
 *
 * Serves any number of ingresses: a flow is identified by the address of its ingress and its flow
 * ID. In a plain tunnel ingresses are not authenticated: it belongs in a trusted network.
 */

import {
  AddressMap,
  type Backend,
  type HostAndPort,
  SendBatch,
  type SocketAddress,
  type SocketCounters,
  SocketError,
} from "../../lib/index.ts";
import {
  addCounters,
  type EndpointCounters,
  type EndpointSnapshot,
  newEndpointCounters,
  snapshotOf,
  sumCounters,
} from "./counters.ts";
import { FlowTable } from "./flow-table.ts";
import { Forwarder, type Sink, TUNNEL_DATAGRAM_BYTES_MAX } from "./forwarder.ts";
import { hostOf } from "./host-flows.ts";
import type { ProxySocket } from "./open-socket.ts";
import { Rebinding } from "./rebinding.ts";
import { REPLY_FACTOR } from "./reply-allowance.ts";
import { ReplyQueue } from "./reply-queue.ts";
import { type Runtime, systemRuntime } from "./runtime.ts";
import { listenForTunnels } from "./tunnel.ts";
import { type FlowId, isSecretFlowId, slotOf, TunnelDatagram } from "./tunnel-datagram.ts";
import type { TunnelSecurity } from "./tunnel-security.ts";
import { type FlowContext, UpstreamFlow } from "./upstream-flow.ts";

/** The buffer size to request for an upstream socket, which carries the traffic of one client. */
const UPSTREAM_BUFFER_BYTES = 2 ** 18;

/** The maximum number of flows with a send batch: the flows that one flush sends to. */
const SENDING_FLOWS_MAX = 64;
/** The maximum number of datagrams in a send batch of a flow. */
const FLOW_BATCH_DATAGRAMS = 64;

export interface EgressOptions {
  /** The address for the ingresses. Port 0: chosen by the system, see `localAddr`. */
  readonly listen: HostAndPort;
  readonly upstream: HostAndPort;
  readonly flowsMax: number;
  readonly idleTimeoutMs: number;
  /** See `ReplyAllowance`. Default: `REPLY_FACTOR`. */
  readonly replyFactor?: number | undefined;
  readonly backend?: Backend | undefined;
  /** See `FlowTableOptions`. Default 0. */
  readonly graceMs?: number | undefined;
  /** Absent: the tunnel is plain. */
  readonly security?: TunnelSecurity | undefined;
  /** Default: the operating system. */
  readonly runtime?: Runtime | undefined;
}

/** The flows of one ingress. */
type FlowsBySlot = Map<number, UpstreamFlow>;

/** A running egress. */
export class Egress {
  readonly #options: EgressOptions;
  readonly #counters: EndpointCounters;
  readonly #runtime: Runtime;
  readonly #tunnelSocket: ProxySocket;
  readonly #flows: FlowTable<UpstreamFlow>;
  readonly #flowsByIngress = new AddressMap<FlowsBySlot>();
  /** The flows whose IDs only their ingress knows, to find them when its address changes. */
  readonly #flowsBySecretId = new Map<FlowId, UpstreamFlow>();
  readonly #flowContext: FlowContext;
  readonly #stopExpiry: () => void;
  /** The open upstream sockets, and the sum of the counters of the closed ones. */
  readonly #upstreamSockets = new Set<ProxySocket>();
  readonly #closedCounters: SocketCounters;
  /** The first `#sendingCount` flows have the send batch at the same index. */
  readonly #sendingFlows: UpstreamFlow[] = [];
  readonly #sendBatches: SendBatch[] = [];
  #sendingCount = 0;

  private constructor(
    tunnelSocket: ProxySocket,
    counters: EndpointCounters,
    options: EgressOptions,
  ) {
    const { runtime = systemRuntime } = options;
    this.#counters = counters;
    this.#options = options;
    this.#runtime = runtime;
    this.#tunnelSocket = tunnelSocket;
    this.#flowContext = {
      counters: this.#counters,
      runtime,
      replyFactor: options.replyFactor ?? REPLY_FACTOR,
      replies: new ReplyQueue(tunnelSocket, this.#counters),
      openSocket: () => this.#openUpstreamSocket(),
      onOpen: (socket) => this.#upstreamSockets.add(socket),
      onReply: (flow, nowMs) => this.#flows.touchByReply(flow, nowMs),
    };
    // A copy of the counters of a new socket: all zero.
    this.#closedCounters = tunnelSocket.counters;
    this.#flows = new FlowTable({ ...options, onRemove: (flow) => this.#onRemove(flow) });
    this.#stopExpiry = this.#flows.startExpiry(runtime);
    new Forwarder(tunnelSocket, {
      sink: this.#sinkToUpstream(),
      counters: this.#counters,
      datagramBytesMax: TUNNEL_DATAGRAM_BYTES_MAX,
      runtime,
    }).run();
  }

  /** @throws SocketError if the tunnel socket cannot be opened. */
  static async open(options: EgressOptions): Promise<Egress> {
    const { listen, backend, security, runtime = systemRuntime } = options;
    const counters = newEndpointCounters();
    const { drops } = counters;
    const tunnelSocket = await listenForTunnels(listen, { runtime, backend, security, drops });
    return new Egress(tunnelSocket, counters, options);
  }

  /** The address that ingresses send to. */
  get localAddr(): SocketAddress {
    return this.#tunnelSocket.localAddr;
  }

  /** The backend of the sockets. */
  get backend(): string {
    return this.#tunnelSocket.backend;
  }

  snapshot(): EndpointSnapshot {
    const openCounters = Array.from(this.#upstreamSockets, (socket) => socket.counters);
    const toUpstream = sumCounters([this.#closedCounters, ...openCounters]);
    const toClients = this.#tunnelSocket.counters;
    return snapshotOf("egress", this.#flows, this.#counters, { toUpstream, toClients });
  }

  close(): void {
    this.#stopExpiry();
    this.#flows.clear();
    this.#tunnelSocket.close();
  }

  // ------------------------------------------------------------------ tunnel to upstream ----

  /** Groups the datagrams of a received batch by flow: each flow has its own socket. */
  #sinkToUpstream(): Sink {
    const { drops } = this.#counters;
    const datagram = new TunnelDatagram();
    return {
      // There is always room: a flow whose batch is full sends it first.
      isFull: false,
      write: (batch, i, nowMs) => {
        if (!datagram.parse(batch, i)) {
          drops.malformed++;
          return;
        }
        const flow = this.#useFlow(batch.peerAt(i) as SocketAddress, datagram, nowMs);
        if (flow === undefined) {
          drops.refused++;
          return;
        }
        if (flow.needsBatch) this.#attachBatch(flow);
        flow.push(batch.bytes, datagram.payloadOffset, datagram.payloadLength);
      },
      flush: () => {
        this.#flush();
        return true;
      },
    };
  }

  /** Attaches a send batch to a flow until the next flush. */
  #attachBatch(flow: UpstreamFlow): void {
    if (this.#sendingCount === SENDING_FLOWS_MAX) this.#flush();
    const i = this.#sendingCount++;
    this.#sendBatches[i] ??= new SendBatch({ datagrams: FLOW_BATCH_DATAGRAMS, prefixBytes: 0 });
    this.#sendingFlows[i] = flow;
    flow.attachBatch(this.#sendBatches[i]);
  }

  #flush(): void {
    for (let i = 0; i < this.#sendingCount; i++) (this.#sendingFlows[i] as UpstreamFlow).flush();
    this.#sendingCount = 0;
  }

  // ------------------------------------------------------------------------------- flows ----

  /** Returns the flow of a datagram, a new one if necessary; `undefined` if the table is full. */
  #useFlow(
    ingress: SocketAddress,
    { flowId: id, payloadLength }: TunnelDatagram,
    nowMs: number,
  ): UpstreamFlow | undefined {
    const known = this.#flowsByIngress.get(ingress)?.get(slotOf(id));
    if (known?.key.id === id) return this.#use(known, payloadLength, nowMs);
    const found = this.#flowsBySecretId.get(id);
    if (found !== undefined && !this.#follow(found, ingress, nowMs)) return found;
    if (known !== undefined) {
      this.#flows.counters.ended++;
      this.#flows.remove(known);
    }
    if (found !== undefined) this.#place(found);
    const flow = found ?? this.#addFlow(ingress, id, nowMs);
    return flow && this.#use(flow, payloadLength, nowMs);
  }

  /** Marks a flow as used by a datagram from its ingress's address. */
  #use(flow: UpstreamFlow, payloadLength: number, nowMs: number): UpstreamFlow {
    this.#flows.touch(flow, nowMs);
    flow.allowance.onRequest(payloadLength);
    return flow;
  }

  /** Moves a flow to another address of its ingress, if it is time. Returns whether it has moved. */
  #follow(flow: UpstreamFlow, ingress: SocketAddress, nowMs: number): boolean {
    const { key } = flow;
    flow.rebinding ??= new Rebinding();
    if (!flow.rebinding.moves(key.ingress, ingress, nowMs - flow.lastRequestMs)) return false;
    this.#displace(flow);
    key.ingress = ingress;
    flow.allowance.restart();
    this.#flows.move(flow, hostOf(ingress));
    return true;
  }

  /** Lets a flow be found by its key. */
  #place(flow: UpstreamFlow): void {
    const { ingress, id } = flow.key;
    const flowsBySlot = this.#flowsByIngress.get(ingress) ?? new Map<number, UpstreamFlow>();
    flowsBySlot.set(slotOf(id), flow);
    this.#flowsByIngress.set(ingress, flowsBySlot);
  }

  #displace({ key: { ingress, id } }: UpstreamFlow): void {
    const flowsBySlot = this.#flowsByIngress.get(ingress);
    flowsBySlot?.delete(slotOf(id));
    if (flowsBySlot?.size === 0) this.#flowsByIngress.delete(ingress);
  }

  #addFlow(ingress: SocketAddress, id: FlowId, nowMs: number): UpstreamFlow | undefined {
    const host = hostOf(ingress);
    if (!this.#flows.admit(host, nowMs)) return undefined;
    const flow = new UpstreamFlow({ ingress, id }, this.#flowContext);
    // After `admit`, which removes the map of an ingress with the ingress's last flow.
    this.#place(flow);
    if (isSecretFlowId(id)) this.#flowsBySecretId.set(id, flow);
    this.#flows.add(flow, host, nowMs);
    void this.#openFlow(flow);
    return flow;
  }

  async #openFlow(flow: UpstreamFlow): Promise<void> {
    try {
      await flow.open();
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      // For example, no file descriptor is left. The next datagram of the flow tries again.
      this.#counters.socketErrors++;
      // It may have expired, or been evicted, while its socket was being opened.
      if (!flow.isClosed) this.#flows.remove(flow);
    }
  }

  #openUpstreamSocket(): Promise<ProxySocket> {
    const { upstream: connect, backend } = this.#options;
    const bufferBytes = UPSTREAM_BUFFER_BYTES;
    return this.#runtime.openSocket({ connect, backend, bufferBytes });
  }

  #onRemove(flow: UpstreamFlow): void {
    this.#displace(flow);
    this.#flowsBySecretId.delete(flow.key.id);
    this.#counters.drops.failed += flow.close();
    if (flow.socket === undefined) return;
    this.#upstreamSockets.delete(flow.socket);
    addCounters(this.#closedCounters, flow.socket.counters);
  }
}
