/**
 * Follows each datagram through the proxy. Every datagram that a half receives must be sent
 * unaltered and in order to the right peer, or be counted as dropped. Replies to a client that has
 * been silent for the idle timeout must be dropped.
 */

import { flowIdLength, SECRET_FLOW_ID_MIN } from "../../examples/flow-proxy/tunnel-datagram.ts";
import { decodeVarint, type SocketAddress } from "../../lib/index.ts";
import type { SimEvent } from "../../lib/testing/index.ts";
import { CLIENT_NAT, CLIENTS, EGRESS, INGRESS, INGRESS_OUT, type Scenario } from "./scenario.ts";
import { require } from "./violation.ts";

/** A datagram that was received. */
interface Received {
  readonly payload: Uint8Array;
  readonly timeMs: number;
}

/** What one half received and has not sent, in one direction, by flow. */
class Passage {
  readonly #name: string;
  readonly #queues = new Map<string, Received[]>();
  #received = 0;
  #sent = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** The number of datagrams that were received and not sent. */
  get missing(): number {
    return this.#received - this.#sent;
  }

  received(flow: string, payload: Uint8Array, { timeMs }: SimEvent): void {
    this.#received++;
    const queue = this.#queues.get(flow);
    if (queue === undefined) this.#queues.set(flow, [{ payload, timeMs }]);
    else queue.push({ payload, timeMs });
  }

  /**
   * Removes the datagram that is sent, and those before it, which must have been dropped. Returns
   * when it was received.
   */
  sent(flow: string, payload: Uint8Array, event: SimEvent): number {
    const queue = this.#queues.get(flow) ?? [];
    const i = indexOf(queue, payload);
    require(i !== -1, () => `${this.#name}: altered, misdelivered or out of order: ${event}`);
    this.#sent++;
    return (queue.splice(0, i + 1).at(-1) as Received).timeMs;
  }

  /** Returns a flow, of those that `accepts` accepts, that has received `payload`. */
  flowWith(
    payload: Uint8Array,
    accepts: (flow: string) => boolean = () => true,
  ): string | undefined {
    for (const [flow, queue] of this.#queues) {
      if (accepts(flow) && indexOf(queue, payload) !== -1) return flow;
    }
    return undefined;
  }
}

function indexOf(queue: readonly Received[], payload: Uint8Array): number {
  return queue.findIndex((other) => Buffer.compare(other.payload, payload) === 0);
}

/** The ledger of both halves. Restarted halves continue in it. */
export class Ledger {
  readonly #listen: SocketAddress;
  readonly #tunnel: SocketAddress;
  readonly #toTunnel = new Passage("ingress, to the tunnel");
  readonly #toClients = new Passage("ingress, to the clients");
  readonly #toUpstream = new Passage("egress, to the upstream");
  readonly #toIngress = new Passage("egress, to the tunnel");
  /** The client of each flow ID of the ingress, by tunnel socket and flow ID. */
  readonly #clientOf = new Map<string, string>();
  /** The flow of each upstream socket, by ingress and flow ID. */
  readonly #flowOf = new Map<string, string>();
  readonly #upstreamsOf = new Map<string, string[]>();
  /** The time of the latest datagram from each client, and of each flow from the tunnel. */
  readonly #heardMs = new Map<string, number>();
  /** The client behind each address. Without connection IDs, each address is a client. */
  readonly #clientAt = new Map<string, string>();
  readonly #idleTimeoutMs: number;
  readonly #hasConnectionIds: boolean;

  /** Follows the proxy whose halves listen on these addresses. */
  constructor(
    listen: SocketAddress,
    tunnel: SocketAddress,
    { idleTimeoutMs, hasConnectionIds }: Scenario,
  ) {
    this.#listen = listen;
    this.#tunnel = tunnel;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#hasConnectionIds = hasConnectionIds;
  }

  /** The number of datagrams that the ingress received and did not send. */
  get ingressMissing(): number {
    return this.#toTunnel.missing + this.#toClients.missing;
  }

  /** The number of datagrams that the egress received and did not send. */
  get egressMissing(): number {
    return this.#toUpstream.missing + this.#toIngress.missing;
  }

  /** To be called with each event of the network. */
  readonly observe = (event: SimEvent): void => {
    const { socket, kind } = event;
    if (socket === undefined || (kind !== "send" && kind !== "receive")) return;
    if (socket.address === INGRESS || socket.address === INGRESS_OUT)
      this.#atIngress(event, socket);
    else if (socket.address === EGRESS) this.#atEgress(event, socket);
  };

