/**
 * The proxy under hostile input: floods of new flows, replies that no flow asked for, tunnel peers
 * that have moved, and requests with forged source addresses.
 */

import { describe, expect, test } from "bun:test";
import type { EndpointSnapshot } from "../../examples/flow-proxy/counters.ts";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { Pending, RecvMeta, SocketAddress } from "../../lib/index.ts";
import { SimNetwork, type SimSocket } from "../../lib/testing/index.ts";
import { SimRuntime } from "../sim/sim-runtime.ts";

const INGRESS = { hostname: "10.0.0.1", port: 5000 };
const EGRESS = { hostname: "10.0.0.2", port: 6000 };
const ORIGIN = { hostname: "10.0.0.3", port: 7000 };
const FLOODER = "10.6.6.6";
const FLOWS_MAX = 64;
const IDLE_TIMEOUT_MS = 30_000;
const LIMITS = { flowsMax: FLOWS_MAX, idleTimeoutMs: IDLE_TIMEOUT_MS };

function addressOf({ hostname, port }: { hostname: string; port: number }): SocketAddress {
  return SocketAddress.ip(hostname, port);
}

function runtimeOf(net: SimNetwork, host: string): SimRuntime {
  return new SimRuntime(net, { listenHost: host, connectHost: host, openMs: 0, openFailures: 0 });
}

/** Replies to each datagram with `replies` datagrams of `bytes` bytes; default: an echo. */
function serve(socket: SimSocket, options: { replies?: number; bytes?: number } = {}): void {
  const buffer = new Uint8Array(2000);
  const meta = new RecvMeta();
  const receive = (): void => {
    while (!socket.isClosed) {
      const length = socket.pollRecvFrom(receive, buffer, meta);
      if (length === Pending) return;
      for (let i = 0; i < (options.replies ?? 1); i++) {
        const reply = buffer.slice(0, options.bytes ?? length);
        socket.trySendTo(reply, meta.peer as SocketAddress);
      }
    }
  };
  receive();
}

/** Receives what is queued, and returns the lengths. */
function received(socket: SimSocket): number[] {
  const lengths: number[] = [];
  const buffer = new Uint8Array(2000);
  while (socket.receiveQueueLength > 0) lengths.push(socket.tryRecv(buffer) as number);
  return lengths;
}

/** Both halves, an origin, and a network without delay. */
async function openProxy(
  net: SimNetwork,
  options: { replies?: number; bytes?: number; replyFactor?: number } = {},
) {
  const { replyFactor } = options;
  const origin = net.bind(ORIGIN.hostname, ORIGIN.port);
  serve(origin, options);
  const egress = await Egress.open({
    ...{ listen: EGRESS, upstream: ORIGIN, replyFactor },
    ...{ runtime: runtimeOf(net, EGRESS.hostname), ...LIMITS },
  });
  const ingress = await Ingress.open({
    ...{ listen: INGRESS, tunnel: EGRESS, replyFactor },
    ...{ runtime: runtimeOf(net, INGRESS.hostname), ...LIMITS },
  });
  const close = () => {
    ingress.close();
    egress.close();
    origin.close();
  };
  return { ingress, egress, origin, close };
}

function clientOf(net: SimNetwork, host: string, port = 0): SimSocket {
  return net.bind(host, port, { connect: addressOf(INGRESS) });
}

/** Sends a request, and returns the lengths of the replies that arrive within 10 ms. */
async function exchange(net: SimNetwork, client: SimSocket, bytes = 100): Promise<number[]> {
  await client.send(new Uint8Array(bytes));
  await net.clock.sleep(10);
  return received(client);
}

