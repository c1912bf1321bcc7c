/**
 * The input of the flow proxy: arbitrary datagrams from strangers to both halves, on a simulated
 * network. Each half counts what it does not forward, replies to senders of requests only, and sends
 * no more than it has received.
 */

import fc from "fast-check";
import { dropsTotal, type EndpointSnapshot } from "../../examples/flow-proxy/counters.ts";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { flowIdLength } from "../../examples/flow-proxy/tunnel-datagram.ts";
import { decodeVarint, Pending, RecvMeta, SocketAddress } from "../../lib/index.ts";
import { type SimEvent, SimNetwork, type SimSocket } from "../../lib/testing/index.ts";
import { SimRuntime } from "../sim/sim-runtime.ts";
import { type FuzzProperty, property, require, requireEqual } from "./property.ts";

const INGRESS = { hostname: "10.0.0.1", port: 5000 };
const EGRESS = { hostname: "10.0.0.2", port: 6000 };
const ORIGIN = { hostname: "10.0.0.3", port: 7000 };
const STRANGERS = ["10.2.0.1", "10.2.0.2", "10.2.0.3"] as const;
const FLOWS_MAX = 4;
const LIMITS = { flowsMax: FLOWS_MAX, idleTimeoutMs: 50 };
/** Longer than the idle timeout, and than all delays. */
const SETTLE_MS = 2000;

/** Tunnel datagrams: a flow ID, mostly small, or any bytes. */
const datagram = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(fc.nat(9), fc.uint8Array({ maxLength: 8 })).map(([id, payload]) => ({
      bytes: Uint8Array.of(id, ...payload),
      padding: 0,
    })),
  },
  {
    weight: 3,
    arbitrary: fc.record({ bytes: fc.uint8Array({ maxLength: 12 }), padding: fc.constant(0) }),
  },
  // Longer than the proxy forwards, or just not.
  fc.record({
    bytes: fc.uint8Array({ maxLength: 12 }),
    padding: fc.integer({ min: 1485, max: 1530 }),
  }),
);

/** Returns the bytes with the padding. Inputs have its length only, so that they can be read. */
function pad({ bytes, padding }: { bytes: Uint8Array; padding: number }): Uint8Array {
  return new Uint8Array([...bytes, ...new Uint8Array(padding)]);
}

const sends = fc.array(
  fc.record({
    from: fc.nat(STRANGERS.length - 1),
    datagram,
    pauseMs: fc.constantFrom(0, 1, 60),
  }),
  { minLength: 1, maxLength: 12 },
);

function addressOf({ hostname, port }: { hostname: string; port: number }): SocketAddress {
  return SocketAddress.ip(hostname, port);
}

/** Counts the datagrams and bytes that cross the network, by socket. */
class Traffic {
  readonly sent = { datagrams: 0, bytes: 0 };
  readonly received = { datagrams: 0, bytes: 0 };

  /** Follows the sockets of one host. */
  constructor(net: SimNetwork, host: string) {
    net.observe((event: SimEvent) => {
      if (event.socket?.address !== host) return;
      const side =
        event.kind === "send" ? this.sent : event.kind === "receive" ? this.received : undefined;
      if (side === undefined) return;
      side.datagrams++;
      side.bytes += event.datagram.payload.length;
    });
  }
}

/** Requires that a half has sent or counted every datagram, and has sent no more than it received. */
function checkHalf(snapshot: EndpointSnapshot, traffic: Traffic): void {
  const { sent, received } = traffic;
  const { role, sockets } = snapshot;
  // Without those that were in the receive queue of a flow's socket when the flow was evicted.
  const drops = dropsTotal(snapshot) - sockets.datagramsDropped;
  requireEqual(sent.datagrams + drops, received.datagrams, `${role}: sent + dropped`);
  require(snapshot.flows <= FLOWS_MAX, () => `${role}: ${snapshot.flows} flows`);
}

const egressInput = property({
  name: "flow proxy: arbitrary datagrams to the egress",
  // A run has several datagrams, and takes as long as fifty inputs of other properties.
  weight: 0.15,
  inputs: sends,
  check: async (list) => {
    const net = new SimNetwork({ seed: 1, link: { mtu: 9000 } });
    const runtime = new SimRuntime(net, {
      listenHost: EGRESS.hostname,
      connectHost: EGRESS.hostname,
      openMs: 0,
      openFailures: 0,
    });
    const origin = net.bind(ORIGIN.hostname, ORIGIN.port);
    echo(origin);
    const traffic = new Traffic(net, EGRESS.hostname);
    const strangers = STRANGERS.map((host) => net.bind(host, 9, { connect: addressOf(EGRESS) }));
    const asked = STRANGERS.map(() => new Set<string>());
    await net.run(async () => {
      const egress = await Egress.open({ listen: EGRESS, upstream: ORIGIN, ...LIMITS, runtime });
      for (const { from, datagram, pauseMs } of list) {
        const bytes = pad(datagram);
        asked[from]?.add(Buffer.from(normal(bytes)).toString("hex"));
        await (strangers[from] as SimSocket).send(bytes);
        await net.clock.sleep(pauseMs);
      }
      await net.clock.sleep(SETTLE_MS);
      checkHalf(egress.snapshot(), traffic);
      requireEqual(egress.snapshot().flows, 0, "flows after the idle timeout");
      egress.close();
    });
    checkReplies(strangers, asked);
    origin.close();
    for (const socket of strangers) socket.close();
    await net.drain();
  },
});

