/**
 * The upstream's half: takes all flows out of the tunnel, keeps one connected upstream socket for
 * each, and sends the answers back with the flow ID in front.
 *
 * It serves any number of ingresses; flows of two of them are apart, whatever their IDs. It does
 * not ask who they are: like its upstream, the tunnel's port is for a network that is trusted.
 */

import {
  AddressMap,
  type Backend,
  decodeVarint,
  type HostAndPort,
  SendBatch,
  type SocketAddress,
  SocketError,
  type UdpSocket,
} from "../../lib/index.ts";
import { Receiver, type Sink, TUNNEL_DATAGRAM_BYTES_MAX } from "./batch.ts";
import {
  addCounters,
  type HalfCounts,
  type HalfSnapshot,
  newHalfCounts,
  snapshotOf,
  sumCounters,
} from "./counts.ts";
import { type FlowId, flowIdLength } from "./flow-id.ts";
import { FlowTable } from "./flow-table.ts";
import { openSocket } from "./open.ts";
import { Outbox } from "./outbox.ts";
import { UpstreamFlow } from "./upstream-flow.ts";

/** Asked for each upstream socket, which carries one client's datagrams. */
const UPSTREAM_BUFFER_BYTES = 2 ** 18;

/** Flows that are sent to together, each by a batch of its own. */
const SENDING_FLOWS_MAX = 64;
/** Datagrams that are sent to a flow together. */
const FLOW_BATCH_DATAGRAMS = 64;

export interface EgressOptions {
  /** Where ingresses send to. Port 0: the system's choice, see `localAddr`. */
  readonly listen: HostAndPort;
  readonly upstream: HostAndPort;
  readonly flowsMax: number;
  readonly idleTimeoutMs: number;
  readonly backend?: Backend | undefined;
}

/** The flows of one ingress. */
type FlowsById = Map<FlowId, UpstreamFlow>;

/** A running egress. */
export class Egress {
  readonly #options: EgressOptions;
  readonly #counts: HalfCounts = newHalfCounts();
  readonly #tunnel: UdpSocket;
  readonly #flows: FlowTable<UpstreamFlow>;
  readonly #byIngress = new AddressMap<FlowsById>();
  readonly #outbox: Outbox;
  readonly #expiry: ReturnType<typeof setInterval>;
  /** Upstream sockets, and the sum of those that are closed. */
  readonly #open = new Set<UdpSocket>();
  readonly #closedCounters;
  /** The first `#sendingCount` have a batch each, the one at the same index. */
  readonly #sending: UpstreamFlow[] = [];
  readonly #sendBatches: SendBatch[] = [];
  #sendingCount = 0;

  private constructor(tunnel: UdpSocket, options: EgressOptions) {
    this.#options = options;
    this.#tunnel = tunnel;
    this.#outbox = new Outbox(tunnel, this.#counts);
    this.#closedCounters = tunnel.counters;
    this.#flows = new FlowTable({ ...options, onRemove: (flow) => this.#onRemove(flow) });
    this.#expiry = this.#flows.expireRegularly();
    new Receiver(tunnel, {
      sink: this.#up(),
      counts: this.#counts,
      datagramBytesMax: TUNNEL_DATAGRAM_BYTES_MAX,
    }).run();
  }

  /** @throws SocketError when the socket cannot be opened. */
  static async open(options: EgressOptions): Promise<Egress> {
    const { listen, backend } = options;
    return new Egress(await openSocket({ ...listen, backend }), options);
  }

  /** Where ingresses send to. */
  get localAddr(): SocketAddress {
    return this.#tunnel.localAddr;
  }

  /** Which engine drives its sockets. */
  get backend(): Backend {
    return this.#tunnel.backend;
  }

  snapshot(): HalfSnapshot {
    const open = Array.from(this.#open, (socket) => socket.counters);
    const upstream = sumCounters([this.#closedCounters, ...open]);
    const sockets = { up: upstream, down: this.#tunnel.counters };
    return snapshotOf("egress", this.#flows, this.#counts, sockets);
  }

  close(): void {
    clearInterval(this.#expiry);
    this.#flows.clear();
    this.#tunnel.close();
  }

  /** Tunnel to upstream: a batch is grouped by flow, since each has a socket of its own. */
  #up(): Sink {
    const { drops } = this.#counts;
    return {
      isFull: false,
      take: (batch, i, nowMs) => {
        const { bytes } = batch;
        const offset = batch.offsetAt(i);
        const length = batch.lengthAt(i);
        const idLength = flowIdLength(bytes, offset, length);
        if (idLength === 0) {
          drops.malformed++;
          return;
        }
        const id = decodeVarint(bytes, offset);
        const flow = this.#flowOf(batch.peerAt(i) as SocketAddress, id, nowMs);
        if (flow === undefined) {
          drops.refused++;
          return;
        }
        if (flow.needsBatch) this.#lend(flow);
        flow.add(bytes, offset + idLength, length - idLength);
      },
      flush: () => {
        this.#flush();
        return true;
      },
    };
  }

  /** Gives a flow a batch to send by, until the next flush. */
  #lend(flow: UpstreamFlow): void {
    if (this.#sendingCount === SENDING_FLOWS_MAX) this.#flush();
    const i = this.#sendingCount++;
    this.#sendBatches[i] ??= new SendBatch({ datagrams: FLOW_BATCH_DATAGRAMS, prefixBytes: 0 });
    this.#sending[i] = flow;
    flow.lend(this.#sendBatches[i]);
  }

  #flush(): void {
    for (let i = 0; i < this.#sendingCount; i++) (this.#sending[i] as UpstreamFlow).giveBack();
    this.#sendingCount = 0;
  }

  #flowOf(ingress: SocketAddress, id: FlowId, nowMs: number): UpstreamFlow | undefined {
    const flows = this.#byIngress.get(ingress);
    const known = flows?.get(id);
    if (known !== undefined) {
      this.#flows.touch(known, nowMs);
      return known;
    }
    if (!this.#flows.admit(nowMs)) return undefined;
    const flow = new UpstreamFlow(ingress, id, this.#surroundings);
    // What `admit` evicted may have been the last of this ingress.
    const siblings = this.#byIngress.get(ingress) ?? new Map<FlowId, UpstreamFlow>();
    siblings.set(id, flow);
    this.#byIngress.set(ingress, siblings);
    this.#flows.add(flow, nowMs);
    void this.#openFlow(flow);
    return flow;
  }

  get #surroundings() {
    return {
      counts: this.#counts,
      outbox: this.#outbox,
      openUpstream: () => this.#openUpstream(),
      touch: (flow: UpstreamFlow, nowMs: number) => this.#flows.touch(flow, nowMs),
    };
  }

  async #openFlow(flow: UpstreamFlow): Promise<void> {
    try {
      await flow.open();
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      // No descriptor is left, or the like: the flow's next datagram tries again.
      this.#counts.socketErrors++;
      this.#flows.remove(flow);
    }
  }

  async #openUpstream(): Promise<UdpSocket> {
    const { upstream: connect, backend } = this.#options;
    const socket = await openSocket({ connect, backend, bufferBytes: UPSTREAM_BUFFER_BYTES });
    this.#open.add(socket);
    return socket;
  }

  #onRemove(flow: UpstreamFlow): void {
    const flows = this.#byIngress.get(flow.ingress);
    flows?.delete(flow.id);
    if (flows?.size === 0) this.#byIngress.delete(flow.ingress);
    this.#counts.drops.failed += flow.close();
    if (flow.socket === undefined) return;
    this.#open.delete(flow.socket);
    addCounters(this.#closedCounters, flow.socket.counters);
  }
}