  #atIngress(event: SimEvent, socket: SocketAddress): void {
    const { from, to, payload } = event.datagram;
    if (socket.equals(this.#listen)) {
      if (event.kind === "send") {
        this.#sentToClient(event, `${to}`, payload);
        return;
      }
      this.#heardMs.set(`${from}`, event.timeMs);
      this.#clientAt.set(`${from}`, this.#clientFrom(from, payload));
      this.#toTunnel.received(this.#clientFrom(from, payload), payload, event);
      return;
    }
    const tunneled = split(payload);
    const flow = `${socket} ${tunneled?.id}`;
    if (event.kind === "receive") {
      this.#toClients.received(flow, tunneled?.payload ?? payload, event);
      return;
    }
    require(tunneled !== undefined, () => `ingress: no flow ID in ${event}`);
    const client = this.#clientOf.get(flow) ?? this.#toTunnel.flowWith(tunneled.payload);
    require(client !== undefined, () => `ingress: not from a client: ${event}`);
    this.#clientOf.set(flow, client);
    this.#toTunnel.sent(client, tunneled.payload, event);
  }

  /** Requires that `flow`, for which a reply was received at `timeMs`, had sent something before. */
  #checkSilence(flow: string, timeMs: number): void {
    const silenceMs = timeMs - (this.#heardMs.get(flow) ?? Number.NEGATIVE_INFINITY);
    require(silenceMs < this.#idleTimeoutMs, () => `${flow}: a reply after ${silenceMs} ms`);
  }

  /** Returns the client that has sent a request: by its index if flows follow clients. */
  #clientFrom(from: SocketAddress, payload: Uint8Array): string {
    const isClient = from.address === CLIENT_NAT || from.address.startsWith(CLIENTS);
    if (!this.#hasConnectionIds || !isClient) return `${from}`;
    return `client ${Buffer.from(payload).readUInt32BE(0)}`;
  }

  #sentToClient(event: SimEvent, client: string, payload: Uint8Array): void {
    const isOfClient = (flow: string) => this.#clientOf.get(flow) === this.#clientAt.get(client);
    const flow = this.#toClients.flowWith(payload, isOfClient);
    require(flow !== undefined, () => `ingress: not a reply to that client: ${event}`);
    this.#checkSilence(client, this.#toClients.sent(flow, payload, event));
  }

  #atEgress(event: SimEvent, socket: SocketAddress): void {
    const { from, to, payload } = event.datagram;
    if (!socket.equals(this.#tunnel)) {
      this.#atUpstream(event, `${socket}`);
      return;
    }
    const tunneled = split(payload);
    const address = event.kind === "receive" ? from : to;
    const isSecret = Number(tunneled?.id) >= SECRET_FLOW_ID_MIN;
    const flow = isSecret ? `${tunneled?.id}` : `${address} ${tunneled?.id}`;
    if (event.kind === "receive") {
      this.#heardMs.set(`${address} ${tunneled?.id}`, event.timeMs);
      this.#toUpstream.received(flow, tunneled?.payload ?? payload, event);
      return;
    }
    require(tunneled !== undefined, () => `egress: no flow ID in ${event}`);
    const upstreams = this.#upstreamsOf.get(flow) ?? [];
    const upstream = this.#toIngress.flowWith(tunneled.payload, (u) => upstreams.includes(u));
    require(upstream !== undefined, () => `egress: not a reply of that flow: ${event}`);
    this.#checkSilence(
      `${address} ${tunneled.id}`,
      this.#toIngress.sent(upstream, tunneled.payload, event),
    );
  }

  #atUpstream(event: SimEvent, upstream: string): void {
    const { payload } = event.datagram;
    if (event.kind === "receive") {
      this.#toIngress.received(upstream, payload, event);
      return;
    }
    const flow = this.#flowOf.get(upstream) ?? this.#toUpstream.flowWith(payload);
    require(flow !== undefined, () => `egress: not from the tunnel: ${event}`);
    if (!this.#flowOf.has(upstream)) {
      this.#flowOf.set(upstream, flow);
      this.#upstreamsOf.set(flow, [...(this.#upstreamsOf.get(flow) ?? []), upstream]);
    }
    this.#toUpstream.sent(flow, payload, event);
  }
}

/** Splits a tunnel datagram; absent if it has no complete flow ID. */
function split(bytes: Uint8Array): { id: string; payload: Uint8Array } | undefined {
  const length = flowIdLength(bytes, 0, bytes.length);
  if (length === 0) return undefined;
  return { id: `${decodeVarint(bytes, 0)}`, payload: bytes.subarray(length) };
}