/** Returns a tunnel datagram with its flow ID in the shortest form, as the egress returns it. */
function normal(bytes: Uint8Array): Uint8Array {
  const length = flowIdLength(bytes, 0, bytes.length);
  if (length === 0) return bytes;
  return new Uint8Array([...varintOf(BigInt(decodeVarint(bytes))), ...bytes.subarray(length)]);
}

function varintOf(value: bigint): number[] {
  const exponent = [6n, 14n, 30n, 62n].findIndex((bits) => value < 1n << bits);
  const text = (value | (BigInt(exponent) << BigInt(8 * (1 << exponent) - 2))).toString(16);
  return [...Buffer.from(text.padStart(2 << exponent, "0"), "hex")];
}

/** Requires that every datagram in the queues is a reply to one of the same socket. */
function checkReplies(sockets: readonly SimSocket[], asked: readonly ReadonlySet<string>[]): void {
  const buffer = new Uint8Array(2000);
  for (const [i, socket] of sockets.entries()) {
    while (socket.receiveQueueLength > 0) {
      const length = socket.tryRecv(buffer) as number;
      const text = Buffer.from(buffer.subarray(0, length)).toString("hex");
      require(asked[i]?.has(text) === true, () => `stranger ${i} received ${text} unasked`);
    }
  }
}

/** Returns every datagram that a socket receives, once. */
function echo(socket: SimSocket): void {
  const buffer = new Uint8Array(2000);
  const meta = new RecvMeta();
  const receive = (): void => {
    while (!socket.isClosed) {
      const length = socket.pollRecvFrom(receive, buffer, meta);
      if (length === Pending) return;
      if (meta.peer) socket.trySendTo(buffer.subarray(0, length), meta.peer);
    }
  };
  receive();
}

const ingressInput = property({
  name: "flow proxy: arbitrary datagrams to the ingress, from clients and from the tunnel",
  // A run has several datagrams, and takes as long as fifty inputs of other properties.
  weight: 0.15,
  inputs: fc.record({ fromClients: sends, fromTunnel: sends, firstFlowId: fc.nat(9) }),
  check: async ({ fromClients, fromTunnel, firstFlowId }) => {
    const net = new SimNetwork({ seed: 1, link: { mtu: 9000 } });
    const runtime = new SimRuntime(net, {
      listenHost: INGRESS.hostname,
      connectHost: INGRESS.hostname,
      openMs: 0,
      openFailures: 0,
    });
    const traffic = new Traffic(net, INGRESS.hostname);
    const clients = STRANGERS.map((host) => net.bind(host, 9, { connect: addressOf(INGRESS) }));
    const hasAsked = STRANGERS.map(() => false);
    const tunnel = net.bind(EGRESS.hostname, EGRESS.port);
    await net.run(async () => {
      const options = { listen: INGRESS, tunnel: EGRESS, ...LIMITS, firstFlowId, runtime };
      const ingress = await Ingress.open(options);
      const tunnelEnd = [...runtime.opened.keys()].find((one) => one.peerAddr !== undefined);
      for (let i = 0; i < Math.max(fromClients.length, fromTunnel.length); i++) {
        const request = fromClients[i];
        if (request !== undefined) {
          hasAsked[request.from] = true;
          await (clients[request.from] as SimSocket).send(pad(request.datagram));
          await net.clock.sleep(request.pauseMs);
        }
        const reply = fromTunnel[i];
        if (reply !== undefined) await tunnel.sendTo(pad(reply.datagram), addressOfEnd(tunnelEnd));
      }
      await net.clock.sleep(SETTLE_MS);
      checkHalf(ingress.snapshot(), traffic);
      requireEqual(ingress.snapshot().flows, 0, "flows after the idle timeout");
      ingress.close();
    });
    for (const [i, client] of clients.entries()) {
      const count = client.receiveQueueLength;
      require(hasAsked[i] === true || count === 0, () => `client ${i} got ${count} unasked`);
      client.close();
    }
    tunnel.close();
    await net.drain();
  },
});

function addressOfEnd(socket: SimSocket | undefined): SocketAddress {
  require(socket !== undefined, () => "the ingress has no tunnel socket");
  return socket.localAddr;
}

export const tunnel: readonly FuzzProperty[] = [egressInput, ingressInput];