describe("a flood of new flows from one address", () => {
  test("evicts no flow of an address that has less than its share, however idle", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      // A quarter of the table: far from the share of one of two addresses.
      const clients = Array.from({ length: FLOWS_MAX / 4 }, (_, i) =>
        clientOf(net, "10.1.0.1", 1000 + i),
      );
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      const before = proxy.ingress.snapshot().flowCounters.opened;
      // Idle for 25 s, while another address opens 2000 flows.
      for (let i = 0; i < 2000; i++) {
        const flooder = clientOf(net, FLOODER, 1 + i);
        await flooder.send(Uint8Array.of(1));
        await net.clock.sleep(12);
        flooder.close();
      }
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      const { flows, flowCounters } = proxy.ingress.snapshot();
      expect(flows).toBeLessThanOrEqual(FLOWS_MAX);
      // The clients' flows are the ones of before: all others that were opened are the flooder's.
      expect(flowCounters.opened - before + flowCounters.refused).toBe(2000);
      proxy.close();
    });
  });

  test("does not keep the flows of other addresses out, although all of its flows are in use", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      const flooders = Array.from({ length: FLOWS_MAX }, (_, i) => clientOf(net, FLOODER, 1 + i));
      const flood = async () => {
        for (const flooder of flooders) await flooder.send(Uint8Array.of(1));
        await net.clock.sleep(1);
      };
      await flood();
      // Others get half of the table, one after the other, and keep it.
      const clients: SimSocket[] = [];
      for (let i = 0; i < FLOWS_MAX / 2; i++) {
        await flood();
        clients.push(clientOf(net, `10.1.0.${i + 1}`));
        expect(await exchange(net, clients[i] as SimSocket)).toEqual([100]);
      }
      for (let round = 0; round < 20; round++) {
        await flood();
        await net.clock.sleep(1000);
        for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      }
      // No client was assigned a second flow.
      const { evicted } = proxy.ingress.snapshot().flowCounters;
      expect(evicted).toBe(FLOWS_MAX / 2);
      proxy.close();
    });
  });

  test("an ingress that floods the egress with flow IDs leaves room to another ingress", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      const peer = clientOf(net, "10.1.0.1");
      expect(await exchange(net, peer)).toEqual([100]);
      const flooder = net.bind(FLOODER, 1, { connect: addressOf(EGRESS) });
      for (let id = 0; id < 2000; id++) {
        await flooder.send(Uint8Array.of(0x40 | (id >> 8), id & 255, 7));
        if (id % 8 === 0) await net.clock.sleep(100);
      }
      expect(proxy.egress.snapshot().flows).toBeLessThanOrEqual(FLOWS_MAX);
      expect(await exchange(net, peer)).toEqual([100]);
      const late = clientOf(net, "10.1.0.2");
      expect(await exchange(net, late)).toEqual([100]);
      proxy.close();
    });
  });
});

describe("replies", () => {
  test("reach only the client whose flow has asked", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      const [asking, silent] = [clientOf(net, "10.1.0.1", 9), clientOf(net, "10.1.0.2", 9)];
      expect(await exchange(net, asking)).toEqual([100]);
      const stranger = net.bind("10.7.7.7", 9);
      // To both ends of the tunnel and of the upstream's flow, from an address that is no peer.
      const ends = net.sockets.filter(({ localAddr }) =>
        [INGRESS.hostname, EGRESS.hostname].includes(localAddr.address),
      );
      const connected = ends.filter(({ peerAddr }) => peerAddr !== undefined);
      expect(connected.length).toBe(2);
      for (const { localAddr } of connected) {
        for (let id = 0; id < 64; id++) await stranger.sendTo(Uint8Array.of(id, 1), localAddr);
      }
      await net.clock.sleep(100);
      expect([received(asking), received(silent)]).toEqual([[], []]);
      proxy.close();
    });
  });
});

/** Waits for the first datagram at an origin, and returns the address of its flow. */
async function flowOf(net: SimNetwork, origin: SimSocket): Promise<SocketAddress> {
  await net.clock.sleep(10);
  const meta = new RecvMeta();
  origin.pollRecvFrom(null, new Uint8Array(9), meta);
  return meta.peer as SocketAddress;
}

describe("a tunnel peer that has moved", () => {
  test("gets no replies after the idle timeout, however many there are, and they are counted", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const origin = net.bind(ORIGIN.hostname, ORIGIN.port);
      const runtime = runtimeOf(net, EGRESS.hostname);
      const egress = await Egress.open({ listen: EGRESS, upstream: ORIGIN, ...LIMITS, runtime });
      const old = net.bind("10.0.0.9", 1, { connect: addressOf(EGRESS) });
      await old.send(Uint8Array.of(5, 1, 2, 3));
      const flow = await flowOf(net, origin);
      // With a reply and another datagram, the peer is verified.
      await origin.sendTo(Uint8Array.of(9), flow);
      await net.clock.sleep(10);
      await old.send(Uint8Array.of(5, 1, 2, 3));
      await net.clock.sleep(10);
      // The NAT assigns another port: the same flow comes from there from now on.
      const moved = net.bind("10.0.0.9", 2, { connect: addressOf(EGRESS) });
      await moved.send(Uint8Array.of(5, 1, 2, 3));
      const beforeMs = IDLE_TIMEOUT_MS - 1000;
      const push = async (fromMs: number, toMs: number) => {
        for (let ms = fromMs; ms < toMs; ms += 1000) {
          await origin.sendTo(Uint8Array.of(9), flow);
          await net.clock.sleep(1000);
        }
      };
      await push(0, beforeMs);
      expect(received(old).length).toBeGreaterThan(0);
      const sentBefore = egress.snapshot().toClients.datagrams;
      await net.clock.sleep(2000);
      // The upstream goes on: nobody at the old address may get that.
      await push(0, 10_000);
      expect(received(old)).toEqual([]);
      const { drops, toClients } = egress.snapshot();
      expect([drops.stalePeer, toClients.datagrams - sentBefore]).toEqual([10, 0]);
      await net.clock.sleep(2 * IDLE_TIMEOUT_MS);
      expect(egress.snapshot().flows).toBe(0);
      egress.close();
      origin.close();
    });
  });

  test("gets the replies of a flow that only receives while the peer sends on another", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const origin = net.bind(ORIGIN.hostname, ORIGIN.port);
      const runtime = runtimeOf(net, EGRESS.hostname);
      const egress = await Egress.open({ listen: EGRESS, upstream: ORIGIN, ...LIMITS, runtime });
      const peer = net.bind("10.0.0.9", 1, { connect: addressOf(EGRESS) });
      await peer.send(Uint8Array.of(5, 1, 2, 3));
      const flow = await flowOf(net, origin);
      for (let i = 0; i < 10; i++) {
        await peer.send(Uint8Array.of(6, 1, 2, 3));
        await origin.sendTo(Uint8Array.of(9), flow);
        await net.clock.sleep(IDLE_TIMEOUT_MS / 2);
      }
      expect(received(peer)).toEqual(new Array(10).fill(2));
      expect(egress.snapshot().drops.stalePeer).toBe(0);
      egress.close();
      origin.close();
    });
  });
});

/** The datagrams and bytes that a host sent and received. */
function trafficOf(net: SimNetwork, host: string) {
  const totals = { toIt: { datagrams: 0, bytes: 0 }, fromIt: { datagrams: 0, bytes: 0 } };
  net.observe(({ kind, datagram }) => {
    if (kind !== "send") return;
    const { from, to, payload } = datagram;
    const total =
      to.address === host ? totals.toIt : from.address === host ? totals.fromIt : undefined;
    if (total === undefined) return;
    total.datagrams++;
    total.bytes += payload.length;
  });
  return totals;
}

describe("an upstream that amplifies", () => {
  const VICTIM = "10.8.8.8";

  test.each([
    { name: "ten replies", reply: { replies: 10, bytes: 20 } },
    { name: "one long reply", reply: { replies: 1, bytes: 1200 } },
    { name: "ten long replies", reply: { replies: 10, bytes: 1200 } },
  ])("$name to each request: an address that only asks gets no more than it has sent", async ({
    reply,
  }) => {
    const net = new SimNetwork({ seed: 1 });
    const client = trafficOf(net, VICTIM);
    let drops = 0;
    await net.run(async () => {
      const proxy = await openProxy(net, reply);
      // Each with a port of its own, as forged requests: no reply is followed by a request.
      for (let i = 0; i < 20; i++) await clientOf(net, VICTIM, 1 + i).send(new Uint8Array(100));
      await net.clock.sleep(100);
      const count = ({ drops }: EndpointSnapshot) => drops.amplified;
      drops = count(proxy.ingress.snapshot()) + count(proxy.egress.snapshot());
      proxy.close();
    });
    const { toIt, fromIt } = client;
    expect(fromIt).toEqual({ datagrams: 20, bytes: 2000 });
    expect(toIt.datagrams).toBeLessThanOrEqual(fromIt.datagrams);
    expect(toIt.bytes).toBeLessThanOrEqual(fromIt.bytes);
    expect(drops).toBe(20 * reply.replies - toIt.datagrams);
  });

  test("a client that sends again after a reply gets everything from then on", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 10, bytes: 100 });
      const client = clientOf(net, "10.1.0.1");
      expect((await exchange(net, client)).length).toBe(1);
      expect((await exchange(net, client)).length).toBe(10);
      expect((await exchange(net, client, 1)).length).toBe(10);
      proxy.close();
    });
  });

  test("a tunnel peer that only asks gets no more than it has sent", async () => {
    const net = new SimNetwork({ seed: 1 });
    const peer = trafficOf(net, VICTIM);
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 10, bytes: 1200 });
      for (let i = 0; i < 20; i++) {
        const forged = net.bind(VICTIM, 1 + i, { connect: addressOf(EGRESS) });
        await forged.send(Uint8Array.of(1, ...new Uint8Array(99)));
      }
      await net.clock.sleep(100);
      proxy.close();
    });
    expect(peer.fromIt.datagrams).toBe(20);
    expect(peer.toIt.datagrams).toBeLessThanOrEqual(20);
    expect(peer.toIt.bytes).toBeLessThanOrEqual(peer.fromIt.bytes);
  });

  test("the reply factor allows larger first replies, and bounds them", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 10, bytes: 100, replyFactor: 3 });
      expect((await exchange(net, clientOf(net, "10.1.0.1"))).length).toBe(3);
      proxy.close();
    });
  });
});
